"""What passes between the worker and a processor: a `Job` in, an `Outcome` out, or a `ProcessingFailed`.

This module knows neither Django nor any file format, so that a processor can be run with nothing but a
path. What a processor returns goes into PostgreSQL `jsonb`; `Outcome` makes it fit to be stored there, once,
for all of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

JSON: TypeAlias = bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"] | None

KINDS: Final = ("image", "text", "table", "data", "document", "audio", "video", "archive", "other")
"""Every value the `kind` of a file can have."""

FAILURE_CODES: Final[Mapping[str, str]] = {
    "archive_bomb": "The archive unpacks to far more than it is.",
    "archive_broken": "The archive is damaged and cannot be read.",
    "archive_too_large": "The archive's list of entries is larger than this service reads.",
    "audio_broken": "The sound is damaged and cannot be read.",
    "audio_unsupported": "The sound is of a format that this service cannot read.",
    "data_bomb": "The data's references unfold to far more than it is.",
    "data_too_deep": "The data is nested deeper than this service follows.",
    "data_too_large": "The data is larger than this service reads of its format.",
    "document_broken": "The document is damaged and cannot be read.",
    "document_too_large": "The document unpacks to more, or is nested deeper, than this service reads.",
    "image_broken": "The image is damaged and cannot be read.",
    "image_too_large": "The image is larger than this service decodes.",
    "image_truncated": "The image ends before all of its pixels have been read.",
    "image_unsupported": "The image uses a variant of its format that this service cannot read.",
    "memory_limit": "Processing took more memory than this service gives a file.",
    "open_files_limit": "Processing opened more files than this service allows.",
    "output_limit": "Processing wrote a larger file than this service allows.",
    "processing_timeout": "Processing took longer than this service allows.",
    "table_broken": "The table is damaged and cannot be read.",
    "table_too_large": "The table unpacks to more than this service reads.",
    "video_broken": "The film is damaged and cannot be read.",
    "video_too_large": "The film's pictures are larger than this service decodes.",
    "video_unsupported": "The film is of a format that this service cannot read.",
    "type_not_accepted": "Files of this type are not accepted here.",
}
"""Each code a processor can fail with, and the sentence told when it has nothing more precise to say."""


class ProcessingFailed(Exception):  # It is an outcome, and reads as one in `except`.
    """The file itself is at fault: another attempt would end the same way.

    `code` is one of `FAILURE_CODES` (or, with a detail, a plugin's own) and stable; `detail` is a sentence for people
    and never holds a path.
    Any other exception out of a processor is a fault of the service, which may pass on a retry.
    """

    def __init__(self, code: str, detail: str | None = None) -> None:
        # Both go to `args`, so that the exception survives pickling between processes.
        self.code = code
        self.detail = FAILURE_CODES[code] if detail is None else detail
        super().__init__(self.code, self.detail)

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


@dataclass(frozen=True, kw_only=True)
class Task:
    """One file to work on: where it is, how large (bytes), what it was called and declared to be, its SHA-256 in hex,
    where to write."""

    path: Path
    size: int
    name: str
    sha256: str
    workdir: Path
    declared_content_type: str = ""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One file to process.

    `path` is the file's bytes (read only), `size` is in bytes, `name` is what the uploader called it (never
    to be trusted), `content_type` and `kind` are what detection found, `sha256` is in hex. `workdir` is an
    empty directory for derived files. `report` takes a percentage 0..100 and may be called as often as
    wanted: the caller limits the rate. What it raises ends the processing and is to be let through.

    `settle` takes what the file comes to, an outcome or a failure, should what follows last longer than so many seconds
    or take more memory than there is: said before a step of a library that nothing can interrupt. Each word of it, and
    the last one, stands in place of the one before.
    """

    path: Path
    size: int
    name: str
    content_type: str
    kind: str
    sha256: str
    workdir: Path
    report: Callable[[int], None]
    settle: Settle = lambda verdict, seconds: None


@dataclass(frozen=True, kw_only=True)
class Derived:
    """A file made from the uploaded one; `name` is the last part of its URL, `path` lies in the `workdir`."""

    name: str
    path: Path
    content_type: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was learnt (`result`, made safe for `jsonb` on the way in) and what was made (`derived`)."""

    result: Mapping[str, JSON]
    derived: tuple[Derived, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "result", storable(self.result))


Settle: TypeAlias = Callable[[Outcome | ProcessingFailed, float], None]


# PostgreSQL refuses \u0000 in jsonb, and lone surrogates cannot be encoded as UTF-8.
# https://www.postgresql.org/docs/current/datatype-json.html
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


# What is read from a row is written again, inside others: orjson writes 254 levels, and integers of 64 bits.
_DEEPEST: Final = 64
_INTEGERS: Final = range(-(2**63), 2**64)


def storable(value: JSON, levels: int = _DEEPEST) -> JSON:
    """The same value as PostgreSQL `jsonb` and strict JSON take it.

    Strings lose NUL and lone surrogates, NaN and the infinities become null, integers of more than 64 bits floats,
    sequences lists. Anything that JSON has no notation for (bytes, dates), and more than 64 levels, is a programming
    error: `TypeError`.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if value in _INTEGERS else _float_of(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return _UNSTORABLE.sub("", value)
    if not levels:
        raise TypeError(f"a result has {_DEEPEST} levels at most")
    if isinstance(value, Mapping):
        return {_UNSTORABLE.sub("", key): storable(item, levels - 1) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [storable(item, levels - 1) for item in value]
    raise TypeError(f"{type(value).__name__} has no place in a result")


def _float_of(value: int) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None
