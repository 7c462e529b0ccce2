"""Data: whether it is what it says to be, or where it is not; how deep, and made of what. Nothing is built from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ...contract import JSON, Job, Outcome
from .. import fallback
from . import json_text, markup, toml_text, yaml_text

READERS: Final[Mapping[str, Callable[[Job], dict[str, JSON]]]] = {
    "application/json": json_text.survey,
    "application/geo+json": json_text.survey,
    "application/xml": markup.survey,
    "text/xml": markup.survey,
    "application/yaml": yaml_text.survey,
    "application/toml": toml_text.survey,
}

SCHEMA: Final[Mapping[str, JSON]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "data",
    "description": "What structured text is made of. A text that is not valid is processed, and says where it is not.",
    "type": "object",
    "properties": {
        "format": {"type": "string", "description": "json, xml, yaml or toml."},
        "valid": {"type": "boolean", "description": "Whether all of it is what it says to be."},
        "error": {
            "type": ["object", "null"],
            "description": "The first place where it is not valid.",
            "properties": {
                "line": {"type": "integer", "description": "From 1."},
                "column": {"type": "integer", "description": "From 1."},
                "message": {"type": "string"},
            },
            "required": ["line", "column", "message"],
            "additionalProperties": False,
        },
        "depth": {"type": "integer", "description": "Levels of nesting, as far as it was read."},
        "top_level": {"type": ["string", "null"], "description": "object, array or scalar; of XML the root element."},
        "keys": {"type": "array", "items": {"type": "string"}, "description": "At most 100 at the top level."},
        "namespaces": {"type": "array", "items": {"type": "string"}, "description": "Of XML, at most 20."},
        "entities_declared": {
            "type": "boolean",
            "description": "Of XML. None is expanded; what would unfold to far more than the file is refused.",
        },
        "counts": {
            "type": "object",
            "additionalProperties": {"type": "integer"},
            "description": "How many of each part there are.",
        },
        "truncated": {"type": "boolean", "description": "Whether there is more than was looked at."},
    },
    "required": ["format", "valid", "error", "depth", "top_level", "keys", "counts", "truncated"],
    "additionalProperties": False,
}


def process(job: Job) -> Outcome:
    """The data's facts. Raises ProcessingFailed for what is nested too deep, too large, or unfolds without end."""
    reader = READERS.get(job.content_type)
    if reader is None and job.content_type.endswith("+xml"):
        reader = markup.survey
    if reader is None and job.content_type.endswith("+json"):
        reader = json_text.survey
    if reader is None:
        return fallback.process(job)
    result = reader(job)
    job.report(100)
    return Outcome(result=result)
