"""File ids: UUID version 7, whose order is the order of upload.

Source: RFC 9562, section 5.7, with method 3 of section 6.2: the 12 bits after the millisecond hold its fraction
(244 ns each), so that ids order as `uploaded_at` does, which has microseconds. The primary key is therefore the
only index that the list's cursor and its date filters need.
"""

import os
import uuid
from collections import deque
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DRAWN_AT_ONCE = 256

_drawn: deque[bytes] = deque()
os.register_at_fork(after_in_child=_drawn.clear)  # or two processes would make the same ids


def random_bytes() -> bytes:
    """Eight bytes of the system's randomness, in any thread, each of them handed out once.

    The system is asked for many at a time: every call of it lets another thread in, which a request would wait for.
    """
    try:
        return _drawn.popleft()
    except IndexError:
        fresh = os.urandom(8 * DRAWN_AT_ONCE)
        _drawn.extend(fresh[start : start + 8] for start in range(8, len(fresh), 8))
        return fresh[:8]


def _assemble(microseconds: int, random: int) -> uuid.UUID:
    milliseconds, rest = divmod(microseconds, 1000)
    fraction = rest * 4096 // 1000
    value = (milliseconds & (1 << 48) - 1) << 80 | 7 << 76 | fraction << 64 | 2 << 62 | random
    return uuid.UUID(int=value)


def _microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def new_id(moment: datetime) -> uuid.UUID:
    """A new id of a file uploaded at this (aware) moment."""
    return _assemble(_microseconds(moment), int.from_bytes(random_bytes()) >> 2)


def floor_id(moment: datetime) -> uuid.UUID:
    """The least id that a file uploaded at this (aware) moment can have; moments before 1970 count as 1970."""
    return _assemble(max(0, _microseconds(moment)), 0)
