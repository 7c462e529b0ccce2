"""The rectangle that a sheet's cells span, as the sheet goes by: one stray cell at the far corner makes it a huge one.

A workbook's reader makes room for all of it, whatever is there. Sources: ECMA-376 part 1 §18.3.1.4 for sheets of XML,
[MS-XLSB] §2.1.4 and §2.1.7.62 for binary ones.
"""

from __future__ import annotations

import re
import time
from typing import Final, Protocol

from ...contract import ProcessingFailed

CELLS: Final = 20_000_000
SECONDS: Final = 15.0  # for the records of all binary sheets
CELL: Final = re.compile(rb'\br="([A-Z]{1,3})([0-9]{1,7})"')
ROW_HEADER: Final = 0
CELL_RECORDS: Final = range(1, 12)
RECORD_HEAD_BYTES: Final = 6  # two of the type, four of the length
TAIL_BYTES: Final = 32
CHECKED_RECORDS: Final = 65_536


class Span(Protocol):
    """Takes a sheet in, piece by piece."""

    def take(self, piece: bytes) -> None:
        """Take the next piece. Raises ProcessingFailed for a rectangle that is too large."""


def _check(rows: int, columns: int) -> None:
    if rows * columns > CELLS:
        detail = f"A sheet's cells span a rectangle of {rows * columns:,}; at most {CELLS:,} are read."
        raise ProcessingFailed("table_too_large", detail)


class XmlSpan:
    """Of a sheet of XML, by its cells' references."""

    def __init__(self) -> None:
        self._tail = b""
        self._columns: set[bytes] = set()
        self._first_row, self._last_row = 1 << 30, 0

    def take(self, piece: bytes) -> None:
        """Take the next piece. Raises ProcessingFailed for a rectangle that is too large."""
        text = self._tail + piece
        self._tail = text[-TAIL_BYTES:]
        found = CELL.findall(text)
        if not found:
            return
        rows = [int(row) for _, row in found]
        self._columns.update(column for column, _ in found)
        self._first_row, self._last_row = min(self._first_row, *rows), max(self._last_row, *rows)
        columns = [_number(column) for column in self._columns]
        _check(self._last_row - self._first_row + 1, max(columns) - min(columns) + 1)


def _number(column: bytes) -> int:
    """A column's number by its letters: A is 1, AA is 27."""
    number = 0
    for letter in column:
        number = 26 * number + letter - 64
    return number


class BinarySpan:
    """Of a binary sheet, by the headers of its rows and the columns of its cells; all records are stepped over."""

    def __init__(self, ends_at: float) -> None:
        self._ends_at = ends_at
        self._rest = b""
        self._skip = 0  # bytes of a record that have not come yet, and are of no interest
        self._rows = [1 << 32, -1]
        self._columns = [1 << 32, -1]
        self._row = 0

    def take(self, piece: bytes) -> None:
        """Take the next piece. Raises ProcessingFailed for a rectangle that is too large, or too long to measure."""
        if self._skip >= len(piece):
            self._skip -= len(piece)
            return
        data, at = self._rest + piece[self._skip :], 0
        self._skip = 0
        count = 0
        while len(data) - at >= RECORD_HEAD_BYTES + 4:
            sort, length, start = _record(data, at)
            if sort == ROW_HEADER and length >= 4:
                self._row = int.from_bytes(data[start : start + 4], "little")
            elif sort in CELL_RECORDS and length >= 4:
                _widen(self._rows, self._row)
                _widen(self._columns, int.from_bytes(data[start : start + 4], "little"))
            at = start + length
            count += 1
            if count % CHECKED_RECORDS == 0 and time.monotonic() > self._ends_at:
                raise ProcessingFailed("table_too_large")
        self._rest, self._skip = data[at:], max(0, at - len(data))
        if self._rows[1] >= 0:
            _check(self._rows[1] - self._rows[0] + 1, self._columns[1] - self._columns[0] + 1)


def _widen(ends: list[int], number: int) -> None:
    if number < ends[0]:
        ends[0] = number
    if number > ends[1]:
        ends[1] = number


def _record(data: bytes, at: int) -> tuple[int, int, int]:
    """The type of the record here, its length, and where its content begins."""
    sort = data[at]
    at += 1
    if sort & 0x80:
        sort = sort & 0x7F | (data[at] & 0x7F) << 7
        at += 1
    length = 0
    for shift in (0, 7, 14, 21):
        byte = data[at]
        at += 1
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    return sort, length, at
