"""What a drawing would run, and what it would fetch, were a browser to show it; nothing is run or fetched here.

Sources: SVG 2, §16 (linking) and §6.7 (style sheets); HTML, §4.2.5.3 (refresh);
CSS Values 4, §4.5; RFC 2397 (data URLs).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes
from xml.parsers import expat

RUNNING: Final = frozenset({"script", "foreignobject", "handler", "listener"})
FETCHING: Final = frozenset({"href", "src", "srcset", "action", "formaction", "poster", "background", "ping"})
INNER_LEVELS: Final = 3  # of drawings in drawings' data URLs
INNER_CHARACTERS: Final = 2_000_000
SCHEME_CHARACTERS: Final = 200  # looked at for a scheme: browsers pass over blanks and line ends in one
STYLE_CHARACTERS: Final = 1_000_000  # of a style sheet that are kept to be looked through at once

BLANKS: Final = re.compile(r"[\x00-\x20]+")
ACTIVE_DATA: Final = re.compile(r"data:(?:text/(?:html|xml|xsl|javascript)|application/[\w.+-]*(?:xml|javascript))\b")
DRAWING: Final = re.compile(r"\s*data:\s*image/svg\+xml([^,]*),", re.IGNORECASE)
CSS: Final = re.compile(
    r"""@import\s*(?:url\(\s*)?["']?\s*([^"'()\s;]*)|url\(\s*["']?\s*([^"'()\s]*)""",
    re.IGNORECASE,
)
HREF: Final = re.compile(r"""\bhref\s*=\s*["']([^"']*)""")
REFRESH: Final = re.compile(r"""[;,]\s*(?:url\s*=)?\s*["']?\s*([^"'\s]+)""", re.IGNORECASE)
RUNS: Final = re.compile(r"<\s*(?:\w+:)?(?:script|foreignobject)\b|\bon[a-z]{3,30}\s*=|javascript\s*:", re.IGNORECASE)


@dataclass
class References:
    """What was seen so far; `level` is how many data URLs it lies in."""

    level: int = 0
    scripts: int = 0
    outside: int = 0
    _style: str | None = None

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""
        local = name.rpartition(":")[2].lower()
        self.scripts += local in RUNNING
        if local == "style":
            self._style = ""
        plain = {key.rpartition(":")[2].lower(): value for key, value in attributes.items()}
        if local == "meta" and plain.get("http-equiv", "").strip().lower() == "refresh":
            self._target(match[1] if (match := REFRESH.search(plain.get("content", ""))) else "")
        for key, value in plain.items():
            self.scripts += key.startswith("on") or key == "srcdoc"
            if key in FETCHING or (key == "data" and local == "object"):
                self._target(value)
            elif local in ("set", "animate", "animatetransform") and key in ("to", "from", "by", "values"):
                self.scripts += any(_is_active(_start(word)) for word in value.split(";"))
            else:
                self.scripts += _start(value).startswith("javascript:")
                self._css(value)
            self.scripts += key == "attributename" and value.strip().lower().startswith("on")

    def end(self, name: str) -> None:
        """An element ends."""
        if self._style is not None and name.rpartition(":")[2].lower() == "style":
            self._css(self._style)
            self._style = None

    def text(self, text: str) -> None:
        """Words between elements."""
        if self._style is not None:
            self._style += text
            if len(self._style) > STYLE_CHARACTERS:
                self._css(self._style)
                self._style = ""

    def instruction(self, target: str, data: str) -> None:
        """What the document tells a program: which style sheet it has."""
        if target == "xml-stylesheet":
            self._target(match[1] if (match := HREF.search(data)) else "")
            self.scripts += "xsl" in data.lower()  # it makes of the drawing whatever it likes

    def _css(self, text: str) -> None:
        if "url(" in (low := text.lower()) or "@import" in low:
            for match in CSS.finditer(text):
                self._target(match[1] or match[2] or "")

    def _target(self, value: str) -> None:
        start = _start(value)
        if start.startswith("data:"):
            self.scripts += _is_active(start)
            if match := DRAWING.match(value):
                self._inner(_content(value[match.end() :], is_base64="base64" in match[1].lower()))
        elif start.startswith("javascript:"):
            self.scripts += 1
        else:
            self.outside += bool(start) and not start.startswith("#")

    def _inner(self, content: bytes) -> None:
        """A drawing in a data URL; one that is no XML is looked through as text, one too deep is held for a script."""
        inner = References(self.level + 1)
        if inner.level > INNER_LEVELS:
            self.scripts += 1
            return
        try:
            parser = expat.ParserCreate()
            listen(parser, inner)
            parser.EntityDeclHandler = _refuse
            parser.Parse(content, True)
        except (expat.ExpatError, ValueError, LookupError):
            inner.scripts += RUNS.search(content.decode("utf-8", "replace")) is not None
        self.scripts += inner.scripts
        self.outside += inner.outside


def listen(parser: expat.XMLParserType, references: References) -> None:
    """Have a parser tell of everything that may run or fetch something."""
    parser.StartElementHandler = references.start
    parser.EndElementHandler = references.end
    parser.CharacterDataHandler = references.text
    parser.ProcessingInstructionHandler = references.instruction


def _refuse(*_: object) -> None:
    raise ValueError("no entity is put in its place")


def _start(value: str) -> str:
    return BLANKS.sub("", value.lstrip()[:SCHEME_CHARACTERS]).lower()


def _is_active(start: str) -> bool:
    return start.startswith("javascript:") or ACTIVE_DATA.match(start) is not None


def _content(data: str, *, is_base64: bool) -> bytes:
    raw = unquote_to_bytes(data[:INNER_CHARACTERS])
    if not is_base64:
        return raw
    try:
        return base64.b64decode(raw.translate(None, b" \t\r\n") + b"==")
    except binascii.Error:
        return b""
