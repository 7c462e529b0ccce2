"""TAR, plain or packed, and single packed files: read as streams, never further than the bounds, never to disk."""

from __future__ import annotations

import io
import re
import tarfile
from datetime import UTC, datetime
from typing import BinaryIO, Final, Self, cast

from ...contract import JSON, ProcessingFailed
from .listing import Entry, Listing
from .packing import BROKEN, OPENERS, Packed

HEAD_BYTES: Final = 512
SEEN_BYTES: Final = 2 * 1024**3  # unpacked bytes that are gone through at most
READ_BYTES: Final = 256 * 1024
TEXT_BYTES: Final = 500
EXTENDED_BYTES: Final = 64 * 1024


class Bounded(io.RawIOBase):
    """What a stream unpacks to, counted: past the bounds it is a bomb, or simply over."""

    def __init__(self, stream: BinaryIO | Packed, file: BinaryIO, listing: Listing) -> None:
        self._stream = stream
        self._file = file
        self._listing = listing
        self.seen = 0
        self.cut = False

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: object) -> int:
        """The next bytes; none once the bounds are reached. Raises ProcessingFailed for a bomb."""
        view = memoryview(cast(bytearray, buffer))
        data = self._piece(len(view))
        view[: len(data)] = data
        return len(data)

    def drain(self) -> None:
        """Go through what is left of it. Raises what is in BROKEN, and ProcessingFailed for a bomb."""
        while self._piece(READ_BYTES):
            pass

    def _piece(self, size: int) -> bytes:
        if self.seen >= SEEN_BYTES or self._listing.late():
            self.cut = True
            return b""
        data = self._stream.read(min(size, READ_BYTES))
        self.cut = self.cut or getattr(self._stream, "cut", False)
        self.seen += len(data)
        self._listing.check(self.seen, self._file.tell())
        return data


def survey(file: BinaryIO, content_type: str, listing: Listing) -> dict[str, JSON]:
    """Take in the entries of a TAR, or the one file that is packed. Raises ProcessingFailed."""
    opener = OPENERS.get(content_type)
    packing = content_type.rpartition("/")[2].removeprefix("x-") if opener else None
    try:
        stream = Bounded(opener(file, listing.late) if opener else file, file, listing)
        head = _fill(stream, HEAD_BYTES)
    except BROKEN as error:
        raise ProcessingFailed("archive_broken") from error
    whole = cast(BinaryIO, io.BufferedReader(_Again(head, stream), READ_BYTES))
    if is_tar(head):
        _tar(whole, stream, listing)
        listing.truncated = listing.truncated or stream.cut
        return {"format": "tar", "packing": packing}
    _single(stream, file, content_type, listing)
    return {"format": packing, "packing": packing}


class _Again(io.RawIOBase):
    """A stream whose beginning was read, from its beginning."""

    def __init__(self, head: bytes, stream: Bounded) -> None:
        self._head = head
        self._stream = stream

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: object) -> int:
        """The next bytes."""
        if self._head:
            view = memoryview(cast(bytearray, buffer))
            size = min(len(view), len(self._head))
            view[:size], self._head = self._head[:size], self._head[size:]
            return size
        return self._stream.readinto(buffer)


def _fill(stream: Bounded, size: int) -> bytes:
    found = b""
    while len(found) < size:
        buffer = bytearray(size - len(found))
        count = stream.readinto(buffer)
        if not count:
            break
        found += buffer[:count]
    return found


def is_tar(head: bytes) -> bool:
    """Whether a block is a TAR header: its checksum is right, by either way of counting."""
    if len(head) < HEAD_BYTES or not head.strip(b"\0"):
        return False
    try:
        told = int(head[148:156].strip(b"\0 ") or b"x", 8)
    except ValueError:
        return False
    return told == sum(head[:148]) + 8 * 32 + sum(head[156:512])


class _TooLong(tarfile.ReadError):
    """A header says to go on for longer than any does."""


class _Info(tarfile.TarInfo):
    """An entry. Older Pythons search its extended header in the square of its length, which is bounded therefore."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """As tarfile reads a header; of a plain one only what is told of: the rest takes most of the time."""
        buf = bytes(buf)
        size, modified, checksum = (_octal(buf[at : at + length]) for at, length in ((124, 12), (136, 12), (148, 8)))
        sort = buf[156:157]
        if (
            len(buf) != HEAD_BYTES
            or buf[257:262] != b"ustar"
            or sort not in PLAIN_SORTS
            or size is None
            or modified is None
            or checksum != sum(buf) - sum(buf[148:156]) + 8 * 32
        ):
            return super().frombuf(buf, encoding, errors)
        name, prefix = (buf[at : at + length].partition(b"\0")[0] for at, length in ((0, 100), (345, 155)))
        if prefix:
            name = prefix + b"/" + name
        info = cls(name.decode(encoding, errors))
        info.size, info.mtime, info.type = size, modified, sort
        if sort == tarfile.AREGTYPE and info.name.endswith("/"):
            info.type = tarfile.DIRTYPE
        if info.isdir():
            info.name = info.name.rstrip("/")
        if info.issym() or info.islnk():
            info.linkname = buf[157:257].partition(b"\0")[0].decode(encoding, errors)
        return info

    def _proc_pax(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size > EXTENDED_BYTES:
            raise _TooLong
        return super()._proc_pax(archive)  # type: ignore[misc,no-any-return]

    def _proc_gnulong(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size > EXTENDED_BYTES:
            raise _TooLong
        return super()._proc_gnulong(archive)  # type: ignore[misc,no-any-return]


PLAIN_SORTS: Final = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE)
OCTAL: Final = re.compile(rb" *([0-7]{1,12})[ \0]*")


def _octal(data: bytes) -> int | None:
    match = OCTAL.fullmatch(data)
    return int(match[1], 8) if match else None


def _tar(whole: BinaryIO, stream: Bounded, listing: Listing) -> None:
    try:
        with tarfile.open(fileobj=whole, mode="r|", errorlevel=0, tarinfo=_Info) as archive:
            for info in archive:
                listing.add(_entry(info))
                archive.members = []  # type: ignore[attr-defined]  # it would remember them all
                if listing.late():
                    listing.truncated = True
                    return
            # tarfile does not mind where the last entry's bytes are missing, nor what ends behind its own end
            listing.truncated = listing.truncated or archive.offset > stream.seen
        stream.drain()
    except (tarfile.TarError, *BROKEN, RecursionError, OverflowError) as error:
        if not listing.count:
            raise ProcessingFailed("archive_too_large" if isinstance(error, _TooLong) else "archive_broken") from error
        listing.truncated = True


def _entry(info: tarfile.TarInfo) -> Entry:
    link = info.issym() or info.islnk()
    sort = "file" if info.isfile() else "directory" if info.isdir() else "link" if link else "other"
    modified = None
    if 0 < info.mtime < 2**34:
        modified = datetime.fromtimestamp(info.mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    target = info.linkname if info.issym() else None
    return Entry(name=info.name, size=info.size if info.isfile() else 0, modified=modified, sort=sort, target=target)


def _single(stream: Bounded, file: BinaryIO, content_type: str, listing: Listing) -> None:
    try:
        stream.drain()
    except BROKEN:
        listing.truncated = True
    listing.truncated = listing.truncated or stream.cut
    if listing.truncated and not stream.seen:
        raise ProcessingFailed("archive_broken")
    name = _gzip_name(file) if content_type == "application/gzip" else ""
    listing.add(Entry(name=name, size=stream.seen))


def _gzip_name(file: BinaryIO) -> str:
    """The name that gzip keeps (RFC 1952, section 2.3), if there is one."""
    file.seek(0)
    head = file.read(10 + TEXT_BYTES)
    if len(head) < 10 or not head[3] & 8 or head[3] & 4:
        return ""
    return head[10:].partition(b"\0")[0].decode("latin-1")
