"""CSV, TSV and JSON Lines: read line by line, whatever their size; a line without an end ends the reading."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Iterator
from typing import Final, TextIO

import orjson

from ...contract import JSON, Job
from ..text import SAMPLE_BYTES, encoding_of
from .columns import Columns, is_header

LINE_CHARACTERS: Final = 1024 * 1024
FIELD_CHARACTERS: Final = 256 * 1024
WORK_SECONDS: Final = 20.0
REPORT_ROWS: Final = 2000
DELIMITERS: Final = (",", ";", "\t", "|")
GUESSED_LINES: Final = 50
ROW_CELLS: Final = 20_000  # of a row that are taken in


class _Lines:
    """A file's lines, none longer than the bound, for as long as there is time."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._ends_at = time.monotonic() + WORK_SECONDS
        self.count = 0
        self.cut = False

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(LINE_CHARACTERS):
            self.count += 1
            if self.count == 1:
                line = line.removeprefix("\ufeff")
            if len(line) == LINE_CHARACTERS or (self.count % REPORT_ROWS == 0 and time.monotonic() > self._ends_at):
                self.cut = True
                return
            yield line.replace("\0", "")


def delimited(job: Job) -> dict[str, JSON]:
    """What a file of separated values holds. A damaged one is told as far as it can be read."""
    with job.path.open("rb") as raw:
        sample = raw.read(SAMPLE_BYTES)
    encoding, bom = encoding_of(sample)
    text = sample[bom:].decode(encoding, "replace")
    delimiter = "\t" if job.content_type == "text/tab-separated-values" else _delimiter(text)
    csv.field_size_limit(FIELD_CHARACTERS)
    columns, broken, header = Columns(), False, False
    with job.path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, errors="replace", newline="") as file:
        lines = _Lines(file)
        rows = csv.reader(iter(lines), delimiter=delimiter)
        first = None
        try:
            for row in rows:
                if first is None:
                    first = row
                    continue
                if columns.rows == 0 and not header:
                    header = is_header(first, row)
                    (columns.name if header else columns.add)(first[:ROW_CELLS])
                if row:
                    columns.add(row[:ROW_CELLS])
                    columns.width = max(columns.width, len(row))
                if columns.rows % REPORT_ROWS == 0:
                    job.report(min(99, 100 * os.lseek(file.fileno(), 0, os.SEEK_CUR) // max(1, job.size)))
        except csv.Error:
            broken = True
        if first is not None and columns.rows == 0 and not header:
            columns.add(first[:ROW_CELLS])
            columns.width = max(columns.width, len(first))
    newline = "\r\n" if "\r\n" in text else "\r" if "\r" in text and "\n" not in text else "\n"
    return {
        "format": "tsv" if delimiter == "\t" else "csv",
        "dialect": {
            "delimiter": delimiter, "quote": '"', "encoding": encoding, "bom": bom > 0, "newline": newline,
            "header": header,
        },
        **columns.told(),
        "rows_exact": not (lines.cut or broken),
        "truncated": lines.cut or broken,
    }  # fmt: skip


def _delimiter(sample: str) -> str:
    """The delimiter by which most lines fall into equally many parts."""
    lines = [line for line in sample.splitlines()[:GUESSED_LINES] if line.strip()]
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
    columns, names, invalid = Columns(), dict[str, int](), 0
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
            for key in list(value)[:ROW_CELLS]:
                if key not in names and len(names) < ROW_CELLS:
                    names[key] = len(names)
            columns.add([_flat(value.get(key)) for key in names])
            if columns.rows % REPORT_ROWS == 0:
                job.report(min(99, 100 * os.lseek(file.fileno(), 0, os.SEEK_CUR) // max(1, job.size)))
    columns.name(list(names))
    return {
        "format": "jsonl",
        "dialect": {"encoding": encoding, "bom": bom > 0},
        **columns.told(),
        "invalid_lines": invalid,
        "rows_exact": not lines.cut,
        "truncated": lines.cut,
    }


def _flat(value: object) -> object:
    return orjson.dumps(value)[:200].decode("utf-8", "ignore") if isinstance(value, dict | list) else value
