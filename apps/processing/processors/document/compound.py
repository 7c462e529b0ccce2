"""The old Office formats in their compound files: facts, words, and what is attached; macros and objects are not read.

Sources: [MS-CFB] the container, [MS-DOC] §2.4.1 and §2.9.38 Word's text, [MS-PPT] §2.3 PowerPoint's records,
[MS-OXMSG] §2.1 Outlook's properties. Whatever a file claims, no more is read than the bounds below.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, cast

import olefile  # type: ignore[import-untyped]

from ...contract import JSON, Derived, Job, ProcessingFailed
from .gathered import Gathered, codec_of

STREAM_BYTES: Final = 64 * 1024 * 1024
PIECES: Final = 200_000
RECORDS: Final = 500_000
ATTACHMENTS: Final = 50

# What olefile and struct raise for containers and streams that lie.
BROKEN = (
    OSError, ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, RecursionError, struct.error,
)  # fmt: skip

WORD: Final = "application/msword"
SLIDES: Final = "application/vnd.ms-powerpoint"
MESSAGE: Final = "application/vnd.ms-outlook"

_FIELD: Final = re.compile("\x13[^\x13\x14\x15]*\x14?|\x15")
_SIGNS: Final = {
    0x07: "\t", 0x0B: "\n", 0x0C: "\n\n", 0x0D: "\n", 0x0E: "\n", 0x1E: "-", 0xA0: " ",
    **dict.fromkeys((0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x08, 0x13, 0x14, 0x15, 0x1F, 0xAD)),
}  # fmt: skip


def read(job: Job, gathered: Gathered) -> list[Derived]:
    """DOC, PPT, MSG. Raises ProcessingFailed for a container that cannot be read."""
    try:
        container = olefile.OleFileIO(str(job.path))
    except BROKEN as error:
        raise ProcessingFailed("document_broken") from error
    with contextlib.closing(container):
        with contextlib.suppress(*BROKEN):
            _facts(container, gathered)
        if container.exists("EncryptedPackage"):
            gathered.facts["encrypted"] = True
            return []
        reader = {WORD: _word, SLIDES: _slides, MESSAGE: _message}.get(job.content_type)
        if reader is not None:
            try:
                reader(container, gathered)
            except BROKEN as error:
                if not gathered.characters:
                    raise ProcessingFailed("document_broken") from error
                gathered.cut = True
    return []


def _stream(container: olefile.OleFileIO, name: str | list[str], gathered: Gathered) -> bytes:
    """The beginning of a stream; nothing of one that is not there."""
    if not container.exists(name):
        return b""
    if container.get_size(name) > STREAM_BYTES:
        gathered.cut = True
        return b""
    with container.openstream(name) as stream:
        return cast(bytes, stream.read())


def _facts(container: olefile.OleFileIO, gathered: Gathered) -> None:
    told = container.get_metadata()
    codec = _codec(told.codepage)
    for name, value in (
        ("title", told.title),
        ("author", told.author),
        ("subject", told.subject),
        ("made_by", told.creating_application),
    ):
        if isinstance(value, bytes):
            gathered.fact(name, value.decode(codec, "replace").strip("\0 "))
    for name, moment in (("created", told.create_time), ("modified", told.last_saved_time)):
        if isinstance(moment, datetime) and moment.year > 1980:
            gathered.fact(name, moment.replace(tzinfo=UTC).isoformat())
    pages = told.slides if container.exists("PowerPoint Document") else told.num_pages
    if isinstance(pages, int) and 0 < pages < 1_000_000:
        gathered.facts["pages"] = pages


def _codec(codepage: object) -> str:
    """Python's name of a property set's code page; they are written as signed numbers."""
    if not isinstance(codepage, int):
        return "utf-8"
    known = {1200: "utf-16-le", 10000: "mac-roman", 65001: "utf-8"}
    return known.get(codepage % 65536) or codec_of(f"cp{codepage % 65536}") or "cp1252"


# --- Word -----------------------------------------------------------------------------------------------


def _word(container: olefile.OleFileIO, gathered: Gathered) -> None:
    main = _stream(container, "WordDocument", gathered)
    if not main:
        if gathered.cut:
            return
        raise ValueError("no text")
    version, flags = struct.unpack_from("<H6xH", main, 2)
    if flags & 0x0100:
        gathered.facts["encrypted"] = True
        return
    if version < 0xC1:  # before Word 97 the text stood in one piece
        start, end = struct.unpack_from("<II", main, 0x18)
        _say(gathered, main[start:end].decode("cp1252", "replace"))
        return
    table = _stream(container, "1Table" if flags & 0x0200 else "0Table", gathered)
    start, length = struct.unpack_from("<II", main, 0x01A2)
    (characters,) = struct.unpack_from("<I", main, 0x4C)
    for piece in _pieces(table[start : start + length]):
        first, last, offset, compressed = piece
        count = min(last, characters) - first
        if count <= 0 or gathered.late():
            break
        if compressed:
            _say(gathered, main[offset // 2 : offset // 2 + count].decode("cp1252", "replace"))
        else:
            _say(gathered, main[offset : offset + 2 * count].decode("utf-16-le", "replace"))


def _pieces(clx: bytes) -> Iterator[tuple[int, int, int, bool]]:
    """The pieces of the text: first character, the one after its last, where, and whether in 8 bits each."""
    at = 0
    while clx[at : at + 1] == b"\x01":  # formatting
        at += 3 + struct.unpack_from("<H", clx, at + 1)[0]
    if clx[at : at + 1] != b"\x02":
        raise ValueError("no piece table")
    (length,) = struct.unpack_from("<I", clx, at + 1)
    table = clx[at + 5 : at + 5 + length]
    count = min((len(table) - 4) // 12, PIECES)
    ends = struct.unpack_from(f"<{count + 1}I", table)
    for index in range(count):
        (place,) = struct.unpack_from("<I", table, 4 * (count + 1) + 8 * index + 2)
        yield ends[index], ends[index + 1], place & 0x3FFFFFFF, bool(place & 0x40000000)


def _say(gathered: Gathered, text: str) -> None:
    """Word's text without its marks: of a field what it shows, not what it asks."""
    gathered.write(_FIELD.sub("", text).translate(_SIGNS))


# --- PowerPoint -----------------------------------------------------------------------------------------

_UTF16_TEXT, _LATIN_TEXT, _SLIDE = 4000, 4008, 1006


def _slides(container: olefile.OleFileIO, gathered: Gathered) -> None:
    content = _stream(container, "PowerPoint Document", gathered)
    gathered.facts["encrypted"] = container.exists("EncryptedSummary")
    slides = at = 0
    for _ in range(RECORDS):
        if at + 8 > len(content) or gathered.late():
            break
        version, sort, length = struct.unpack_from("<HHI", content, at)
        slides += sort == _SLIDE
        at += 8
        if version & 0xF == 0xF:  # a container: its records follow
            continue
        if sort in (_UTF16_TEXT, _LATIN_TEXT):
            said = content[at : at + length].decode("utf-16-le" if sort == _UTF16_TEXT else "latin-1", "replace")
            gathered.write(said.translate(_SIGNS) + "\n")
        at += length
    if slides and not gathered.facts.get("pages"):
        gathered.facts["pages"] = slides


# --- Outlook --------------------------------------------------------------------------------------------

_SUBJECT, _SENDER, _ADDRESS, _TO, _BODY, _SENT = "0037", "0C1A", "0C1F", "0E04", "1000", 0x0039_0040
_LONG_NAME, _SHORT_NAME, _MEDIA_TYPE, _CONTENT = "3707", "3704", "370E", "37010102"


def _message(container: olefile.OleFileIO, gathered: Gathered) -> None:
    gathered.fact("title", _property(container, [], _SUBJECT, gathered))
    sender, address = (_property(container, [], name, gathered) for name in (_SENDER, _ADDRESS))
    gathered.fact("author", f"{sender} <{address}>" if sender and "@" in (address or "") else sender or address)
    gathered.facts["to"] = (_property(container, [], _TO, gathered) or "")[:500] or None
    with contextlib.suppress(*BROKEN):
        gathered.fact("created", _sent(_stream(container, "__properties_version1.0", gathered)))
    gathered.facts["attachments"] = list(_attachments(container, gathered))
    gathered.write(_property(container, [], _BODY, gathered) or "")


def _property(container: olefile.OleFileIO, within: list[str], name: str, gathered: Gathered) -> str | None:
    for sort, codec in (("001F", "utf-16-le"), ("001E", "cp1252")):
        if content := _stream(container, [*within, f"__substg1.0_{name}{sort}"], gathered):
            return content.decode(codec, "replace").strip("\0 ")
    return None


def _sent(properties: bytes) -> str | None:
    """When it was sent: of the 16-byte entries that follow a header of 32, the one with that tag."""
    for at in range(32, len(properties) - 15, 16):
        tag, ticks = struct.unpack_from("<I4xQ", properties, at)
        if tag == _SENT:
            return (datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=ticks // 10)).isoformat()
    return None


def _attachments(container: olefile.OleFileIO, gathered: Gathered) -> Iterator[JSON]:
    stores = sorted({path[0] for path in container.listdir() if path[0].startswith("__attach_version1.0_")})
    for store in stores[:ATTACHMENTS]:
        names = (_property(container, [store], name, gathered) for name in (_LONG_NAME, _SHORT_NAME))
        content = [store, f"__substg1.0_{_CONTENT}"]
        yield {
            "name": next(filter(None, names), "")[:200],
            "content_type": (_property(container, [store], _MEDIA_TYPE, gathered) or "")[:127] or None,
            "size": container.get_size(content) if container.exists(content) else None,
        }
