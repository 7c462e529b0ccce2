"""The entities that an XML document declares, and what its references to them would stand for, reckoned and not made.

A billion laughs are a few entities that name each other; a quadratic blow-up is a long one that is named often. Both
are known by their sums; expat's own bound is for what it expands itself, in attributes. Source: XML 1.0, fifth edition,
§4.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

ENTITIES: Final = 10_000
DECLARED_CHARACTERS: Final = 10_000_000  # of all declarations together
REFERENCE: Final = re.compile(r"[&%]([^;#&%\s]{1,200});")


class TooMuch(Exception):
    """The references stand for more than any document needs, or for themselves."""


class Entities:
    """What was declared so far, and how much was referred to, in characters; never more than `limit`."""

    def __init__(self, limit: int) -> None:
        self.references = 0
        self._limit = limit
        self._left = limit
        self._characters = 0
        self._own: dict[str, int] = {}
        self._inner: dict[str, Counter[str]] = {}
        self._weights: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._own)

    def declare(self, name: str, is_parameter: bool, value: str | None, *_: object) -> None:
        """Take a declaration in, as expat tells it; the first of a name counts. Raises TooMuch."""
        text = value or ""
        self._characters += len(text)
        if len(self) >= ENTITIES or self._characters > DECLARED_CHARACTERS:
            raise TooMuch
        if name not in self._own:
            inner = Counter(REFERENCE.findall(text))
            self._own[name], self._inner[name] = len(text), inner

    def check(self) -> None:
        """All are declared: none may stand for too much, though it is never referred to. Raises TooMuch."""
        for name in self._own:
            self._weight(name)

    def read(self, text: str) -> None:
        """Take in what expat hands on as it stands: a reference, or anything else. Raises TooMuch."""
        if self._own and text.startswith("&") and (name := text[1:-1]) in self._own:
            self.references += 1
            self.unfold(self._weight(name))

    def unfold(self, characters: int) -> None:
        """So many characters stand where references stood, or may have. Raises TooMuch."""
        self._left -= characters
        if self._left < 0:
            raise TooMuch

    def _weight(self, name: str) -> int:
        """How many characters an entity stands for, with all that it refers to, in any order. Raises TooMuch."""
        path = [name]
        open_ = set[str]()
        while path:
            current = path[-1]
            if current in self._weights:
                path.pop()
                continue
            open_.add(current)
            waiting = [other for other in self._inner[current] if other in self._own and other not in self._weights]
            if not open_.isdisjoint(waiting):
                raise TooMuch
            if waiting:
                path += waiting
                continue
            weight = self._own[current] + sum(
                self._weights.get(other, 0) * times for other, times in self._inner[current].items()
            )
            if weight > self._limit:
                raise TooMuch
            self._weights[current] = weight
            open_.discard(current)
            path.pop()
        return self._weights[name]
