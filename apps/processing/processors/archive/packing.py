"""Packed streams: unpacked piece by piece in bounded memory, one after the other, as far as they go."""

from __future__ import annotations

import bz2
import lzma
import os
import zlib
from collections.abc import Callable
from typing import BinaryIO, Final, Protocol

import zstandard

from ... import extents

INPUT_BYTES: Final = 16 * 1024  # that are unpacked at once: what comes before a damage is not lost with it
MEMORY_BYTES: Final = 128 * 1024 * 1024  # that a packed file may ask for to be unpacked
GZIP: Final = 16 + zlib.MAX_WBITS

BROKEN: Final = (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, ValueError)


class Packed(Protocol):
    """A file, unpacked."""

    @property
    def cut(self) -> bool:
        """Whether it ends before it should; known once it has been read to its end."""

    def read(self, size: int) -> bytes:
        """The next bytes, at most so many; none at the end. Raises what is in BROKEN."""


class _Decompressor(Protocol):
    """What bz2, lzma and _Gzip have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """zlib's, as the others are."""

    def __init__(self) -> None:
        self._unpacking = zlib.decompressobj(GZIP)
        self._full = False

    @property
    def eof(self) -> bool:
        return self._unpacking.eof

    @property
    def needs_input(self) -> bool:
        return not self._full and not self._unpacking.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._unpacking.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece = self._unpacking.decompress(self._unpacking.unconsumed_tail + data, max_length)
        self._full = len(piece) == max_length  # there may be more of it without more input
        return piece


class _Streams:
    """Streams of one sort, one behind the other; what follows them and is none is left alone, as their programs do."""

    def __init__(self, file: BinaryIO, late: Callable[[], bool], new: Callable[[], _Decompressor]) -> None:
        self._file = file
        self._late = late
        self._new = new
        self._stream = new()
        self._next = b""  # input that was read and not given
        self._is_stream = True  # the present one is no rubbish
        self._is_over = False
        self.cut = False

    def read(self, size: int) -> bytes:
        """The next bytes, at most so many; none at the end. Raises what is in BROKEN."""
        while not self._is_over:
            if self._stream.eof:
                self._next = self._stream.unused_data.lstrip(b"\0") or self._more().lstrip(b"\0")
                if not self._next:
                    break
                if self._late():
                    self.cut = True
                    break
                self._stream, self._is_stream = self._new(), False
            data = b""
            if self._stream.needs_input:
                data, self._next = self._next or self._more(), b""
                if not data:
                    self.cut = self._is_stream
                    break
            try:
                piece = self._stream.decompress(data, size)
            except BROKEN:
                if self._is_stream:
                    raise
                break
            if piece:
                self._is_stream = True
                return piece
        self._is_over = True
        return b""

    def _more(self) -> bytes:
        return self._file.read(INPUT_BYTES)


class _Zstandard:
    """Frames one behind the other. Their reader does not tell an end from a cut; their blocks do."""

    def __init__(self, file: BinaryIO, _: Callable[[], bool]) -> None:
        self._file = file
        unpacking = zstandard.ZstdDecompressor(max_window_size=MEMORY_BYTES)
        self._reader = unpacking.stream_reader(file, read_size=INPUT_BYTES, read_across_frames=True)
        self._is_over = False
        self.cut = False

    def read(self, size: int) -> bytes:
        """The next bytes, at most so many; none at the end. Raises ZstdError."""
        if self._is_over:
            return b""
        piece = self._reader.read(size)
        if not piece:
            self._is_over = True
            end = self._file.seek(0, os.SEEK_END)
            self.cut = extents.frames_end(self._file, end) > end
        return piece


# By type: the file, and whether the time for it is over.
OPENERS: Final[dict[str, Callable[[BinaryIO, Callable[[], bool]], Packed]]] = {
    "application/gzip": lambda file, late: _Streams(file, late, _Gzip),
    "application/x-bzip2": lambda file, late: _Streams(file, late, bz2.BZ2Decompressor),
    "application/x-xz": lambda file, late: _Streams(file, late, lambda: lzma.LZMADecompressor(memlimit=MEMORY_BYTES)),
    "application/zstd": _Zstandard,
}
