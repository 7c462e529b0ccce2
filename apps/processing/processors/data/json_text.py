"""JSON, checked and counted as it streams by: no value is ever built.

Source: RFC 8259. Unlike Python's own reader it takes no NaN and no lone control characters.
"""

from __future__ import annotations

import codecs
import re
import time
from dataclasses import dataclass, field
from typing import Final

from ...contract import JSON, Job, ProcessingFailed
from ..text import SAMPLE_BYTES, encoding_of
from .limits import DEPTH, KEYS, NAME_CHARACTERS, WORK_SECONDS

CHUNK_BYTES: Final = 1024 * 1024
TOKEN_CHARACTERS: Final = 16 * 1024 * 1024  # of one string or number
TOKEN: Final = re.compile(
    r"[ \t\n\r]+"
    r'|(?P<string>"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*")'
    r"|(?P<number>-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?=[ \t\n\r,\]}]|\Z))"
    r"|(?P<word>true|false|null)"
    r"|(?P<mark>[{}\[\],:])"
)


class Invalid(Exception):
    """The text is no JSON, at this place in it."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


@dataclass(kw_only=True)
class Scan:
    """What was seen so far, and what may come next."""

    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("objects", "arrays", "strings", "numbers", "booleans", "nulls", "keys"), 0
        )
    )
    depth: int = 0
    top: str | None = None
    keys: list[str] = field(default_factory=list)
    stack: bytearray = field(default_factory=bytearray)
    expects: str = "value"  # or: value or end, key or end, key, colon, comma or end, nothing

    def take(self, sort: str, word: str) -> None:
        """The next token. Raises Invalid, and ProcessingFailed for what is nested too deep."""
        if self.expects == "nothing":
            raise Invalid("There is something after the value.")
        if sort == "mark":
            self._mark(word)
        elif sort == "string" and self.expects in ("key", "key or end"):
            self.counts["keys"] += 1
            if len(self.stack) == 1 and len(self.keys) < KEYS:
                self.keys.append(word[1:-1][:NAME_CHARACTERS])
            self.expects = "colon"
        elif self.expects in ("value", "value or end"):
            name = {"string": "strings", "number": "numbers"}.get(sort, "nulls" if word == "null" else "booleans")
            self.counts[name] += 1
            self._value("scalar")
        else:
            raise Invalid(f"A {self.expects} was expected.")

    def _value(self, what: str) -> None:
        if self.top is None:
            self.top = what
        self.expects = "comma or end" if self.stack else "nothing"

    def _mark(self, mark: str) -> None:
        if mark in "{[" and self.expects in ("value", "value or end"):
            if self.top is None:
                self.top = "object" if mark == "{" else "array"
            self.counts["objects" if mark == "{" else "arrays"] += 1
            self.stack.append(ord(mark))
            self.depth = max(self.depth, len(self.stack))
            if self.depth > DEPTH:
                raise ProcessingFailed("data_too_deep")
            self.expects = "key or end" if mark == "{" else "value or end"
        elif (
            mark in "}]" and "end" in self.expects and self.stack and self.stack[-1] == ord("{" if mark == "}" else "[")
        ):
            self.stack.pop()
            self.expects = "comma or end" if self.stack else "nothing"
        elif mark == "," and self.expects == "comma or end":
            self.expects = "key" if self.stack[-1] == ord("{") else "value"
        elif mark == ":" and self.expects == "colon":
            self.expects = "value"
        else:
            raise Invalid(f"A {self.expects} was expected.")


def survey(job: Job) -> dict[str, JSON]:
    """Whether it is JSON, or where it is none, and what it is made of. Raises ProcessingFailed."""
    scan, fault, cut = Scan(), None, False
    place = _Place()
    try:
        cut = _scan(job, scan, place)
        if not cut and scan.expects != "nothing":
            fault = place.at("The text ends too early.", "")
    except Invalid as error:
        fault = place.at(error.message, place.text[: place.passed])
    except UnicodeDecodeError:
        fault = place.at("The text is not in its encoding.", "")
    return {
        "format": "json",
        "valid": fault is None,
        "error": fault,
        "depth": scan.depth,
        "top_level": scan.top,
        "keys": list(scan.keys),
        "counts": dict(scan.counts),
        "truncated": cut,
    }


@dataclass(kw_only=True)
class _Place:
    """Where in the text the scan is."""

    line: int = 1
    column: int = 1
    text: str = ""
    passed: int = 0

    def advance(self, text: str) -> None:
        lines = text.count("\n")
        self.line += lines
        self.column = len(text) - text.rfind("\n") if lines else self.column + len(text)

    def at(self, message: str, passed: str) -> dict[str, JSON]:
        self.advance(passed)
        return {"line": self.line, "column": self.column, "message": message}


def _scan(job: Job, scan: Scan, place: _Place) -> bool:
    """Go through the text; whether it was too long for the time, or a token too long to be one."""
    ends_at = time.monotonic() + WORK_SECONDS
    with job.path.open("rb") as file:
        encoding, bom = encoding_of(file.read(SAMPLE_BYTES))
        file.seek(bom)
        decoder = codecs.getincrementaldecoder(encoding)("strict")
        text, read, over = "", bom, False
        while not over:
            data = file.read(CHUNK_BYTES)
            read, over = read + len(data), not data
            text += decoder.decode(data, over)
            end = _tokens(text, scan, place, over)
            place.advance(text[:end])
            text = text[end:]
            if len(text) > TOKEN_CHARACTERS or time.monotonic() > ends_at:
                return True
            job.report(min(99, 100 * read // max(1, job.size)))
    return False


def _tokens(text: str, scan: Scan, place: _Place, over: bool) -> int:
    """Take in the tokens of the text but the last ones, which may go on in the next chunk; how far that was."""
    at, end = 0, len(text)
    while at < end:
        match = TOKEN.match(text, at)
        if match is None:
            if not over and (text[at] == '"' or end - at < 64):
                return at  # it may be whole when more has come
            place.text, place.passed = text, at
            raise Invalid("This is no JSON.")
        if not over and match.end() == end and match.lastgroup in ("number", "word"):
            return at
        if match.lastgroup is not None:
            place.text, place.passed = text, at
            scan.take(match.lastgroup, match[0])
        at = match.end()
    return at
