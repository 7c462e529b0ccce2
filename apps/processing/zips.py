"""ZIP files read within bounds: the central directory as an iterator, and single members inflated up to a limit.

Nothing is ever written to disk, no path in it is followed, and no size that it declares is believed: an inflated member
stops at the limit that its reader gives. Stored and deflated members can be read, which is all that documents use.

Source: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3 to 4.5.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

END: Final = b"PK\x05\x06"
END_64: Final = b"PK\x06\x06"
LOCATOR_64: Final = b"PK\x06\x07"
ENTRY: Final = b"PK\x01\x02"
LOCAL: Final = b"PK\x03\x04"
STORED, DEFLATED = 0, 8

COMMENT_BYTES: Final = 65_535
READ_BYTES: Final = 256 * 1024
MAX: Final = 0xFFFFFFFF


class NotAZip(Exception):
    """The bytes are no ZIP that can be read: damaged, cut off, or never one."""


class MemberTooLarge(Exception):
    """A member inflates to more than its reader wants."""


class MemberUnreadable(Exception):
    """A member is damaged, encrypted, or packed in a way that documents do not use."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One entry of the central directory, as it declares itself; sizes in bytes."""

    name: str
    size: int
    packed: int
    method: int
    encrypted: bool
    modified: tuple[int, int, int, int, int, int]
    made_on: int
    attributes: int
    offset: int

    @property
    def is_directory(self) -> bool:
        """Whether it stands for a directory."""
        return self.name.endswith("/")

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link, as Unix writes one."""
        return self.made_on == 3 and (self.attributes >> 28) == 0xA


@dataclass(frozen=True, kw_only=True)
class Directory:
    """Where the central directory lies, how many entries it says to have, and the archive's comment."""

    offset: int
    size: int
    count: int
    comment: str
    shift: int  # bytes before the archive, as a self-extracting one has
    end: int  # of the archive, its comment with it


def find_directory(file: BinaryIO) -> Directory:
    """The central directory of a ZIP. Raises NotAZip."""
    length = file.seek(0, os.SEEK_END)
    tail_bytes = min(length, COMMENT_BYTES + 22 + 20)
    file.seek(length - tail_bytes)
    tail = file.read(tail_bytes)
    at = tail.rfind(END)
    if at < 0 or at + 22 > len(tail):
        raise NotAZip("no end record")
    _, _, _, count, size, offset, comment_bytes = struct.unpack_from("<4HLLH", tail, at + 4)
    comment = decode(tail[at + 22 : at + 22 + comment_bytes], utf8=False)
    end = length - tail_bytes + at
    stop = end + 22 + comment_bytes
    if MAX in (size, offset) or count == 0xFFFF:
        count, size, offset, end = _wide(file, tail, at, count, size, offset, end)
    shift = end - size - offset
    if shift < 0 or size > length or offset > length:
        raise NotAZip("the directory lies outside the file")
    return Directory(offset=offset + shift, size=size, count=count, comment=comment, shift=shift, end=stop)


def _wide(
    file: BinaryIO, tail: bytes, at: int, count: int, size: int, offset: int, end: int
) -> tuple[int, int, int, int]:
    if at < 20 or tail[at - 20 : at - 16] != LOCATOR_64:
        return count, size, offset, end
    (where,) = struct.unpack_from("<Q", tail, at - 12)
    file.seek(where if where <= end else 0)
    record = file.read(56)
    if len(record) < 56 or not record.startswith(END_64):
        raise NotAZip("no wide end record")
    count, size, offset = struct.unpack_from("<QQQ", record, 32)
    return count, size, offset, where


def members(file: BinaryIO, directory: Directory) -> Iterator[Member]:
    """The entries, in the directory's order, as far as it can be read; whoever takes them may read the file between."""
    window = _Window(file, directory)
    while window.holds(46) and window.buffer.startswith(ENTRY, window.at):
        whole = 46 + sum(_lengths(window.buffer, window.at))
        if not window.holds(whole):
            return
        yield _member(window.buffer, window.at, directory.shift)
        window.at += whole


class _Window:
    """A part of the directory in memory, moved along as it is read."""

    def __init__(self, file: BinaryIO, directory: Directory) -> None:
        self._file = file
        self._position = directory.offset
        self._left = directory.size
        self.buffer = b""
        self.at = 0

    def holds(self, size: int) -> bool:
        """Whether so many bytes lie ahead, read from the file where they did not."""
        while len(self.buffer) - self.at < size:
            self._file.seek(self._position)
            more = self._file.read(min(self._left, READ_BYTES))
            if not more:
                return False
            self._position += len(more)
            self._left -= len(more)
            self.buffer, self.at = self.buffer[self.at :] + more, 0
        return True


def _lengths(buffer: bytes, position: int) -> tuple[int, int, int]:
    lengths: tuple[int, int, int] = struct.unpack_from("<3H", buffer, position + 28)
    return lengths


def _member(buffer: bytes, at: int, shift: int) -> Member:
    version, _, flags, method, time, date = struct.unpack_from("<6H", buffer, at + 4)
    packed, size = struct.unpack_from("<LL", buffer, at + 20)
    name_bytes, extra_bytes, _ = _lengths(buffer, at)
    (attributes,) = struct.unpack_from("<L", buffer, at + 38)
    (offset,) = struct.unpack_from("<L", buffer, at + 42)
    name = decode(buffer[at + 46 : at + 46 + name_bytes], utf8=bool(flags & 0x800))
    if MAX in (packed, size, offset):
        extra = buffer[at + 46 + name_bytes : at + 46 + name_bytes + extra_bytes]
        size, packed, offset = _wide_sizes(extra, size, packed, offset)
    return Member(
        name=name,
        size=size,
        packed=packed,
        method=method,
        encrypted=bool(flags & 1),
        modified=(1980 + (date >> 9), date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, (time & 31) * 2),
        made_on=version >> 8,
        attributes=attributes,
        offset=offset + shift,
    )


def _wide_sizes(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            values = iter(struct.unpack_from(f"<{min(length, len(extra) - at - 4) // 8}Q", extra, at + 4))
            size = next(values, size) if size == MAX else size
            packed = next(values, packed) if packed == MAX else packed
            offset = next(values, offset) if offset == MAX else offset
            break
        at += 4 + length
    return size, packed, offset


def decode(raw: bytes, *, utf8: bool) -> str:
    """A name or comment: UTF-8 where it says so or is that, the old code page 437 otherwise."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("utf-8", "replace") if utf8 else raw.decode("cp437")


def read(file: BinaryIO, member: Member, limit_bytes: int) -> bytes:
    """A member's bytes. Raises MemberTooLarge beyond the limit, whatever it declares, and MemberUnreadable."""
    return b"".join(chunks(file, member, limit_bytes))


def chunks(file: BinaryIO, member: Member, limit_bytes: int) -> Iterator[bytes]:
    """The same, piece by piece; the last piece may be the one that is too much."""
    if member.encrypted:
        raise MemberUnreadable("it is encrypted")
    if member.method not in (STORED, DEFLATED):
        raise MemberUnreadable(f"it is packed by method {member.method}")
    try:
        file.seek(member.offset)
    except (OSError, OverflowError, ValueError) as error:  # farther than any file reaches
        raise MemberUnreadable("it is nowhere") from error
    head = file.read(30)
    if len(head) < 30 or not head.startswith(LOCAL):
        raise MemberUnreadable("it is not where the directory says")
    file.seek(sum(struct.unpack_from("<2H", head, 26)), os.SEEK_CUR)
    position, left, seen = file.tell(), member.packed, 0
    inflate = zlib.decompressobj(-15) if member.method == DEFLATED else None
    pending = b""
    while True:
        if inflate is None or not pending:
            file.seek(position)
            data = file.read(min(left, READ_BYTES))
            position, left = position + len(data), left - len(data)
        else:
            data = pending
        if inflate is None:
            piece, over = data, not data
        else:
            try:
                piece = inflate.decompress(data, READ_BYTES)
            except zlib.error as error:
                raise MemberUnreadable("it is damaged") from error
            pending = inflate.unconsumed_tail
            over = inflate.eof or not (data or piece)
        seen += len(piece)
        if seen > limit_bytes:
            raise MemberTooLarge
        if piece:
            yield piece
        if over:
            return
