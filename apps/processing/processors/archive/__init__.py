"""Archives: what is in them, without unpacking them; bombs are refused before they are expanded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ...contract import JSON, Job, Outcome
from .. import fallback
from . import packing, rar, seven, tar, zip
from .listing import Listing

SEVEN: Final = "application/x-7z-compressed"
RAR: Final = "application/vnd.rar"
ZIPS: Final = ("application/zip", "application/java-archive", "application/vnd.android.package-archive")

SCHEMA: Final[Mapping[str, JSON]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "archive",
    "description": "What an archive holds, listed without unpacking it.",
    "type": "object",
    "properties": {
        "format": {"type": "string", "description": "zip, tar, 7z, rar, or how a single file is packed."},
        "packing": {"type": ["string", "null"], "description": "Of a tar or a single file: gzip, bzip2, xz, zstd."},
        "version": {"type": "integer", "description": "Of a RAR: 4 or 5."},
        "comment": {"type": "string", "description": "The archive's comment, at most 500 characters."},
        "entries": {"type": "integer", "description": "How many entries there are."},
        "total_size": {"type": "integer", "description": "Bytes that all of it unpacks to, as declared or seen."},
        "largest_size": {"type": "integer", "description": "Bytes of its largest entry."},
        "ratio": {"type": "number", "description": "Unpacked bytes to a byte of the archive."},
        "wrong_sizes": {"type": "integer", "description": "Of a ZIP: entries that hold more than they declare."},
        "encrypted": {"type": "boolean", "description": "Whether any entry, or the list of them, is encrypted."},
        "truncated": {"type": "boolean", "description": "Whether there is more than was looked at, or it ends early."},
        "unsafe_names": {"type": "integer", "description": "Entries that would not stay where they are unpacked to."},
        "unsafe_examples": {"type": "array", "items": {"type": "string"}, "description": "The first 20 of them."},
        "nested": {"type": "integer", "description": "Archives in the archive, by their names."},
        "nested_examples": {"type": "array", "items": {"type": "string"}, "description": "The first 20 of them."},
        "first_entries": {
            "type": "array",
            "description": "The first 100 entries.",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "size": {"type": ["integer", "null"], "description": "Bytes; null where it is not told."},
                    "type": {"enum": ["file", "directory", "link", "other"]},
                    "modified": {"type": "string", "description": "ISO 8601; without a zone where none is told."},
                },
                "required": ["name", "size", "type"],
                "additionalProperties": False,
            },
        },
    },
    "required": [
        "format", "entries", "total_size", "largest_size", "ratio", "encrypted", "truncated", "unsafe_names",
        "unsafe_examples", "nested", "nested_examples", "first_entries",
    ],
    "additionalProperties": False,
}  # fmt: skip


def process(job: Job) -> Outcome:
    """The archive's listing. Raises ProcessingFailed for one that is damaged, or a bomb."""
    listing = Listing(packed_bytes=job.size)
    with job.path.open("rb") as file:
        if job.content_type in ZIPS:
            facts: dict[str, JSON] = {"format": "zip", **zip.survey(file, listing)}
        elif job.content_type == SEVEN:
            facts = {"format": "7z", **seven.survey(file, listing)}
        elif job.content_type == RAR:
            facts = {"format": "rar", **rar.survey(file, listing)}
        elif job.content_type in packing.OPENERS or job.content_type == "application/x-tar":
            facts = tar.survey(file, job.content_type, listing)
        else:
            return fallback.process(job)
    job.report(100)
    return Outcome(
        result={
            **facts,
            "entries": listing.count,
            "total_size": listing.total_bytes,
            "largest_size": listing.largest_bytes,
            "ratio": round(listing.total_bytes / max(1, job.size), 3),
            "encrypted": listing.encrypted,
            "truncated": listing.truncated,
            "unsafe_names": listing.unsafe_count,
            "unsafe_examples": list(listing.unsafe),
            "nested": listing.nested_count,
            "nested_examples": list(listing.nested),
            "first_entries": list(listing.entries),
        }
    )
