"""What a file is, from its bytes: never from what is declared, and from its name only where they leave a choice.

An encrypted office document leaves one, of which nothing shows which it is; and text does, which has a fault or is too
short to show of which sort it is.

Two entry points give the same answer wherever the first bytes suffice:

- `sniff` looks at the head of an upload. It runs in the web process on every one, so it is pure, imports
  nothing heavy and takes some tens of microseconds.
- `detect` has the whole file. It goes on where the head leaves off: into the directory of a ZIP or OLE
  container, and past the first bytes of what looked like text.

`magic` and `signatures` know the binary formats, `containers` looks into ZIP and OLE, `tracks` into film,
`text_formats` tells text from binary and one text from another. `docs/detection.md` has the figures behind doing this
here.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Final

from . import containers, office, signatures, text_formats, tracks

HEAD_BYTES: Final = 8 * 1024
"""How much of a file `sniff` wants to see."""

UNKNOWN: Final = "application/octet-stream"

LATE_BYTES: Final = 8 * 1024 * 1024
"""How far `detect` reads markup that begins with a long comment, to find its first element."""

_DRAWING: Final = "image/svg+xml"
_SAMPLE_BYTES = 4 * 1024
_SAMPLES = 4


@dataclass(frozen=True, kw_only=True)
class Detected:
    """A media type and the `contract.KINDS` entry it belongs to."""

    content_type: str
    kind: str
    perhaps: Detected | None = field(default=None, compare=False)
    """What the rest of the file may show it to be instead, where its head leaves that open."""
    front: str = field(default="", compare=False)
    """The program that stands in front of an archive, by its type: whoever runs the file runs that."""


def sniff(head: bytes, size: int | None = None, name: str = "") -> Detected:
    """The type of a file that begins with `head` (its first `HEAD_BYTES`, or all of it if it is shorter).

    `size` is the whole file's size in bytes where it is known. Without it, a head shorter than `HEAD_BYTES`
    is taken for the whole file. `name` is what the uploader calls it. Never raises, whatever the bytes.
    """
    complete = len(head) < HEAD_BYTES if size is None else size <= len(head) <= HEAD_BYTES
    head = head[:HEAD_BYTES]
    content_type = _content_type(head, complete, _ending(name))
    if content_type not in tracks.SOUND_ALONE:
        found = _detected(content_type)
        if _is_script_named_zip(head, _ending(name)):
            return replace(found, perhaps=_detected(containers.ZIP))
        # A drawing behind a long comment is one: `detect` knows it.
        return replace(found, perhaps=_detected(_DRAWING)) if not complete and _is_open_markup(found, head) else found
    sound = _detected(tracks.SOUND_ALONE[content_type])
    film = tracks.has_film(content_type, io.BytesIO(head), len(head))
    return sound if film is False else replace(_detected(content_type), perhaps=None if film else sound)


def detect(path: Path, name: str = "") -> Detected:
    """The type of the file at `path`, called `name` by its uploader; raises only `OSError`, when it cannot be read.

    Reads a bounded part of the file (under 2 MiB; of markup that begins with a long comment 8), whatever its size.
    """
    front = ""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(HEAD_BYTES)
        content_type = _content_type(head, size <= len(head), _ending(name))
        if _may_unpack_itself(head, _ending(name)) and (packed := containers.zip_at_end(file, size)):
            front = content_type if content_type in _PROGRAMS else ""
            content_type = packed
        elif head.startswith(containers.ZIP_MAGIC):
            content_type = containers.zip_type_of_file(file) or content_type
        elif content_type == containers.OLE:
            content_type = containers.ole_type_of_file(file, _ending(name))
        elif content_type in tracks.SOUND_ALONE:
            film = tracks.has_film(content_type, file, size)
            content_type = tracks.SOUND_ALONE[content_type] if film is False else content_type
        elif content_type == UNKNOWN:
            content_type = _type_from_elsewhere(file, size) or UNKNOWN
        elif size > len(head) and _is_plain_bytes_text(head) and _turns_binary(file, size):
            content_type = UNKNOWN
        elif size > len(head) and _is_open_markup(_detected(content_type), head):
            content_type = _late_markup(file, size) or content_type
    return replace(_detected(content_type), front=front)


def _may_unpack_itself(head: bytes, ending: str) -> bool:
    """Whether a file that its name says to be a ZIP begins with the program that unpacks it."""
    return ending == "zip" and head.startswith((b"#!", b"MZ", b"\x7fELF"))


def _is_script_named_zip(head: bytes, ending: str) -> bool:
    """The same of those that no list turns away for the program in front."""
    return head.startswith(b"#!") and _may_unpack_itself(head, ending)


_PROGRAMS: Final = (
    "application/vnd.microsoft.portable-executable", "application/x-dosexec", "application/x-executable",
    "application/x-elf",
)  # fmt: skip


def _is_open_markup(found: Detected, head: bytes) -> bool:
    """Whether this head of a longer text leaves open what its first element is."""
    if found.content_type not in _OPEN_MARKUP:
        return False
    if b"<" not in head and head.strip(_BLANK) and not head.startswith(text_formats.EBCDIC_XML):
        return False  # words, and no comment, in whatever encoding: most text is not decoded a second time
    text = text_formats.decode(head, complete=False)
    return text is not None and text_formats.hides_its_root(text)


_BLANK: Final = b" \t\r\n\f\0\xef\xbb\xbf\xfe\xff"  # white space and byte order marks, in any Unicode encoding
_OPEN_MARKUP: Final = ("text/html", "application/xml", text_formats.PLAIN)


def _late_markup(file: BinaryIO, size: int) -> str | None:
    file.seek(0)
    content = file.read(LATE_BYTES)
    text = text_formats.decode(content, complete=size <= len(content))
    return None if text is None else text_formats.late_markup(text, size <= len(content))


def _ending(name: str) -> str:
    """What stands behind the last dot of a name, in lower case."""
    return name.rpartition(".")[2].lower() if "." in name else ""


def _content_type(head: bytes, complete: bool, ending: str) -> str:
    if not head:
        return UNKNOWN
    strong = signatures.strong(head, ending)
    if strong is not None:
        return strong
    text = text_formats.decode(head, complete)
    if text is not None:
        return text_formats.content_type(text, complete, ending)
    return signatures.weak(head) or UNKNOWN


def _type_from_elsewhere(file: BinaryIO, size: int) -> str | None:
    """The few formats whose mark is not in the head: a disk image's first descriptor, or a footer."""
    for offset, magic, content_type in _FAR_MARKS:
        if size >= abs(offset):
            file.seek(offset, os.SEEK_SET if offset >= 0 else os.SEEK_END)
            if file.read(len(magic)) == magic:
                return content_type
    return None


_FAR_MARKS: Final = (
    (32_769, b"CD001", "application/x-iso9660-image"),
    (-512, b"koly\0\0\0\x04", "application/x-apple-diskimage"),
    (-18, b"TRUEVISION-XFILE.\0", "image/x-tga"),
)


def _is_plain_bytes_text(head: bytes) -> bool:
    """Whether `head` was taken for text, in an encoding that keeps ASCII's control bytes to themselves."""
    return signatures.strong(head) is None and not text_formats.is_binary(head)


def _turns_binary(file: BinaryIO, size: int) -> bool:
    """Whether a file with a head of text goes on as something else (an installer behind a shell script).

    A few stray control bytes, as crashed writers leave in logs, are let pass.
    """
    for index in range(1, _SAMPLES + 1):
        file.seek(max(HEAD_BYTES, (size - _SAMPLE_BYTES) * index // _SAMPLES))
        sample = file.read(_SAMPLE_BYTES)
        if text_formats.control_bytes(sample) * 10 > len(sample):
            return True
    return False


def _detected(content_type: str) -> Detected:
    kind = _KIND_OF.get(content_type)
    if kind is None:
        family = content_type.partition("/")[0]
        kind = family if family in ("image", "audio", "video", "text") else "other"
    return Detected(content_type=content_type, kind=kind)


# Only what the first half of the media type does not already say.
_KIND_OF: Mapping[str, str] = {
    **office.KINDS,
    "application/epub+zip": "document",
    "application/gpx+xml": "data",
    "application/gzip": "archive",
    "application/java-archive": "archive",
    "application/json": "data",
    "application/lzip": "archive",
    "application/mbox": "document",
    "application/msword": "document",
    "application/mxf": "video",
    "application/ogg": "audio",
    "application/onenote": "document",
    "application/pdf": "document",
    "application/postscript": "document",
    "application/rss+xml": "data",
    "application/rtf": "document",
    "application/toml": "data",
    "application/vnd.android.package-archive": "archive",
    "application/vnd.apache.arrow.file": "data",
    "application/vnd.apache.avro": "data",
    "application/vnd.apache.orc": "data",
    "application/vnd.apache.parquet": "table",
    "application/vnd.debian.binary-package": "archive",
    "application/vnd.google-earth.kml+xml": "data",
    "application/vnd.google-earth.kmz": "archive",
    "application/vnd.lotus-1-2-3": "table",
    "application/vnd.ms-access": "data",
    "application/vnd.ms-cab-compressed": "archive",
    "application/vnd.ms-excel": "table",
    "application/vnd.ms-htmlhelp": "document",
    "application/vnd.ms-outlook": "document",
    "application/vnd.ms-outlook-pst": "document",
    "application/vnd.ms-powerpoint": "document",
    "application/vnd.ms-xpsdocument": "document",
    "application/vnd.oasis.opendocument.graphics": "document",
    "application/vnd.oasis.opendocument.presentation": "document",
    "application/vnd.oasis.opendocument.spreadsheet": "table",
    "application/vnd.oasis.opendocument.text": "document",
    "application/vnd.rar": "archive",
    "application/vnd.rn-realmedia": "video",
    "application/vnd.sqlite3": "data",
    "application/vnd.ms-visio.drawing": "document",
    "application/vnd.visio": "document",
    "application/vnd.wordperfect": "document",
    "application/x-7z-compressed": "archive",
    "application/x-apple-diskimage": "archive",
    "application/x-archive": "archive",
    "application/x-bplist": "data",
    "application/x-bzip2": "archive",
    "application/x-compress": "archive",
    "application/x-cpio": "archive",
    "application/x-hdf5": "data",
    "application/x-iso9660-image": "archive",
    "application/x-lz4": "archive",
    "application/x-lzh-compressed": "archive",
    "application/x-lzma": "archive",
    "application/x-matlab-data": "data",
    "application/x-mobipocket-ebook": "document",
    "application/x-hwp": "document",
    "application/x-mspublisher": "document",
    "application/x-ndjson": "table",
    "application/x-netcdf": "data",
    "application/x-npy": "data",
    "application/x-ole-storage": "document",
    "application/x-palm-doc": "document",
    "application/x-quattro-pro": "table",
    "application/x-rpm": "archive",
    "application/x-subrip": "text",
    "application/x-tar": "archive",
    "application/x-tex": "text",
    "application/x-xar": "archive",
    "application/x-xz": "archive",
    "application/xhtml+xml": "document",
    "application/xml": "data",
    "application/xslt+xml": "data",
    "application/yaml": "data",
    "application/zip": "archive",
    "application/zstd": "archive",
    "image/vnd.djvu": "document",
    "message/rfc822": "document",
    "text/calendar": "data",
    "text/csv": "table",
    "text/html": "document",
    "text/tab-separated-values": "table",
    "text/vcard": "data",
}
