"""File ids: UUID version 7, whose order is the order of upload.

Source: RFC 9562, section 5.7, with method 3 of section 6.2: the 12 bits after the millisecond hold its fraction
(244 ns each), so that ids order as `uploaded_at` does, which has microseconds. The primary key is therefore the
only index that the list's cursor and its date filters need.
"""

import secrets
import uuid
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RANDOM_BITS = 62


def _assemble(microseconds: int, random: int) -> uuid.UUID:
    milliseconds, rest = divmod(microseconds, 1000)
    fraction = rest * 4096 // 1000
    value = (milliseconds & (1 << 48) - 1) << 80 | 7 << 76 | fraction << 64 | 2 << 62 | random
    return uuid.UUID(int=value)


def _microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def new_id(moment: datetime) -> uuid.UUID:
    """A new id of a file uploaded at this (aware) moment."""
    return _assemble(_microseconds(moment), secrets.randbits(RANDOM_BITS))


def floor_id(moment: datetime) -> uuid.UUID:
    """The least id that a file uploaded at this (aware) moment can have; moments before 1970 count as 1970."""
    return _assemble(max(0, _microseconds(moment)), 0)
