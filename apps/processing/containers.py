"""What lies in a ZIP or OLE container, told from the names of its entries, and from the beginning of one that names it.

Office documents, e-books and Java archives are all ZIP files. Which one it is stands in the names of the
entries: at the front in the local headers, at the end in the central directory, which is the one that counts.
Entries are stepped over by their declared sizes and never searched for, so that a ZIP *of* a spreadsheet is
not taken for a spreadsheet. Three entries are unpacked, a few KiB of each: the one in which an office package lists its
parts' types, and the two in which OpenDocument names its own. Source: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import io
import itertools
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from . import office, zips

ZIP: Final = "application/zip"
ZIP_MAGIC: Final = (b"PK\x03\x04", b"PK\x05\x06")
"""An archive begins with its first entry, or, when it is empty, with its end record."""

OLE: Final = "application/x-ole-storage"
OLE_MAGIC: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

_OFFICE_FOLDERS: Final = {
    "word/": office.BY_ENDING["docx"],
    "xl/": office.BY_ENDING["xlsx"],
    "ppt/": office.BY_ENDING["pptx"],
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

# ODF 1.2 part 3 §3.3 and EPUB OCF §4.3: the first entry is "mimetype", stored, and holds the media type. Where someone
# has packed the folder anew it is another, or packed as well.
_DECLARED_TYPES: Final = frozenset(
    {
        "application/epub+zip",
        "application/vnd.oasis.opendocument.text",
        "application/vnd.oasis.opendocument.spreadsheet",
        "application/vnd.oasis.opendocument.presentation",
        "application/vnd.oasis.opendocument.graphics",
    }
)

_MEMBERS: Final = 10_000
"""Office files have hundreds; of a larger directory only so many entries are looked at."""

# What is read of a member, where its name alone does not tell; nothing else is ever unpacked.
_TELLING_CONTENTS: Final = frozenset(
    {
        "[Content_Types].xml", "xl/workbook.bin", "mimetype", "META-INF/container.xml", "META-INF/manifest.xml",
        "content.xml",
    }
)  # fmt: skip
_TELLING_BYTES: Final = 32 * 1024

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
    file = io.BytesIO(head)
    return _declared_type(head) or _type_of_members(file, _local_members(head)) or ZIP


def zip_type_of_file(file: BinaryIO) -> str | None:
    """The media type of a whole ZIP container, from its central directory; None if that cannot be found."""
    file.seek(0)
    return _declared_type(file.read(256)) or _type_by_directory(file)


def zip_at_end(file: BinaryIO, size: int) -> str | None:
    """The media type of a ZIP with something in front, whose directory is the end of the file; None where none is."""
    return _type_by_directory(file, lambda directory: directory.end == size and directory.shift != 0)


def _type_by_directory(
    file: BinaryIO, is_meant: Callable[[zips.Directory], bool] = lambda directory: True
) -> str | None:
    try:
        directory = zips.find_directory(file)
    except zips.NotAZip:
        return None
    if not is_meant(directory):
        return None
    members = list(itertools.islice(zips.members(file, directory), _MEMBERS))
    return _type_of_members(file, members) or ZIP if members else None


def is_compound(path: Path) -> bool:
    """Whether the file is an OLE container, whatever type it was told to be: an encrypted package is one."""
    with path.open("rb") as file:
        return file.read(len(OLE_MAGIC)) == OLE_MAGIC


def ole_type(head: bytes, ending: str = "") -> str:
    """The media type of an OLE container as far as its directory lies within `head`."""
    return ole_type_of_file(io.BytesIO(head), ending)


def ole_type_of_file(file: BinaryIO, ending: str = "") -> str:
    """The media type of a whole OLE container, from the names in its directory ([MS-CFB] §2.6).

    An encrypted package of Office Open XML is that one of its family which the ending of its name says.
    """
    names = set()
    for number, entry in enumerate(_ole_entries(file)):
        length = int.from_bytes(entry[64:66], "little")
        names.add(entry[: max(0, min(length, 64) - 2)].decode("utf-16-le", "replace"))
        if number == 0 and (found := _OLE_CLASSES.get(entry[80:96])):
            return found
    if "EncryptedPackage" in names:
        return office.BY_ENDING.get(ending, OLE)
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
    return _declared(head[start : start + 96].partition(b"PK")[0])


def _declared(content: bytes) -> str | None:
    declared = content.strip().decode("ascii", "replace").removesuffix("-template")
    return declared if declared in _DECLARED_TYPES else None


def _type_of_members(file: BinaryIO, members: Iterable[zips.Member]) -> str | None:
    folder: str | None = None
    marked = is_book = False
    telling: dict[str, zips.Member] = {}
    for position, member in enumerate(members):
        name = member.name
        if position < 3 and name == "META-INF/MANIFEST.MF":
            return "application/java-archive"
        if name in _TELLING_NAMES and not (marked and folder):
            return _TELLING_NAMES[name]
        if name in _TELLING_CONTENTS:
            telling[name] = member
        marked = marked or name in _OFFICE_MARKS or name.endswith(".xml.rels")
        is_book = is_book or name.endswith(".opf")
        if folder is None:
            folder = _OFFICE_FOLDERS.get(name[: name.find("/") + 1])

    def beginning(name: str) -> bytes:
        return _beginning(file, telling[name]) if name in telling else b""

    if marked and folder is not None:
        return office.by_main_part(beginning("[Content_Types].xml")) or (
            office.BY_ENDING["xlsb"] if "xl/workbook.bin" in telling else folder
        )
    if "META-INF/container.xml" in telling and is_book:
        return "application/epub+zip"
    if "META-INF/manifest.xml" in telling and "content.xml" in telling:
        return _declared(beginning("mimetype")) or _manifest_type(beginning("META-INF/manifest.xml"))
    return _declared(beginning("mimetype"))


def _manifest_type(manifest: bytes) -> str | None:
    """What an OpenDocument's manifest says of the package itself, and not of one of its parts (ODF 1.2 part 3 §4.3)."""
    root = manifest.find(b'full-path="/"')
    entry = manifest[max(0, manifest.rfind(b"<", 0, root)) : manifest.find(b">", root)] if root >= 0 else b""
    return _declared(entry.partition(b'media-type="')[2].partition(b'"')[0])


def _beginning(file: BinaryIO, member: zips.Member) -> bytes:
    try:
        return next(zips.chunks(file, member, zips.READ_BYTES), b"")[:_TELLING_BYTES]
    except (zips.MemberUnreadable, zips.MemberTooLarge):
        return b""


def _local_members(head: bytes) -> Iterator[zips.Member]:
    start = 0
    while start >= 0 and head.startswith(b"PK\x03\x04", start) and len(head) >= start + 30:
        flags, method = struct.unpack_from("<HH", head, start + 6)
        packed, size, name_length, extra_length = struct.unpack_from("<IIHH", head, start + 18)
        data = start + 30 + name_length + extra_length
        if start + 30 + name_length > len(head):
            return
        # Flag 3: the size follows the data instead of standing here.
        following = _after_descriptor(head, data) if flags & 8 and not packed else data + packed
        yield zips.Member(
            name=head[start + 30 : start + 30 + name_length].decode("utf-8", "replace"),
            size=size, packed=max(0, following - data), method=method, encrypted=bool(flags & 1),
            modified=(0, 0, 0, 0, 0, 0), made_on=0, attributes=0, offset=start,
        )  # fmt: skip
        start = following


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
