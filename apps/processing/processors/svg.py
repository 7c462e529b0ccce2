"""SVG: measured and counted as XML; never drawn, for whoever draws one may run and fetch what it says.

Drawing programs abbreviate their namespaces by entities (Illustrator's `&ns_svg;`): a few short ones of plain words are
taken, as they can neither nest nor bring elements in.

Sources: SVG 2, §8 (size and view box); CSS Values 4, §6.2 (96 pixels an inch).
"""

from __future__ import annotations

import codecs
import math
import re
import time
from collections.abc import Callable
from typing import Final
from xml.parsers import expat

from ..contract import JSON, Job, ProcessingFailed
from ..entities import Entities, TooMuch
from .references import References, listen

CHUNK_BYTES: Final = 256 * 1024
DEPTH: Final = 1000
WORK_SECONDS: Final = 10.0
NUMBER: Final = re.compile(r"[+-]?(?:\d{1,300}(?:\.\d{0,300})?|\.\d{1,300})(?:[eE][+-]?\d{1,9})?")
LENGTH: Final = re.compile(rf"\s*({NUMBER.pattern})\s*(px|mm|cm|q|in|pt|pc)?\s*", re.IGNORECASE)
PIXELS: Final = {"px": 1, "in": 96, "cm": 96 / 2.54, "mm": 96 / 25.4, "q": 96 / 101.6, "pt": 96 / 72, "pc": 16}
BOX_CHARACTERS: Final = 500
# Encodings of more bytes a letter, which expat lacks: read by Python's codecs, none of which does more than that.
ENCODING: Final = re.compile(rb"""<\?xml\s[^>]{0,200}?encoding\s*=\s*["']([A-Za-z][\w.:-]{0,40})["']""")
DECODED: Final = frozenset(
    {"shift_jis", "cp932", "euc_jp", "iso2022_jp", "gb2312", "gbk", "gb18030", "big5", "euc_kr", "cp949"}
)
ENTITIES: Final = 64
ENTITY_CHARACTERS: Final = 256
EXPANDED: Final = 1_000_000  # characters that all references together may stand for, beyond the file's own size


UNPLAIN: Final = "The drawing declares entities that are not a few plain words."
UNREAD: Final = "The drawing's encoding is one that this service cannot read."
BOMB: Final = "The drawing's entities stand for far more than it is."
UNKNOWN_ENCODING: Final = frozenset({18, 19})  # of expat: not known, and not the one that it is declared to be


class _Drawing:
    """What was seen of a drawing."""

    def __init__(self, size: int) -> None:
        self.entities = Entities(EXPANDED + size)
        self.root: dict[str, str] | None = None
        self.elements = 0
        self.level = 0
        self.references = References()
        self.is_plain = True

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins. Raises ProcessingFailed for what is nested too deep."""
        self.elements += 1
        self.level += 1
        if self.level > DEPTH:
            raise ProcessingFailed("image_too_large", "The drawing is nested deeper than this service follows.")
        if self.root is None:
            self.root = attributes
            if not self.is_plain:
                self.entities.check()
                raise ProcessingFailed("image_unsupported", UNPLAIN)
        if self.entities:
            self.entities.unfold(sum(map(len, attributes.values())))  # with what expat has put in their place
        self.references.start(name, attributes)

    def end(self, name: str) -> None:
        """An element ends."""
        self.level -= 1
        self.references.end(name)

    def entity(self, name: str, is_parameter: bool, value: str | None, *_: object) -> None:
        """An entity is declared. Raises ProcessingFailed for one from elsewhere, or one of many.

        Whether one that is not short and plain is a bomb shows when all are declared.
        """
        if is_parameter or value is None or len(self.entities) >= ENTITIES:
            raise ProcessingFailed("image_unsupported", UNPLAIN)
        self.is_plain = self.is_plain and len(value) <= ENTITY_CHARACTERS and not set(value) & set("&%<")
        self.entities.declare(name, is_parameter, value)


def survey(job: Job) -> dict[str, JSON]:
    """The drawing's size and what is in it. Raises ProcessingFailed."""
    drawing = _Drawing(job.size)
    parser = expat.ParserCreate()
    listen(parser, drawing.references)
    parser.StartElementHandler = drawing.start
    parser.EndElementHandler = drawing.end
    parser.EntityDeclHandler = drawing.entity
    parser.DefaultHandler = drawing.entities.read  # so that references are left as they stand, but in attributes
    ends_at = time.monotonic() + WORK_SECONDS
    with job.path.open("rb") as file:
        decoded = _decoder(file.read(300))
        file.seek(0)
        try:
            while data := file.read(CHUNK_BYTES):
                parser.Parse(decoded(data), False)
                if time.monotonic() > ends_at:
                    raise ProcessingFailed("image_too_large")
            parser.Parse(b"", True)
        except TooMuch as error:
            raise ProcessingFailed("data_bomb", BOMB) from error
        except expat.ExpatError as error:
            if "amplification" in str(error):
                raise ProcessingFailed("data_bomb", BOMB) from error
            if error.code in UNKNOWN_ENCODING:
                raise ProcessingFailed("image_unsupported", UNREAD) from error
            raise ProcessingFailed("image_broken") from error
        except UnicodeDecodeError as error:
            raise ProcessingFailed("image_broken") from error
        except (ValueError, LookupError) as error:
            raise ProcessingFailed("image_unsupported", UNREAD) from error
    root = drawing.root or {}
    box = _view_box(root.get("viewBox", ""))
    width, height = _size(root, box)
    return {
        "format": "SVG",
        "width": width,
        "height": height,
        "view_box": list(box) if box else None,
        "elements": drawing.elements,
        "has_script": drawing.references.scripts > 0,
        "external_references": drawing.references.outside,
    }


def _decoder(head: bytes) -> Callable[[bytes], str | bytes]:
    """What makes of the file's bytes something that expat reads."""
    match = ENCODING.match(head)
    try:
        name = codecs.lookup(match[1].decode()).name if match else ""
    except LookupError:
        name = ""
    return codecs.getincrementaldecoder(name)().decode if name in DECODED else bytes


def _view_box(value: str) -> tuple[float, ...] | None:
    """Four finite numbers, of which neither length is negative; None for anything else."""
    words = re.split(r"\s*,\s*|\s+", value[: BOX_CHARACTERS + 1].strip())
    if len(value) > BOX_CHARACTERS or len(words) != 4 or not all(NUMBER.fullmatch(word) for word in words):
        return None
    box = tuple(map(float, words))
    return box if all(map(math.isfinite, box)) and box[2] >= 0 and box[3] >= 0 else None


def _size(root: dict[str, str], box: tuple[float, ...] | None) -> tuple[float | None, float | None]:
    """In CSS pixels; what is not told, or is a part of the window it is shown in, by the view box."""
    width, height = _pixels(root.get("width")), _pixels(root.get("height"))
    if box is None or not box[2] or not box[3]:
        return width, height
    if width is None and height is None:
        return box[2], box[3]
    if width is None and height is not None:
        return round(height * box[2] / box[3], 3), height
    if height is None and width is not None:
        return width, round(width * box[3] / box[2], 3)
    return width, height


def _pixels(value: str | None) -> float | None:
    match = LENGTH.fullmatch((value or "")[:700])
    if match is None:
        return None
    unit = (match[2] or "px").lower()
    pixels = float(match[1]) * PIXELS[unit]
    if not math.isfinite(pixels) or pixels <= 0:
        return None
    return float(round(pixels)) if unit != "px" and pixels >= 1 else round(pixels, 3)
