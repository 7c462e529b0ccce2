"""Whether a container made for film has any in it, from its list of tracks; nothing is decoded.

MP4, 3GP, WebM and Matroska hold sound alone as often as film, and only the handlers or types of their tracks say which.
Boxes and elements are stepped over by their declared lengths, so many of them at most. Sources: ISO 14496-12 §8.4.3
(`hdlr`), RFC 9559 §5.1.4 (Tracks) and RFC 8794 (EBML).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

SOUND_ALONE: Final = {
    "video/mp4": "audio/mp4",
    "video/3gpp": "audio/3gpp",
    "video/3gpp2": "audio/3gpp2",
    "video/webm": "audio/webm",
    "video/x-matroska": "audio/x-matroska",
}
"""What a container of film is called when there is no film in it."""

STEPS: Final = 2000  # boxes or elements that are looked at
FILM: Final = frozenset({b"vide", b"pict", b"auxv", b"\x01", b"\x03"})  # 3: Matroska's "complex", both in one track
SOUND: Final = frozenset({b"soun", b"\x02"})

_EBML, _SEGMENT, _TRACKS = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b"
_TRACK_ENTRY, _TRACK_TYPE = b"\xae", b"\x83"


class _Unseen(Exception):
    """The bytes end, or cannot be followed, before all tracks were seen."""


def has_film(content_type: str, file: BinaryIO, size: int) -> bool | None:
    """Whether one of the tracks is film, of a file of a type in `SOUND_ALONE`, or its first `size` bytes.

    False only when all tracks were seen and one of them is sound; None when these bytes do not tell.
    """
    walk = _matroska if content_type in ("video/webm", "video/x-matroska") else _iso_media
    sound = False
    try:
        for sort in walk(_Reader(file, size)):
            if sort in FILM:
                return True
            sound = sound or sort in SOUND
    except _Unseen:
        return None
    return False if sound else None


class _Reader:
    """A file that is stepped through, and every step counted."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._steps = 0
        self.size = size

    def take(self, at: int, length: int, least: int) -> bytes:
        """Up to `length` bytes there. Raises _Unseen for fewer than `least`, and after too many steps."""
        self._steps += 1
        if self._steps > STEPS or at + least > self.size:
            raise _Unseen
        self._file.seek(at)
        return self._file.read(min(length, self.size - at))


# --- ISO media ------------------------------------------------------------------------------------------


def _iso_media(reader: _Reader) -> Iterator[bytes]:
    """The handler of each track."""
    for name, start, end in _boxes(reader, 0, None):
        if name == b"moov":
            for track in _within(reader, b"trak", start, end):
                for media in _within(reader, b"mdia", *track):
                    for handler, _ in _within(reader, b"hdlr", *media):
                        yield reader.take(handler + 8, 4, 4)
            return


def _within(reader: _Reader, wanted: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the boxes of this name begin and end, between these places."""
    return ((first, last) for name, first, last in _boxes(reader, start, end) if name == wanted)


def _boxes(reader: _Reader, at: int, end: int | None) -> Iterator[tuple[bytes, int, int]]:
    """The boxes from here to the end, each with where its content begins and ends. Raises _Unseen."""
    while end is None or at + 8 <= end:
        head = reader.take(at, 16, 8)
        length, start = int.from_bytes(head[:4], "big"), at + 8
        if length == 1:
            length, start = int.from_bytes(head[8:16], "big"), at + 16
        if length < start - at:
            raise _Unseen  # up to the end of the file, or of no length at all
        yield head[4:8], start, at + length
        at += length


# --- Matroska -------------------------------------------------------------------------------------------


def _matroska(reader: _Reader) -> Iterator[bytes]:
    """The type of each track."""
    identifier, _, end = _element(reader, 0)
    if identifier != _EBML or end is None:
        raise _Unseen
    identifier, at, _ = _element(reader, end)
    if identifier != _SEGMENT:
        raise _Unseen
    while True:
        identifier, start, end = _element(reader, at)
        if end is None:
            raise _Unseen  # a cluster that is written as it is recorded; the list comes before those
        if identifier == _TRACKS:
            break
        at = end
    for entry, entry_end in _elements(reader, _TRACK_ENTRY, start, end):
        for value, value_end in _elements(reader, _TRACK_TYPE, entry, entry_end):
            yield reader.take(value, max(1, min(value_end - value, 8)), 1).lstrip(b"\0")


def _elements(reader: _Reader, wanted: bytes, at: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the elements of this identifier begin and end, between these places. Raises _Unseen."""
    while at < end:
        identifier, start, following = _element(reader, at)
        if following is None:
            raise _Unseen
        if identifier == wanted:
            yield start, following
        at = following


def _element(reader: _Reader, at: int) -> tuple[bytes, int, int | None]:
    """The element here: its identifier, where its content begins, and where it ends if it says so. Raises _Unseen."""
    head = reader.take(at, 12, 2)
    width = 9 - head[0].bit_length()
    if width > 4 or len(head) <= width or not head[width]:
        raise _Unseen
    length_width = 9 - head[width].bit_length()
    start = width + length_width
    if len(head) < start:
        raise _Unseen
    unknown = (1 << 7 * length_width) - 1
    length = int.from_bytes(head[width:start], "big") & unknown
    return head[:width], at + start, None if length == unknown else at + start + length
