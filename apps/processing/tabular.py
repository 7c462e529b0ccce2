"""CSV and its like, told by the shape of their rows: as many cells in each, and none that reads like prose or code."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from typing import Final

CSV: Final = "text/csv"
TSV: Final = "text/tab-separated-values"

_DELIMITERS: Final = (("\t", TSV), (";", CSV), (",", CSV), ("|", CSV))
_LINES: Final = 50
_PROSE_CELL_CHARACTERS: Final = 80
# A first line that is longer than what is looked at: a hundred cells and more, none like a sentence's or a program's.
_WIDE_ROW: Final = re.compile(r'(?:(?:[^,;(){}<>\n"]{0,40}+|"[^"\n]{0,200}+"),){100}')
_HEADER_CELL: Final = re.compile(r"[\w.%#/()-]+(?: [\w.%#/()-]+){0,3}")
_VALUE: Final = re.compile(
    r"\s*+(?:[+-]?[$€£]?\d[\d., ]*+%?|\d{1,4}[-./]\d{1,2}[-./]\d{1,4}[\d:., TZ+-]*+|\d{1,2}:\d\d[\d:.]*+"
    r"|true|false)\s*+",
    re.IGNORECASE,
)
_RULE: Final = re.compile(r"[\s:|+-]+")  # under the header of a table in Markdown
_CLOCK: Final = re.compile(r"\d\d:\d\d:\d\d")  # whose fraction a log writes behind a comma
_LONE_CELL: Final = re.compile(r"[\w.@%+/:-]{1,80}")

Rows = list[list[str]]


def is_wide_row(text: str) -> bool:
    """Whether text whose first line does not end begins with a hundred cells."""
    return _WIDE_ROW.match(text) is not None


def table(lines: list[str]) -> str | None:
    """CSV (with commas, semicolons or pipes) or TSV, if every row has the same number of cells."""
    best: tuple[int, str] | None = None
    lines = _without_comments(lines)
    for delimiter, name in _DELIMITERS:
        if lines and delimiter in lines[0]:
            width = _width(lines[:_LINES], delimiter)
            if width > (best[0] if best else 1):
                best = width, name
    return best[1] if best else None


def may_be_csv(lines: list[str]) -> bool:
    """Whether text that is called CSV may be one: of one row, of one column, or of rows that differ."""
    return _may_be(lines, ",;|\t") or (len(lines) > 1 and all(_LONE_CELL.fullmatch(line) for line in lines if line))


def may_be_tsv(lines: list[str]) -> bool:
    """The same of text that is called TSV."""
    return _may_be(lines, "\t")


def _may_be(lines: list[str], delimiters: Iterable[str]) -> bool:
    """Whether most rows have several cells by one of the delimiters, and do not read like sentences."""
    lines = _without_comments(lines)[:_LINES]
    for delimiter in delimiters:
        rows = _rows(lines, delimiter)
        several = [row for row in rows if len(row) > 1]
        if several and 5 * len(several) >= 3 * len(rows):
            cells = [cell for row in several for cell in row]
            words = sum(len(cell.split()) for cell in cells) / len(cells)
            return not (words > 2 and _is_spaced(several)) and not all(line[-1:] in ("{", "}", ";") for line in lines)
    return False


def _without_comments(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith("#")] if lines and lines[0].startswith("#") else lines


def _rows(lines: list[str], delimiter: str) -> Rows:
    try:
        return [row for row in csv.reader((line + "\n" for line in lines), delimiter=delimiter) if row]
    except csv.Error:
        return []


def _width(lines: list[str], delimiter: str) -> int:
    """Cells in each row; 0 if the rows differ, or read rather like prose or code."""
    rows = _rows(lines, delimiter)
    if len(rows) > 2 and len(lines) == _LINES:
        # The last may be cut within a quoted cell that spans lines.
        rows = rows[:-1]
    width = len(rows[0]) if rows else 0
    # Two columns in two rows can be chance.
    if len(rows) < (3 if width == 2 else 2):
        return 0
    if any(len(row) != width for row in rows) and not _is_ragged(rows):
        return 0
    if all(not row[0].strip() for row in rows) or all(line[-1:] in (";", ",", "{", "}") for line in lines):
        # Indented text, or statements and list items of a programming language.
        return 0
    if delimiter != "\t" and _reads_like_prose(rows):
        return 0
    if delimiter == "|" and _RULE.fullmatch(lines[1]):
        return 0
    if delimiter == "," and all(_CLOCK.fullmatch(row[0][-8:]) and row[1][:3].isdigit() for row in rows if len(row) > 1):
        return 0
    return width


def _is_ragged(rows: Rows) -> bool:
    """Whether rows of different lengths are a table's still: under a header of names, some lack their last cells."""
    header = rows[0]
    named = len(header) >= 4 and len(set(header)) == len(header) and all(map(_HEADER_CELL.fullmatch, header))
    return named and all(len(header) - 3 < len(row) <= len(header) for row in rows if len(row) > 1)


def _reads_like_prose(rows: Rows) -> bool:
    """Whether these are sentences that happen to have as many commas: a space behind each, and no column of values."""
    cells = [cell for row in rows for cell in row]
    mean = sum(map(len, cells)) / len(cells)
    if mean > _PROSE_CELL_CHARACTERS:
        return True
    if not _is_spaced(rows) or any(_holds_values(rows, number) for number in range(len(rows[0]))):
        return False
    # Short cells, many in each of many rows, are no chance.
    return mean > 12 or len(rows[0]) < 4 or len(rows) < 5


def _is_spaced(rows: Rows) -> bool:
    """Whether most delimiters have a space behind them, and not only those before quoted cells."""
    later = [cell for row in rows for cell in row[1:]]
    spaced = [cell for cell in later if cell.startswith(" ")]
    return 2 * len(spaced) > len(later) and not all(cell.startswith(' "') for cell in spaced)


def _holds_values(rows: Rows, number: int) -> bool:
    """Whether a column holds numbers, dates or truth, under whatever its first row says."""
    column = [row[number] for row in rows[1:] if len(row) > number and row[number].strip()]
    return bool(column) and all(_VALUE.fullmatch(cell) for cell in column)
