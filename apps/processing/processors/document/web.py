"""HTML: its words without its scripts and styles; links are counted, never followed."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Final

from ...contract import Derived, Job
from ..text import SAMPLE_BYTES, encoding_of
from .gathered import Gathered, codec_of

READ_BYTES: Final = 64 * 1024 * 1024
CHUNK_CHARACTERS: Final = 64 * 1024
UNCLOSED_CHARACTERS: Final = 1024 * 1024  # of a tag that does not end
DECLARED: Final = re.compile(rb"<meta[^>]{0,200}charset=[\"']?([A-Za-z0-9_:.-]{1,40})", re.IGNORECASE)
NO_CHARACTER: Final = re.compile(r"&#(?:[0-9]{10,}|[xX][0-9a-fA-F]{10,});?")  # more digits than any has
SILENT: Final = frozenset({"script", "style", "template", "noscript", "svg", "math", "head"})
BLOCKS: Final = frozenset(
    {
        "p", "div", "br", "li", "ul", "ol", "tr", "td", "th", "table", "h1", "h2", "h3", "h4", "h5", "h6", "section",
        "article", "header", "footer", "blockquote", "pre", "hr", "dt", "dd",
    }
)  # fmt: skip
HEADINGS: Final = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}


class HtmlReader(HTMLParser):
    """Gathers the words and the headings of one page."""

    def __init__(self, gathered: Gathered) -> None:
        super().__init__(convert_charrefs=True)
        self._gathered = gathered
        self._silent: list[str] = []
        self._heading: tuple[int, list[str]] | None = None
        self._title: list[str] | None = None
        self.links = 0
        self.scripts = 0

    def read(self, text: str) -> None:
        """Take a page in, as far as the bounds allow."""
        text = NO_CHARACTER.sub("\ufffd", text)
        for at in range(0, len(text), CHUNK_CHARACTERS):
            self.feed(text[at : at + CHUNK_CHARACTERS])
            if self._gathered.late() or len(self.rawdata) > UNCLOSED_CHARACTERS:
                self._gathered.cut = True
                return
        # What is still open at the end is no tag. Tried again from each "<" on, it would take the square of its length.
        self.rawdata = self.rawdata.replace("<", " ")
        self.close()

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """What begins with `<![`: a comment where it is nothing that Python's parser knows, which it asserts it is."""
        try:
            return int(super().parse_marked_section(i, report))
        except AssertionError:
            return self.parse_bogus_comment(i)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag opens."""
        given = {name: value or "" for name, value in attrs}
        if tag == "title" and self._title is None:
            self._title = []
        if tag in SILENT:
            self.scripts += tag == "script"
            if len(self._silent) < 100:
                self._silent.append(tag)
        elif tag == "a" and given.get("href"):
            self.links += 1
        elif tag in HEADINGS:
            self._heading = (HEADINGS[tag], [])
        elif tag == "html":
            self._gathered.fact("language", given.get("lang", "")[:16])
        elif tag == "meta":
            name = given.get("name", "").lower()
            if name in ("author", "description", "generator"):
                fact = {"description": "subject", "generator": "made_by"}.get(name, name)
                self._gathered.fact(fact, given.get("content"))
        elif tag == "body":
            self._silent.clear()
        if tag in BLOCKS:
            self._gathered.write("\n")

    def handle_endtag(self, tag: str) -> None:
        """A tag closes."""
        if tag == "title" and self._title is not None:
            self._gathered.fact("title", " ".join("".join(self._title).split()))
        if tag in SILENT and tag in self._silent:
            while self._silent and self._silent.pop() != tag:
                pass
        elif tag in HEADINGS and self._heading is not None:
            self._gathered.head("".join(self._heading[1]), self._heading[0])
            self._heading = None
        if tag in BLOCKS:
            self._gathered.write("\n")

    def handle_data(self, data: str) -> None:
        """Words."""
        if self._title is not None and "head" in self._silent and self.lasttag == "title":
            self._title.append(data[:1000])
        if self._silent:
            return
        if self._heading is not None and len(self._heading[1]) < 100:
            self._heading[1].append(data)
        self._gathered.write(data)


def read(job: Job, gathered: Gathered) -> list[Derived]:
    """HTML and XHTML."""
    with job.path.open("rb") as file:
        content = file.read(READ_BYTES)
    gathered.cut = job.size > READ_BYTES
    sample = content[:SAMPLE_BYTES]
    encoding, bom = encoding_of(sample)
    declared = DECLARED.search(sample[:4096])
    if declared and not bom:
        encoding = codec_of(declared[1].decode()) or encoding
    reader = HtmlReader(gathered)
    reader.read(content[bom:].decode(encoding, "replace"))
    gathered.facts |= {"links": reader.links, "scripts": reader.scripts}
    return []
