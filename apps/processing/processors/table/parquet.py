"""Parquet, by its footer: schema, rows, and the columns' statistics; no page of data is read.

Sources: `parquet.thrift` of the Apache Parquet format; the Thrift compact protocol. A library that reads the data
too (pyarrow, polars) is forty megabytes and more, for what the footer says for nothing.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from ...contract import JSON, Job, ProcessingFailed
from .columns import CELL_CHARACTERS, DESCRIBED

MAGIC: Final = b"PAR1"
SEALED: Final = b"PARE"
FOOTER_BYTES: Final = 64 * 1024 * 1024
DEPTH: Final = 16
VALUES: Final = 5_000_000  # that a footer may be made of

BOOLEAN, INT32, INT64, INT96, FLOAT, DOUBLE, BYTES, FIXED = range(8)
TYPES: Final = ("boolean", "integer", "integer", "datetime", "number", "number", "text", "text")
UTF8, DATE, TIMESTAMP_MILLIS, TIMESTAMP_MICROS, DECIMAL = 0, 6, 9, 10, 5
CONVERTED: Final = {DATE: "date", TIMESTAMP_MILLIS: "datetime", TIMESTAMP_MICROS: "datetime", DECIMAL: "number"}


class _Broken(Exception):
    """The footer is damaged."""


@dataclass(kw_only=True)
class _Compact:
    """The Thrift compact protocol, as structs of field numbers."""

    data: bytes
    at: int = 0
    left: int = VALUES

    def byte(self) -> int:
        if self.at >= len(self.data):
            raise _Broken
        self.at += 1
        return self.data[self.at - 1]

    def varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
        raise _Broken

    def zigzag(self) -> int:
        value = self.varint()
        return value >> 1 ^ -(value & 1)

    def binary(self) -> bytes:
        size = self.varint()
        if size > len(self.data) - self.at:
            raise _Broken
        self.at += size
        return self.data[self.at - size : self.at]

    def value(self, sort: int, depth: int) -> Any:
        self.left -= 1
        if depth > DEPTH or self.left < 0:
            raise _Broken
        if sort in (1, 2):
            return sort == 1
        if sort == 3:
            return self.byte()
        if sort in (4, 5, 6):
            return self.zigzag()
        if sort == 7:
            self.at += 8
            return None
        if sort == 8:
            return self.binary()
        if sort in (9, 10):
            return list(self.items(depth))
        if sort == 12:
            return self.struct(depth + 1)
        raise _Broken

    def items(self, depth: int) -> Iterator[Any]:
        head = self.byte()
        size = head >> 4 if head >> 4 != 15 else self.varint()
        if size > len(self.data) - self.at:
            raise _Broken
        for _ in range(size):
            sort = head & 15
            yield self.byte() == 1 if sort in (1, 2) else self.value(sort, depth + 1)

    def struct(self, depth: int = 0) -> dict[int, Any]:
        found: dict[int, Any] = {}
        number = 0
        while head := self.byte():
            number = number + (head >> 4) if head >> 4 else self.zigzag()
            found[number] = self.value(head & 15, depth)
        return found


@dataclass(kw_only=True)
class _Column:
    name: str
    physical: int
    converted: int | None
    nulls: int | None = 0
    least: Any = None
    greatest: Any = None

    def add(self, statistics: dict[int, Any] | None) -> None:
        """Take in what one row group says of it."""
        if statistics is None or 3 not in statistics:
            self.nulls = None
        elif self.nulls is not None:
            self.nulls += int(statistics[3])
        low = _plain(self.physical, (statistics or {}).get(6, (statistics or {}).get(2)))
        high = _plain(self.physical, (statistics or {}).get(5, (statistics or {}).get(1)))
        if low is not None and (self.least is None or low < self.least):
            self.least = low
        if high is not None and (self.greatest is None or high > self.greatest):
            self.greatest = high

    def told(self) -> dict[str, JSON]:
        sort = CONVERTED.get(self.converted if self.converted is not None else -1, TYPES[self.physical])
        ordered = self.converted is None and sort in ("integer", "number")
        return {
            "name": self.name[:CELL_CHARACTERS], "type": sort, "nulls": self.nulls,
            "min": self.least if ordered else None, "max": self.greatest if ordered else None,
        }  # fmt: skip


def _plain(physical: int, raw: Any) -> float | int | None:
    form = {INT32: "<i", INT64: "<q", FLOAT: "<f", DOUBLE: "<d"}.get(physical)
    if form is None or not isinstance(raw, bytes) or len(raw) != struct.calcsize(form):
        return None
    found: float | int = struct.unpack(form, raw)[0]
    return found if found == found else None  # a NaN has no place in an order


@dataclass(kw_only=True)
class _Schema:
    leaves: list[_Column] = field(default_factory=list)


def footer(job: Job) -> dict[str, JSON]:
    """What the footer says. Raises ProcessingFailed."""
    with job.path.open("rb") as file:
        try:
            return _read(file)
        except (_Broken, struct.error, TypeError, ValueError, AttributeError, IndexError, KeyError) as error:
            raise ProcessingFailed("table_broken") from error


def _read(file: BinaryIO) -> dict[str, JSON]:
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 8))
    tail = file.read(8)
    base: dict[str, JSON] = {
        "format": "parquet",
        "dialect": None,
        "first_rows": [],
        "rows_exact": True,
        "truncated": False,
    }
    if tail[4:] == SEALED:
        return base | {"encrypted": True, "rows": 0, "rows_exact": False, "column_count": 0, "columns": []}
    if tail[4:] != MAGIC:
        raise _Broken
    size = int.from_bytes(tail[:4], "little")
    if size > FOOTER_BYTES:
        raise ProcessingFailed("table_too_large")
    if size > end - 12:
        raise _Broken
    file.seek(end - 8 - size)
    meta = _Compact(data=file.read(size)).struct()
    leaves = _leaves(meta[2])
    for group in meta.get(4, []):
        for leaf, chunk in zip(leaves, group.get(1, []), strict=False):
            leaf.add(chunk.get(3, {}).get(12))
    made_by = meta.get(6, b"").decode("utf-8", "replace")[:200]
    return base | {
        "encrypted": False,
        "rows": int(meta[3]),
        "column_count": len(leaves),
        "columns": [leaf.told() for leaf in leaves[:DESCRIBED]],
        "row_groups": len(meta.get(4, [])),
        "made_by": made_by or None,
    }


def _leaves(elements: list[dict[int, Any]]) -> list[_Column]:
    """The columns that hold values, named by their path."""
    found: list[_Column] = []
    path: list[tuple[str, int]] = []
    for element in elements[1:]:
        while path and path[-1][1] == 0:
            path.pop()
        if path:
            path[-1] = (path[-1][0], path[-1][1] - 1)
        name = bytes(element[4]).decode("utf-8", "replace")
        children = int(element.get(5, 0) or 0)
        if children and 1 not in element:
            path.append((name, children))
            if len(path) > 64:
                raise _Broken
            continue
        full = ".".join([*(step for step, _ in path), name])
        found.append(_Column(name=full, physical=int(element[1]), converted=element.get(6)))
    return found
