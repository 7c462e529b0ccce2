"""JSON's grammar, one token after the other: what was seen, what may come next, and where it is none.

Source: RFC 8259. Unlike Python's own reader it takes no NaN and no lone control characters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from ...contract import JSON, ProcessingFailed
from .limits import DEPTH, KEYS, NAME_CHARACTERS

LONGEST_WORD: Final = 64
TOKEN: Final = re.compile(
    r"[ \t\n\r]+"
    r'|(?P<string>"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+")'
    r"|(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?=[ \t\n\r,\]}]|\Z))"
    r"|(?P<word>true|false|null)"
    r"|(?P<mark>[{}\[\],:])"
)
# A string as far as it may be when the text ends in it.
UNENDED: Final = re.compile(
    r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+(?:\\(?:u[0-9a-fA-F]{0,3})?)?'
)

# What other languages have, and what is said of it.
FAULTS: Final = (
    (re.compile(r"-?NaN\b"), "NaN is no JSON number."),
    (re.compile(r"-?Infinity\b"), "Infinity is no JSON number."),
    (re.compile(r"//|/\*|#"), "JSON has no comments."),
    (re.compile(r"'"), "JSON has no single quotes."),
    (re.compile(r"-?0[0-9]"), "A JSON number begins with no zero."),
    (re.compile(r"(?:True|False|None|undefined)\b"), "This is no JSON value."),
)


class Invalid(Exception):
    """The text is no JSON, at this place in it."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


@dataclass(kw_only=True)
class Nesting:
    """What is open, and what may come next."""

    stack: bytearray = field(default_factory=bytearray)
    expects: str = "value"  # or: value or end, key or end, key, colon, comma or end, nothing

    def key(self) -> None:
        """A string where a key may be. Raises Invalid where none may."""
        if self.expects not in ("key", "key or end"):
            raise self.invalid()
        self.expects = "colon"

    def value(self) -> None:
        """A whole value. Raises Invalid where none may be."""
        if self.expects not in ("value", "value or end"):
            raise self.invalid()
        self.expects = "comma or end" if self.stack else "nothing"

    def mark(self, mark: int) -> None:
        """One of `{}[],:`. Raises Invalid where it may not be."""
        if mark in b"{[" and self.expects in ("value", "value or end"):
            self.stack.append(mark)
            self.expects = "key or end" if mark == ord("{") else "value or end"
        elif mark in b"}]" and "end" in self.expects and bytes(self.stack[-1:]) == (b"{" if mark == ord("}") else b"["):
            self.stack.pop()
            self.expects = "comma or end" if self.stack else "nothing"
        elif mark == ord(",") and self.expects == "comma or end":
            self.expects = "key" if self.stack[-1] == ord("{") else "value"
        elif mark == ord(":") and self.expects == "colon":
            self.expects = "value"
        else:
            raise self.invalid()

    def invalid(self) -> Invalid:
        """The fault of what came instead of what was expected."""
        if self.expects == "nothing":
            return Invalid("There is something after the value.")
        return Invalid(f"A {self.expects} was expected.")


@dataclass(kw_only=True)
class Scan:
    """What was seen so far."""

    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("objects", "arrays", "strings", "numbers", "booleans", "nulls", "keys"), 0
        )
    )
    depth: int = 0
    top: str | None = None
    keys: list[str] = field(default_factory=list)
    nesting: Nesting = field(default_factory=Nesting)

    def take(self, sort: str, word: str) -> None:
        """The next token. Raises Invalid, and ProcessingFailed for what is nested too deep."""
        if sort == "mark":
            self.nesting.mark(ord(word))
            if word in "{[":
                self._opened("object" if word == "{" else "array")
        elif sort == "string" and "key" in self.nesting.expects:
            self.nesting.key()
            self.counts["keys"] += 1
            if len(self.nesting.stack) == 1 and len(self.keys) < KEYS:
                self.keys.append(word[1:-1][:NAME_CHARACTERS])
        else:
            self.nesting.value()
            self.top = self.top or "scalar"
            name = {"string": "strings", "number": "numbers"}.get(sort, "nulls" if word == "null" else "booleans")
            self.counts[name] += 1

    def _opened(self, what: str) -> None:
        self.top = self.top or what
        self.counts[f"{what}s"] += 1
        self.depth = max(self.depth, len(self.nesting.stack))
        if self.depth > DEPTH:
            raise ProcessingFailed("data_too_deep")


@dataclass(kw_only=True)
class Place:
    """Where in the text the scan is."""

    line: int = 1
    column: int = 1
    text: str = ""
    passed: int = 0

    def advance(self, text: str) -> None:
        """This much further."""
        lines = text.count("\n")
        self.line += lines
        self.column = len(text) - text.rfind("\n") if lines else self.column + len(text)

    def at(self, message: str, passed: str) -> dict[str, JSON]:
        """A fault, this much further."""
        self.advance(passed)
        return {"line": self.line, "column": self.column, "message": message}


def take_tokens(text: str, scan: Scan, place: Place, over: bool) -> int:
    """Take in the tokens of the text but the last ones, which may go on in the next chunk; how far that was.

    Raises Invalid, with the place of the fault noted, and ProcessingFailed.
    """
    at, end = 0, len(text)
    while at < end:
        match = TOKEN.match(text, at)
        if match is None:
            if not over and (UNENDED.fullmatch(text, at) if text[at] == '"' else end - at < LONGEST_WORD):
                return at  # it may be whole when more has come
            place.text, place.passed = text, at
            raise Invalid(next((words for opening, words in FAULTS if opening.match(text, at)), "This is no JSON."))
        if not over and match.end() == end and match.lastgroup in ("number", "word"):
            return at
        if match.lastgroup is not None:
            place.text, place.passed = text, at
            scan.take(match.lastgroup, match[0])
        at = match.end()
    return at
