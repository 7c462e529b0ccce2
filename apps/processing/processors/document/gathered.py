"""What is gathered of a document while it is read: its text, within bounds, its outline, its facts."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ...contract import JSON, Derived, Outcome
from ..text import language_of

TEXT_CHARACTERS: Final = 4 * 1024 * 1024  # that are kept of a document
EXCERPT_CHARACTERS: Final = 1000
OUTLINE: Final = 100
LEVELS: Final = 10
FACT_CHARACTERS: Final = 500
LANGUAGE_CHARACTERS: Final = 20_000
WORK_SECONDS: Final = 20.0

SPACES: Final = re.compile(r"[ \t\x0b\f\r\xa0]+")
LINES: Final = re.compile(r"\n\s*\n\s*")
WORDS: Final = re.compile(r"\w+")


def codec_of(name: object) -> str | None:
    """The name of an encoding as documents give it, if text can be decoded by it; None if not.

    Python has codecs of no text ("hex") and some that heed no error handler ("idna"), and looks none up for no bytes.
    """
    try:
        b"a\xff".decode(str(name), "replace")
    except (LookupError, ValueError):
        return None
    return str(name)


@dataclass(kw_only=True)
class Gathered:
    """Facts under the names that results have; text piece by piece."""

    defaults: Mapping[str, JSON] = field(default_factory=dict)
    facts: dict[str, JSON] = field(default_factory=dict)
    outline: list[JSON] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    characters: int = 0
    cut: bool = False
    ends_at: float = field(default_factory=lambda: time.monotonic() + WORK_SECONDS)

    def write(self, text: str) -> None:
        """Add to the text; what is beyond the bound is dropped, and said to be."""
        left = TEXT_CHARACTERS - self.characters
        if left <= 0:
            self.cut = self.cut or bool(text)
            return
        self.cut = self.cut or len(text) > left
        self.pieces.append(text[:left])
        self.characters += min(len(text), left)

    def head(self, title: str, level: int) -> None:
        """Add to the outline; levels count from 1."""
        title = SPACES.sub(" ", title.replace("\n", " ")).strip()
        if title and len(self.outline) < OUTLINE:
            self.outline.append({"title": title[:200], "level": max(1, min(LEVELS, level))})

    def fact(self, name: str, value: object) -> None:
        """Note a fact, unless it is empty or known already."""
        text = str(value).strip()[:FACT_CHARACTERS] if value is not None else ""
        if text and not self.facts.get(name):
            self.facts[name] = text

    def late(self) -> bool:
        """Whether the time for reading is over; then the text is cut."""
        if time.monotonic() > self.ends_at:
            self.cut = True
        return time.monotonic() > self.ends_at

    @property
    def text(self) -> str:
        """The text, its white space in order."""
        return LINES.sub("\n\n", SPACES.sub(" ", "".join(self.pieces))).strip()

    def outcome(self, workdir: Path, others: Iterable[Derived] = ()) -> Outcome:
        """What there is so far: the result, and the text as a file beside the others."""
        text = self.text
        return Outcome(result=self._result(text), derived=(*others, *_derived(text, workdir)))

    def _result(self, text: str) -> dict[str, JSON]:
        return {
            **self.defaults,
            **self.facts,
            "language": self.facts.get("language") or language_of(text[:LANGUAGE_CHARACTERS]),
            "words": sum(1 for _ in WORDS.finditer(text)),
            "excerpt": text[:EXCERPT_CHARACTERS],
            "outline": list(self.outline),
            "text_truncated": self.cut,
        }


def _derived(text: str, workdir: Path) -> list[Derived]:
    """The text as a file, where there is any; whole, even if this process is killed while it writes."""
    if not text:
        return []
    path, unfinished = workdir / "text.txt", workdir / "text.part"
    unfinished.write_text(text, encoding="utf-8", errors="replace")
    unfinished.replace(path)
    return [Derived(name="text", path=path, content_type="text/plain")]
