"""Animations: how many frames, and for how long each is shown, by stepping over a file's blocks; nothing is decoded.

Sources: https://www.w3.org/Graphics/GIF/spec-gif89a.txt, https://www.w3.org/TR/png-3/#apng-frame-based-animation,
https://developers.google.com/speed/webp/docs/riff_container#animation
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final


def durations(path: Path, form: str, at_most: int) -> list[float] | None:
    """Seconds of each of the first `at_most` frames; None for a format whose animations are not known here."""
    walk = _WALKS.get(form)
    if walk is None:
        return None
    with path.open("rb") as file:
        return list(islice(walk(file), at_most))


def _gif(file: BinaryIO) -> Iterator[float]:
    """An image's delay, in hundredths, stands in the extension before it."""

    def skip_color_table(flags: int) -> None:
        if flags & 0x80:
            file.seek(3 << ((flags & 7) + 1), io.SEEK_CUR)

    def skip_sub_blocks() -> None:
        while (length := file.read(1)) not in (b"", b"\0"):
            file.seek(length[0], io.SEEK_CUR)

    header = file.read(13)
    skip_color_table(header[10] if len(header) == 13 else 0)
    delay = 0
    while block := file.read(1):
        if block == b"\x21":
            if file.read(1) == b"\xf9":
                control = file.read(5)
                delay = int.from_bytes(control[2:4], "little")
            skip_sub_blocks()
        elif block == b"\x2c":
            descriptor = file.read(9)
            if len(descriptor) < 9:
                return
            yield delay / 100
            delay = 0
            skip_color_table(descriptor[8])
            file.seek(1, io.SEEK_CUR)
            skip_sub_blocks()
        elif block != b"\0":
            return


def _png(file: BinaryIO) -> Iterator[float]:
    """A frame's delay is a fraction in its control chunk; hundredths where the denominator is zero."""
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        length = int.from_bytes(head[:4], "big")
        if head[4:] == b"fcTL" and length == 26:
            control = file.read(26)
            yield int.from_bytes(control[20:22], "big") / (int.from_bytes(control[22:24], "big") or 100)
            length = 0
        file.seek(length + 4, io.SEEK_CUR)


def _webp(file: BinaryIO) -> Iterator[float]:
    """Milliseconds, in three bytes of each frame's chunk."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        length = int.from_bytes(head[4:], "little")
        if head[:4] == b"ANMF":
            yield int.from_bytes(file.read(16)[12:15], "little") / 1000
            length -= 16
        file.seek(max(0, length) + (length & 1), io.SEEK_CUR)


_WALKS: Final[Mapping[str, Callable[[BinaryIO], Iterator[float]]]] = {"GIF": _gif, "PNG": _png, "WEBP": _webp}
