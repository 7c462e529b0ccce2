"""The old Office formats: what they say, and that nothing they claim is believed."""

import struct

import pytest

from apps.processing.contract import ProcessingFailed
from apps.processing.detect import detect, sniff
from apps.processing.processors import document
from tests.unit.processing import compounds

WORD, SLIDES, MESSAGE = "application/msword", "application/vnd.ms-powerpoint", "application/vnd.ms-outlook"


def text_of(outcome) -> str:
    return outcome.derived[0].path.read_text()


def test_word_97_and_later(make_job):
    """Its text in pieces of either width, a field's result without its question, and nothing beyond its own text."""
    content = compounds.word("Grüße\r", b"caf\xe9 \x13 HYPERLINK x \x14here\x15\x07", "\x0cend", "footnotes", cut=9)

    outcome = document.process(make_job(content, content_type=WORD))

    assert text_of(outcome) == "Grüße\ncafé here \n\nend"
    facts = outcome.result
    assert (facts["format"], facts["title"], facts["author"], facts["pages"]) == ("doc", "Accounts", "Zoë", 3)
    assert (facts["created"], facts["modified"]) == ("2024-05-17T12:00:00+00:00", None)
    assert (facts["made_by"], facts["words"], facts["encrypted"]) == ("Filewire's tests", 4, False)


def test_word_before_97(make_job):
    """One piece, eight bits each."""
    outcome = document.process(make_job(compounds.word(b"old times\r", version=0x68), content_type=WORD))
    assert text_of(outcome) == "old times"


def test_presentations(make_job):
    """What its slides say, and how many there are where it does not tell."""
    outcome = document.process(make_job(compounds.slides("Grüße", b"caf\xe9"), content_type=SLIDES))
    assert text_of(outcome) == "Grüße\ncafé"
    assert (outcome.result["format"], outcome.result["pages"]) == ("ppt", 2)


@pytest.mark.parametrize("wide", [True, False])
def test_messages(make_job, wide):
    """Who, to whom, when, what, and what is attached."""
    outcome = document.process(make_job(compounds.message(wide), content_type=MESSAGE))
    facts = outcome.result
    assert (facts["title"], facts["author"], facts["to"]) == ("Accounts", "Zoë <zoe@example.org>", "Ann; Bob")
    assert facts["created"] == "2024-05-17T12:00:00+00:00"
    assert facts["attachments"] == [{"name": "accounts.xls", "content_type": None, "size": 4096}]
    assert text_of(outcome) == "All is well."


def test_what_needs_a_password_says_so(make_job):
    """An encrypted document of either age is no broken one."""
    for content, kind in (
        (compounds.word("x", encrypted=True), WORD),
        (compounds.compound({"EncryptedPackage": b"x", "EncryptionInfo": b"y"}), "application/x-ole-storage"),
    ):
        outcome = document.process(make_job(content, content_type=kind))
        assert (outcome.result["encrypted"], outcome.result["words"], outcome.derived) == (True, 0, ())


def test_other_compound_files_have_their_facts(make_job):
    """A format that is not read may still say what it is called."""
    content = compounds.compound(
        {"VisioDocument": b"x", "\x05SummaryInformation": compounds.summary(title="Plan", codepage=65001)}
    )
    outcome = document.process(make_job(content, content_type="application/vnd.visio"))
    assert (outcome.result["format"], outcome.result["title"], outcome.result["author"]) == ("vsd", "Plan", "Zoë")


@pytest.mark.parametrize("codepage", [20127, 9999])
def test_facts_in_an_encoding_that_is_none(make_job, monkeypatch, codepage):
    """They are taken for Western letters."""
    plain = compounds.summary(title="Plan", author="Zoe", codepage=1252)
    content = compounds.compound(
        {
            "Quill": b"x",
            "\x05SummaryInformation": plain.replace(struct.pack("<Ih", 2, 1252), struct.pack("<Ih", 2, codepage)),
        }
    )
    outcome = document.process(make_job(content, content_type="application/x-mspublisher"))
    assert outcome.result["title"] == "Plan"


def broken(content: bytes, find: bytes, instead: bytes) -> bytes:
    assert find in content
    return content.replace(find, instead)


@pytest.mark.parametrize(
    "content",
    [
        compounds.compound({"Other": b"x"}),
        compounds.compound({"WordDocument": b"\xec\xa5"[:1]})[:1536],
        broken(compounds.word("x"), b"\x02" + struct.pack("<I", 16), b"\x03" + struct.pack("<I", 16)),
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\xff" * 1024,
        b"\xd0\xcf\x11\xe0",
    ],
    ids=["no text", "cut off", "no piece table", "zeros", "ones", "no header"],
)
def test_a_damaged_document_is_broken(make_job, content):
    """With the code that says so."""
    with pytest.raises(ProcessingFailed) as failure:
        document.process(make_job(content, content_type=WORD))
    assert failure.value.code == "document_broken"


def test_a_stream_that_is_too_long_is_not_read(make_job, monkeypatch):
    """The facts are there; of the text it is said that there is more."""
    monkeypatch.setattr("apps.processing.processors.document.compound.STREAM_BYTES", 4095)
    outcome = document.process(make_job(compounds.word("x"), content_type=WORD))
    assert (outcome.result["words"], outcome.result["text_truncated"]) == (0, True)


@pytest.mark.parametrize("at", [48, 76])
def test_sectors_beyond_any_file_are_not_looked_for(tmp_path, at):
    """A header may claim that its directory, or its table, lies where no file system seeks."""
    content = bytearray(compounds.compound({f"stream {number}": b"" for number in range(40)}))
    content[at : at + 4] = b"\xf0\xff\xff\xff"
    (tmp_path / "file").write_bytes(content)
    assert detect(tmp_path / "file").content_type == "application/x-ole-storage"


@pytest.mark.parametrize(
    ("streams", "root_class", "content_type"),
    [
        ({"WordDocument": b"", "Pool/Workbook": b""}, "", WORD),
        ({"Book": b""}, "", "application/vnd.ms-excel"),
        ({"Workbook": b"", "Pool/WordDocument": b""}, "2008020000000000c000000000000046", "application/vnd.ms-excel"),
        ({"VisioDocument": b""}, "", "application/vnd.visio"),
        ({"x": b""}, "84100c0000000000c000000000000046", "application/x-msi"),
        ({f"stream {number}": b"" for number in range(40)} | {"PowerPoint Document": b""}, "", SLIDES),
    ],
)
def test_compound_files_are_told_apart(tmp_path, streams, root_class, content_type):
    """By the root's class, else by their streams, along the whole chain of the directory."""
    content = compounds.compound(streams, bytes.fromhex(root_class) or bytes(16))
    (tmp_path / "file").write_bytes(content)

    assert detect(tmp_path / "file").content_type == content_type
    assert sniff(content[:8192], len(content)).kind in ("document", "table", "other")
