"""Relatives in one container: office packages by their main part, encrypted ones by their name, books packed anew."""

import pytest

from apps.processing import office
from apps.processing.acceptance import is_refused_at_the_door
from apps.processing.contract import ProcessingFailed
from apps.processing.detect import HEAD_BYTES, Detected, detect, sniff
from apps.processing.processors import document, table
from apps.processing.processors.table import spans
from tests import samples
from tests.unit.processing import compounds, real

OLE = "application/x-ole-storage"
ENCRYPTED = compounds.compound({"EncryptedPackage": b"x", "EncryptionInfo": b"y"})
FOLDERS = {"d": "word/document.xml", "x": "xl/workbook.xml", "p": "ppt/presentation.xml"}


def types(content, tmp_path, name=""):
    """By the head, and by the whole."""
    path = tmp_path / "blob"
    path.write_bytes(content)
    return sniff(content[:HEAD_BYTES], len(content), name), detect(path, name)


def package(ending: str, *, last: bool = False) -> bytes:
    """A package of the family, whose list of types comes first or last, and says it as programs write it."""
    part = next(part for name, _, part in office._FAMILY if name == ending).replace("macroenabled", "macroEnabled")
    main = {"[Content_Types].xml": f'<Types><Override ContentType="{part}"/></Types>'.encode()}
    rest = {"_rels/.rels": b"", FOLDERS[ending[0]]: b"<part/>"}
    return samples.zip(rest | main if last else main | rest)


@pytest.mark.parametrize("ending", office.BY_ENDING)
@pytest.mark.parametrize("last", [False, True])
def test_an_office_package_is_what_its_main_part_is(tmp_path, ending, last):
    """With macros, a template, a show, binary: whatever its folder is called, wherever the list of its types stands."""
    head, whole = types(package(ending, last=last), tmp_path)

    assert head == whole
    assert whole.content_type == office.BY_ENDING[ending]
    assert whole.kind == ("table" if ending.startswith("xl") else "document")


@pytest.mark.parametrize("ending", ["docm", "dotx", "dotm"])
def test_relatives_of_documents_are_read(make_job, ending):
    """As a document is, under their own name."""
    result = document.process(make_job(real.docx(), content_type=office.BY_ENDING[ending])).result

    assert (result["format"], result["outline"]) == (ending, [{"title": "A heading", "level": 1}])


def test_a_package_that_does_not_say_is_told_by_its_folder(tmp_path):
    """Or by its binary workbook; a list that cannot be unpacked says nothing."""
    without = {"[Content_Types].xml": b"<Types/>", "_rels/.rels": b""}
    assert types(samples.zip(without | {"xl/workbook.bin": b"x"}), tmp_path)[1].content_type.endswith(
        "binary.macroenabled.12"
    )
    assert types(samples.zip(without | {"xl/workbook.xml": b"x"}), tmp_path)[1].content_type.endswith(
        "spreadsheetml.sheet"
    )

    damaged = bytearray(package("docm"))
    damaged[49:60] = b"\xff" * 11
    assert types(bytes(damaged), tmp_path)[1].content_type == office.BY_ENDING["docx"]


def test_a_list_of_types_that_unfolds_without_end_costs_nothing(tmp_path):
    """A few KiB of it are unpacked, in the head as in the whole."""
    listed = b" " * 5_000_000 + b'"application/vnd.ms-word.document.macroEnabled.main+xml"'
    content = samples.zip({"[Content_Types].xml": listed, "word/document.xml": b"x"})
    assert len(content) < HEAD_BYTES

    head, whole = types(content, tmp_path)
    assert head == whole
    assert whole.content_type == office.BY_ENDING["docx"]


def test_the_door_waits_for_the_end_of_a_package():
    """Which of its family it is may stand there; of what kind it is stands at its beginning."""
    workbook = Detected(content_type=office.BY_ENDING["xlsx"], kind="table")

    assert not is_refused_at_the_door(workbook, [office.BY_ENDING["xlsm"]], [])
    assert not is_refused_at_the_door(workbook, [], [office.BY_ENDING["xlsx"]])
    assert is_refused_at_the_door(workbook, ["document"], [])


@pytest.mark.parametrize(
    ("name", "content_type", "kind"),
    [
        ("accounts.xlsx", office.BY_ENDING["xlsx"], "table"),
        ("Accounts.XLSM", office.BY_ENDING["xlsm"], "table"),
        ("show.pptx", office.BY_ENDING["pptx"], "document"),
        ("letter.docx", office.BY_ENDING["docx"], "document"),
        ("letter.doc", OLE, "document"),
        ("picture.png", OLE, "document"),
        ("docx", OLE, "document"),
        ("", OLE, "document"),
    ],
)
def test_an_encrypted_package_is_what_its_name_says(make_job, name, content_type, kind):
    """Among its family, for nothing else tells; the result says that it is encrypted, and is of the row's kind."""
    job = make_job(ENCRYPTED, name=name)

    assert (job.content_type, job.kind) == (content_type, kind)
    assert (table if kind == "table" else document).process(job).result["encrypted"] is True


def test_a_name_makes_no_package_of_another_compound_file(tmp_path):
    """A Word document called .xlsx is a Word document, and a picture a picture."""
    assert types(compounds.word("words"), tmp_path, "a.xlsx")[1].content_type == "application/msword"
    assert types(samples.png(), tmp_path, "a.xlsx")[0].content_type == "image/png"


def test_a_binary_workbook_is_read(make_job):
    """Under its own type and format."""
    job = make_job(real.xlsb(5))
    result = table.process(job).result

    assert (job.content_type, result["format"]) == (office.BY_ENDING["xlsb"], "xlsb")
    assert result["sheets"] == [{"name": "Data", "rows": 5, "columns": 1, "visible": True, "readable": True}]
    assert (result["columns"][0]["type"], result["columns"][0]["max"]) == ("integer", 4)


def test_f16_a_stray_cell_in_a_binary_workbook(make_job):
    """Is refused as in one of XML, before the library makes room for all that lies between."""
    with pytest.raises(ProcessingFailed) as failure:
        table.process(make_job(real.xlsb(3, stray=(1_048_575, 16_383))))
    assert failure.value.code == "table_too_large"
    assert table.process(make_job(real.xlsb(3, stray=(1_048_575, 0)))).result["sheets"][0]["rows"] == 1_048_576


def test_a_binary_sheet_is_measured_across_pieces():
    """Records that lie across a piece's end, of any length, are stepped over; one that takes too long is refused."""
    record = b"\x00\x04\x07\0\0\0" + b"\x05\x10\x03\0\0\0" + bytes(12) + b"\x8c\x01\xac\x02" + b"\x05" * 300
    whole, pieces = spans.BinarySpan(1e12), spans.BinarySpan(1e12)
    whole.take(record * 50)
    for at in range(0, len(record * 50), 7):
        pieces.take((record * 50)[at : at + 7])

    assert pieces._rows == whole._rows == [7, 7]
    assert pieces._columns == whole._columns == [3, 3]
    with pytest.raises(ProcessingFailed):
        spans.BinarySpan(0).take(b"\x85\x01\0" * spans.CHECKED_RECORDS * 2)


BOOK = {"META-INF/container.xml": b"<container/>", "OPS/book.opf": b"<package/>"}
SHEET = "application/vnd.oasis.opendocument.spreadsheet"
MANIFEST = (
    b'<m:manifest><m:file-entry m:media-type="application/vnd.oasis.opendocument.text" m:full-path="Object 1/"/>'
    b'<m:file-entry m:full-path="/" m:version="1.2" m:media-type="%s"/></m:manifest>' % SHEET.encode()
)
TEXT = "application/vnd.oasis.opendocument.text"


@pytest.mark.parametrize(
    ("entries", "content_type"),
    [
        (BOOK, "application/epub+zip"),
        (BOOK | {"mimetype": b"application/epub+zip"}, "application/epub+zip"),
        ({"mimetype": b"application/epub+zip"} | BOOK, "application/epub+zip"),
        ({"META-INF/container.xml": b"<container/>", "score.musicxml": b"<score/>"}, "application/zip"),
        ({"content.xml": b"", "META-INF/manifest.xml": MANIFEST}, SHEET),
        ({"content.xml": b"", "META-INF/manifest.xml": b"<m/>", "mimetype": TEXT.encode()}, TEXT),
        ({"content.xml": b"", "META-INF/manifest.xml": MANIFEST, "mimetype": b"application/x-else"}, SHEET),
        ({"content.xml": b"", "META-INF/manifest.xml": b"<m/>"}, "application/zip"),
        ({"content.xml": b"", "META-INF/manifest.xml": b'<m full-path="/"'}, "application/zip"),
        ({"content.xml": b""}, "application/zip"),
    ],
)
def test_books_and_open_documents_that_were_packed_anew(tmp_path, entries, content_type):
    """Their type's entry is not the first, or packed, or gone: what they must have besides tells."""
    head, whole = types(samples.zip(entries), tmp_path)

    assert head == whole
    assert whole.content_type == content_type


def test_a_book_that_was_packed_anew_is_read(make_job):
    """As one that was packed by the rules."""
    entries = {"OPS/one.xhtml": b"<p>Words.</p>", "mimetype": b"application/epub+zip"} | BOOK
    entries["META-INF/container.xml"] = b'<c><rootfile full-path="OPS/book.opf"/></c>'
    job = make_job(samples.zip(entries))

    assert document.process(job).result["format"] == "epub"
