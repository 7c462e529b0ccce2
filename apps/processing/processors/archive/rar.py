"""RAR 4 and 5: the headers are walked, nothing is unpacked.

Sources: the RAR 5.0 archive format note of its author; the RAR 4 technical note (`technote.txt`).
"""

from __future__ import annotations

import os
import struct
from datetime import UTC, datetime
from typing import BinaryIO, Final

from ...contract import JSON, ProcessingFailed
from .listing import Entry, Listing, local_moment

MAGIC_4: Final = b"Rar!\x1a\x07\x00"
MAGIC_5: Final = b"Rar!\x1a\x07\x01\x00"
HEADER_BYTES: Final = 2 * 1024 * 1024  # as long as RAR 5 allows a header to be
UNPACKED_UNKNOWN: Final = 8


class _Cut(Exception):
    """The bytes end within a header, or are none."""


def survey(file: BinaryIO, listing: Listing) -> dict[str, JSON]:
    """Take in the entries, as far as the headers can be read. Raises ProcessingFailed."""
    file.seek(0)
    head = file.read(len(MAGIC_5))
    walk, at, version = (_walk_5, 8, 5) if head == MAGIC_5 else (_walk_4, 7, 4)
    if not head.startswith((MAGIC_4, MAGIC_5)):
        raise ProcessingFailed("archive_broken")
    try:
        walk(file, at, listing)
    except _Cut as error:
        if not listing.count and not listing.encrypted:
            raise ProcessingFailed("archive_broken") from error
        listing.truncated = True
    return {"version": version}


class _Fields:
    """The fields of one header, in order."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        """So many bytes. Raises _Cut."""
        piece = self.data[self.at : self.at + size]
        if len(piece) < size:
            raise _Cut
        self.at += size
        return piece

    def number(self, size: int) -> int:
        """A little-endian number of so many bytes."""
        return int.from_bytes(self.take(size), "little")

    def vint(self) -> int:
        """A number of seven bits a byte, the least first."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
        raise _Cut


def _walk_5(file: BinaryIO, at: int, listing: Listing) -> None:
    end = file.seek(0, os.SEEK_END)
    while at < end:
        if listing.late():
            listing.truncated = True
            return
        file.seek(at)
        start = _Fields(file.read(7))
        start.take(4)
        size = start.vint()
        if not 0 < size <= HEADER_BYTES:
            raise _Cut
        file.seek(at + start.at)
        fields = _Fields(file.read(size))
        at += start.at + size
        sort, flags = fields.vint(), fields.vint()
        extra = fields.vint() if flags & 1 else 0
        at += fields.vint() if flags & 2 else 0
        if sort == 4:  # everything behind it is encrypted
            listing.encrypted = True
            return
        if sort == 5:
            return
        if sort == 2:
            listing.add(_entry_5(fields, extra))
    if at > end:
        raise _Cut


def _entry_5(fields: _Fields, extra: int) -> Entry:
    flags, size, _ = fields.vint(), fields.vint(), fields.vint()
    modified = _moment(fields.number(4)) if flags & 2 else None
    if flags & 4:
        fields.take(4)
    fields.vint()
    fields.vint()
    name = fields.take(fields.vint()).decode("utf-8", "replace")
    encrypted, target = _extra_5(_Fields(fields.data[-extra:])) if extra else (False, None)
    return Entry(
        name=name,
        size=None if flags & UNPACKED_UNKNOWN else size,
        modified=modified,
        sort="directory" if flags & 1 else "link" if target is not None else "file",
        encrypted=encrypted,
        target=target,
    )


def _extra_5(fields: _Fields) -> tuple[bool, str | None]:
    encrypted, target = False, None
    while fields.at < len(fields.data):
        record = _Fields(fields.take(fields.vint()))
        sort = record.vint()
        encrypted = encrypted or sort == 1
        if sort == 5:
            link, _ = record.vint(), record.vint()
            name = record.take(record.vint()).decode("utf-8", "replace")
            target = name if link in (1, 2, 3) else ""
    return encrypted, target


def _walk_4(file: BinaryIO, at: int, listing: Listing) -> None:
    end = file.seek(0, os.SEEK_END)
    while at < end:
        if listing.late():
            listing.truncated = True
            return
        file.seek(at)
        head = file.read(7)
        if len(head) < 7:
            raise _Cut
        _, sort, flags, size = struct.unpack("<HBHH", head)
        if size < 7 or not 0x72 <= sort <= 0x7B:
            raise _Cut
        fields = _Fields(file.read(size - 7))
        at += size
        if sort == 0x7B:
            return
        if sort == 0x73 and flags & 0x80:
            listing.encrypted = True
            return
        if sort == 0x74:
            packed, entry = _entry_4(fields, flags)
            listing.add(entry)
            at += packed
        elif flags & 0x8000:
            at += fields.number(4)
    if at > end:
        raise _Cut


def _entry_4(fields: _Fields, flags: int) -> tuple[int, Entry]:
    packed, size = fields.number(4), fields.number(4)
    fields.take(5)
    stamp = fields.number(4)
    fields.take(2)
    name_bytes, _ = fields.number(2), fields.take(4)
    if flags & 0x100:
        packed |= fields.number(4) << 32
        size |= fields.number(4) << 32
    name = fields.take(name_bytes).partition(b"\0")[0].decode("utf-8", "replace").replace("\\", "/")
    date = 1980 + (stamp >> 25), stamp >> 21 & 15, stamp >> 16 & 31
    return packed, Entry(
        name=name,
        size=size,
        modified=local_moment(*date, stamp >> 11 & 31, stamp >> 5 & 63, (stamp & 31) * 2),
        sort="directory" if flags & 0xE0 == 0xE0 else "file",
        encrypted=bool(flags & 4),
    )


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
