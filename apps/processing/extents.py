"""Where a container says that it ends: past the end of the file, when it was cut off on the way."""

from __future__ import annotations

from typing import BinaryIO, Final

BOXES: Final = 10_000
BLOCKS: Final = 100_000


def riff_end(file: BinaryIO) -> int:
    """Of a RIFF file (WAV, AVI), by its one chunk; 0 where that is not said, as by who writes to a pipe."""
    head = file.read(8)
    declared = int.from_bytes(head[4:], "little")
    return declared + 8 if head[:4] == b"RIFF" and 0 < declared < 0xFFFFFFFF else 0


def boxes_end(file: BinaryIO, size: int) -> int:
    """Of ISO media, AVIF and JPEG 2000, by their boxes; 0 where one is "up to the end", or of no length at all."""
    end = 0
    for _ in range(BOXES):
        if end >= size:
            break
        file.seek(end)
        box = file.read(16)
        length = int.from_bytes(box[:4], "big")
        if length == 1:
            length = int.from_bytes(box[8:], "big")
        if length < 8:
            return 0
        end += length
    return end


def segment_end(file: BinaryIO) -> int:
    """Of Matroska, by its second element, the segment; 0 where that is not said (RFC 8794, §4 and §6)."""
    end = 0
    for identifier in (b"\x1aE\xdf\xa3", b"\x18S\x80g"):
        file.seek(end)
        head = file.read(12)
        if not head.startswith(identifier) or not head[4]:
            return 0
        width = 9 - head[4].bit_length()
        length = int.from_bytes(head[4 : 4 + width], "big") & ((1 << 7 * width) - 1)
        if length == (1 << 7 * width) - 1:
            return 0
        end += 4 + width + length
    return end


def frames_end(file: BinaryIO, size: int) -> int:
    """Of Zstandard, by its frames and their blocks (RFC 8878, section 3.1); 0 where there is something else.

    What comes behind the last frame and is none is nobody's.
    """
    end, blocks = 0, 0
    while end < size:
        blocks += 1
        if blocks > BLOCKS:
            return 0
        file.seek(end)
        head = file.read(18)
        magic = int.from_bytes(head[:4], "little")
        if magic & 0xFFFFFFF0 == 0x184D2A50:  # to be skipped
            end += 8 + int.from_bytes(head[4:8], "little")
            continue
        if magic != 0xFD2FB528:
            return end
        flags = head[4] if len(head) > 4 else 0
        is_single = bool(flags & 0x20)
        end += 5 + (not is_single) + (0, 1, 2, 4)[flags & 3] + (int(is_single), 2, 4, 8)[flags >> 6]
        is_last = False
        while not is_last:
            blocks += 1
            file.seek(end)
            block = int.from_bytes(file.read(3), "little")
            if end + 3 > size or blocks > BLOCKS:
                return size + 1 if end + 3 > size else 0
            is_last = bool(block & 1)
            end += 3 + (1 if block >> 1 & 3 == 1 else block >> 3)
        end += 4 * bool(flags & 4)
    return end
