"""SVG: measured and counted as XML; never drawn, for whoever draws one may run and fetch what it says.

Drawing programs abbreviate their namespaces by entities (Illustrator's `&ns_svg;`): a few short ones of plain words are
taken, as they can neither nest nor bring elements in.
"""

from __future__ import annotations

import re
import time
from typing import Final
from xml.parsers import expat

from ..contract import JSON, Job, ProcessingFailed
from ..entities import Entities, TooMuch

CHUNK_BYTES: Final = 256 * 1024
DEPTH: Final = 1000
WORK_SECONDS: Final = 10.0
NUMBER: Final = re.compile(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*(?:px)?\s*")
WITHIN: Final = ("#", "data:")
ENTITIES: Final = 64
ENTITY_CHARACTERS: Final = 256
EXPANDED: Final = 1_000_000  # characters that all references together may stand for, beyond the file's own size


class _Drawing:
    """What was seen of a drawing."""

    def __init__(self, size: int) -> None:
        self.entities = Entities(EXPANDED + size)
        self.root: dict[str, str] | None = None
        self.elements = 0
        self.level = 0
        self.scripts = 0
        self.outside = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins. Raises ProcessingFailed for what is nested too deep."""
        self.elements += 1
        self.level += 1
        if self.level > DEPTH:
            raise ProcessingFailed("image_too_large", "The drawing is nested deeper than this service follows.")
        if self.root is None:
            self.root = attributes
        if self.entities:
            self.entities.unfold(sum(map(len, attributes.values())))  # with what expat has put in their place
        self.scripts += name.rpartition(":")[2].lower() in ("script", "foreignobject")
        for key, value in attributes.items():
            local = key.rpartition(":")[2].lower()
            self.scripts += local.startswith("on") or value.strip().lower().startswith("javascript:")
            if local in ("href", "src") and value.strip() and not value.strip().lower().startswith(WITHIN):
                self.outside += 1
            self.outside += value.lower().count("url(http") + value.lower().count("@import")

    def end(self, name: str) -> None:
        """An element ends."""
        self.level -= 1

    def entity(self, name: str, is_parameter: bool, value: str | None, *_: object) -> None:
        """An entity is declared. Raises ProcessingFailed for one that is not short, plain, and one of a few."""
        is_plain = value is not None and len(value) <= ENTITY_CHARACTERS and not set(value) & set("&%<")
        if is_parameter or not is_plain or len(self.entities) >= ENTITIES:
            raise ProcessingFailed("image_unsupported", "The drawing declares entities that are not a few plain words.")
        self.entities.declare(name, is_parameter, value)


def survey(job: Job) -> dict[str, JSON]:
    """The drawing's size and what is in it. Raises ProcessingFailed."""
    drawing = _Drawing(job.size)
    parser = expat.ParserCreate()
    parser.StartElementHandler = drawing.start
    parser.EndElementHandler = drawing.end
    parser.EntityDeclHandler = drawing.entity
    parser.DefaultHandler = drawing.entities.read  # so that references are left as they stand, but in attributes
    ends_at = time.monotonic() + WORK_SECONDS
    with job.path.open("rb") as file:
        try:
            while data := file.read(CHUNK_BYTES):
                parser.Parse(data, False)
                if time.monotonic() > ends_at:
                    raise ProcessingFailed("image_too_large")
            parser.Parse(b"", True)
        except TooMuch as error:
            raise ProcessingFailed("image_unsupported", "The drawing's entities stand for too much.") from error
        except (expat.ExpatError, ValueError, LookupError) as error:
            raise ProcessingFailed("image_broken") from error
    root = drawing.root or {}
    box = [float(word) for word in re.findall(r"-?\d+(?:\.\d+)?", root.get("viewBox", "")[:200])][:4]
    return {
        "format": "SVG",
        "width": _pixels(root.get("width")) or (box[2] if len(box) == 4 else None),
        "height": _pixels(root.get("height")) or (box[3] if len(box) == 4 else None),
        "view_box": box if len(box) == 4 else None,
        "elements": drawing.elements,
        "has_script": drawing.scripts > 0,
        "external_references": drawing.outside,
    }


def _pixels(value: str | None) -> float | None:
    match = NUMBER.fullmatch(value or "")
    return float(match[1]) if match else None
