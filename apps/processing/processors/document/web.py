"""HTML: its words without its scripts and styles; links are counted, never followed."""

from __future__ import annotations

import html
import re
from typing import Final

from ...contract import Derived, Job
from ..text import SAMPLE_BYTES, encoding_of
from .gathered import FACT_CHARACTERS, TEXT_CHARACTERS, Gathered, codec_of

READ_BYTES: Final = 64 * 1024 * 1024
TOKENS: Final = 1_000_000  # tags, comments and texts between them: a second or three
CHECKED_TOKENS: Final = 10_000
ATTRIBUTES_CHARACTERS: Final = 10_000  # of a tag that are looked into
DECLARED: Final = re.compile(rb"<meta[^>]{0,200}charset=[\"']?([A-Za-z0-9_:.-]{1,40})", re.IGNORECASE)
NO_CHARACTER: Final = re.compile(r"&#(?:[0-9]{10,}|[xX][0-9a-fA-F]{10,});?")  # more digits than any has

# Every quantifier is possessive or bounded, so that nothing is looked at twice. A long text is cut behind a reference.
TEXT: Final = re.compile(r"[^<]{1,65536}+[^<&;]{0,40}+;?|<+(?=<)|<(?![A-Za-z/!?])")
TAG: Final = re.compile(r"""<(/?)([A-Za-z][^\s/>]*+)((?:[^=>]++|=\s*+(?:"[^"]*+"|'[^']*+')?+)*+)>""")
ASIDE: Final = re.compile(r"<(?:[!?]|/(?![A-Za-z]))")
ATTRIBUTE: Final = re.compile(r"""([^\s/=>]++)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s>]++)))?+""")
# Elements in which no tag is one, up to their own end.
RAW: Final = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE)
    for name in ("script", "style", "title", "textarea", "iframe", "noembed", "noframes", "xmp")
}
SILENT: Final = frozenset({"template", "noscript", "svg", "math"})
BLOCKS: Final = frozenset(
    {
        "p", "div", "br", "li", "ul", "ol", "tr", "td", "th", "table", "h1", "h2", "h3", "h4", "h5", "h6", "section",
        "article", "header", "footer", "blockquote", "pre", "hr", "dt", "dd",
    }
)  # fmt: skip
HEADINGS: Final = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}


class HtmlReader:
    """Gathers the words and the headings of pages, one token after the other, each looked at once.

    A tokenizer and no tree: what is not closed, or closed and never opened, is passed over. The head need not be there.
    """

    def __init__(self, gathered: Gathered) -> None:
        self._gathered = gathered
        self._silent: list[str] = []
        self._heading: tuple[int, list[str]] | None = None
        self._titled = False
        self._tokens = 0
        self.links = 0
        self.scripts = 0

    def read(self, text: str) -> None:
        """Take a page in, as far as the bounds allow."""
        text = NO_CHARACTER.sub("\ufffd", text)
        self._silent.clear()
        self._heading = None
        absent: set[str] = set()  # ends of elements that do not come any more
        at = 0
        while at < len(text):
            self._tokens += 1
            if self._tokens > TOKENS or (self._tokens % CHECKED_TOKENS == 0 and self._gathered.late()):
                self._gathered.cut = True
                return
            if said := TEXT.match(text, at):
                at = said.end()
                self._say(said[0])
            elif tag := TAG.match(text, at):
                at = tag.end()
                name = tag[2].lower()
                if tag[1]:
                    self._close(name)
                    continue
                self._open(name, tag[3])
                if name in RAW and name not in absent and not _is_empty(tag[3]):
                    end = RAW[name].search(text, at)
                    if end is None:
                        absent.add(name)
                    if end is not None or name in ("script", "style"):
                        self._keep(name, text[at : end.start() if end else len(text)])
                        at = end.start() if end else len(text)
            elif ASIDE.match(text, at):
                at = _behind_comment(text, at)
            else:  # a tag without an end: there is none behind it either
                self._say(text[at:].replace("<", " "))
                return

    def _open(self, tag: str, written: str) -> None:
        if tag in SILENT:
            if len(self._silent) < 100:
                self._silent.append(tag)
        elif tag in HEADINGS:
            self._heading = (HEADINGS[tag], [])
        elif tag == "script":
            self.scripts += 1
        elif tag == "a":
            self.links += bool(_attributes(written).get("href"))
        elif tag == "html":
            self._gathered.fact("language", _attributes(written).get("lang", "")[:16])
        elif tag == "meta":
            given = _attributes(written)
            name = given.get("name", "").lower()
            if name in ("author", "description", "generator"):
                fact = {"description": "subject", "generator": "made_by"}.get(name, name)
                self._gathered.fact(fact, given.get("content"))
        elif tag == "body":
            self._silent.clear()
        if tag in BLOCKS:
            self._gathered.write("\n")
        if _is_empty(written):
            self._close(tag)

    def _close(self, tag: str) -> None:
        if tag in SILENT and tag in self._silent:
            while self._silent and self._silent.pop() != tag:
                pass
        elif tag in HEADINGS and self._heading is not None:
            self._gathered.head("".join(self._heading[1]), self._heading[0])
            self._heading = None
        if tag in BLOCKS:
            self._gathered.write("\n")

    def _keep(self, tag: str, raw: str) -> None:
        """What stands in an element without tags: the first title is the page's, unless it is a drawing's."""
        if tag == "title" and not self._titled and not self._silent:
            self._titled = True
            self._gathered.fact("title", " ".join(html.unescape(raw[: 4 * FACT_CHARACTERS]).split()))
        elif tag == "textarea":
            self._say(raw)

    def _say(self, written: str) -> None:
        if self._silent:
            return
        # What is dropped anyway, for there is enough of it, need not be made words.
        words = html.unescape(written) if self._gathered.characters < TEXT_CHARACTERS else written
        if self._heading is not None and len(self._heading[1]) < 100:
            self._heading[1].append(words[:FACT_CHARACTERS])
        self._gathered.write(words)


def _behind_comment(text: str, at: int) -> int:
    """Where what begins with `<!`, `<?` or `</` and is no tag ends; the end of the page where it never does."""
    if text.startswith("<!--", at):
        mark, start = "-->", at + 2 if text.startswith("<!-->", at) else at + 4
    elif text.startswith("<![CDATA[", at):
        mark, start = "]]>", at
    else:
        mark, start = ">", at
    end = text.find(mark, start)
    return end + len(mark) if end >= 0 else len(text)


def _is_empty(written: str) -> bool:
    """Whether a tag is its own end, as XHTML writes it; the slash is no part of a value without quotes."""
    return written.endswith("/") and ("=" not in written or written[-2] in "\"' \t\r\n\f")


def _attributes(written: str) -> dict[str, str]:
    """The attributes of a tag; of several of a name the first."""
    given: dict[str, str] = {}
    for name, *values in ATTRIBUTE.findall(written[:ATTRIBUTES_CHARACTERS]):
        given.setdefault(name.lower(), html.unescape("".join(values)))
    return given


def read(job: Job, gathered: Gathered) -> list[Derived]:
    """HTML and XHTML."""
    with job.path.open("rb") as file:
        content = file.read(READ_BYTES)
    gathered.cut = job.size > READ_BYTES
    sample = content[:SAMPLE_BYTES]
    encoding, bom = encoding_of(sample)
    declared = DECLARED.search(sample[:4096])
    if declared and not bom and not declared[1].lower().startswith((b"utf-16", b"utf-32")):  # it was read in bytes
        encoding = codec_of(declared[1].decode()) or encoding
    reader = HtmlReader(gathered)
    reader.read(content[bom:].decode(encoding, "replace"))
    gathered.facts |= {"links": reader.links, "scripts": reader.scripts}
    return []
