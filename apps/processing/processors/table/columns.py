"""What a table's columns are, from their cells as they go by: types, empty cells, least and greatest values."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import zip_longest
from typing import Final

from ...contract import JSON

DESCRIBED: Final = 200  # columns that are told of; more are counted
FIRST_ROWS: Final = 10
CELL_CHARACTERS: Final = 100
WORD_CHARACTERS: Final = 40  # what is longer is no number and no date

INTEGER: Final = re.compile(r"[+-]?(?:0|[1-9]\d{0,17})")
NUMBER: Final = re.compile(r"[+-]?((?:0|[1-9]\d{0,17})([.,]\d{1,18})?|[.,]\d{1,18})([eE][+-]?\d{1,3})?")
CODE: Final = re.compile(r"\d{1,40}")  # where it is no number: a postal code, an account, whose zeros are part of it
DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
MOMENT: Final = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?")
TRUTH: Final = frozenset({"true", "false", "yes", "no"})
MISSING: Final = frozenset({"", "na", "n/a", "null", "none", "nan", "-"})

# Cells of one sort, each with a zero behind it: a column of many cells is told by one pass.
INTEGERS: Final = re.compile(r"(?:-?(?:0|[1-9]\d{0,17})\0)++", re.ASCII)
NUMBERS: Final = re.compile(
    r"(?:-?(?:(?:0|[1-9]\d{0,17})(?:[.,]\d{1,18})?|[.,]\d{1,18})(?:[eE][+-]?\d{1,3})?\0)++", re.ASCII
)
DATES: Final = re.compile(r"(?:\d{4}-\d{2}-\d{2}\0)++", re.ASCII)
WORDS: Final = re.compile(
    r"(?:(?!(?:na|n/a|null|none|nan|true|false|yes|no)\s*\0)[A-Za-z_\u00c0-\u024f][^\0]*+\0)++", re.IGNORECASE
)

Cell = object


@dataclass(kw_only=True)
class Column:
    """One column, as far as it was read: `filled` are its cells that are not empty."""

    name: str = ""
    filled: int = 0
    codes: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    negative: bool = False
    unsigned: bool = False
    least: float | str | None = None
    greatest: float | str | None = None

    def add(self, cell: Cell) -> None:
        """Take one cell in."""
        sort, value = kind_of(cell)
        if sort == "empty":
            return
        if isinstance(value, float):
            if isinstance(cell, str) and cell.lstrip().startswith("+"):
                sort = f"+{sort}"
            else:
                self.negative, self.unsigned = self.negative or value < 0, self.unsigned or value > 0
        self.codes += sort == "text" and CODE.fullmatch(str(cell).strip()) is not None
        self._count(sort, 1)
        if value is not None:
            self._extend(value, value)

    def add_all(self, cells: Sequence[str]) -> None:
        """Take many cells in, as `add` would one after the other."""
        filled = [cell for cell in cells if cell]
        if not filled:
            return
        joined = "\0".join(filled) + "\0"
        if WORDS.fullmatch(joined):
            self._count("text", len(filled))
        elif INTEGERS.fullmatch(joined):
            self._count("integer", len(filled))
            self._measure(list(map(float, filled)))
        elif NUMBERS.fullmatch(joined) and max(map(len, filled)) <= WORD_CHARACTERS:
            self._count("number", len(filled))
            self._measure(list(map(float, joined.replace(",", ".").split("\0")[:-1])))
        elif DATES.fullmatch(joined) and all(map(_is_day, filled)):
            self._count("date", len(filled))
            self._extend(min(filled), max(filled))
        else:
            for cell in filled:
                self.add(cell)

    def _count(self, sort: str, cells: int) -> None:
        self.filled += cells
        self.counts[sort] = self.counts.get(sort, 0) + cells

    def _measure(self, values: list[float]) -> None:
        least, greatest = min(values), max(values)
        self.negative, self.unsigned = self.negative or least < 0, self.unsigned or greatest > 0
        self._extend(least, greatest)

    def _extend(self, least: float | str, greatest: float | str) -> None:
        if self.least is not None and isinstance(least, str) is not isinstance(self.least, str):
            return
        if self.least is None or least < self.least:  # type: ignore[operator]
            self.least = least
        if self.greatest is None or greatest > self.greatest:  # type: ignore[operator]
            self.greatest = greatest

    def type(self) -> str:
        """What its cells have in common."""
        counts, codes = dict(self.counts), self.codes
        for sort in ("integer", "number"):
            plus = counts.pop(f"+{sort}", 0)
            if not plus:
                continue
            if self.negative and not self.unsigned:
                counts[sort] = counts.get(sort, 0) + plus
            else:  # where not all have a sign, or all the same, it is part of a word, as a telephone's number is
                counts["text"] = counts.get("text", 0) + plus
                codes += plus
        sorts = set(counts)
        if not sorts:
            return "empty"
        if len(sorts) == 1:
            return sorts.pop()
        if sorts == {"integer", "number"}:
            return "number"
        if sorts == {"date", "datetime"}:
            return "datetime"
        if sorts <= {"integer", "number", "text"} and codes == counts["text"]:
            return "text" if "number" not in sorts else "mixed"  # one with a leading zero makes codes of them all
        # A few words in a column of numbers are told as such; a text column may hold anything.
        return "text" if counts.get("text", 0) * 2 > sum(counts.values()) else "mixed"

    def told(self, rows: int) -> dict[str, JSON]:
        """As it stands in a result on so many rows."""
        sort = self.type()
        ordered = sort in ("integer", "number", "date", "datetime")
        least: JSON = self.least if ordered else None
        greatest: JSON = self.greatest if ordered else None
        if sort == "integer" and isinstance(least, float) and isinstance(greatest, float):
            least, greatest = int(least), int(greatest)
        name, nulls = self.name[:CELL_CHARACTERS], rows - self.filled
        return {"name": name, "type": sort, "nulls": nulls, "min": least, "max": greatest}


@dataclass(kw_only=True)
class Columns:
    """All columns of one table, and its first rows; what it costs are its rows and the cells that are there."""

    columns: list[Column] = field(default_factory=list)
    width: int = 0
    rows: int = 0
    first: list[list[JSON]] = field(default_factory=list)

    def name(self, names: Sequence[Cell]) -> None:
        """Take the header in."""
        self.widen(len(names))
        for column, name in zip(self.columns, names, strict=False):
            column.name = str(name).strip()

    def add(self, row: Sequence[Cell]) -> None:
        """Take one row in."""
        self.rows += 1
        if len(row) > self.width:
            self.widen(len(row))
        for column, cell in zip(self.columns, row, strict=False):
            column.add(cell)
        self._show(row)

    def add_rows(self, rows: Sequence[Sequence[str]]) -> None:
        """Take many rows of text in, column by column."""
        if not rows:
            return
        self.rows += len(rows)
        self.widen(max(map(len, rows)))
        for column, cells in zip(self.columns, zip_longest(*rows, fillvalue=""), strict=False):
            column.add_all(cells)
        for row in rows[: FIRST_ROWS - len(self.first)]:
            self._show(row)

    def add_cells(self, cells: Iterable[tuple[int, Cell]]) -> None:
        """Take one row in that says which columns it has cells in, none of them beyond those that are described."""
        self.rows += 1
        filled = dict(cells)
        if filled:
            self.widen(max(filled) + 1)
        for index, cell in filled.items():
            self.columns[index].add(cell)
        if len(self.first) < FIRST_ROWS:
            self._show([filled.get(index) for index in range(len(self.columns))])

    def _show(self, row: Sequence[Cell]) -> None:
        if len(self.first) < FIRST_ROWS:
            self.first.append([shown(cell) for cell in row[:DESCRIBED]])

    def widen(self, width: int) -> None:
        """There are so many columns, if not more."""
        self.width = max(self.width, width)
        while len(self.columns) < min(width, DESCRIBED):
            self.columns.append(Column())

    def told(self) -> dict[str, JSON]:
        """As they stand in a result."""
        return {
            "rows": self.rows,
            "column_count": self.width,
            "columns": [column.told(self.rows) for column in self.columns],
            "first_rows": list(self.first),
        }


@lru_cache(4096)
def _is_day(text: str) -> bool:
    """Whether a calendar has this day, written as ISO 8601 does."""
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True


@lru_cache(4096)
def _is_clock(text: str) -> bool:
    """Whether a clock shows this hour and minute, and second if there is one."""
    hour, minute, *second = text.split(":")
    return int(hour) < 24 and int(minute) < 60 and all(int(each) <= 60 for each in second)


def kind_of(cell: Cell) -> tuple[str, float | str | None]:
    """What a cell is, and its value where values of its sort have an order."""
    if cell is None:
        return "empty", None
    if isinstance(cell, bool):
        return "boolean", None
    if isinstance(cell, int | float):
        whole = float(cell).is_integer() and abs(cell) < 2**53
        return ("integer" if whole else "number"), float(cell)
    if isinstance(cell, datetime.datetime):
        return "datetime", cell.isoformat()
    if isinstance(cell, datetime.date):
        return "date", cell.isoformat()
    text = str(cell).strip()
    if text.lower() in MISSING:
        return "empty", None
    if len(text) > WORD_CHARACTERS:
        return "text", None
    if INTEGER.fullmatch(text):
        return "integer", float(text)
    if NUMBER.fullmatch(text):
        return "number", float(text.replace(",", "."))
    if DATE.fullmatch(text) and _is_day(text):
        return "date", text
    if MOMENT.fullmatch(text) and _is_day(text[:10]) and _is_clock(text[11:19] if text[16:17] == ":" else text[11:16]):
        return "datetime", text
    return ("boolean" if text.lower() in TRUTH else "text"), None


def shown(cell: Cell) -> JSON:
    """A cell as a result shows it."""
    if cell is None or isinstance(cell, bool | int | float):
        return cell
    if isinstance(cell, datetime.datetime | datetime.date | datetime.time):
        return cell.isoformat()
    return str(cell)[:CELL_CHARACTERS]


def is_header(first: Sequence[Cell], second: Sequence[Cell] | None) -> bool:
    """Whether a first row names the columns: words, all different, above something that is not all words."""
    if second is None or not first:
        return False
    sorts = [kind_of(cell)[0] for cell in first]
    names = [str(cell).strip().lower() for cell in first]
    if any(sort not in ("text", "empty") for sort in sorts) or sorts.count("empty") > 1 or len(set(names)) < len(names):
        return False
    below = [kind_of(cell)[0] for cell in second]
    return any(sort != "text" for sort in below) or all(len(name) < 40 for name in names)
