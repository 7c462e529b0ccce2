"""What each kind's result looks like, as its processor says; kept in `kinds.json`, for those who may not import one.

`manage.py kinds` writes that file, and docs/kinds.md; a test holds both to the processors.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson

PATH: Final = Path(__file__).with_name("kinds.json")
MISMATCH: Final[dict[str, Any]] = {
    "type": "object",
    "description": "Only where they contradict each other: the declared type, the name's, and the one that was found.",
    "properties": {
        "declared": {"type": ["string", "null"]},
        "named": {"type": ["string", "null"]},
        "found": {"type": "string"},
    },
    "required": ["declared", "named", "found"],
    "additionalProperties": False,
}


@cache
def schemas() -> dict[str, Any]:
    """The JSON Schema of each kind's result, by kind."""
    found: dict[str, Any] = orjson.loads(PATH.read_bytes())
    return found


def result_schema() -> dict[str, Any]:
    """The schema of any result."""
    of_kinds = [{**{key: value for key, value in schema.items() if key != "$schema"}} for schema in schemas().values()]
    return {"anyOf": of_kinds, "description": "What was found out, by kind; see docs/kinds.md."}
