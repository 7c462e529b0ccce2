"""XML, as expat reads it: nothing outside the file is ever asked for, and no entity is put in its place.

Source: XML 1.0, fifth edition. How much a document's references would stand for is reckoned, and too much is refused.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from ...contract import JSON, Job, ProcessingFailed
from ...entities import Entities, TooMuch
from . import xml_encoding
from .limits import DEPTH, EXPANDED, KEYS, NAME_CHARACTERS, WORK_SECONDS

CHUNK_BYTES: Final = 256 * 1024
NAMESPACES: Final = 20
PLAIN_NAMES: Final = 1000


@dataclass(kw_only=True, slots=True)
class Seen:
    """What was seen of the document so far."""

    root: str | None = None
    elements: int = 0
    attributes: int = 0
    depth: int = 0
    children: dict[str, None] = field(default_factory=dict)
    namespaces: list[str] = field(default_factory=list)
    plain: set[str] = field(default_factory=set)
    """Attributes that declare no namespace: those of most elements have been looked at before."""
    entities: Entities
    declares: bool = False
    ended: int = 0
    ends: list[str] = field(default_factory=list)
    """The elements that ended in this chunk: the parser appends to it by itself, which costs a third of a call."""

    def start(self, name: str, attributes: list[str]) -> None:
        """An element begins; names and values take turns. Raises ProcessingFailed for what is nested too deep."""
        self.elements = elements = self.elements + 1
        level = elements - self.ended - len(self.ends)
        if level > self.depth:
            self.depth = level
            if level > DEPTH:
                raise ProcessingFailed("data_too_deep")
        if level <= 2:
            self._name(name, level)
        if attributes:
            self.attributes += len(attributes) // 2
            if not self.plain.issuperset(attributes[::2]):
                self._look(attributes)
            if self.declares:
                self.entities.unfold(sum(map(len, attributes[1::2])))  # expat has put them in their place here

    def _name(self, name: str, level: int) -> None:
        if self.root is None:
            self.root = name[:NAME_CHARACTERS]
        elif level == 2 and len(self.children) < KEYS:
            self.children[name[:NAME_CHARACTERS]] = None

    def _look(self, attributes: list[str]) -> None:
        for key, value in zip(attributes[::2], attributes[1::2], strict=True):
            if key != "xmlns" and not key.startswith("xmlns:"):
                if len(self.plain) < PLAIN_NAMES:
                    self.plain.add(key)
            elif len(self.namespaces) < NAMESPACES and (shown := value[:NAME_CHARACTERS]) not in self.namespaces:
                self.namespaces.append(shown)

    def settle(self) -> None:
        """A chunk is over: what ended in it is only counted."""
        self.ended += len(self.ends)
        self.ends.clear()


def survey(job: Job) -> dict[str, JSON]:
    """Whether it is well-formed, or where it is not, and what it is made of. Raises ProcessingFailed."""
    entities = Entities(EXPANDED + job.size)
    seen = Seen(entities=entities)
    fault: dict[str, JSON] | None = None
    cut = False
    ends_at = time.monotonic() + WORK_SECONDS
    with job.path.open("rb") as file:
        try:
            encoding = xml_encoding.foreign(file.read(xml_encoding.OPENING_BYTES))
        except xml_encoding.Unknown as error:
            return _told(seen, {"line": 1, "column": error.column, "message": "The encoding is not known."}, cut)
        file.seek(0)
        decode = xml_encoding.decoder(encoding) if encoding else None
        parser = _parser(seen, "utf-8" if encoding else None)
        try:
            while data := file.read(CHUNK_BYTES):
                parser.Parse(decode(data, False) if decode else data, False)
                seen.settle()
                job.report(min(99, 100 * file.tell() // max(1, job.size)))
                if time.monotonic() > ends_at:
                    cut = True
                    break
            else:
                parser.Parse(decode(b"", True) if decode else b"", True)
        except TooMuch as error:
            raise ProcessingFailed("data_bomb") from error
        except expat.ExpatError as error:
            if "amplification" in str(error):
                raise ProcessingFailed("data_bomb") from error
            message = expat.ErrorString(error.code) or "not well-formed"
            fault = {"line": error.lineno, "column": error.offset + 1, "message": message[:NAME_CHARACTERS]}
        except (ValueError, LookupError):  # bytes that are none of the encoding's, which Python's decoders find
            line, column = parser.CurrentLineNumber, parser.CurrentColumnNumber + 1
            fault = {"line": line, "column": column, "message": "The text is not in its encoding."}
    return _told(seen, fault, cut)


def _parser(seen: Seen, encoding: str | None) -> expat.XMLParserType:
    entities = seen.entities
    parser = expat.ParserCreate(encoding)
    parser.buffer_text = False
    parser.ordered_attributes = True
    parser.StartElementHandler = seen.start
    parser.EndElementHandler = seen.ends.append
    parser.EntityDeclHandler = entities.declare
    parser.EndDoctypeDeclHandler = entities.check
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)

    def declares(*_: object) -> None:
        # With a default handler, and no external one, expat leaves references as they stand. Without a DTD there are
        # none, and all text would pass through here.
        parser.DefaultHandler = entities.read
        seen.declares = True

    parser.StartDoctypeDeclHandler = declares
    return parser


def _told(seen: Seen, fault: dict[str, JSON] | None, cut: bool) -> dict[str, JSON]:
    counts: dict[str, JSON] = {"elements": seen.elements, "attributes": seen.attributes}
    if seen.entities:
        counts |= {"entities": len(seen.entities), "references": seen.entities.references}
    return {
        "format": "xml",
        "valid": fault is None,
        "error": fault,
        "depth": seen.depth,
        "top_level": seen.root,
        "keys": list(seen.children),
        "namespaces": list(seen.namespaces),
        "entities_declared": bool(seen.entities),
        "counts": counts,
        "truncated": cut,
    }
