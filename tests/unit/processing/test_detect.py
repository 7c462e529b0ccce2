"""What a file is, told from its bytes: from the head and from the whole, which agree."""

import csv
import io
import struct
import subprocess
import sys
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.processing import magic
from apps.processing.acceptance import is_refused_at_the_door
from apps.processing.contract import KINDS
from apps.processing.detect import HEAD_BYTES, detect, sniff
from tests import samples

ALL = list(samples.EXPECTED.items())
OCTETS = "application/octet-stream"


def detected(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    return detect(path)


def type_of(content):
    return sniff(content[:HEAD_BYTES], len(content)).content_type


@pytest.mark.parametrize(("sample", "expected"), ALL, ids=[sample.__name__ for sample, _ in ALL])
def test_head_and_whole_file_agree(tmp_path, sample, expected):
    """Every sample is recognised, by its head as by the whole of it."""
    content = sample()

    from_head = sniff(content[:HEAD_BYTES], len(content))

    assert (from_head.content_type, from_head.kind) == expected
    assert detected(tmp_path, content) == from_head


def test_the_name_has_no_say(tmp_path):
    """A PNG that holds HTML is HTML, a JPEG that holds a PNG is a PNG."""
    for name, sample in (("picture.png", samples.html), ("picture.jpg", samples.png)):
        path = tmp_path / name
        path.write_bytes(sample())

        assert detect(path).content_type == samples.EXPECTED[sample][0]


def test_the_end_of_an_archive_is_read(tmp_path):
    """A document whose telling entries come late is a ZIP to the head and a document to the whole."""
    content = samples.docx_media_first()

    assert type_of(content) == "application/zip"
    assert detected(tmp_path, content).kind == "document"


@pytest.mark.parametrize("streamed", [False, True])
def test_documents_written_by_streaming_programs(tmp_path, streamed):
    """Sizes that stand behind the data instead of before it do not hide what is in an archive."""
    content = samples.docx(streamed=streamed)

    assert type_of(content).endswith("wordprocessingml.document")
    assert detected(tmp_path, content).content_type == type_of(content)


def test_an_archive_of_a_spreadsheet_is_an_archive(tmp_path):
    """Entries of an archive within an archive are not mistaken for its own."""
    content = samples.zip_of_xlsx(streamed=True)

    assert type_of(content) == detected(tmp_path, content).content_type == "application/zip"


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (
            samples.zip({"AndroidManifest.xml": b"x", "classes.dex": b"x"}),
            "application/vnd.android.package-archive",
        ),
        (
            samples.zip({"xl/a.xml": b"", "xl/b.xml": b"", "_rels/.rels": b""}),
            samples.EXPECTED[samples.xlsx][0],
        ),
        (samples.zip({"word/notes.txt": b"a folder of that name proves nothing"}), "application/zip"),
        (samples.zip({"[Content_Types].xml": b"x", "other/part.xml": b"x"}), "application/zip"),
        (samples.zip({"mimetype": b"application/x-unheard-of"}, stored=True), "application/zip"),
        (b"PK\x05\x06" + bytes(18), "application/zip"),
        (
            samples._declaring("application/vnd.oasis.opendocument.text-template"),
            "application/vnd.oasis.opendocument.text",
        ),
    ],
)
def test_archives(tmp_path, content, content_type):
    """What is in a ZIP has to hold together before it is more than a ZIP."""
    assert type_of(content) == detected(tmp_path, content).content_type == content_type


@pytest.mark.parametrize(
    "broken",
    [
        samples.docx()[:-22],
        samples.docx()[:-10],
        samples.docx()[:-22] + b"PK\x05\x06" + bytes(8) + struct.pack("<II", 2**31, 0) + bytes(2),
        samples.docx()[:-22] + b"PK\x05\x06" + bytes(8) + struct.pack("<II", 46, 0) + bytes(2),
    ],
    ids=["no end record", "half an end record", "directory before the file", "no directory there"],
)
def test_a_damaged_archive_is_judged_by_its_head(tmp_path, broken):
    """Without a readable directory the first entries have to do."""
    assert detected(tmp_path, broken).content_type == type_of(broken)
    assert type_of(broken).endswith("wordprocessingml.document")


def test_a_descriptor_whose_size_does_not_fit_is_no_descriptor():
    """Bytes in an entry that only look like the end of it are read past; without an end, reading stops."""
    inside = b"PK\x07\x08" + bytes(12) + b"filler" + b"word/document.xml"
    entries = {"[Content_Types].xml": inside, "word/document.xml": b"x"}

    assert type_of(samples.zip(entries, stored=True, streamed=True)).endswith("wordprocessingml.document")
    assert type_of(samples.zip(entries, stored=True, streamed=True)[:80]) == "application/zip"


def test_entries_cut_by_the_head():
    """A head that ends within an entry's name ends the reading there."""
    content = samples.zip({"[Content_Types].xml": b"x" * 10, "word/" + "a" * 200: b"x"}, stored=True)

    assert type_of(content[:120]) == "application/zip"


@pytest.mark.parametrize(
    ("stream", "content_type", "kind"),
    [
        ("WordDocument", "application/msword", "document"),
        ("Workbook", "application/vnd.ms-excel", "table"),
        ("PowerPoint Document", "application/vnd.ms-powerpoint", "document"),
        ("Unheard-of", "application/x-ole-storage", "document"),
    ],
)
def test_old_office_documents(tmp_path, stream, content_type, kind):
    """Compound files are told apart by the streams in their directory."""
    content = samples.ole(stream)

    found = detected(tmp_path, content)
    assert (found.content_type, found.kind) == (content_type, kind)
    assert type_of(content) == content_type


def test_old_office_documents_with_a_late_directory(tmp_path):
    """A directory beyond the head is found in the whole file."""
    content = bytearray(samples.ole("Workbook"))
    directory = bytes(content[1024:])
    struct.pack_into("<I", content, 48, 40)
    content[1024:] = bytes(512 * 39) + directory

    assert type_of(bytes(content)) == "application/x-ole-storage"
    assert detected(tmp_path, bytes(content)).content_type == "application/vnd.ms-excel"


def tiff(tags: dict[int, bytes], order: str = "<") -> bytes:
    """The first directory of a TIFF with these tags, and their values behind it."""
    values = 8 + 2 + 12 * len(tags) + 4
    content = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags))
    behind = b""
    for tag, value in tags.items():
        content += struct.pack(order + "HHII", tag, 2, len(value), values + len(behind))
        behind += value
    return content + bytes(4) + behind


@pytest.mark.parametrize(("magic_number", "content_type"), magic._AT_START, ids=repr)
def test_magic_numbers(magic_number, content_type):
    """Each row of the table is found, whatever shorter one it begins with; raw pictures are told from TIFF."""
    assert type_of(magic_number + bytes(600)) == content_type


@pytest.mark.parametrize(("offset", "magic_number", "content_type"), magic._IN_BINARY, ids=repr)
def test_magic_numbers_in_what_is_not_text(offset, magic_number, content_type):
    """Each row of the other table, too."""
    assert type_of(bytes(offset) + magic_number + bytes(600)) == content_type


@pytest.mark.parametrize(
    ("offset", "mark", "content_type", "kind"),
    [
        (32_769, b"CD001", "application/x-iso9660-image", "archive"),
        (-18, b"TRUEVISION-XFILE.\0", "image/x-tga", "image"),
        (-512, b"koly\0\0\0\x04", "application/x-apple-diskimage", "archive"),
        (-512, b"KOLY", OCTETS, "other"),
    ],
)
def test_marks_beyond_the_head(tmp_path, offset, mark, content_type, kind):
    """What only the whole file shows."""
    content = bytearray(40_000)
    start = offset % len(content)
    content[start : start + len(mark)] = mark

    found = detected(tmp_path, bytes(content))
    assert (found.content_type, found.kind) == (content_type, kind)
    assert detected(tmp_path, bytes(9_000)).content_type == OCTETS


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"II*\0\x10\0\0\0CR\x02\0" + bytes(32), "image/x-canon-cr2"),
        (samples._box(b"ftyp", b"mif1\0\0\0\0mif1avif"), "image/avif"),
        (samples._box(b"ftyp", b"mif1\0\0\0\0mif1heic"), "image/heic"),
        (samples._box(b"ftyp", b"mif1\0\0\0\0mif1"), "image/heif"),
        (samples._box(b"ftyp", b"3gp4\0\0\0\0"), "video/3gpp"),
        (samples._box(b"moov", bytes(64)), "video/quicktime"),
        (samples.ogg(b"OpusHead"), "audio/ogg"),
        (samples.ogg(b"\x80theora"), "video/ogg"),
        (samples.ogg(b"unheard-of"), "application/ogg"),
        (b"FORM" + bytes(4) + b"AIFFCOMM" + bytes(20), "audio/aiff"),
        (b"RIFF" + bytes(4) + b"XXXX" + bytes(20), OCTETS),
        (samples._ebml(b"unheard"), OCTETS),
        (b"\x1aE\xdf\xa3" + bytes(40), OCTETS),
        (b"\x1aE\xdf\xa3\x42\x82", OCTETS),
        (b"\x47" + bytes(187) + b"\x47" + bytes(187) + b"\x47" + bytes(187), "video/mp2t"),
        (bytes(20) + b"%PDF-1.4\n" + bytes(20), "application/pdf"),
        (b"\0\0\x01\0\x01", OCTETS),
        (b"BMW builds cars and motorcycles.", "text/plain"),
        (b"ID3 is a format for tags.", "text/plain"),
        (b"FORM 27 is to be filled in.", "text/plain"),
        (b"\xff\xfb\x90\0" + b"\xaa" * 500, OCTETS),
        (b"\xff\xfb\xf0\0" + bytes(500), OCTETS),
        (b"\xff\xf1\0\0", OCTETS),
        (b"FORM" + bytes(4) + b"ILBMBMHD" + bytes(20), "image/x-ilbm"),
        (b"P6\n# by hand\n2 2\n255\n" + bytes(12), "image/x-portable-pixmap"),
        (b"P1 2 2 1 0 0 1", "image/x-portable-bitmap"),
        (b"P7\nWIDTH 2\nHEIGHT 2\n", "image/x-portable-anymap"),
        (b"P5 is a postcode.", "text/plain"),
        (b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0" + bytes(20), "application/vnd.microsoft.portable-executable"),
        (b"MZ" + bytes(80), "application/x-dosexec"),
        (b"MZ is short for Mark Zbikowski, who made a format of programs, long ago.", "text/plain"),
        (b"\xca\xfe\xba\xbe\0\0\0\x3d" + bytes(20), "application/java-vm"),
        (b"\xca\xfe\xba\xbe\0\0\0\x02" + bytes(20), "application/x-mach-binary"),
        (b"CWS\x0a" + bytes(20), "application/vnd.adobe.flash.movie"),
        (b"070701" + b"0" * 104, "application/x-cpio"),
        (b"070701,070702\n1,2\n", "text/plain"),
        (b"\x0a\x05\x01\x08" + bytes(124), "image/vnd.zbrush.pcx"),
        (b"\x0a\x05\x01\x07" + bytes(124), OCTETS),
        (b"\x01\xda\x01\x01" + bytes(60), "image/sgi"),
        (bytes(34) + b"LP" + bytes(30), OCTETS),
        (bytes(8) + b"\2\0\2\0" + bytes(22) + b"LP" + bytes(30), "application/vnd.ms-fontobject"),
        (b"\x0b\x77\0\0\x14\x40" + bytes(20), "audio/ac3"),
        (b"\x5d\0\0\x80\0" + b"\xff" * 8 + b"\0x", "application/x-lzma"),
        (bytes(128) + b"DICM" + bytes(20), "application/dicom"),
        (b"\xff\x0a" + bytes(20), "image/jxl"),
        (b"AC1032" + bytes(20), "image/vnd.dwg"),
        (b"AC10,AC11\n1,2\n3,4\n", "text/csv"),
        (b"wvpk is the mark of WavPack.", "text/plain"),
        (b"\0\0\x02\0\x01\0\x20\x20\0\0\x10\0\0\0" + b"\x30\1\0\0\x16\0\0\0", OCTETS),
        (b"\0\0\x02\0\x01\0\x20\x20\0\0\x01\0\0\0" + b"\x30\1\0\0\x16\0\0\0", "image/x-win-bitmap"),
        (b"\0\0\x02\0\x06\x04\x06\0\x08\0" + bytes(20), "application/vnd.lotus-1-2-3"),
        (b"ID3\x04\0\0\0\0\0\x04" + bytes(4) + b"fLaC\0", "audio/flac"),
        (b"ID3\x04\0\0\0\0\0\x04" + bytes(4) + (b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(9)) * 3, "audio/aac"),
        (tiff({271: b"NIKON CORPORATION\0", 330: b""}), "image/x-nikon-nef"),
        (tiff({271: b"NIKON CORPORATION\0"}), "image/tiff"),
        (tiff({271: b"SONY\0", 330: b""}, ">"), "image/x-sony-arw"),
        (tiff({50706: b""}), "image/x-adobe-dng"),
        (b"II+\0\x08\0\0\0\x10" + bytes(7) + b"\1" + bytes(7) + b"\x12\xc6\1\0" + bytes(20), "image/x-adobe-dng"),
        (b"II*\0\xff\xff\xff\xff", "image/tiff"),
    ],
)
def test_binary_formats(content, content_type):
    """Relatives of the usual formats, and bytes that only begin like one."""
    assert type_of(content) == content_type


@pytest.mark.parametrize(
    ("head", "spacing"),
    [
        (b"\xff\xfb\x90\x00", 417),
        (b"\xff\xfb\x92\x00", 418),
        (b"\xff\xfd\x80\x00", 417),
        (b"\xff\xff\x90\x00", 312),
        (b"\xff\xf3\x90\x00", 261),
        (b"\xff\xe3\x40\x00", 208),
    ],
    ids=["MPEG-1 III", "padded", "MPEG-1 II", "MPEG-1 I", "MPEG-2 III", "MPEG-2.5 III"],
)
def test_mpeg_audio_frames(head, spacing):
    """Sound without a tag is known by a second frame where the first says it ends."""
    assert type_of((head + bytes(spacing - 4)) * 3) == "audio/mpeg"


@pytest.mark.parametrize(
    ("text", "content_type"),
    [
        ("<p>Hello</p>", "text/html"),
        ("  \n<!-- a comment -->\n<html>", "text/html"),
        ("<!-- a comment without an end", "text/html"),
        ("<HTML><HEAD></HEAD></HTML>", "text/html"),
        ('<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"/>', "application/xhtml+xml"),
        ('<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "x"><svg/>', "image/svg+xml"),
        ('<svg:svg xmlns:svg="http://www.w3.org/2000/svg"/>', "image/svg+xml"),
        ('<!DOCTYPE note [<!ENTITY a "b">]><note/>', "application/xml"),
        ('<?xml version="1.0"?>', "application/xml"),
        ('<rss xmlns:a="urn:a"><channel>', "application/rss+xml"),
        ("<note>text</note>\n", "application/xml"),
        ("<note>text", "text/plain"),
        ("<3 you", "text/plain"),
        ("< 5 apples\n", "text/plain"),
    ],
)
def test_markup(text, content_type):
    """Markup is told by its root element; an angle bracket alone makes none."""
    assert type_of(text.encode()) == content_type
    assert type_of(b"\xff\xfe" + text.encode("utf-16-le")) == content_type


@pytest.mark.parametrize(
    ("text", "content_type"),
    [
        ("[1, 2, 3]", "application/json"),
        ("{}", "application/json"),
        ('{"a": 1} and more', "text/plain"),
        ("{a: 1}", "text/plain"),
        ("[draft] not JSON", "text/plain"),
        ('"a string"', "text/plain"),
        ("[" * 5000, "application/json"),
        ('{"a": 1, "b": [2,\n}', "application/json"),
        ("{'a': 1}", "text/plain"),
        ('{"a": 1}\n{"b": 2}\n', "application/x-ndjson"),
        ("[1]\n[2]\n", "application/x-ndjson"),
        ('{"a": [' + '"some text, with \\"quotes\\"", -1.5e3, null, true,\n' * 400, "application/json"),
        ('{"a": "' + "x" * 9000, "application/json"),
        ('[{"a": 1},\n' + '{"a": 2},\n' * 1000, "application/json"),
        ('{"line": 1}\n' * 1000, "application/x-ndjson"),
        ("{words} " * 2000, "text/plain"),
        ('{"key": words ' * 1000, "text/plain"),
        ("[words] " * 2000, "text/plain"),
        ('{"a": "' + "x" * 9000 + '"}\n{"b": 1}', "application/json"),
    ],
)
def test_json(text, content_type):
    """Whole JSON is parsed; of a longer one the head must be made of JSON's tokens."""
    assert type_of(text.encode()) == content_type


@pytest.mark.parametrize(
    ("text", "content_type"),
    [
        ("a,b\n1,2\n3,4\n", "text/csv"),
        ("a,b,c\n1,2,3\n", "text/csv"),
        ("Dear Sir, hello\nhow are you, today\n", "text/plain"),
        ("a;b;c\n1,5;2,5;3,5\n2,5;3,5;4,5\n", "text/csv"),
        ('a,b\n"line\nbreak",2\n3,4\n', "text/csv"),
        ("int a;\nint b;\nint c;\n", "text/plain"),
        ("  f(a, b),\n  g(a, b),\n  h(a, b),\n", "text/plain"),
        ("\tindented\n\ttext\n\tlines\n", "text/plain"),
        (
            ("It was the best of times, it was the worst of times, it was the age of wisdom\n") * 4,
            "text/plain",
        ),
        (("x" * 200 + "," + "y" * 200 + "\n") * 4, "text/plain"),
        ("a,b\n" + "1,2\n" * 5000, "text/csv"),
        ("a,b\n1,2,3\n4,5\n", "text/plain"),
        ("id,name,born,died\n1,Ada,1815,1852\n2,Tim,1955\n3,Don,1938\n", "text/csv"),
        ("id,name,born,died\n1,Ada,1815,1852,36\n2,x\n", "text/plain"),
        ("# made by a program\na,b\n1,2\n3,4\n", "text/csv"),
        (",".join(f"column {number}" for number in range(900)) + "\n", "text/csv"),
        ("f(a,b);" * 1300 + "\n", "text/plain"),
        ("a,b\n" + '"' + "x" * 200_000, "text/plain"),
        ('a\tb\n"' + "x\n" * 60, "text/plain"),
    ],
)
def test_tables(text, content_type):
    """A table has the same number of cells in every row, and does not read like prose or code."""
    assert type_of(text.encode()) == content_type


def test_a_table_the_csv_module_gives_up_on_is_text():
    """Even where another part of the program has lowered what `csv` takes, detection goes on."""
    limit = csv.field_size_limit(5)
    try:
        assert type_of(b"a,b,c\n" + b"longer than five,2,3\n" * 3) == "text/plain"
    finally:
        csv.field_size_limit(limit)


@pytest.mark.parametrize(
    ("text", "content_type"),
    [
        ("---\na: 1\n", "application/yaml"),
        ("%YAML 1.2\n---\na: 1\n", "application/yaml"),
        ("---\n- a\n- b\n", "application/yaml"),
        ("- name: a\n  value: 1\n- name: b\n  value: 2\n", "application/yaml"),
        ("Name: Ada\nAge: 36\n", "text/plain"),
        ("# who\nname: Ada\nborn: 1815\n", "application/yaml"),
        ("custom: ['a']\n", "text/plain"),
        ('a: &a ["l","l","l"]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\n', "application/yaml"),
        ("a: &a\n  - x\nb: &b\n  - *a\n", "application/yaml"),
        ("- {a: 1, b: 2}\n- {a: 2, b: 3}\n", "application/yaml"),
        ("- {a: 1, b: 2}\n- not closed, x\n", "text/plain"),
        ("coverage:\n  status:\n    patch: false\n", "application/yaml"),
        ('# of a build\nversion = "1.0"\npartial = true\n', "application/toml"),
        ("/* XPM */\nstatic char *x[] = {", "image/x-xpixmap"),
        ("#define a_width 8\n#define a_height 8\nstatic char a_bits[] = {", "image/x-xbitmap"),
        ("% made by hand\n\\documentclass{article}\n", "application/x-tex"),
        ("[Script Info]\nTitle: x\n", "text/x-ssa"),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n", "application/x-pem-file"),
        ("--- a.c\n+++ b.c\n@@ -1 +1 @@\n-x\n+y\n", "text/x-diff"),
        ("  0\nSECTION\n  2\nHEADER\n", "image/vnd.dxf"),
        ("To do:\n- wash\n- cook\nThen go.\n", "text/plain"),
        ("---\n", "text/plain"),
        ('[server]\nport = 80\nname = "x"\n', "application/toml"),
        ("[server]\nport = 80\nname = unquoted\n", "text/plain"),
        ("[server]\n", "text/plain"),
        ("import os\nx = 1\n", "text/plain"),
        ("# Title\n\nSome `code` here.\n", "text/markdown"),
        ("```python\nprint(1)\n```\n\n* item\n", "text/markdown"),
        ("#!/bin/sh\n# say\n\n- x\n", "text/plain"),
        ("# just a comment\nx\n", "text/plain"),
        ("# one comment\n# and another\n\n- x\n[a](b)\n", "text/plain"),
        ("# comment\n\nimport os\n\nx = `y`\n- a\n", "text/plain"),
        ("#include <a.h>\n\n- [a](b)\n", "text/plain"),
        ("Intro\n\n## Usage\n\n```sh\n# install\n# it\nmake;\n```\n", "text/markdown"),
        ("WEBVTT is a format", "text/vtt"),
        ("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n", "text/calendar"),
        ("BEGIN:VCARD\nVERSION:3.0\n", "text/vcard"),
        ("From ada@example.org Fri May 17 18:30:00 2024\nFrom: ada@example.org\n\nHi\n", "application/mbox"),
        ("From: a\nTo: b\nSubject: c\n folded\n\nBody\n", "message/rfc822"),
        ("From: a\nthen no header\n", "text/plain"),
        ("Host: a\nAccept: b\nDate: c\n", "text/plain"),
        ("From: a\nSubject: b\nTo: " + "c@example.org, " * 1000 + "\n\nBody\n", "message/rfc822"),
        ("   \n\t", "text/plain"),
        ("one line that was cut" + "x" * 9000, "text/plain"),
    ],
)
def test_formats_of_lines(text, content_type):
    """YAML, TOML, Markdown, mail, subtitles: claimed when the lines keep to it, plain text otherwise."""
    assert type_of(text.encode()) == content_type


@pytest.mark.parametrize(
    "content",
    [
        samples.GERMAN.encode("utf-16-be"),
        b"\xfe\xff" + samples.GERMAN.encode("utf-16-be"),
        samples.GERMAN.encode("utf-32"),
        (samples.GERMAN * 200).encode("utf-16")[:HEAD_BYTES],
        (samples.GERMAN * 200).encode()[: HEAD_BYTES - 3],
        "Съешь же ещё этих мягких французских булок".encode("koi8-r"),
        "吾輩は猫である。名前はまだ無い。どこで生れたか".encode("shift_jis"),
        "café".encode("latin-1"),
        b"\x1b[31mred\x1b[0m\n",
    ],
)
def test_text_in_any_encoding(content):
    """Text is text, whatever its encoding, cut in the middle of a character or not."""
    assert sniff(content, 10**6 if len(content) > 4000 else len(content)).content_type == "text/plain"


@pytest.mark.parametrize(
    "content",
    [
        b"\0",
        b"\x80\x81\x82",
        b"\xff\xfe\0\xd8\0\0",
        b"\xff\xfeA\0\x01\0",
        b"abc\x01def",
        b"\0a" * 3 + b"\x01\xd8" * 20,
    ],
)
def test_what_is_not_text(content):
    """Control bytes, broken Unicode and a few high bytes are not text."""
    assert type_of(content) == OCTETS


def test_text_that_turns_into_something_else(tmp_path):
    """A script with a program behind it looks like text only from the front."""
    script = b"#!/bin/sh\n# installs\n" * 600
    assert type_of(script + samples.noise(200_000)) == "text/plain"

    assert detected(tmp_path, script + samples.noise(200_000)).content_type == OCTETS
    assert detected(tmp_path, script + b"log line\n" * 9000 + b"\0\0" + b"log line\n" * 9).content_type == "text/plain"


def test_without_a_size_a_short_head_is_the_whole():
    """Whoever knows no size gets the same answer from a head shorter than the limit."""
    assert sniff(samples.json()) == sniff(samples.json(), len(samples.json()))
    assert sniff(b'{"a": "' + b"x" * 9000).content_type == "application/json"
    assert sniff(b"ab\xe2\x80").content_type == OCTETS
    assert sniff(b"ab\xe2\x80", 9000).content_type == "text/plain"


def test_detection_is_cheap_to_import():
    """The web process, which sniffs every upload, loads neither Pillow nor Django nor numpy for it."""
    code = (
        "import sys; import apps.processing.detect; "
        "print([name for name in ('PIL', 'numpy', 'django', 'chardet', 'blurhash') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


_HEADS = st.sampled_from([sample()[:HEAD_BYTES] for sample, _ in ALL])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(prefix=_HEADS, cut=st.integers(0, 600), rest=st.binary(max_size=300))
def test_any_bytes_have_a_kind(tmp_path, prefix, cut, rest):
    """Whatever the bytes, also those of a real file cut off and continued with noise: no exception."""
    content = prefix[:cut] + rest

    assert sniff(content).kind in KINDS
    assert detected(tmp_path, content).kind in KINDS


@given(st.text(max_size=300))
def test_any_text_has_a_kind(text):
    """Whatever the text, in whichever Unicode encoding: no exception."""
    for encoding in ("utf-8", "utf-16", "utf-32-be"):
        assert sniff(text.encode(encoding, "replace")).kind in KINDS


@given(st.text(st.sampled_from("{}[]\"\\,:;<>!-#=*|`\n\t abc19'%."), max_size=400))
def test_punctuation_is_no_trap(text):
    """Text made of what the formats are told by is classified without an exception."""
    assert sniff(text.encode(), 10**6).kind in KINDS


@pytest.mark.parametrize(
    "content",
    [
        '<table><row id="1"/></table>',
        "<form><field/></form>",
        "<p><b>x</b></p>",
        '<a href="x"><b>text</b></a>',
        "<div>",
        "<a><b></a>",
        "<!-- a comment --><section/>",
    ],
)
def test_a_name_says_which_markup_it_is(content):
    """A root that is called like an element of HTML is XML's by that name; without it, it is HTML."""
    assert sniff(content.encode(), name="file.xml").content_type == "application/xml"
    assert sniff(content.encode(), name="file.html").content_type == "text/html"
    assert sniff(content.encode()).content_type == "text/html"


@pytest.mark.parametrize("content", ["<!DOCTYPE html><p>x</p>", "<html><body/></html>", "<!-- x --><HTML>"])
def test_a_page_called_xml_is_a_page(content):
    """Where it says itself that it is one."""
    assert sniff(content.encode(), name="file.xml").content_type == "text/html"


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"Hello from DOS\r\nsecond line\r\n\x1a", "text/plain"),
        (b"Padded to a block\r\n" + b"\x1a" * 100, "text/plain"),
        (b"id,name\r\n1,a\r\n2,b\r\n\x1a", "text/csv"),
        (b"progress\x08\x08\x07 done\n" * 9, "text/plain"),
        (b"\x1a", "application/octet-stream"),
        (b"in the \x1a middle", "application/octet-stream"),
        (b"\x08\x07\x08\x07ab", "application/octet-stream"),
        (b"bell \x07 and \xe4, \xf6, \xfc in a text of more than thirty bytes", "application/octet-stream"),
    ],
)
def test_the_end_of_a_text_of_dos_and_what_a_terminal_typed_over(content, content_type):
    """They are text; more of them than of anything else is not."""
    assert sniff(content).content_type == content_type


@pytest.mark.parametrize("lines", [1, 3, 40])
def test_japanese_mail_is_text(lines, tmp_path):
    """In ISO-2022-JP each letter is two bytes of ASCII, among them commas and semicolons."""
    content = ("これは日本語の文章です。東京は日本の都市であり、多くの人々が住んでいます。\n" * lines).encode(
        "iso-2022-jp"
    )
    path = tmp_path / "file"
    path.write_bytes(content)
    assert sniff(content).content_type == "text/plain"
    assert detect(path).content_type == "text/plain"


def test_a_table_in_iso_2022_jp_is_one():
    """Its delimiters stand between the stretches that are escaped."""
    content = "名前,値,都市\n太郎,1,東京\n花子,2,大阪\n次郎,3,京都\n".encode("iso-2022-jp")
    assert sniff(content).content_type == "text/csv"


@pytest.mark.parametrize("content", ['// c\n{"a": 1}', "/* c */ [1, 2,]", '{\n  // c\n  "a": {},\n}'])
def test_json_with_comments_is_json_by_its_name(content):
    """Wherever the comment is; what reads it says that JSON has none."""
    assert sniff(content.encode(), name="tsconfig.json").content_type == "application/json"
    assert sniff(content.encode(), name="notes.txt").content_type == "text/plain"


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        ('{"a":1}\nnot json\n{"a":2}\n{"a":3}\n', "application/x-ndjson"),
        ('broken\n{"a":1}\n[2]\n', "application/x-ndjson"),
        ('one\ntwo\n{"a":1}\n', "text/plain"),
    ],
)
def test_json_lines_with_faults_are_told_by_their_name(content, content_type):
    """Where most lines are JSON; the others are counted."""
    assert sniff(content.encode(), name="log.jsonl").content_type == content_type
    assert sniff(content.encode()).content_type == "text/plain"


PROGRAM = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + bytes(20_000)


def _packed(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, "x" * 100)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("front", "name", "found", "program"),
    [
        (b"#!/bin/sh\nexit\n", "a.zip", "application/zip", ""),
        (b"#!/bin/sh\nexit\n", "a.sh", OCTETS, ""),
        (PROGRAM, "a.ZIP", "application/zip", "application/vnd.microsoft.portable-executable"),
        (PROGRAM, "a.exe", "application/vnd.microsoft.portable-executable", ""),
        (b"%PDF-1.7\n", "a.zip", "application/pdf", ""),
    ],
)
def test_an_archive_that_unpacks_itself_is_what_its_name_says(tmp_path, front, name, found, program):
    """With its directory at the end it is a ZIP if it is named so; the program in front is not kept quiet about."""
    path = tmp_path / "x"
    path.write_bytes(front + _packed("a.txt", "b.txt"))
    told = detect(path, name)
    assert (told.content_type, told.front) == (found, program)


@pytest.mark.parametrize("end", [b"", b"x" * 100])
def test_a_program_named_zip_is_a_program(tmp_path, end):
    """Without a directory at its very end it is no archive, whatever its name; nor is one that is empty."""
    path = tmp_path / "x"
    for content in (PROGRAM + _packed("a")[: -1 if end else -30] + end, PROGRAM + _packed()):
        path.write_bytes(content)
        assert detect(path, "a.zip").content_type == "application/vnd.microsoft.portable-executable"


def test_a_program_in_front_of_an_archive_is_refused_at_the_door():
    """A list that turns programs away does; a script's file may be an archive, which only its end shows."""
    program = sniff(PROGRAM[:HEAD_BYTES], len(PROGRAM), "a.zip")
    script = sniff(b"#!/bin/sh\n" * 2000, 20_000, "a.zip")
    assert is_refused_at_the_door(program, [], ["application/vnd.microsoft.portable-executable"])
    assert is_refused_at_the_door(program, ["archive"], [])
    assert not is_refused_at_the_door(script, ["archive"], [])
