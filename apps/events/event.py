"""The shape of an event: the CloudEvents 1.0 envelope, and the cursor that its id is.

Source: CloudEvents 1.0.2, JSON event format. An id is the id of the event's Redis Stream entry, `<ms>-<n>`.
"""

import dataclasses
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from apps.files.document import moment
from apps.files.errors import BadCursor

FILE_EVENTS = (
    "file.queued",
    "file.processing",
    "file.progress",
    "file.processed",
    "file.failed",
    "file.deleted",
)
CONNECTION_EVENTS = ("hello", "resync", "pong", "error")
SOURCE = "/files"
UINT64_MAX = 2**64 - 1


class Cursor(NamedTuple):
    """A place in the feed; cursors compare as their events follow each other."""

    milliseconds: int
    number: int

    def __str__(self) -> str:
        return f"{self.milliseconds}-{self.number}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """The cursor that a client, or Redis, wrote as `<ms>-<n>` (or `<ms>` alone). Raises BadCursor."""
        milliseconds, dash, number = text.partition("-")
        parts = (milliseconds, number) if dash else (milliseconds, "0")
        if not all(part.isascii() and part.isdigit() and len(part) <= 20 for part in parts):
            raise BadCursor
        cursor = cls(int(parts[0]), int(parts[1]))
        # Redis refuses to look for what comes after the last of all ids.
        if max(cursor) > UINT64_MAX or min(cursor) == UINT64_MAX:
            raise BadCursor
        return cursor


BEGINNING = Cursor(0, 0)


@dataclasses.dataclass(frozen=True, slots=True)
class Frame:
    """One event as it goes to a client."""

    cursor: Cursor
    text: str


def body(*, type: str, subject: str, time: str, data: dict[str, Any]) -> bytes:
    """An event without its id, as the stream keeps it: the id is known only once it is appended."""
    return orjson.dumps(
        {"source": SOURCE, "type": type, "subject": subject, "time": time, "data": data},
    )


def frame(cursor: Cursor, kept: bytes) -> Frame:
    """The event of a stream entry; its text is put together, not parsed and written again."""
    return Frame(cursor, f'{{"specversion":"1.0","id":"{cursor}",{kept[1:].decode()}')


def connection_frame(event_type: str, position: Cursor, source: str, **data: Any) -> str:
    """A frame of the connection itself. Its id is the connection's place in the feed, so ids never go back."""
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": str(position),
            "source": source,
            "type": event_type,
            "time": moment(datetime.now(UTC)),
            "data": data,
        }
    ).decode()
