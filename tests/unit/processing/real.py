"""Real files of the kinds that need a library to be made: each a function that gives bytes."""

from __future__ import annotations

import array
import io
import math
import struct
import zipfile
import zlib
from fractions import Fraction
from functools import cache

import av
import av.audio
from PIL import Image

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
TYPES = (
    '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Override PartName="/{part}" ContentType="application/vnd.openxmlformats-officedocument.{kind}.main+xml"/></Types>'
)
CORE = (
    '<cp:coreProperties xmlns:cp="cp" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="dt">'
    "<dc:title>A title</dc:title><dc:creator>An author</dc:creator><dcterms:created>2024-05-17T10:00:00Z"
    "</dcterms:created><dc:language>de-DE</dc:language></cp:coreProperties>"
)


PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"


def packed(entries: dict[str, str | bytes], *, first: str | None = None) -> bytes:
    """A ZIP of these entries; the first, if named, is stored and not packed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            if isinstance(content, str):
                content = content.replace("urn:PACKAGE", PACKAGE)
            method = zipfile.ZIP_STORED if name == first else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(name, (2024, 5, 17, 10, 0, 0)), content, method)
    return stream.getvalue()


def docx(body: str | None = None) -> bytes:
    """A heading, a paragraph, and what is no word of it."""
    body = body or (
        '<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>A heading</w:t></w:r></w:p>'
        "<w:p><w:r><w:t>Some </w:t></w:r><w:r><w:t>words.</w:t></w:r><w:r><w:instrText>FIELD</w:instrText></w:r></w:p>"
    )
    return packed(
        {
            "[Content_Types].xml": TYPES.format(part="word/document.xml", kind="wordprocessingml.document"),
            "docProps/core.xml": CORE,
            "docProps/app.xml": "<Properties><Pages>3</Pages><Application>A program</Application></Properties>",
            "word/document.xml": f'<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>',
        }
    )


def pptx() -> bytes:
    """Two slides, the second numbered before the first."""
    slide = (
        '<p:sld xmlns:p="p" xmlns:a="a"><p:cSld><p:sp><p:ph type="title"/><a:p><a:r><a:t>Slide {n}</a:t></a:r></a:p>'
        "</p:sp><p:sp><a:p><a:r><a:t>Point {n}</a:t></a:r></a:p></p:sp></p:cSld></p:sld>"
    )
    return packed(
        {
            "[Content_Types].xml": TYPES.format(part="ppt/presentation.xml", kind="presentationml.presentation"),
            "ppt/presentation.xml": "<p:presentation xmlns:p='p'/>",
            "ppt/slides/slide10.xml": slide.format(n=10),
            "ppt/slides/slide2.xml": slide.format(n=2),
        }
    )


def odt() -> bytes:
    """A heading of the second level, and a paragraph."""
    content = (
        '<office:document-content xmlns:office="o" xmlns:text="t"><text:h text:outline-level="2">A heading</text:h>'
        "<text:p>Some<text:s/>words.</text:p></office:document-content>"
    )
    meta = (
        '<m xmlns:dc="dc" xmlns:meta="meta"><dc:title>A title</dc:title>'
        '<meta:document-statistic meta:page-count="7"/></m>'
    )
    entries = {
        "mimetype": "application/vnd.oasis.opendocument.text",
        "META-INF/manifest.xml": "<m/>",
        "content.xml": content,
        "meta.xml": meta,
    }
    return packed(entries, first="mimetype")


def epub() -> bytes:
    """Two chapters, and a cover."""
    cover = io.BytesIO()
    Image.new("RGB", (60, 90), "red").save(cover, "JPEG")
    opf = (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
        "<dc:title>A book</dc:title><dc:creator>An author</dc:creator><dc:language>en</dc:language></metadata>"
        "<manifest>"
        '<item id="c" href="cover%20.jpg" properties="cover-image"/><item id="b" href="two.xhtml"/>'
        '<item id="a" href="one.xhtml"/></manifest><spine><itemref idref="a"/><itemref idref="b"/></spine></package>'
    )
    entries: dict[str, str | bytes] = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<c><rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></c>',
        "OPS/book.opf": opf,
        "OPS/one.xhtml": "<html><body><h1>One</h1><p>First words.</p></body></html>",
        "OPS/two.xhtml": "<html><body><h1>Two</h1><p>Last words.</p></body></html>",
        "OPS/cover .jpg": cover.getvalue(),
    }
    return packed(entries, first="mimetype")


def xlsx(rows: int = 3, *, formula: str = "", first: str | None = None, hidden: str = "") -> bytes:
    """A table of numbers under a header, and a hidden sheet; `first` is the first one's XML, where not made of rows."""
    cells = "".join(
        f'<row r="{n + 2}"><c r="A{n + 2}" t="inlineStr"><is><t>name {n}</t></is></c>'
        f'<c r="B{n + 2}"><v>{n}</v></c></row>'
        for n in range(rows)
    )
    header = (
        '<row r="1"><c r="A1" t="inlineStr"><is><t>Name</t></is></c>'
        '<c r="B1" t="inlineStr"><is><t>Value</t></is></c></row>'
    )
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    rel = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    sheet = f'<worksheet xmlns="{main}"><sheetData>{{}}</sheetData></worksheet>'
    return packed(
        {
            "[Content_Types].xml": TYPES.format(part="xl/workbook.xml", kind="spreadsheetml.sheet"),
            "_rels/.rels": '<Relationships xmlns="urn:PACKAGE">'
            f'<Relationship Id="r" Type="{rel}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
            "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{rel}"><sheets>'
            '<sheet name="Data" sheetId="1" r:id="r1"/>'
            '<sheet name="Secret" sheetId="2" state="hidden" r:id="r2"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": '<Relationships xmlns="urn:PACKAGE">'
            f'<Relationship Id="r1" Type="{rel}/worksheet" Target="worksheets/sheet1.xml"/>'
            f'<Relationship Id="r2" Type="{rel}/worksheet" Target="worksheets/sheet2.xml"/></Relationships>',
            "xl/worksheets/sheet1.xml": sheet.format(header + cells + formula) if first is None else first,
            "xl/worksheets/sheet2.xml": sheet.format(hidden),
        }
    )


def xlsb(rows: int = 3, *, stray: tuple[int, int] | None = None) -> bytes:
    """A binary workbook ([MS-XLSB]): a column of numbers, from 0, and one cell more where it is wanted."""

    def record(sort: int, content: bytes = b"") -> bytes:
        head = bytes([sort]) if sort < 0x80 else bytes([sort & 0x7F | 0x80, sort >> 7])
        return head + bytes([len(content)]) + content

    def words(text: str) -> bytes:
        return struct.pack("<I", len(text)) + text.encode("utf-16-le")

    def row(number: int, column: int, value: float) -> bytes:
        header = record(0, struct.pack("<I", number) + bytes(13))
        return header + record(5, struct.pack("<IId", column, 0, value))

    cells = b"".join(row(number, 0, number) for number in range(rows)) + (row(*stray, 1.0) if stray else b"")
    sheet = record(129) + record(148, bytes(16)) + record(145) + cells + record(146) + record(130)
    book = record(131) + record(143) + record(156, struct.pack("<II", 0, 1) + words("r1") + words("Data"))
    rel = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    return packed(
        {
            "[Content_Types].xml": '<Types><Override PartName="/xl/workbook.bin" '
            'ContentType="application/vnd.ms-excel.sheet.binary.macroEnabled.main"/></Types>',
            "_rels/.rels": '<Relationships xmlns="urn:PACKAGE">'
            f'<Relationship Id="r" Type="{rel}/officeDocument" Target="xl/workbook.bin"/></Relationships>',
            "xl/workbook.bin": book + record(144) + record(132),
            "xl/_rels/workbook.bin.rels": '<Relationships xmlns="urn:PACKAGE">'
            f'<Relationship Id="r1" Type="{rel}/worksheet" Target="worksheets/sheet1.bin"/></Relationships>',
            "xl/worksheets/sheet1.bin": sheet,
        }
    )


def pdf(pages: int = 2, *, width: int = 300, extra: bytes = b"") -> bytes:
    """A PDF with words on each page, a title, and an outline."""
    objects: list[bytes] = []

    def add(body: bytes) -> int:
        objects.append(body)
        return len(objects)

    font = add(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    kids = []
    tree = 2 * pages + 2
    for number in range(pages):
        drawing = b"BT /F1 24 Tf 20 100 Td (Words of page %d) Tj ET" % (number + 1) + extra
        content = add(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawing), drawing))
        kids.append(
            add(
                b"<< /Type /Page /Parent %d 0 R /MediaBox [0 0 %d 200] /Contents %d 0 R"
                b" /Resources << /Font << /F1 %d 0 R >> >> >>" % (tree, width, content, font)
            )
        )
    assert add(b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(b"%d 0 R" % kid for kid in kids), pages)) == tree
    mark = add(b"<< /Title (Beginning) /Parent %d 0 R /Dest [%d 0 R /Fit] >>" % (tree + 2, kids[0]))
    outline = add(b"<< /Type /Outlines /First %d 0 R /Last %d 0 R /Count 1 >>" % (mark, mark))
    root = add(b"<< /Type /Catalog /Pages %d 0 R /Outlines %d 0 R >>" % (tree, outline))
    info = add(b"<< /Title (A title) /Author (An author) /CreationDate (D:20240517100000+02'00') >>")
    out, places = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    return out + b"trailer << /Size %d /Root %d 0 R /Info %d 0 R >>\nstartxref\n%d\n%%%%EOF" % (
        len(objects) + 1, root, info, table,
    )  # fmt: skip


def nested_pdf(levels: int = 6) -> bytes:
    """A PDF whose one stream is packed many times over, and unpacks to gigabytes."""
    data = b" " * 20_000_000
    for _ in range(levels):
        data = zlib.compress(data, 9)
    filters = b"[" + b"/FlateDecode " * levels + b"]"
    return pdf(1).replace(
        b"endstream", b"endstream\nendobj\n90 0 obj\n<< /Length %d /Filter %s >>\nstream\n" % (len(data), filters)
        + data + b"\nendstream", 1,
    )  # fmt: skip


@cache
def sound(name: str = "flac", codec: str = "flac", rate: int = 44100, seconds: float = 1.0) -> bytes:
    """A tone of 440 Hz at a third of full scale, with tags."""
    stream = io.BytesIO()
    with av.open(stream, "w", format=name) as container:
        track = container.add_stream(codec, rate=rate, layout="stereo")
        container.metadata.update({"title": "A tone", "artist": "Nobody"})
        resampler = av.AudioResampler(format=track.codec_context.format or "s16", layout="stereo", rate=rate)
        for start in range(0, int(rate * seconds), 1024):
            wave = [int(10923 * math.sin(2 * math.pi * 440 * (start + index // 2) / rate)) for index in range(2048)]
            frame = av.AudioFrame(format="s16", layout="stereo", samples=1024)
            frame.planes[0].update(array.array("h", wave).tobytes())
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            for piece in resampler.resample(frame):
                container.mux(track.encode(piece))
        container.mux(track.encode(None))
    return stream.getvalue()


@cache
def film(name: str = "mp4", codec: str = "libx264", seconds: int = 3, width: int = 160, height: int = 90) -> bytes:
    """A colour that changes, after five black frames."""
    stream = io.BytesIO()
    with av.open(stream, "w", format=name) as container:
        track = container.add_stream(codec, rate=10)
        track.width, track.height, track.pix_fmt = width, height, "yuv420p"
        for number in range(10 * seconds):
            colour = (0, 0, 0) if number < 5 else (number * 8 % 255, 120, 200)
            frame = av.VideoFrame.from_image(Image.new("RGB", (width, height), colour))
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    return stream.getvalue()


def seven(names: dict[str, bytes]) -> bytes:
    """A 7z that packs nothing: its files are stored, its header is plain."""

    def number(value: int) -> bytes:
        assert value < 0x4000
        return bytes([value]) if value < 0x80 else bytes([0x80 | value >> 8, value & 0xFF])

    data = b"".join(names.values())
    sizes = b"".join(number(len(content)) for content in list(names.values())[:-1])
    streams = (
        b"\x06\x00" + number(1) + b"\x09" + number(len(data)) + b"\x00"
        + b"\x07\x0b\x01\x00\x01\x01\x00\x0c" + number(len(data)) + b"\x00"
        + b"\x08\x0d" + number(len(names)) + b"\x09" + sizes + b"\x00\x00"
    )  # fmt: skip
    text = b"\x00" + b"".join(name.encode("utf-16-le") + b"\0\0" for name in names)
    files = b"\x05" + number(len(names)) + b"\x11" + number(len(text)) + text + b"\x00"
    header = b"\x01\x04" + streams + files + b"\x00"
    start = struct.pack("<QQL", len(data), len(header), zlib.crc32(header))
    return b"7z\xbc\xaf\x27\x1c\x00\x04" + struct.pack("<L", zlib.crc32(start)) + start + data + header


def rar5(names: dict[str, int], *, sealed: bool = False) -> bytes:
    """A RAR 5 of these names and unpacked sizes; sealed, everything behind its first header is encrypted."""

    def vint(value: int) -> bytes:
        out = b""
        while value >= 0x80:
            out += bytes([value & 0x7F | 0x80])
            value >>= 7
        return out + bytes([value])

    def block(fields: bytes) -> bytes:
        sized = vint(len(fields)) + fields
        return struct.pack("<L", zlib.crc32(sized)) + sized

    out = b"Rar!\x1a\x07\x01\x00"
    if sealed:
        return out + block(vint(4) + vint(0) + vint(0) + vint(0) + b"\x0f" + bytes(16)) + bytes(64)
    out += block(vint(1) + vint(0) + vint(0))
    for name, size in names.items():
        encoded = name.encode()
        fields = vint(2) + vint(2) + vint(3) + vint(0) + vint(size) + vint(0o644) + vint(0) + vint(1)
        out += block(fields + vint(len(encoded)) + encoded) + b"abc"
    return out + block(vint(5) + vint(0) + vint(0))


def rar4(names: dict[str, int]) -> bytes:
    """A RAR 4 of these names and unpacked sizes."""
    out = b"Rar!\x1a\x07\x00" + struct.pack("<HBHH", 0, 0x73, 0, 13) + bytes(6)
    for name, size in names.items():
        encoded = name.encode()
        stamp = (2024 - 1980) << 25 | 5 << 21 | 17 << 16 | 10 << 11
        body = struct.pack("<LLBLLBBHL", 3, size, 3, 0, stamp, 29, 0x33, len(encoded), 0o644) + encoded
        out += struct.pack("<HBHH", 0, 0x74, 0x8000, 7 + len(body)) + body + b"abc"
    return out + struct.pack("<HBHH", 0, 0x7B, 0, 7)
