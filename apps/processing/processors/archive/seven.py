"""7z: the header at the end is read, and unpacked where it is packed; no file of the archive is.

Source: `7zFormat.txt` of the 7-Zip sources.
"""

from __future__ import annotations

import lzma
import os
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import BinaryIO, Final

from ...contract import JSON, ProcessingFailed
from .listing import Entry, Listing

MAGIC: Final = b"7z\xbc\xaf\x27\x1c"
HEADER_BYTES: Final = 32 * 1024 * 1024  # of a header, packed or not
PACKED_HEADERS: Final = 4  # one in the other
ITEMS: Final = 1_000_000  # entries, or what they are packed in
CODERS: Final = 64
CHECKED_TAKES: Final = 0x10000
MEMORY_BYTES: Final = 128 * 1024 * 1024
AES: Final = b"\x06\xf1\x07\x01"
LZMA_1: Final = b"\x03\x01\x01"
LZMA_2: Final = b"\x21"
COPY: Final = b"\x00"
DIRECTORY: Final = 0x10
UNIX: Final = 0x8000
EPOCH: Final = datetime(1601, 1, 1, tzinfo=UTC)


class _Broken(Exception):
    """The header is damaged, or says what none says."""


@dataclass(kw_only=True)
class _Folder:
    coders: list[tuple[bytes, bytes]]
    sizes: list[int] = field(default_factory=list)
    streams: int = 1

    @property
    def encrypted(self) -> bool:
        return any(method == AES for method, _ in self.coders)


class _Reader:
    """The header's bytes, in order. Everything raises _Broken at their end."""

    def __init__(self, data: bytes, listing: Listing) -> None:
        self._data = data
        self._listing = listing
        self._at = 0
        self._takes = 0

    def take(self, size: int) -> bytes:
        self._takes += 1
        if self._takes % CHECKED_TAKES == 0 and self._listing.late():
            raise ProcessingFailed("archive_too_large")
        piece = self._data[self._at : self._at + size]
        if len(piece) < size:
            raise _Broken
        self._at += size
        return piece

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        """A number whose first byte tells by its leading ones how many follow."""
        first, mask, value = self.byte(), 0x80, 0
        for index in range(8):
            if not first & mask:
                return value | (first & mask - 1) << 8 * index
            value |= self.byte() << 8 * index
            mask >>= 1
        return value

    def count(self) -> int:
        """A number of things that the header goes on to tell of: never more than it has bytes."""
        found = self.number()
        if found > len(self._data):
            raise _Broken
        return found

    def items(self) -> int:
        """A number of things that are kept."""
        found = self.count()
        if found > ITEMS:
            raise ProcessingFailed("archive_too_large")
        return found

    def coders(self) -> int:
        """A number of steps in which something is packed."""
        found = self.count()
        if found > CODERS:
            raise _Broken
        return found

    def bits(self, count: int) -> list[bool]:
        data = self.take((count + 7) // 8)
        return [bool(data[index // 8] & 0x80 >> index % 8) for index in range(count)]

    def known(self, count: int) -> list[bool]:
        """Which of so many are told: all, or those of a bit field."""
        if count > ITEMS:
            raise ProcessingFailed("archive_too_large")
        return [True] * count if self.byte() else self.bits(count)


def survey(file: BinaryIO, listing: Listing) -> dict[str, JSON]:
    """Take in the entries. Raises ProcessingFailed."""
    try:
        header = _header(file, listing)
        if header is None:
            listing.encrypted = True  # even the names are
        elif header:
            _take(_Reader(header, listing), listing)
    except (_Broken, lzma.LZMAError, OverflowError, struct.error) as error:
        raise ProcessingFailed("archive_broken") from error
    except MemoryError as error:
        raise ProcessingFailed("archive_too_large") from error
    return {}


def _header(file: BinaryIO, listing: Listing) -> bytes | None:
    """The unpacked header; nothing for an empty archive, None where it is encrypted."""
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(32)
    if len(start) < 32 or not start.startswith(MAGIC):
        raise _Broken
    offset, size = struct.unpack_from("<QQ", start, 12)
    if not size:
        return b""
    header = _piece(file, 32 + offset, size, end)
    for _ in range(PACKED_HEADERS):
        if header[:1] != b"\x17":
            return header
        packed_at, packed_sizes, folders = _streams(_Reader(header[1:], listing))
        if len(folders) != 1 or not packed_sizes:
            raise _Broken
        if folders[0].encrypted:
            return None
        packed = _piece(file, 32 + packed_at, packed_sizes[0], end)
        header = _unpacked(packed, folders[0])
    raise _Broken  # a header may hold itself


def _piece(file: BinaryIO, at: int, size: int, end: int) -> bytes:
    if size > HEADER_BYTES:
        raise ProcessingFailed("archive_too_large")
    if at + size > end:
        raise _Broken
    file.seek(at)
    return file.read(size)


def _unpacked(packed: bytes, folder: _Folder) -> bytes:
    if len(folder.coders) != 1 or not folder.sizes:
        raise _Broken
    (method, properties), size = folder.coders[0], folder.sizes[-1]
    if size > HEADER_BYTES:
        raise ProcessingFailed("archive_too_large")
    if method == COPY:
        return packed[:size]
    if method == LZMA_1 and len(properties) == 5:
        rest, lp_pb = properties[0] % 9, properties[0] // 9
        chosen = {"id": lzma.FILTER_LZMA1, "lc": rest, "lp": lp_pb % 5, "pb": lp_pb // 5}
        dictionary = int.from_bytes(properties[1:], "little")
    elif method == LZMA_2 and len(properties) == 1:
        chosen = {"id": lzma.FILTER_LZMA2}
        dictionary = (2 | properties[0] & 1) << properties[0] // 2 + 11
    else:
        raise _Broken
    chosen["dict_size"] = max(4096, min(dictionary, MEMORY_BYTES))
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[chosen]).decompress(packed, size)


def _streams(reader: _Reader) -> tuple[int, list[int], list[_Folder]]:
    """Where the packed streams lie, their sizes, and the folders that they unpack to."""
    at, sizes, folders = 0, [], list[_Folder]()
    while (kind := reader.byte()) != 0:
        if kind == 6:
            at, count = reader.number(), reader.items()
            while (inner := reader.byte()) != 0:
                if inner == 9:
                    sizes = [reader.number() for _ in range(count)]
                elif inner == 10:
                    _digests(reader, count)
                else:
                    raise _Broken
        elif kind == 7:
            folders = _folders(reader)
        elif kind == 8:
            _substreams(reader, folders)
        else:
            raise _Broken
    return at, sizes, folders


def _digests(reader: _Reader, count: int) -> None:
    reader.take(4 * sum(reader.known(count)))


def _folders(reader: _Reader) -> list[_Folder]:
    if reader.byte() != 11:
        raise _Broken
    count = reader.items()
    if reader.byte():  # told elsewhere
        raise _Broken
    folders, outputs = [], []
    for _ in range(count):
        coders, ins, outs = [], 0, 0
        for _ in range(reader.coders()):
            flags = reader.byte()
            method = reader.take(flags & 15)
            inner, outer = (reader.count(), reader.count()) if flags & 0x10 else (1, 1)
            properties = reader.take(reader.count()) if flags & 0x20 else b""
            ins, outs = ins + inner, outs + outer
            coders.append((method, properties))
        bonds = max(0, outs - 1)
        for _ in range(2 * bonds):
            reader.number()
        loose = ins - bonds
        if loose > 1:
            for _ in range(loose):
                reader.number()
        folders.append(_Folder(coders=coders))
        outputs.append(outs)
    if reader.byte() != 12:
        raise _Broken
    for folder, outs in zip(folders, outputs, strict=True):
        folder.sizes = [reader.number() for _ in range(outs)]
    while (kind := reader.byte()) != 0:
        if kind != 10:
            raise _Broken
        _digests(reader, count)
    return folders


def _substreams(reader: _Reader, folders: list[_Folder]) -> None:
    kind = reader.byte()
    if kind == 13:
        for folder in folders:
            folder.streams = reader.items()
        kind = reader.byte()
    if kind == 9:
        for folder in folders:
            if not folder.streams:
                folder.sizes = []
                continue
            whole = folder.sizes[-1] if folder.sizes else 0
            sizes = [reader.number() for _ in range(folder.streams - 1)]
            folder.sizes = [*sizes, max(0, whole - sum(sizes))]
        kind = reader.byte()
    else:
        for folder in folders:
            folder.sizes = folder.sizes[-1:] if folder.streams == 1 else []
    while kind != 0:
        if kind != 10:
            raise _Broken
        # Digests are told of streams whose folder has none; nothing behind them is needed here but the end.
        unknown = sum(folder.streams for folder in folders)
        _digests(reader, unknown)
        kind = reader.byte()


def _take(reader: _Reader, listing: Listing) -> None:
    """Go through a whole header."""
    if reader.byte() != 1:
        raise _Broken
    folders: list[_Folder] = []
    while (kind := reader.byte()) != 0:
        if kind == 2:
            while reader.byte() != 0:
                reader.take(reader.count())
        elif kind == 4:
            _, _, folders = _streams(reader)
        elif kind == 5:
            _files(reader, folders, listing)
            return
        else:
            raise _Broken


def _files(reader: _Reader, folders: list[_Folder], listing: Listing) -> None:
    count = reader.items()
    names, empty, times, attributes = [""] * count, [False] * count, [None] * count, [0] * count
    moments: list[str | None] = list(times)
    while (kind := reader.byte()) != 0:
        inner = _Reader(reader.take(reader.count()), listing)
        if kind == 14:
            empty = inner.bits(count)
        elif kind == 17 and not inner.byte():
            text = inner.take(len(inner._data) - 1).decode("utf-16-le", "replace")
            names = (text.split("\0") + names)[:count]
        elif kind == 20:
            known = inner.known(count)
            if not inner.byte():
                moments = [_moment(inner.take(8)) if told else None for told in known]
        elif kind == 21:
            known = inner.known(count)
            if not inner.byte():
                attributes = [int.from_bytes(inner.take(4), "little") if told else 0 for told in known]
    sizes = iter([(size, folder.encrypted) for folder in folders for size in folder.sizes])
    for index in range(count):
        size, encrypted = (0, False) if empty[index] else next(sizes, (0, False))
        mode = attributes[index] >> 16 if attributes[index] & UNIX else 0
        link = mode & 0o170000 == 0o120000
        directory = empty[index] and bool(attributes[index] & DIRECTORY)
        listing.add(
            Entry(
                name=names[index],
                size=size,
                modified=moments[index],
                sort="link" if link else "directory" if directory else "file",
                encrypted=encrypted,
            )
        )
        if listing.late():
            listing.truncated = True
            return


def _moment(raw: bytes) -> str | None:
    """A Windows file time: tenths of a microsecond since 1601."""
    try:
        found = EPOCH + timedelta(microseconds=int.from_bytes(raw, "little") // 10)
    except OverflowError:
        return None
    return found.strftime("%Y-%m-%dT%H:%M:%SZ")
