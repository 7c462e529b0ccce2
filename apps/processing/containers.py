"""What lies in a ZIP or OLE container, told from entry names; nothing is ever unpacked.

Office documents, e-books and Java archives are all ZIP files. Which one it is stands in the names of the
entries: at the front in the local headers, at the end in the central directory, which is the one that counts.
Entries are stepped over by their declared sizes and never searched for, so that a ZIP *of* a spreadsheet is
not taken for a spreadsheet. Source: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

ZIP: Final = "application/zip"
ZIP_MAGIC: Final = (b"PK\x03\x04", b"PK\x05\x06")
"""An archive begins with its first entry, or, when it is empty, with its end record."""

OLE: Final = "application/x-ole-storage"
OLE_MAGIC: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

_OFFICE_FOLDERS: Final = {
    "word/": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xl/": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "ppt/": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "visio/": "application/vnd.ms-visio.drawing",
}
_TELLING_NAMES: Final = {
    "AndroidManifest.xml": "application/vnd.android.package-archive",
    "FixedDocSeq.fdseq": "application/vnd.ms-xpsdocument",
    "FixedDocumentSequence.fdseq": "application/vnd.ms-xpsdocument",
    "doc.kml": "application/vnd.google-earth.kmz",
}
# A package has the first two by definition (ECMA-376 part 2); the others, like relationship parts, are as
# good a sign when an archive's head shows no more: LibreOffice writes [Content_Types].xml last.
_OFFICE_MARKS: Final = frozenset({"[Content_Types].xml", "_rels/.rels", "docProps/app.xml", "docProps/core.xml"})

# ODF 1.2 part 3 §3.3 and EPUB OCF §4.3: the first entry is "mimetype", stored, and holds the media type.
_DECLARED_TYPES: Final = frozenset(
    {
        "application/epub+zip",
        "application/vnd.oasis.opendocument.text",
        "application/vnd.oasis.opendocument.spreadsheet",
        "application/vnd.oasis.opendocument.presentation",
        "application/vnd.oasis.opendocument.graphics",
    }
)

_END_RECORD_SEARCH_BYTES = 22 + 65_535
_CENTRAL_DIRECTORY_LIMIT_BYTES = 1024 * 1024
"""Some 10,000 entries. Office files have hundreds; of a larger directory only this much is read."""

# The root's class, which programs write or leave empty, says which of the streams is the file's own: a workbook may
# hold a text document. Without it, the first of these names that is there.
_OLE_CLASSES: Final[dict[bytes, str]] = {
    bytes.fromhex("0609020000000000c000000000000046"): "application/msword",
    bytes.fromhex("0009020000000000c000000000000046"): "application/msword",
    bytes.fromhex("2008020000000000c000000000000046"): "application/vnd.ms-excel",
    bytes.fromhex("1008020000000000c000000000000046"): "application/vnd.ms-excel",
    bytes.fromhex("108d81649b4fcf1186ea00aa00b929e8"): "application/vnd.ms-powerpoint",
    bytes.fromhex("0b0d020000000000c000000000000046"): "application/vnd.ms-outlook",
    bytes.fromhex("84100c0000000000c000000000000046"): "application/x-msi",
    bytes.fromhex("141a020000000000c000000000000046"): "application/vnd.visio",
}
_OLE_STREAMS: Final[tuple[tuple[str, str], ...]] = (
    ("EncryptedPackage", "application/x-ole-storage"),
    ("WordDocument", "application/msword"),
    ("Workbook", "application/vnd.ms-excel"),
    ("Book", "application/vnd.ms-excel"),
    ("PowerPoint Document", "application/vnd.ms-powerpoint"),
    ("__properties_version1.0", "application/vnd.ms-outlook"),
    ("VisioDocument", "application/vnd.visio"),
    ("Quill", "application/x-mspublisher"),
    ("HwpDoc", "application/x-hwp"),
)
_OLE_DIRECTORY_SECTORS: Final = 64
_OLE_SECTORS: Final = 1 << 28  # more than any file here has; beyond, no file system seeks
_OLE_ENTRY_BYTES: Final = 128


def zip_type(head: bytes) -> str:
    """The media type of a ZIP container as far as its first bytes tell; `application/zip` if they do not."""
    return _declared_type(head) or _type_of_entries(_local_names(head)) or ZIP


def zip_type_of_file(file: BinaryIO, size: int) -> str | None:
    """The media type of a whole ZIP container, from its central directory; None if that cannot be found."""
    file.seek(0)
    declared = _declared_type(file.read(256))
    if declared is not None:
        return declared
    tail_start = max(0, size - _END_RECORD_SEARCH_BYTES)
    file.seek(tail_start)
    tail = file.read(_END_RECORD_SEARCH_BYTES)
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or end + 20 > len(tail):
        return None
    directory_size = int.from_bytes(tail[end + 12 : end + 16], "little")
    # Counted back from the end record, as something may stand before the archive and shift all offsets.
    start = tail_start + end - directory_size
    if start < 0 or directory_size == 0:
        return None
    file.seek(start)
    directory = file.read(min(directory_size, _CENTRAL_DIRECTORY_LIMIT_BYTES))
    if not directory.startswith(b"PK\x01\x02"):
        return None
    return _type_of_entries(_central_names(directory)) or ZIP


def ole_type(head: bytes) -> str:
    """The media type of an OLE container as far as its directory lies within `head`."""
    return ole_type_of_file(io.BytesIO(head))


def ole_type_of_file(file: BinaryIO) -> str:
    """The media type of a whole OLE container, from the names in its directory ([MS-CFB] §2.6)."""
    names = set()
    for number, entry in enumerate(_ole_entries(file)):
        length = int.from_bytes(entry[64:66], "little")
        names.add(entry[: max(0, min(length, 64) - 2)].decode("utf-16-le", "replace"))
        if number == 0 and (found := _OLE_CLASSES.get(entry[80:96])):
            return found
    return next((content_type for name, content_type in _OLE_STREAMS if name in names), OLE)


def _ole_entries(file: BinaryIO) -> Iterator[bytes]:
    """The directory's entries, sector by sector along its chain."""
    file.seek(0)
    header = file.read(512)
    sector_bytes = 1 << max(7, min(int.from_bytes(header[30:32], "little"), 12))
    sector = _sector_in(header[48:52])
    for _ in range(_OLE_DIRECTORY_SECTORS):
        if sector is None:
            return
        file.seek((sector + 1) * sector_bytes)
        content = file.read(sector_bytes)
        yield from (content[at : at + _OLE_ENTRY_BYTES] for at in range(0, len(content) - 127, _OLE_ENTRY_BYTES))
        # The allocation table's sectors stand in the header, as far as 109 of them go (7 MB, with large sectors 436).
        block, place = divmod(sector, sector_bytes // 4)
        table = _sector_in(header[76 + 4 * block : 80 + 4 * block])
        if table is None:
            return
        file.seek((table + 1) * sector_bytes + 4 * place)
        sector = _sector_in(file.read(4))


def _sector_in(number: bytes) -> int | None:
    """The sector that these four bytes name; None where they end early, or name none that a file here has."""
    sector = int.from_bytes(number, "little")
    return sector if len(number) == 4 and sector < _OLE_SECTORS else None


def _declared_type(head: bytes) -> str | None:
    if head[26:28] != b"\x08\0" or head[30:38] != b"mimetype" or head[8:10] != b"\0\0":
        return None
    start = 38 + int.from_bytes(head[28:30], "little")
    content = head[start : start + 96].partition(b"PK")[0].strip()
    declared = content.decode("ascii", "replace").removesuffix("-template")
    return declared if declared in _DECLARED_TYPES else None


def _type_of_entries(names: Iterable[str]) -> str | None:
    office: str | None = None
    marked = False
    for position, name in enumerate(names):
        if position < 3 and name == "META-INF/MANIFEST.MF":
            return "application/java-archive"
        if name in _TELLING_NAMES:
            return _TELLING_NAMES[name]
        marked = marked or name in _OFFICE_MARKS or name.endswith(".xml.rels")
        if office is None:
            office = _OFFICE_FOLDERS.get(name[: name.find("/") + 1])
        if marked and office is not None:
            return office
    return None


def _local_names(head: bytes) -> Iterator[str]:
    start = 0
    while start >= 0 and head.startswith(b"PK\x03\x04", start) and len(head) >= start + 30:
        (flags,) = struct.unpack_from("<H", head, start + 6)
        packed_size, _, name_length, extra_length = struct.unpack_from("<IIHH", head, start + 18)
        data = start + 30 + name_length + extra_length
        if start + 30 + name_length > len(head):
            return
        yield head[start + 30 : start + 30 + name_length].decode("utf-8", "replace")
        # Flag 3: the size follows the data instead of standing here.
        start = _after_descriptor(head, data) if flags & 8 and not packed_size else data + packed_size


def _after_descriptor(head: bytes, data: int) -> int:
    """Where the next entry begins when the size of this one stands in a descriptor behind it; -1: not seen.

    A descriptor is believed only if its size fits its place and another record follows, as an entry may
    itself be a stored ZIP.
    """
    found = head.find(b"PK\x07\x08", data)
    while found >= 0:
        if int.from_bytes(head[found + 8 : found + 12], "little") == found - data:
            # Sizes have four bytes, in ZIP64 eight.
            for following in (found + 16, found + 24):
                if head.startswith(b"PK", following):
                    return following
        found = head.find(b"PK\x07\x08", found + 4)
    return -1


def _central_names(directory: bytes) -> Iterator[str]:
    start = 0
    while directory.startswith(b"PK\x01\x02", start) and len(directory) >= start + 46:
        name_length, extra_length, comment_length = struct.unpack_from("<HHH", directory, start + 28)
        yield directory[start + 46 : start + 46 + name_length].decode("utf-8", "replace")
        start += 46 + name_length + extra_length + comment_length
