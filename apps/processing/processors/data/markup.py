"""XML, as expat reads it: nothing outside the file is ever asked for, and no entity is put in its place.

Source: XML 1.0, fifth edition. How much a document's entities would expand to is reckoned from their declarations.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from ...contract import JSON, Job, ProcessingFailed
from .limits import DEPTH, EXPANDED, KEYS, NAME_CHARACTERS, WORK_SECONDS

CHUNK_BYTES: Final = 256 * 1024
NAMESPACES: Final = 20
ENTITIES: Final = 10_000
REFERENCE: Final = re.compile(r"[&%]([^;#&%\s]+);")


@dataclass(kw_only=True)
class Seen:
    """What was seen of the document so far."""

    root: str | None = None
    elements: int = 0
    attributes: int = 0
    level: int = 0
    depth: int = 0
    children: list[str] = field(default_factory=list)
    namespaces: list[str] = field(default_factory=list)
    entities: dict[str, int] = field(default_factory=dict)
    doctype: bool = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins. Raises ProcessingFailed for what is nested too deep."""
        self.elements += 1
        self.attributes += len(attributes)
        self.level += 1
        self.depth = max(self.depth, self.level)
        if self.depth > DEPTH:
            raise ProcessingFailed("data_too_deep")
        if self.root is None:
            self.root = name[:NAME_CHARACTERS]
        elif self.level == 2 and len(self.children) < KEYS and name not in self.children:
            self.children.append(name[:NAME_CHARACTERS])
        for key, value in attributes.items():
            if (key == "xmlns" or key.startswith("xmlns:")) and len(self.namespaces) < NAMESPACES:
                shown = value[:NAME_CHARACTERS]
                if shown not in self.namespaces:
                    self.namespaces.append(shown)

    def end(self, name: str) -> None:
        """An element ends."""
        self.level -= 1

    def entity(self, name: str, is_parameter: bool, value: str | None, *_: object) -> None:
        """An entity is declared. Raises ProcessingFailed when it stands for more than any document needs."""
        self.doctype = True
        inner = sum(self.entities.get(other, 0) for other in REFERENCE.findall(value or ""))
        self.entities[name] = len(value or "") + inner
        if self.entities[name] > EXPANDED or len(self.entities) > ENTITIES:
            raise ProcessingFailed("data_bomb")

    def declaration(self, *_: object) -> None:
        """A document type is declared."""
        self.doctype = True


def survey(job: Job) -> dict[str, JSON]:
    """Whether it is well-formed, or where it is not, and what it is made of. Raises ProcessingFailed."""
    seen = Seen()
    fault: dict[str, JSON] | None = None
    parser = expat.ParserCreate()
    parser.buffer_text = False
    parser.StartElementHandler = seen.start
    parser.EndElementHandler = seen.end
    parser.EntityDeclHandler = seen.entity
    parser.StartDoctypeDeclHandler = seen.declaration
    # With a default handler, and no external one, expat leaves references as they stand.
    parser.DefaultHandler = lambda data: None
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    cut = False
    ends_at = time.monotonic() + WORK_SECONDS
    with job.path.open("rb") as file:
        try:
            while data := file.read(CHUNK_BYTES):
                parser.Parse(data, False)
                job.report(min(99, 100 * file.tell() // max(1, job.size)))
                if time.monotonic() > ends_at:
                    cut = True
                    break
            else:
                parser.Parse(b"", True)
        except expat.ExpatError as error:
            if "amplification" in str(error):
                raise ProcessingFailed("data_bomb") from error
            message = expat.ErrorString(error.code) or "not well-formed"
            fault = {"line": error.lineno, "column": error.offset + 1, "message": message[:NAME_CHARACTERS]}
        except (ValueError, LookupError) as error:  # an encoding that there is not
            fault = {"line": 1, "column": 1, "message": str(error)[:NAME_CHARACTERS]}
    return {
        "format": "xml",
        "valid": fault is None,
        "error": fault,
        "depth": seen.depth,
        "top_level": seen.root,
        "keys": list(seen.children),
        "namespaces": list(seen.namespaces),
        "entities_declared": bool(seen.entities),
        "counts": {"elements": seen.elements, "attributes": seen.attributes},
        "truncated": cut,
    }
