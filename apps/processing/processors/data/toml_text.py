"""TOML, by the standard library's reader; it is a language for configuration, and bounded as such."""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final

from ...contract import JSON, Job, ProcessingFailed
from .limits import DEPTH, KEYS, NAME_CHARACTERS

MAX_BYTES: Final = 8 * 1024 * 1024
# A key of so many parts, which the reader takes the square of their number for; looked for where one may begin.
LONG_KEY: Final = re.compile(
    rb"(?<![\w\-.\"'])(?:(?:[\w-]++|\"[^\"\n]{0,200}\"|'[^'\n]{0,200}')[ \t]*+\.[ \t]*+){%d}" % DEPTH
)
PLACE: Final = re.compile(r"\(at line (\d+), column (\d+)\)")


def survey(job: Job) -> dict[str, JSON]:
    """Whether it is TOML, or where it is none, and what it is made of. Raises ProcessingFailed."""
    if job.size > MAX_BYTES:
        raise ProcessingFailed("data_too_large")
    document: dict[str, Any] = {}
    fault: dict[str, JSON] | None = None
    content = job.path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    if LONG_KEY.search(content):
        raise ProcessingFailed("data_too_deep")
    try:
        document = tomllib.loads(content.decode())
    except UnicodeDecodeError:
        fault = {"line": 1, "column": 1, "message": "TOML is UTF-8, and this is not."}
    except tomllib.TOMLDecodeError as error:
        place = PLACE.search(str(error))
        line, column = (int(place[1]), int(place[2])) if place else (1, 1)
        fault = {"line": line, "column": column, "message": PLACE.sub("", str(error)).strip()[:NAME_CHARACTERS]}
    except ValueError:
        fault = {"line": 1, "column": 1, "message": "A number in it has too many digits."}
    except RecursionError as error:
        raise ProcessingFailed("data_too_deep") from error
    counts = {"objects": 0, "arrays": 0, "scalars": 0, "keys": 0}
    depth = _count(document, counts)
    return {
        "format": "toml",
        "valid": fault is None,
        "error": fault,
        "depth": depth,
        "top_level": "object",
        "keys": [str(key)[:NAME_CHARACTERS] for key in list(document)[:KEYS]],
        "counts": dict(counts),
        "truncated": False,
    }


def _count(document: Any, counts: dict[str, int]) -> int:
    """Count what a document is made of, level by level; how many levels there are."""
    level: list[Any] = [document]
    depth = 0
    while level:
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                counts["objects"] += 1
                counts["keys"] += len(value)
                below += value.values()
            elif isinstance(value, list):
                counts["arrays"] += 1
                below += value
            else:
                counts["scalars"] += 1
        depth += any(isinstance(value, dict | list) for value in level)
        if depth > DEPTH:
            raise ProcessingFailed("data_too_deep")
        level = below
    return depth
