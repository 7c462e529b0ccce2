"""Files that are odd in one place: none ends in an error that nobody foresaw, none costs more than its length."""

import gzip
import io
import lzma
import struct
import tarfile
import time
import zipfile
import zlib

import pytest
from PIL import Image

from apps.processing import extents, zips
from apps.processing.contract import ProcessingFailed
from apps.processing.processors import archive, audio, data, document, image
from apps.processing.processors.archive import listing
from tests.unit.processing import compounds, real

SEVEN = "application/x-7z-compressed"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def outcome(process, job) -> dict | str:
    """The result, or the failure's code; in a moment."""
    began = time.process_time()
    try:
        return dict(process(job).result)
    except ProcessingFailed as failure:
        return failure.code
    finally:
        assert time.process_time() - began < 5


def seven(header: bytes, packed: bytes = b"") -> bytes:
    """A 7z of this header."""
    start = struct.pack("<QQL", len(packed), len(header), zlib.crc32(header))
    return b"7z\xbc\xaf\x27\x1c\x00\x04" + struct.pack("<L", zlib.crc32(start)) + start + packed + header


def packed_header(size: int, packed: int, method: bytes) -> bytes:
    """A header that is packed into the first bytes of the archive."""
    number = [b"\xf0" + value.to_bytes(4, "little") for value in (size, packed)]
    return (
        b"\x17\x06\x00\x01\x09" + number[1] + b"\x00\x07\x0b\x01\x00\x01" + method + b"\x0c" + number[0] + b"\x00\x00"
    )


@pytest.mark.parametrize("begins", [b"\x01\x04\x07\x0b", b"\x01\x05", b"\x01\x04\x06\x00"])
def test_a_7z_of_twenty_million_of_anything_is_too_large(make_job, begins):
    """Three kilobytes unpack to a list of them."""
    count = 20_000_000
    header = begins + b"\xf0" + count.to_bytes(4, "little") + bytes(count + 100)
    packed = lzma.compress(header, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}])
    content = seven(packed_header(len(header), len(packed), b"\x21\x21\x01\x10"), packed)
    assert outcome(archive.process, make_job(content, content_type=SEVEN)) == "archive_too_large"


def test_a_7z_whose_header_is_packed_in_itself_is_broken(make_job):
    """It would be unpacked for ever."""
    header = packed_header(0, 0, b"\x01\x00")
    header = packed_header(len(header), len(header), b"\x01\x00")
    assert outcome(archive.process, make_job(seven(header), content_type=SEVEN)) == "archive_broken"


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (gzip.compress(b"x") + gzip.compress(b"") * 20_000, "application/gzip"),
        (b"Rar!\x1a\x07\x01\x00" + (bytes(4) + b"\x02\x03\x00") * 20_000, "application/vnd.rar"),
    ],
)
def test_an_archive_of_any_number_of_nothing_is_looked_into_for_so_long(make_job, monkeypatch, content, content_type):
    """And says that there is more."""
    calls = iter(range(1_000_000))
    monkeypatch.setattr(listing.Listing, "late", lambda self: next(calls) > 100)
    assert outcome(archive.process, make_job(content, content_type=content_type))["truncated"] is True


def test_zstandard_of_any_number_of_frames_is_not_walked_for_ever():
    """Whether it was cut off is not told then."""
    content = b"\x50\x2a\x4d\x18" + bytes(4)
    assert extents.frames_end(io.BytesIO(content * 200_000), 8 * 200_000) == 0


@pytest.mark.parametrize("content_type", ["application/msword", "application/vnd.ms-outlook"])
def test_an_old_document_whose_directory_is_one_long_chain_is_broken(make_job, content_type):
    """Its reader follows that from call to call."""
    content = compounds.compound(dict.fromkeys(map(str, range(1200)), b"x"))
    assert outcome(document.process, make_job(content, content_type=content_type)) == "document_broken"


def test_a_tar_with_an_extended_header_of_digits_is_listed_up_to_it(make_job):
    """Searched for a number, they would take the square of their length."""
    first, long = tarfile.TarInfo("first"), tarfile.TarInfo("x")
    long.type, long.size = tarfile.XHDTYPE, 200_000
    content = first.tobuf() + long.tobuf() + b"1" * 200_192
    result = outcome(archive.process, make_job(content, content_type="application/x-tar"))
    assert (result["entries"], result["truncated"]) == (1, True)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a = " + b"9" * 5000, {"line": 1, "column": 1, "message": "A number in it has too many digits."}),
        (b"a." * 50_000 + b"a = 1", "data_too_deep"),
        (b"x = {" + b"'a' . " * 50_000 + b"a = 1}", "data_too_deep"),
        (b"[" + b"a." * 50_000 + b"a]", "data_too_deep"),
        (b"x = [" + b"1.0, 2.0," * 5000 + b"]", None),
        (b'x = "' + b"a." * 5000 + b'"', None),
    ],
)
def test_toml_of_long_numbers_and_long_keys(make_job, content, told):
    """What its reader has no error for, or takes the square of; what only looks alike is read."""
    result = outcome(data.process, make_job(content, content_type="application/toml"))
    assert (result if isinstance(result, str) else result["error"]) == told


@pytest.mark.parametrize("number", ["²", "٣", "9" * 5000])
def test_a_number_in_a_document_may_be_anything(make_job, number):
    """What Unicode calls a digit, and more of them than an int takes."""
    parts = {
        "[Content_Types].xml": "",
        "docProps/app.xml": f"<Properties><Pages>{number}</Pages></Properties>",
        "word/document.xml": f"<w:d xmlns:w='w'><w:p><w:outlineLvl w:val='{number}'/><w:t>x</w:t></w:p></w:d>",
    }
    assert outcome(document.process, make_job(real.packed(parts), content_type=DOCX))["words"] == 1
    content = f"<o xmlns:t='t'><t:h t:outline-level='{number}'>x</t:h></o>"
    parts = {"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": content}
    job = make_job(real.packed(parts), content_type="application/vnd.oasis.opendocument.text")
    assert outcome(document.process, job)["words"] == 1


@pytest.mark.parametrize("encoding", ["shift_jis", "hex", "nonsense", "utf-32"])
def test_xml_in_an_encoding_that_its_reader_does_not_have(make_job, encoding):
    """Is not read, and the document is."""
    text = f"<?xml version='1.0' encoding='{encoding}'?><w:d xmlns:w='w'><w:p><w:r><w:t>x</w:t></w:r></w:p></w:d>"
    content = real.packed({"[Content_Types].xml": "", "word/document.xml": text})
    assert outcome(document.process, make_job(content, content_type=DOCX))["text_truncated"] is True


@pytest.mark.parametrize(
    "odd",
    [b"<![x y", b"<![if x]>", b"<![CDATA[x", b"&#" + b"9" * 5000 + b";", b"&#x" + b"f" * 5000, b"<!DOCTYPE x [<!y"],
)
def test_a_page_may_have_anything_in_it(make_job, odd):
    """What is no markup is a comment or a character that is none, in the text and in attributes."""
    content = b"<html><body>first " + odd + b"> <a href='" + odd + b"'>last</a></body></html>"
    assert outcome(document.process, make_job(content, content_type="text/html"))["words"] >= 1


@pytest.mark.parametrize("title", [b"<FEFFD800>", b"<FEFFDC00D800>", b"<FEFF0041D800>"])
def test_a_pdf_whose_title_is_no_text_has_none(make_job, title):
    """Half a character in UTF-16, in its facts and in its outline."""
    content = real.pdf(1).replace(b"(A title)", title).replace(b"(Beginning)", title)
    result = outcome(document.process, make_job(content))
    assert (result["title"], result["outline"], result["author"]) == (None, [], "An author")


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (
            b"\x0a\x05\x01\x08" + bytes(4) + b"\x09\0\x09\0" + bytes(53) + b"\x03" + b"\x0a\0" + bytes(100),
            "image/vnd.zbrush.pcx",
        ),
        (b"MM\0+\0\x08\0\0" + b"\xff" * 8 + bytes(40), "image/tiff"),
    ],
)
def test_a_picture_that_points_outside_of_itself_is_broken(make_job, content, content_type):
    """Before its beginning, or farther than any file reaches."""
    assert outcome(image.process, make_job(content, content_type=content_type)).startswith("image_")


def test_a_sound_that_points_farther_than_files_reach_is_broken(make_job):
    """By the length of a chunk before its samples."""
    content = bytearray(real.sound("caf", "pcm_s16le"))
    at = content.find(b"data")
    content[at:at] = b"free" + (2**63 - 1).to_bytes(8, "big")
    assert outcome(audio.process, make_job(bytes(content), content_type="audio/x-caf")) == "audio_broken"


@pytest.mark.parametrize("offset", [2**63 - 1, 2**63, 2**64 - 1])
def test_a_member_that_is_farther_away_than_files_reach_is_not_read(make_job, offset):
    """By the wide offset of its directory."""
    content = real.packed({"word/document.xml": "<x/>", "inner.zip": real.packed({"a": "b"})})
    at = content.find(zips.ENTRY)
    entries, end = b"", content.find(zips.END)
    while content.startswith(zips.ENTRY, at):
        name_bytes = int.from_bytes(content[at + 28 : at + 30], "little")
        extra = struct.pack("<HHQ", 1, 8, offset)
        entries += content[at : at + 30] + struct.pack("<H", len(extra)) + content[at + 32 : at + 42] + b"\xff" * 4
        entries += content[at + 46 : at + 46 + name_bytes] + extra
        at += 46 + name_bytes
    start = content.find(zips.ENTRY)
    tail = content[end : end + 12] + struct.pack("<LL", len(entries), start) + content[end + 20 :]
    content = content[:start] + entries + tail
    assert outcome(document.process, make_job(content, content_type=DOCX)) == "document_broken"
    assert outcome(archive.process, make_job(content, content_type="application/zip"))["entries"] == 2


@pytest.mark.parametrize("offset", ["+99999999999999999999:00", "+²:00", "-24:00"])
def test_a_picture_taken_in_no_zone_has_none(make_job, offset):
    """The moment is told without it."""
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0x9003: "2020:01:01 00:00:00", 0x9011: offset})
    stream = io.BytesIO()
    Image.new("RGB", (9, 9)).save(stream, "JPEG", exif=exif)
    assert outcome(image.process, make_job(stream.getvalue()))["exif"]["taken_at"] == "2020-01-01T00:00:00"


def test_a_moment_that_no_clock_shows_is_not_told(make_job):
    """An entry of the fifteenth month, or of its thirty-first hour, is listed without a moment."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        for name in ("sound", "odd"):
            packed.writestr(zipfile.ZipInfo(name, (2024, 2, 29, 12, 30, 58)), b"x")
    content = bytearray(stream.getvalue())
    place = content.rindex(b"PK\x01\x02") + 12
    content[place : place + 4] = struct.pack("<HH", 31 << 11, 44 << 9 | 15 << 5 | 31)
    shown = outcome(archive.process, make_job(bytes(content), content_type="application/zip"))["first_entries"]
    assert [entry.get("modified") for entry in shown] == ["2024-02-29T12:30:58", None]


def test_a_book_that_names_a_chapter_again_and_again_has_it_once(make_job):
    """A spine of ten thousand times the same chapter is read as it is, once."""
    with zipfile.ZipFile(io.BytesIO(real.epub())) as packed:
        entries = {name: packed.read(name) for name in packed.namelist()}
    entries["OPS/book.opf"] = entries["OPS/book.opf"].replace(b'<itemref idref="a"/>', b'<itemref idref="a"/>' * 10_000)
    content = real.packed(entries, first="mimetype")
    assert outcome(document.process, make_job(content, content_type="application/epub+zip"))["chapters"] == 2
