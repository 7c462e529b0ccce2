"""What a picture's file tells in front of its pixels, read without the decoder, which takes memory or time to be made.

Sources: https://developers.google.com/speed/webp/docs/riff_container, RFC 9649, https://www.w3.org/TR/png-3/#5Chunk-layout
"""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

CHUNKS: Final = 10_000  # of a WebP that are stepped over to find its EXIF
EXIF_BYTES: Final = 1024 * 1024
READ_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Webp:
    """A WebP's canvas."""

    width: int
    height: int
    has_alpha: bool
    exif: bytes = b""


def webp(path: Path) -> Webp | None:
    """The canvas of a WebP, and its EXIF; None where the header is none or is cut off."""
    with path.open("rb") as file:
        head = file.read(30)
        if len(head) < 30 or head[:4] != b"RIFF" or head[8:12] != b"WEBP":
            return None
        if head[12:16] == b"VP8X":
            return Webp(
                width=1 + int.from_bytes(head[24:27], "little"),
                height=1 + int.from_bytes(head[27:30], "little"),
                has_alpha=bool(head[20] & 0x10),
                exif=_webp_exif(file) if head[20] & 0x08 else b"",
            )
    if head[12:16] == b"VP8L" and head[20] == 0x2F:
        bits = int.from_bytes(head[21:25], "little")
        return Webp(width=1 + (bits & 0x3FFF), height=1 + (bits >> 14 & 0x3FFF), has_alpha=bool(bits >> 28 & 1))
    if head[12:16] == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        width, height = (int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (26, 28))
        return Webp(width=width, height=height, has_alpha=False)
    return None


def _webp_exif(file: BinaryIO) -> bytes:
    file.seek(12)
    for _ in range(CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            break
        length = int.from_bytes(head[4:], "little")
        if head[:4] == b"EXIF":
            return file.read(min(length, EXIF_BYTES))
        file.seek(length + (length & 1), io.SEEK_CUR)
    return b""


def png_asides(path: Path, at_most: int) -> int:
    """How many of a PNG's chunks hold no pixels, counted as far as `at_most`."""
    count = 0
    with path.open("rb") as file:
        file.seek(8)
        while count < at_most and len(head := file.read(8)) == 8 and head[4:] != b"IEND":
            count += head[4:] not in (b"IDAT", b"fdAT", b"fcTL")
            file.seek(int.from_bytes(head[:4], "big") + 4, io.SEEK_CUR)
    return count


def png_is_sound(path: Path) -> bool:
    """Whether a PNG's chunks have the checksums that they say. Raises EOFError where it ends before its end."""
    with path.open("rb") as file:
        file.seek(8)
        name = b""
        while name != b"IEND":
            head = _take(file, 8)
            left, name = int.from_bytes(head[:4], "big"), head[4:]
            found = zlib.crc32(name)
            while left:
                piece = _take(file, min(left, READ_BYTES))
                left, found = left - len(piece), zlib.crc32(piece, found)
            if int.from_bytes(_take(file, 4), "big") != found:
                return False
    return True


def _take(file: BinaryIO, size: int) -> bytes:
    piece = file.read(size)
    if len(piece) < size:
        raise EOFError
    return piece
