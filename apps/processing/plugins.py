"""Kinds of file that other packages add, each an entry point of the group `filewire.processors`.

The entry point's name is the kind; it names a module (or any object) with `CONTENT_TYPE`, `recognises(head)` and
`process(job)`. It is imported in the sandbox alone: every other process knows the names and no more. A plugin is asked
before our own detection, and its failure codes begin with its kind's name. docs/processors.md has an example.

Source: the entry points of the Python packaging specifications.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final, Protocol, cast

from apps.processing.contract import FAILURE_CODES, KINDS, Job, Outcome

GROUP: Final = "filewire.processors"
KIND: Final = re.compile(r"[a-z][a-z0-9]{0,15}")  # as long as the record's column


class Plugin(Protocol):
    """What an entry point leads to."""

    CONTENT_TYPE: str

    def recognises(self, head: bytes) -> bool:
        """Whether a file that begins with these bytes, its first 8 KiB, is of this kind."""

    def process(self, job: Job) -> Outcome:
        """What is learnt and made of the file. Raises ProcessingFailed with a code that begins with the kind."""


@cache
def _entry_points() -> Mapping[str, EntryPoint]:
    found = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return {point.name: point for point in found if KIND.fullmatch(point.name) and point.name not in KINDS}


@cache
def kinds() -> tuple[str, ...]:
    """Every kind that a file can have here."""
    return (*KINDS, *_entry_points())


@cache
def load() -> Mapping[str, Plugin]:
    """The plugins by their kind, imported. Raises whatever their import does: a broken plugin is not passed over."""
    return {kind: cast(Plugin, point.load()) for kind, point in _entry_points().items()}


def is_failure_code(code: str) -> bool:
    """Whether a file may be failed with this code."""
    return code in FAILURE_CODES or any(code.startswith(f"{kind}_") for kind in _entry_points())
