"""Whether MPEG audio (MP3 and its elder layers) ends before it should: by its own index, or within its last frame.

Sources: ISO/IEC 11172-3, section 2.4.1.3 (the frame's header); the Xing, Info and VBRI headers as LAME and Fraunhofer
write them; ID3v2, section 3.1; APEv2.
"""

from __future__ import annotations

import re
from typing import BinaryIO, Final

TAIL_BYTES: Final = 16 * 1024
LOOKED_AT: Final = 64 * 1024  # for the first frame
SURE: Final = 3  # frames in a row that are none by chance
TAGS: Final = 8

SYNC: Final = re.compile(rb"\xff[\xe2-\xff]")
# Kilobits a second by version (1, or 2 and 2.5) and layer; none for a rate that the header leaves open.
KILOBITS: Final = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
HERTZ: Final = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def ends_early(file: BinaryIO, size: int) -> bool:
    """Whether bytes are missing; not where it cannot be told."""
    start, stop = _after_tags(file), _before_tags(file, size)
    file.seek(start)
    head = file.read(max(0, min(LOOKED_AT, stop - start)))
    first = next((at for at in _syncs(head) if _is_sure(head, at)), None)
    if first is None:
        return False
    if start + first + _declared_bytes(head[first : first + 256]) > size:
        return True
    start = max(start + first, stop - TAIL_BYTES)
    file.seek(start)
    tail = file.read(stop - start)
    ends = (_chain(tail, at) for at in _syncs(tail) if _is_sure(tail, at))
    return any(end > len(tail) for _, end in ends)


def _syncs(data: bytes) -> list[int]:
    return [match.start() for match in SYNC.finditer(data)]


def _is_sure(data: bytes, at: int) -> bool:
    """Whether what begins here is a frame: others follow it, or it is the first bytes and reaches to the last."""
    frames, end = _chain(data, at)
    return frames >= SURE or (frames > 0 and at == 0 and end >= len(data))


def _chain(data: bytes, at: int) -> tuple[int, int]:
    """How many frames of one sort follow each other from here, and where the last of them ends."""
    frames, sort = 0, data[at + 1 : at + 2]
    while data[at + 1 : at + 2] == sort and (length := _frame_bytes(data[at : at + 4])):
        frames, at = frames + 1, at + length
    return frames, at + (at < len(data) <= at + 3 and data[at] == 0xFF) * 4


def _frame_bytes(head: bytes) -> int:
    """How long the frame is whose header this is; 0 where it is none, or does not tell."""
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bits, rate = head[2] >> 4, head[2] >> 2 & 3
    if version not in HERTZ or layer == 4 or bits in (0, 15) or rate == 3:
        return 0
    kilobits = KILOBITS[1 if version == 3 else 2, layer][bits - 1]
    padding = head[2] >> 1 & 1
    if layer == 1:
        return (12_000 * kilobits // HERTZ[version][rate] + padding) * 4
    return (72_000 if layer == 3 and version != 3 else 144_000) * kilobits // HERTZ[version][rate] + padding


def _declared_bytes(frame: bytes) -> int:
    """From this first frame on, as its encoder noted in it; 0 where it did not."""
    is_first_version, is_mono = frame[1] >> 3 & 3 == 3, frame[3] >> 6 == 3
    at = 4 + ((17 if is_mono else 32) if is_first_version else (9 if is_mono else 17))
    if frame[at : at + 4] in (b"Xing", b"Info"):
        flags = int.from_bytes(frame[at + 4 : at + 8], "big")
        at += 8 + 4 * (flags & 1)
        return int.from_bytes(frame[at : at + 4], "big") if flags & 2 else 0
    return int.from_bytes(frame[46:50], "big") if frame[36:40] == b"VBRI" else 0


def _after_tags(file: BinaryIO) -> int:
    """Where the ID3v2 tags in front end."""
    at = 0
    for _ in range(TAGS):
        file.seek(at)
        head = file.read(10)
        if len(head) < 10 or not head.startswith(b"ID3"):
            break
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        at += 10 + size + 10 * bool(head[5] & 0x10)
    return at


def _before_tags(file: BinaryIO, size: int) -> int:
    """Where the tags at the end begin: ID3v1, APEv2, Lyrics3."""
    end = size
    for _ in range(TAGS):
        file.seek(max(0, end - 128))
        last = file.read(min(end, 128))
        if len(last) == 128 and last.startswith(b"TAG"):
            end -= 128
        elif last[-32:-24] == b"APETAGEX":
            end -= int.from_bytes(last[-20:-16], "little") + 32 * bool(last[-9] & 0x80)
        elif last.endswith(b"LYRICS200") and last[-15:-9].isdigit():
            end -= int(last[-15:-9]) + 15
        else:
            break
    return max(0, end)
