"""Small real files, made on the spot: one function a kind of file, returning its bytes.

`EXPECTED` says what each of them is. Nothing here is read from disk or from the net, so a test names what it
needs: `samples.jpeg(orientation=6)`, `samples.docx()`, `samples.bomb_png()`.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

# --- images ---------------------------------------------------------------------------------------------


def picture(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    """A picture that is not the same from any side: red above left, blue below right, a gradient between."""
    image = Image.new("RGB", (width, height))
    image.putdata([(255 * (width - x) // width, 40, 255 * y // height) for y in range(height) for x in range(width)])
    return image if mode == "RGB" else image.convert(mode)


def encoded(image: Image.Image, format_name: str, **options: Any) -> bytes:
    """`image` as a file in one of Pillow's formats."""
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def png(width: int = 64, height: int = 48, mode: str = "RGB", **options: Any) -> bytes:
    return encoded(picture(width, height, mode), "PNG", **options)


def jpeg(width: int = 64, height: int = 48, *, orientation: int = 1, camera: bool = False) -> bytes:
    """A JPEG; `camera` adds what cameras write: make, exposure, time, and the position it was taken at."""
    exif = Image.Exif()
    if orientation != 1:
        exif[ExifTags.Base.Orientation] = orientation
    if camera:
        exif[ExifTags.Base.Make] = "Filewire Optics\0"
        exif[ExifTags.Base.Model] = "FW-1"
        exif[ExifTags.Base.Software] = "Darkroom 3"
        exif[ExifTags.Base.Artist] = "Jane Secret"
        exif.get_ifd(ExifTags.IFD.Exif).update(
            {
                ExifTags.Base.ExposureTime: IFDRational(1, 125),
                ExifTags.Base.FNumber: IFDRational(28, 10),
                ExifTags.Base.ISOSpeedRatings: 400,
                ExifTags.Base.FocalLength: IFDRational(50, 1),
                ExifTags.Base.DateTimeOriginal: "2024:05:17 18:30:00",
                ExifTags.Base.OffsetTimeOriginal: "+02:00",
                ExifTags.Base.BodySerialNumber: "SERIAL-12345",
            }
        )
        exif.get_ifd(ExifTags.IFD.GPSInfo).update(
            {
                ExifTags.GPS.GPSLatitudeRef: "N",
                ExifTags.GPS.GPSLatitude: (48.0, 51.0, 29.6),
                ExifTags.GPS.GPSLongitudeRef: "E",
                ExifTags.GPS.GPSLongitude: (2.0, 17.0, 40.2),
            }
        )
    return encoded(picture(width, height), "JPEG", quality=90, exif=exif)


def gif(frames: int = 1, width: int = 64, height: int = 48, **options: Any) -> bytes:
    pictures = [Image.new("P", (width, height), color=index % 250) for index in range(frames)]
    return encoded(pictures[0], "GIF", save_all=True, append_images=pictures[1:], optimize=False, **options)


def webp(width: int = 64, height: int = 48) -> bytes:
    return encoded(picture(width, height), "WEBP")


def tiff(pages: int = 1) -> bytes:
    return encoded(picture(), "TIFF", save_all=True, append_images=[picture()] * (pages - 1))


def bmp() -> bytes:
    return encoded(picture(), "BMP")


def ico() -> bytes:
    return encoded(picture(32, 32), "ICO", sizes=[(16, 16), (32, 32)])


def avif() -> bytes:
    return encoded(picture(), "AVIF", speed=10)


def _box(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", 8 + len(payload)) + name + payload


def heic() -> bytes:
    """The head of an iPhone photograph; there is no picture behind it."""
    return _box(b"ftyp", b"heic\0\0\0\0mif1heic") + _box(b"meta", bytes(64)) + _box(b"mdat", bytes(64))


def svg() -> bytes:
    return (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<!-- drawn by hand -->\n'
        b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"><script>alert(1)</script></svg>\n'
    )


def _png_chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def bomb_png(width: int = 50_000, height: int = 50_000) -> bytes:
    """A one-bit PNG of 2.5 thousand million pixels in 300 kB."""
    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join(packer.compress(row * 100) for _ in range(height // 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _png_chunk(b"IHDR", header) + _png_chunk(b"IDAT", data) + _png_chunk(b"IEND", b"")


def bomb_gif(frames: int = 10_000) -> bytes:
    """A GIF of ten thousand frames."""
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 8, 8, 0) + b"\x02\x03\x84\x8f\x05\0"
    screen = struct.pack("<HHBBB", 8, 8, 0x80, 0, 0)
    return b"GIF89a" + screen + b"\0\0\0\xff\xff\xff" + frame * frames + b"\x3b"


def bomb_gif_canvas() -> bytes:
    """A GIF of 65,535 by 65,535 pixels in a few bytes."""
    size = struct.pack("<HH", 65_535, 65_535)
    return b"GIF89a" + size + b"\0\0\0" + b"\x2c\0\0\0\0" + size + b"\0\x02\x02\x44\x01\0\x3b"


def bomb_ico() -> bytes:
    """An icon whose directory says 1 x 1 and whose picture is a PNG of 2.5 thousand million pixels."""
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 1, 0, 0, 0, 0)
    inner = b"\x89PNG\r\n\x1a\n" + _png_chunk(b"IHDR", header) + _png_chunk(b"IDAT", b"") + _png_chunk(b"IEND", b"")
    return b"\0\0\x01\0\x01\0" + struct.pack("<BBBBHHII", 1, 1, 0, 0, 1, 32, len(inner), 22) + inner


def bomb_tiff(width: int = 60_000, height: int = 60_000) -> bytes:
    """A TIFF that declares 3.6 thousand million grey pixels and holds none."""
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (278, 4, 1, height),
        (279, 4, 1, width * height % 2**32),
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + directory + bytes(4)


def polyglot_gif_js() -> bytes:
    """An image to a browser's <img>, a program to its <script>."""
    return b"GIF89a/*" + bytes(6) + b"\x2c*/=1;alert(document.domain);//" + bytes(16) + b"\x3b"


# --- text -----------------------------------------------------------------------------------------------

PROSE = (
    "Once upon a time there was a file that nobody had opened for years. It was not large, and it was not\n"
    "important; but it had a name, and whoever reads names aloud will sooner or later want to know what is\n"
    "behind them. So it was opened, on a Tuesday, and this is what it said.\n"
)
GERMAN = "Die Größe der Straßen überrascht viele Gäste, die täglich über die schöne Brücke gehen.\n"


def text() -> bytes:
    return PROSE.encode()


def text_utf8_bom() -> bytes:
    return b"\xef\xbb\xbf" + GERMAN.encode()


def text_utf16() -> bytes:
    return GERMAN.encode("utf-16")


def text_utf16_unmarked() -> bytes:
    return GERMAN.encode("utf-16-le")


def text_latin1() -> bytes:
    return (GERMAN * 3).encode("latin-1")


def html() -> bytes:
    return b"<!DOCTYPE html>\n<html><head><title>Hello</title></head><body><p>Hello.</p></body></html>\n"


def xml() -> bytes:
    return b'<?xml version="1.0"?>\n<note><to>you</to><from>me</from></note>\n'


def json() -> bytes:
    return b'{"name": "filewire", "tags": ["a", "b"], "size": 3.5, "ok": true, "none": null}\n'


def ndjson() -> bytes:
    return b'{"line": 1}\n{"line": 2}\n{"line": 3}\n'


def csv() -> bytes:
    return b'name,age,city\nAda,36,"London, UK"\nAlan,41,Wilmslow\n'


def csv_bom() -> bytes:
    """As a spreadsheet program saves it: byte order mark, semicolons, CR LF."""
    return b"\xef\xbb\xbf" + "Straße;Größe;Preis\r\nHauptstraße;12;3,50\r\nNebenstraße;9;2,75\r\n".encode()


def tsv() -> bytes:
    return b"name\tage\tcity\nAda\t36\tLondon\nAlan\t41\tWilmslow\n"


def yaml() -> bytes:
    return b"name: filewire\nservices:\n  web:\n    image: filewire\n    ports:\n      - 8000\n"


def toml() -> bytes:
    return b'[project]\nname = "filewire"\nversion = "1.0"\ndependencies = [\n  "pillow",\n]\n'


def markdown() -> bytes:
    return b"# Filewire\n\nUpload **files**, see [the docs](https://example.org/).\n\n- fast\n- small\n"


def rtf() -> bytes:
    return b"{\\rtf1\\ansi{\\fonttbl\\f0\\fswiss Helvetica;}\\f0\\pard Hello.\\par}"


def eml() -> bytes:
    message = EmailMessage()
    message["From"] = "ada@example.org"
    message["To"] = "alan@example.org"
    message["Subject"] = "Notes"
    message["Date"] = "Fri, 17 May 2024 18:30:00 +0200"
    message["Message-ID"] = "<1@example.org>"
    message.set_content("See you on Tuesday.\n")
    return message.as_bytes()


def srt() -> bytes:
    return b"1\r\n00:00:00,000 --> 00:00:02,000\r\nHello, world!\r\n\r\n"


def vtt() -> bytes:
    return b"WEBVTT\n\n00:00.000 --> 00:02.000\nHello, world!\n"


def pdf() -> bytes:
    """One empty page, with a correct cross-reference table."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] >>",
    ]
    content = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"xref\n0 4\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return content + table + b"trailer\n<< /Size 4 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(content)


# --- containers -----------------------------------------------------------------------------------------


class _Pipe(io.RawIOBase):
    """A file that cannot seek, so that zipfile writes sizes behind the data, as streaming programs do."""

    def __init__(self) -> None:
        self.written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.written += data
        return len(data)


def zip(entries: dict[str, bytes] | None = None, *, stored: bool = False, streamed: bool = False) -> bytes:
    """An archive of `entries`, in their order."""
    target: Any = _Pipe() if streamed else io.BytesIO()
    method = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in (entries or {"readme.txt": b"hello", "notes/a.txt": PROSE.encode()}).items():
            archive.writestr(name, data)
    return bytes(target.written) if streamed else target.getvalue()


_CONTENT_TYPES = b'<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'
_RELATIONSHIPS = b'<?xml version="1.0"?><Relationships/>'
_PART = b'<?xml version="1.0"?><part/>'


def docx(*, streamed: bool = False) -> bytes:
    return zip(
        {"[Content_Types].xml": _CONTENT_TYPES, "_rels/.rels": _RELATIONSHIPS, "word/document.xml": _PART},
        streamed=streamed,
    )


def docx_libreoffice() -> bytes:
    """The order LibreOffice writes: the content types come last."""
    return zip(
        {
            "_rels/.rels": _RELATIONSHIPS,
            "docProps/core.xml": _PART,
            "docProps/app.xml": _PART,
            "word/_rels/document.xml.rels": _RELATIONSHIPS,
            "word/document.xml": _PART,
            "[Content_Types].xml": _CONTENT_TYPES,
        }
    )


def docx_media_first() -> bytes:
    """The telling entries come after more bytes than anyone sniffs: only the central directory knows."""
    noise = bytes(zlib.crc32(struct.pack("<I", index)) & 0xFF for index in range(20_000))
    return zip(
        {"customXml/item1.bin": noise, "[Content_Types].xml": _CONTENT_TYPES, "word/document.xml": _PART},
        stored=True,
    )


def xlsx() -> bytes:
    return zip({"[Content_Types].xml": _CONTENT_TYPES, "_rels/.rels": _RELATIONSHIPS, "xl/workbook.xml": _PART})


def pptx() -> bytes:
    return zip({"[Content_Types].xml": _CONTENT_TYPES, "_rels/.rels": _RELATIONSHIPS, "ppt/presentation.xml": _PART})


def _declaring(content_type: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", content_type, compress_type=zipfile.ZIP_STORED)
        archive.writestr("META-INF/manifest.xml", _PART)
        archive.writestr("content.xml", _PART)
    return buffer.getvalue()


def odt() -> bytes:
    return _declaring("application/vnd.oasis.opendocument.text")


def ods() -> bytes:
    return _declaring("application/vnd.oasis.opendocument.spreadsheet")


def odp() -> bytes:
    return _declaring("application/vnd.oasis.opendocument.presentation")


def epub() -> bytes:
    return _declaring("application/epub+zip")


def jar() -> bytes:
    return zip({"META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\n", "A.class": b"\xca\xfe\xba\xbe"})


def zip_of_xlsx(*, streamed: bool = False) -> bytes:
    """An archive that a spreadsheet lies in, unpacked byte for byte: not itself a spreadsheet."""
    return zip({"report.xlsx": xlsx(), "readme.txt": b"see the report"}, stored=True, streamed=streamed)


def ole(stream: str = "WordDocument") -> bytes:
    """A compound file (the old Office formats) with one stream in its directory."""
    header = bytearray(512)
    header[:8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    struct.pack_into("<HHHHH", header, 24, 0x3E, 3, 0xFFFE, 9, 6)
    struct.pack_into("<I", header, 48, 1)
    directory = bytearray(512)
    directory[: len(stream) * 2] = stream.encode("utf-16-le")
    struct.pack_into("<H", directory, 64, 2 * len(stream) + 2)
    return bytes(header) + bytes(512) + bytes(directory)


def gz() -> bytes:
    return gzip.compress(PROSE.encode())


def bzip2() -> bytes:
    return bz2.compress(PROSE.encode())


def xz() -> bytes:
    return lzma.compress(PROSE.encode())


def zst() -> bytes:
    """A frame with one raw block (RFC 8878), by hand: the standard library has no compressor."""
    return b"\x28\xb5\x2f\xfd\x20\x05" + struct.pack("<I", 5 << 3 | 1)[:3] + b"hello"


def tar(format_number: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format_number) as archive:
        info = tarfile.TarInfo("prose.txt")
        info.size = len(PROSE.encode())
        archive.addfile(info, io.BytesIO(PROSE.encode()))
    return buffer.getvalue()


def tar_v7() -> bytes:
    """A tar from before POSIX: no "ustar", only a checksum."""
    header = bytearray(tar(tarfile.USTAR_FORMAT))
    header[257:345] = bytes(88)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    return bytes(header)


def seven_zip() -> bytes:
    return b"7z\xbc\xaf\x27\x1c\0\x04" + bytes(24)


def rar() -> bytes:
    return b"Rar!\x1a\x07\x01\0" + bytes(24)


def sqlite() -> bytes:
    return b"SQLite format 3\0\x10\0\x01\x01\0\x40\x20\x20" + bytes(80)


def parquet() -> bytes:
    return b"PAR1\x15\x04\x15\x10" + bytes(32) + b"PAR1"


# --- sound and film -------------------------------------------------------------------------------------


def mp3(frames: int = 4) -> bytes:
    """Silent MPEG-1 layer III frames of 128 kbit/s at 44.1 kHz: 417 bytes each."""
    return (b"\xff\xfb\x90\x00" + bytes(413)) * frames


def mp3_id3() -> bytes:
    return b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + mp3()


def aac(frames: int = 4) -> bytes:
    """ADTS frames of 32 bytes."""
    return (b"\xff\xf1\x50\x80\x04\x1f\xfc" + bytes(25)) * frames


def flac() -> bytes:
    return b"fLaC\x80\0\0\x22" + bytes(34)


def ogg(codec: bytes = b"\x01vorbis") -> bytes:
    return b"OggS\0\x02" + bytes(20) + b"\x01\x1e" + codec + bytes(30)


def wav() -> bytes:
    samples = bytes(800)
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8)
    data = struct.pack("<4sI", b"data", len(samples)) + samples
    return struct.pack("<4sI4s", b"RIFF", 4 + len(fmt) + len(data), b"WAVE") + fmt + data


def avi() -> bytes:
    return b"RIFF" + struct.pack("<I", 100) + b"AVI LIST" + bytes(92)


def m4a() -> bytes:
    return _box(b"ftyp", b"M4A \0\0\0\0M4A mp42isom") + _box(b"moov", bytes(64))


def mp4() -> bytes:
    return _box(b"ftyp", b"isom\0\0\x02\0isomiso2avc1mp41") + _box(b"moov", bytes(64))


def mov() -> bytes:
    return _box(b"ftyp", b"qt  \0\0\0\0qt  ") + _box(b"moov", bytes(64))


def _ebml(doc_type: bytes) -> bytes:
    header = b"\x42\x86\x81\x01\x42\xf7\x81\x01\x42\x82" + bytes([0x80 | len(doc_type)]) + doc_type
    return b"\x1aE\xdf\xa3" + bytes([0x80 | len(header)]) + header + b"\x18S\x80g\x80"


def webm() -> bytes:
    return _ebml(b"webm")


def mkv() -> bytes:
    return _ebml(b"matroska")


# --- neither --------------------------------------------------------------------------------------------


def empty() -> bytes:
    return b""


def noise(length: int = 1024) -> bytes:
    """Bytes without meaning, the same each time."""
    return b"".join(struct.pack("<I", zlib.crc32(b"%d" % index)) for index in range(length // 4))


_OFFICE = "application/vnd.openxmlformats-officedocument"
_ODF = "application/vnd.oasis.opendocument"

EXPECTED: dict[Callable[[], bytes], tuple[str, str]] = {
    png: ("image/png", "image"),
    jpeg: ("image/jpeg", "image"),
    gif: ("image/gif", "image"),
    webp: ("image/webp", "image"),
    tiff: ("image/tiff", "image"),
    bmp: ("image/bmp", "image"),
    avif: ("image/avif", "image"),
    heic: ("image/heic", "image"),
    ico: ("image/vnd.microsoft.icon", "image"),
    svg: ("image/svg+xml", "image"),
    bomb_png: ("image/png", "image"),
    bomb_gif: ("image/gif", "image"),
    bomb_gif_canvas: ("image/gif", "image"),
    bomb_ico: ("image/vnd.microsoft.icon", "image"),
    bomb_tiff: ("image/tiff", "image"),
    polyglot_gif_js: ("image/gif", "image"),
    text: ("text/plain", "text"),
    text_utf8_bom: ("text/plain", "text"),
    text_utf16: ("text/plain", "text"),
    text_utf16_unmarked: ("text/plain", "text"),
    text_latin1: ("text/plain", "text"),
    markdown: ("text/markdown", "text"),
    srt: ("application/x-subrip", "text"),
    vtt: ("text/vtt", "text"),
    csv: ("text/csv", "table"),
    csv_bom: ("text/csv", "table"),
    tsv: ("text/tab-separated-values", "table"),
    xlsx: (f"{_OFFICE}.spreadsheetml.sheet", "table"),
    ods: (f"{_ODF}.spreadsheet", "table"),
    parquet: ("application/vnd.apache.parquet", "table"),
    json: ("application/json", "data"),
    ndjson: ("application/x-ndjson", "table"),
    xml: ("application/xml", "data"),
    yaml: ("application/yaml", "data"),
    toml: ("application/toml", "data"),
    sqlite: ("application/vnd.sqlite3", "data"),
    html: ("text/html", "document"),
    pdf: ("application/pdf", "document"),
    rtf: ("application/rtf", "document"),
    eml: ("message/rfc822", "document"),
    docx: (f"{_OFFICE}.wordprocessingml.document", "document"),
    docx_libreoffice: (f"{_OFFICE}.wordprocessingml.document", "document"),
    pptx: (f"{_OFFICE}.presentationml.presentation", "document"),
    odt: (f"{_ODF}.text", "document"),
    odp: (f"{_ODF}.presentation", "document"),
    epub: ("application/epub+zip", "document"),
    ole: ("application/msword", "document"),
    zip: ("application/zip", "archive"),
    zip_of_xlsx: ("application/zip", "archive"),
    jar: ("application/java-archive", "archive"),
    gz: ("application/gzip", "archive"),
    bzip2: ("application/x-bzip2", "archive"),
    xz: ("application/x-xz", "archive"),
    zst: ("application/zstd", "archive"),
    tar: ("application/x-tar", "archive"),
    tar_v7: ("application/x-tar", "archive"),
    seven_zip: ("application/x-7z-compressed", "archive"),
    rar: ("application/vnd.rar", "archive"),
    mp3: ("audio/mpeg", "audio"),
    mp3_id3: ("audio/mpeg", "audio"),
    aac: ("audio/aac", "audio"),
    flac: ("audio/flac", "audio"),
    ogg: ("audio/ogg", "audio"),
    wav: ("audio/wav", "audio"),
    m4a: ("audio/mp4", "audio"),
    mp4: ("video/mp4", "video"),
    mov: ("video/quicktime", "video"),
    webm: ("video/webm", "video"),
    mkv: ("video/x-matroska", "video"),
    avi: ("video/x-msvideo", "video"),
    empty: ("application/octet-stream", "other"),
    noise: ("application/octet-stream", "other"),
}
"""What each sample is: content type and kind, by the bytes alone, from the head as from the whole file."""
