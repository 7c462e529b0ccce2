"""CSV, TSV and JSON Lines: read line by line, whatever their size; a line without an end ends the reading."""

from __future__ import annotations

import csv
import os
import re
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, TextIO

import orjson

from ...contract import JSON, Job
from ..text import SAMPLE_BYTES, encoding_of
from .columns import CELL_CHARACTERS, DESCRIBED, Columns, is_header, kind_of

LINE_CHARACTERS: Final = 1024 * 1024
FIELD_CHARACTERS: Final = 256 * 1024
WORK_SECONDS: Final = 20.0
REPORT_ROWS: Final = 2000
DELIMITERS: Final = (",", ";", "\t", "|")
GUESSED_LINES: Final = 50
BATCH_ROWS: Final = 1000
BATCH_CHARACTERS: Final = 1024 * 1024
PREAMBLE_ROWS: Final = 20
TITLED_COLUMNS: Final = 3
HINT: Final = re.compile(r"\ufeff?sep=([,;\t|])\r?\n", re.IGNORECASE)  # Excel's, on the first line
NAMES: Final = 20_000  # of JSON Lines' columns that are told apart


class _Lines:
    """A file's lines, none longer than the bound, for as long as there is time."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._ends_at = time.monotonic() + WORK_SECONDS
        self.count = 0
        self.characters = 0
        self.cut = False

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(LINE_CHARACTERS):
            self.count += 1
            if self.count == 1:
                line = line.removeprefix("\ufeff")
            if len(line) == LINE_CHARACTERS or (self.count % REPORT_ROWS == 0 and time.monotonic() > self._ends_at):
                self.cut = True
                return
            self.characters += len(line)
            yield line.replace("\0", "")


def delimited(job: Job) -> dict[str, JSON]:
    """What a file of separated values holds. A damaged one is told as far as it can be read."""
    with job.path.open("rb") as raw:
        sample = raw.read(SAMPLE_BYTES)
    encoding, bom = encoding_of(sample)
    text = sample[bom:].decode(encoding, "replace")
    hint = HINT.match(text)
    hinted = hint is not None
    delimiter = (
        "\t" if job.content_type == "text/tab-separated-values" else hint[1] if hint is not None else _delimiter(text)
    )
    csv.field_size_limit(FIELD_CHARACTERS)
    columns, broken, header, preamble = Columns(), False, False, 0
    with job.path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, errors="replace", newline="") as file:
        lines = _Lines(file)
        batches = _batches(csv.reader(islice(lines, hinted, None), delimiter=delimiter), lines)
        for batch, ends_here in batches:
            broken = ends_here
            if columns.rows == 0 and not header:
                preamble = preamble_of(batch)
                del batch[:preamble]
                if header := is_header(batch[0], batch[1]) if len(batch) > 1 else False:
                    columns.name(batch.pop(0))
            columns.add_rows(batch)
            job.report(min(99, 100 * os.lseek(file.fileno(), 0, os.SEEK_CUR) // max(1, job.size)))
    newline = "\r\n" if "\r\n" in text else "\r" if "\r" in text and "\n" not in text else "\n"
    return {
        "format": "tsv" if delimiter == "\t" else "csv",
        "dialect": {
            "delimiter": delimiter, "quote": '"', "encoding": encoding, "bom": bom > 0, "newline": newline,
            "header": header, "preamble": preamble + hinted,
        },
        **columns.told(),
        "rows_exact": not (lines.cut or broken),
        "truncated": lines.cut or broken,
    }  # fmt: skip


def _batches(reader: Iterator[list[str]], lines: _Lines) -> Iterator[tuple[list[list[str]], bool]]:
    """Rows that are not empty, as many at a time as are few; and whether the text breaks off behind them."""
    batch, before = list[list[str]](), 0
    try:
        for row in reader:
            if row:
                batch.append(row)
            if len(batch) >= BATCH_ROWS or lines.characters - before > BATCH_CHARACTERS:
                yield batch, False
                batch, before = [], lines.characters
    except csv.Error:
        yield batch, True
        return
    yield batch, False


def preamble_of(rows: Sequence[Sequence[str]]) -> int:
    """How many rows before the table's own are comments, or a title: one cell, above a row of several."""
    comments = next((number for number, row in enumerate(rows[:PREAMBLE_ROWS]) if not row[0].startswith("#")), 0)
    if comments == 1 and len(rows[0]) == len(rows[1]):
        comments = 0  # a column is called like this
    later = rows[comments:PREAMBLE_ROWS]
    first = next((number for number, row in enumerate(later) if _filled(row) > 1), 0)
    for row in later[:first]:
        padded = len(row) > 1 and len(later[first]) < TITLED_COLUMNS  # a row may lack its second cell of two
        if padded or kind_of(row[0])[0] not in ("text", "empty"):
            return comments
    return comments + first


def _filled(row: Sequence[str]) -> int:
    return sum(1 for cell in row if cell.strip())


def _delimiter(sample: str) -> str:
    """The delimiter by which most lines fall into equally many parts."""
    lines = [line for line in sample.splitlines()[:GUESSED_LINES] if line.strip() and not line.startswith("#")]
    best, found = 0.0, ","
    for delimiter in DELIMITERS:
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        except csv.Error:
            continue
        if not widths:
            continue
        common = max(set(widths), key=widths.count)
        score = widths.count(common) / len(widths) * (common > 1) * (1 + min(common, 20) / 100)
        if score > best:
            best, found = score, delimiter
    return found


def json_lines(job: Job) -> dict[str, JSON]:
    """What a file of one JSON value a line holds."""
    columns, names, invalid, more = Columns(), list[str](), 0, False
    indexes: dict[int, int] = {}  # by the names' hashes, as names may be long
    with job.path.open("rb") as raw:
        sample = raw.read(SAMPLE_BYTES)
    encoding, bom = encoding_of(sample)
    with job.path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, errors="replace") as file:
        lines = _Lines(file)
        for line in lines:
            if not line.strip():
                continue
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError:
                invalid += 1
                continue
            if not isinstance(value, dict):
                value = {"": value}
            cells: list[tuple[int, object]] = []
            for key, cell in value.items():
                index = indexes.get(hash(key))
                if index is None:
                    if len(indexes) >= NAMES:
                        more = True
                        continue
                    index = indexes[hash(key)] = len(indexes)
                    if index < DESCRIBED:
                        names.append(key[:CELL_CHARACTERS])
                if index < DESCRIBED:
                    cells.append((index, _flat(cell)))
            columns.add_cells(cells)
            if columns.rows % REPORT_ROWS == 0:
                job.report(min(99, 100 * os.lseek(file.fileno(), 0, os.SEEK_CUR) // max(1, job.size)))
    columns.widen(len(indexes))
    columns.name(names)
    return {
        "format": "jsonl",
        "dialect": {"encoding": encoding, "bom": bom > 0},
        **columns.told(),
        "invalid_lines": invalid,
        "rows_exact": not lines.cut,
        "truncated": lines.cut or more,
    }


def _flat(value: object) -> object:
    return orjson.dumps(value)[:200].decode("utf-8", "ignore") if isinstance(value, dict | list) else value
