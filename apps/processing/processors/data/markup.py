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
from .limits import DEPTH, EXPANDED, KEYS, NAME_CHARACTERS, WORK_SECONDS

CHUNK_BYTES: Final = 256 * 1024
NAMESPACES: Final = 20


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
    entities: Entities

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins. Raises ProcessingFailed for what is nested too deep."""
        self.elements += 1
        self.attributes += len(attributes)
        if self.entities:
            self.entities.unfold(sum(map(len, attributes.values())))  # expat has put them in their place here
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


def survey(job: Job) -> dict[str, JSON]:
    """Whether it is well-formed, or where it is not, and what it is made of. Raises ProcessingFailed."""
    entities = Entities(EXPANDED + job.size)
    seen = Seen(entities=entities)
    fault: dict[str, JSON] | None = None
    parser = expat.ParserCreate()
    parser.buffer_text = False
    parser.StartElementHandler = seen.start
    parser.EndElementHandler = seen.end
    parser.EntityDeclHandler = entities.declare
    parser.EndDoctypeDeclHandler = entities.check
    # With a default handler, and no external one, expat leaves references as they stand.
    parser.DefaultHandler = entities.read
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
        except TooMuch as error:
            raise ProcessingFailed("data_bomb") from error
        except expat.ExpatError as error:
            if "amplification" in str(error):
                raise ProcessingFailed("data_bomb") from error
            message = expat.ErrorString(error.code) or "not well-formed"
            fault = {"line": error.lineno, "column": error.offset + 1, "message": message[:NAME_CHARACTERS]}
        except (ValueError, LookupError) as error:  # an encoding that there is not
            fault = {"line": 1, "column": 1, "message": str(error)[:NAME_CHARACTERS]}
    counts: dict[str, JSON] = {"elements": seen.elements, "attributes": seen.attributes}
    if entities:
        counts |= {"entities": len(entities), "references": entities.references}
    return {
        "format": "xml",
        "valid": fault is None,
        "error": fault,
        "depth": seen.depth,
        "top_level": seen.root,
        "keys": list(seen.children),
        "namespaces": list(seen.namespaces),
        "entities_declared": bool(entities),
        "counts": counts,
        "truncated": cut,
    }
