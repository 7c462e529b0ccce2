"""Documents: their facts, their outline, their words, and a picture of the first page where that can be drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ... import office
from ...containers import is_compound
from ...contract import JSON, Derived, Job, Outcome
from .. import fallback
from . import compound, mail, packed, pdf, rtf, web
from .gathered import Gathered

Reader = Callable[[Job, Gathered], list[Derived]]

READERS: Final[Mapping[str, tuple[str, Reader]]] = {
    "application/pdf": ("pdf", pdf.read),
    **{office.BY_ENDING[name]: (name, packed.word) for name in ("docx", "docm", "dotx", "dotm")},
    **{
        office.BY_ENDING[name]: (name, packed.slides)
        for name in ("pptx", "pptm", "potx", "potm", "ppsx", "ppsm", "ppam")
    },
    "application/vnd.oasis.opendocument.text": ("odt", packed.open_document),
    "application/vnd.oasis.opendocument.presentation": ("odp", packed.open_document),
    "application/epub+zip": ("epub", packed.book),
    "application/rtf": ("rtf", rtf.read),
    "text/rtf": ("rtf", rtf.read),
    "text/html": ("html", web.read),
    "application/xhtml+xml": ("html", web.read),
    "message/rfc822": ("eml", mail.read),
    compound.WORD: ("doc", compound.read),
    compound.SLIDES: ("ppt", compound.read),
    compound.MESSAGE: ("msg", compound.read),
    "application/x-ole-storage": ("ole", compound.read),
    "application/vnd.visio": ("vsd", compound.read),
    "application/x-mspublisher": ("pub", compound.read),
}

_TEXT: Final[Mapping[str, JSON]] = {"type": ["string", "null"]}

SCHEMA: Final[Mapping[str, JSON]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "document",
    "description": "A document's facts and how it begins. Its whole text is the derived file `text`.",
    "type": "object",
    "properties": {
        "format": {"type": "string", "description": "pdf, docx, docm, pptx, odt, epub, rtf, html, eml, doc, msg …"},
        "version": {"type": "string", "description": "Of PDF."},
        "pages": {"type": ["integer", "null"], "description": "Pages or slides, if it says so; of PDF those it has."},
        "chapters": {"type": "integer", "description": "Of an e-book."},
        "title": {**_TEXT, "description": "Its title; of a message its subject."},
        "author": {**_TEXT, "description": "Who made it; of a message its sender."},
        "to": {**_TEXT, "description": "Of a message."},
        "subject": {**_TEXT, "description": "What it is about, as it says."},
        "created": {**_TEXT, "description": "ISO 8601, as it says; of a message its date."},
        "modified": {**_TEXT, "description": "ISO 8601, as it says."},
        "made_by": {**_TEXT, "description": "The program that wrote it."},
        "language": {**_TEXT, "description": "As it says, or as its words look."},
        "encrypted": {"type": "boolean", "description": "Whether it cannot be read without a password."},
        "words": {"type": "integer", "description": "Words in as much of the text as was read."},
        "excerpt": {"type": "string", "description": "The first 1,000 characters."},
        "outline": {
            "type": "array",
            "description": "At most 100 headings.",
            "items": {
                "type": "object",
                "properties": {"title": {"type": "string"}, "level": {"type": "integer", "description": "From 1."}},
                "required": ["title", "level"],
                "additionalProperties": False,
            },
        },
        "attachments": {
            "type": "array",
            "description": "Of a message or a PDF, by name; never opened.",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "content_type": _TEXT,
                    "size": {"type": ["integer", "null"], "description": "Bytes."},
                },
                "required": ["name", "content_type", "size"],
                "additionalProperties": False,
            },
        },
        "links": {"type": "integer", "description": "Of HTML; never followed."},
        "scripts": {"type": "integer", "description": "Of HTML; never run."},
        "text_truncated": {"type": "boolean", "description": "Whether there is more text than was read."},
    },
    "required": [
        "format", "pages", "title", "author", "created", "modified", "language", "encrypted", "words", "excerpt",
        "outline", "text_truncated",
    ],
    "additionalProperties": False,
}  # fmt: skip


def process(job: Job) -> Outcome:
    """The document's facts and what was made. Raises ProcessingFailed where it cannot be read at all."""
    known = READERS.get(job.content_type)
    if known is None:
        return fallback.process(job)
    name, reader = known
    if job.content_type in office.KINDS and is_compound(job.path):
        reader = compound.read  # an encrypted one lies in a container of the old formats
    unknown: dict[str, JSON] = dict.fromkeys(("pages", "title", "author", "created", "modified"))
    gathered = Gathered(defaults={"format": name, "encrypted": False, **unknown})
    outcome = gathered.outcome(job.workdir, reader(job, gathered))
    job.report(100)
    return outcome
