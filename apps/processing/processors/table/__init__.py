"""Tables: their columns, what is in them, and their first rows; in flat memory, whatever their size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ...contract import JSON, Job, Outcome
from .. import fallback
from . import delimited, parquet, spreadsheet

CSV: Final = frozenset({"text/csv", "text/tab-separated-values"})
JSON_LINES: Final = frozenset({"application/x-ndjson", "application/jsonl"})
PARQUET: Final = frozenset({"application/vnd.apache.parquet", "application/x-parquet"})

SCHEMA: Final[Mapping[str, JSON]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "table",
    "description": "A table's columns and first rows; of a workbook, those of its first visible sheet that has any.",
    "type": "object",
    "properties": {
        "format": {"type": "string", "description": "csv, tsv, jsonl, xlsx, xlsm, xlsb, xltx, xls, ods, parquet …"},
        "dialect": {
            "type": ["object", "null"],
            "description": "How text is written: delimiter, quote, encoding, bom, newline, header, preamble.",
        },
        "encrypted": {"type": "boolean", "description": "Whether it cannot be read without a password."},
        "sheets": {
            "type": "array",
            "description": "Of a workbook, at most 100.",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "rows": {"type": ["integer", "null"]},
                    "columns": {"type": ["integer", "null"]},
                    "visible": {"type": "boolean"},
                    "readable": {"type": "boolean", "description": "False of one that is damaged, or not there."},
                },
                "required": ["name", "rows", "columns", "visible", "readable"],
                "additionalProperties": False,
            },
        },
        "sheet": {"type": ["string", "null"], "description": "Of a workbook, the sheet that columns and rows are of."},
        "rows": {"type": "integer", "description": "Rows, without the header."},
        "rows_exact": {"type": "boolean", "description": "Whether all of them were looked at."},
        "column_count": {
            "type": "integer",
            "description": "Columns of the widest row; of JSON Lines all keys, at most 20,000.",
        },
        "columns": {
            "type": "array",
            "description": "At most 200.",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "type": {
                        "enum": ["integer", "number", "boolean", "date", "datetime", "text", "mixed", "empty"],
                    },
                    "nulls": {"type": ["integer", "null"], "description": "Empty cells; null where it is not told."},
                    "min": {"type": ["number", "string", "null"]},
                    "max": {"type": ["number", "string", "null"]},
                },
                "required": ["name", "type", "nulls", "min", "max"],
                "additionalProperties": False,
            },
        },
        "first_rows": {
            "type": "array",
            "items": {"type": "array"},
            "description": "At most 10; cells are cut at 100 characters.",
        },
        "invalid_lines": {"type": "integer", "description": "Lines of JSON Lines that are no JSON."},
        "row_groups": {"type": "integer", "description": "Of a Parquet file."},
        "made_by": {"type": ["string", "null"], "description": "The program that wrote a Parquet file."},
        "truncated": {"type": "boolean", "description": "Whether there is more than was looked at, or it is damaged."},
    },
    "required": ["format", "dialect", "rows", "rows_exact", "column_count", "columns", "first_rows", "truncated"],
    "additionalProperties": False,
}


def process(job: Job) -> Outcome:
    """The table's facts. Raises ProcessingFailed for a workbook or a footer that cannot be read, or is too large."""
    if job.content_type in CSV:
        result = delimited.delimited(job)
    elif job.content_type in JSON_LINES:
        result = delimited.json_lines(job)
    elif job.content_type in spreadsheet.FORMATS:
        result = spreadsheet.workbook(job)
    elif job.content_type in PARQUET:
        result = parquet.footer(job)
    else:
        return fallback.process(job)
    job.report(100)
    return Outcome(result=result)
