"""RTF: its words and its facts, by a tokenizer that looks at each character once. Source: RTF 1.9.1."""

from __future__ import annotations

import re
from typing import Final

from ...contract import Derived, Job, ProcessingFailed
from .gathered import Gathered, codec_of

READ_BYTES: Final = 64 * 1024 * 1024
DEPTH: Final = 1000
TOKEN: Final = re.compile(
    rb"\\([a-zA-Z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-fA-F]{2})|\\([^a-zA-Z'])|([{}])|[\r\n]+|([^\\{}\r\n]+)|\\"
)
CHECKED_TOKENS: Final = 20_000
# Groups whose words are no words of the document.
ASIDE: Final = frozenset(
    b"fonttbl colortbl stylesheet pict object objdata themedata colorschememapping datastore latentstyles listtable "
    b"listoverridetable rsidtbl generator xmlnstbl fldinst header footer headerl headerr footerl footerr".split()
)
FACTS: Final = {b"title": "title", b"author": "author", b"subject": "subject"}
BREAKS: Final = {
    b"par": "\n", b"line": "\n", b"sect": "\n\n", b"page": "\n\n", b"tab": "\t", b"cell": "\t", b"row": "\n",
    b"emdash": "\u2014", b"endash": "\u2013", b"lquote": "\u2018", b"rquote": "\u2019", b"ldblquote": "\u201c",
    b"rdblquote": "\u201d", b"bullet": "\u2022",
}  # fmt: skip


def read(job: Job, gathered: Gathered) -> list[Derived]:
    """RTF. Raises ProcessingFailed for what is none, or nested too deep."""
    with job.path.open("rb") as file:
        content = file.read(READ_BYTES)
    if not content.lstrip().startswith(b"{\\rtf"):
        raise ProcessingFailed("document_broken")
    gathered.cut = job.size > READ_BYTES
    # Of each open group: whether its words are aside, where they go to, and how many stand-ins follow \u.
    groups: list[tuple[bool, str | None, int]] = []
    aside, skip = False, 1
    fact: str | None = None
    codepage, passed, at, count = "cp1252", 0, 0, 0
    facts: dict[str, list[str]] = {}

    def say(text: str) -> None:
        if fact is not None:
            facts.setdefault(fact, []).append(text[:500])
        elif not aside:
            gathered.write(text)

    starred = False
    while at < len(content):
        match = TOKEN.match(content, at)
        if match is None:
            break
        at = match.end()
        count += 1
        if count % CHECKED_TOKENS == 0:
            job.report(min(99, 100 * at // len(content)))
            if gathered.late():
                break
        word, number, code, sign, brace, plain = match.groups()
        if brace == b"{":
            groups.append((aside, fact, skip))
            if len(groups) > DEPTH:
                raise ProcessingFailed("document_too_large", "The document is nested deeper than this service follows.")
            starred = False
        elif brace == b"}":
            if not groups:
                break
            aside, fact, skip = groups.pop()
        elif sign == b"*":
            starred = True
        elif word is not None:
            if word == b"bin":
                at += max(0, int(number or 0))
            elif word in ASIDE or (starred and word not in FACTS):
                aside = True
            elif word in FACTS and len(groups) <= 4:
                fact = FACTS[word]
            elif word == b"ansicpg" and number:
                codepage = _codepage(number)
            elif word == b"uc" and number:
                skip = max(0, int(number))
            elif word == b"u" and number:
                value = int(number) % 65536
                say(chr(value) if not 0xD800 <= value < 0xE000 else "\ufffd")
                passed = skip
            elif word in BREAKS:
                say(BREAKS[word])
            starred = False
        elif code is not None:
            if passed:
                passed -= 1
            else:
                say(bytes([int(code, 16)]).decode(codepage, "replace"))
        elif sign is not None:
            say({b"~": " ", b"_": "-"}.get(sign, sign.decode("latin-1") if sign in b"\\{}" else ""))
        elif plain is not None:
            text = plain.decode(codepage, "replace")
            say(text[passed:])
            passed = max(0, passed - len(text))
    for name, said in facts.items():
        gathered.fact(name, "".join(said))
    return []


def _codepage(number: bytes) -> str:
    return codec_of(f"cp{int(number)}") or "cp1252"
