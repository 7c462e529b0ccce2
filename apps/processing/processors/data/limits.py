"""The bounds that all kinds of data share."""

from __future__ import annotations

from typing import Final

DEPTH: Final = 1000
KEYS: Final = 100  # top-level keys that are told
NAME_CHARACTERS: Final = 200
WORK_SECONDS: Final = 20.0
EXPANDED: Final = 10_000_000  # characters, or nodes, that references may stand for
