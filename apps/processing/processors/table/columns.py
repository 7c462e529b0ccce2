"""What a table's columns are, from their cells as they go by: types, empty cells, least and greatest values."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ...contract import JSON

DESCRIBED: Final = 200  # columns that are told of; more are counted
FIRST_ROWS: Final = 10
CELL_CHARACTERS: Final = 100

INTEGER: Final = re.compile(r"[+-]?(?:0|[1-9]\d{0,17})")
NUMBER: Final = re.compile(r"[+-]?((?:0|[1-9]\d{0,17})([.,]\d{1,18})?|[.,]\d{1,18})([eE][+-]?\d{1,3})?")
CODE: Final = re.compile(r"\d{1,40}")  # where it is no number: a postal code, an account, whose zeros are part of it
DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
MOMENT: Final = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?")
TRUTH: Final = frozenset({"true", "false", "yes", "no"})
MISSING: Final = frozenset({"", "na", "n/a", "null", "none", "nan", "-"})

Cell = object


@dataclass(kw_only=True)
class Column:
    """One column, as far as it was read."""

    name: str = ""
    empty: int = 0
    codes: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    least: float | str | None = None
    greatest: float | str | None = None

    def add(self, cell: Cell) -> None:
        """Take one cell in."""
        sort, value = kind_of(cell)
        self.codes += sort == "text" and CODE.fullmatch(str(cell).strip()) is not None
        if sort == "empty":
            self.empty += 1
            return
        self.counts[sort] = self.counts.get(sort, 0) + 1
        if value is None or (self.least is not None and isinstance(value, str) is not isinstance(self.least, str)):
            return
        if self.least is None or value < self.least:  # type: ignore[operator]
            self.least = value
        if self.greatest is None or value > self.greatest:  # type: ignore[operator]
            self.greatest = value

    def type(self) -> str:
        """What its cells have in common."""
        sorts = set(self.counts)
        if not sorts:
            return "empty"
        if len(sorts) == 1:
            return sorts.pop()
        if sorts == {"integer", "number"}:
            return "number"
        if sorts == {"date", "datetime"}:
            return "datetime"
        if sorts == {"integer", "text"} and self.codes == self.counts["text"]:
            return "text"  # one with a leading zero makes codes of them all
        # A few words in a column of numbers are told as such; a text column may hold anything.
        return "text" if self.counts.get("text", 0) * 2 > sum(self.counts.values()) else "mixed"

    def told(self) -> dict[str, JSON]:
        """As it stands in a result."""
        sort = self.type()
        ordered = sort in ("integer", "number", "date", "datetime")
        least: JSON = self.least if ordered else None
        greatest: JSON = self.greatest if ordered else None
        if sort == "integer" and isinstance(least, float) and isinstance(greatest, float):
            least, greatest = int(least), int(greatest)
        return {"name": self.name[:CELL_CHARACTERS], "type": sort, "nulls": self.empty, "min": least, "max": greatest}


@dataclass(kw_only=True)
class Columns:
    """All columns of one table, and its first rows."""

    columns: list[Column] = field(default_factory=list)
    width: int = 0
    rows: int = 0
    first: list[list[JSON]] = field(default_factory=list)

    def name(self, names: Sequence[Cell]) -> None:
        """Take the header in."""
        self._widen(len(names))
        for column, name in zip(self.columns, names, strict=False):
            column.name = str(name)

    def add(self, row: Sequence[Cell]) -> None:
        """Take one row in."""
        self.rows += 1
        if len(row) > self.width:
            self._widen(len(row))
        for column, cell in zip(self.columns, row, strict=False):
            column.add(cell)
        for column in self.columns[len(row) :]:
            column.empty += 1
        if len(self.first) < FIRST_ROWS:
            self.first.append([shown(cell) for cell in row[:DESCRIBED]])

    def _widen(self, width: int) -> None:
        self.width = max(self.width, width)
        while len(self.columns) < min(width, DESCRIBED):
            self.columns.append(Column(empty=max(0, self.rows - 1)))

    def told(self) -> dict[str, JSON]:
        """As they stand in a result."""
        return {
            "rows": self.rows,
            "column_count": self.width,
            "columns": [column.told() for column in self.columns],
            "first_rows": list(self.first),
        }


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
    if len(text) > 40:
        return "text", None
    if INTEGER.fullmatch(text):
        return "integer", float(text)
    if NUMBER.fullmatch(text):
        return "number", float(text.replace(",", "."))
    if DATE.fullmatch(text):
        return "date", text
    if MOMENT.fullmatch(text):
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
