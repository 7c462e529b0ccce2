"""JSON, checked and counted as it streams by: no value is ever built.

Source: RFC 8259.
"""

from __future__ import annotations

import codecs
import time
from typing import Final

from ...contract import JSON, Job
from ..text import SAMPLE_BYTES, encoding_of
from .json_bulk import take_chunk
from .json_grammar import Invalid, Place, Scan, take_tokens
from .limits import WORK_SECONDS

CHUNK_BYTES: Final = 256 * 1024
TOKEN_CHARACTERS: Final = 16 * 1024 * 1024  # of one string or number


def survey(job: Job) -> dict[str, JSON]:
    """Whether it is JSON, or where it is none, and what it is made of. Raises ProcessingFailed."""
    scan, fault, cut = Scan(), None, False
    place = Place()
    try:
        cut = _scan(job, scan, place)
        if not cut and scan.nesting.expects != "nothing":
            fault = place.at("The text ends too early.", "")
    except Invalid as error:
        fault = place.at(error.message, place.text[: place.passed])
    return {
        "format": "json",
        "valid": fault is None,
        "error": fault,
        "depth": scan.depth,
        "top_level": scan.top,
        "keys": list(scan.keys),
        "counts": dict(scan.counts),
        "truncated": cut,
    }


def _scan(job: Job, scan: Scan, place: Place) -> bool:
    """Go through the text; whether it was too long for the time, or a token too long to be one."""
    ends_at = time.monotonic() + WORK_SECONDS
    with job.path.open("rb") as file:
        encoding, bom = encoding_of(file.read(SAMPLE_BYTES))
        file.seek(bom)
        decoder = codecs.getincrementaldecoder(encoding)("strict")
        text, read, over = "", bom, False
        while not over:
            # What is left of a long token is looked at again: as much again at once makes that linear.
            data = file.read(max(CHUNK_BYTES, len(text)))
            read, over = read + len(data), not data
            undecodable = False
            try:
                text += decoder.decode(data, over)
            except UnicodeDecodeError as damage:
                text += damage.object[: damage.start].decode(encoding)
                over, undecodable = False, True
            end = take_chunk(text, scan, over)
            if end is None:
                end = take_tokens(text, scan, place, over)
            if undecodable:
                place.text, place.passed = text, len(text)
                raise Invalid("The text is not in its encoding.")
            place.advance(text[:end])
            text = text[end:]
            if len(text) > TOKEN_CHARACTERS or time.monotonic() > ends_at:
                return True
            job.report(min(99, 100 * read // max(1, job.size)))
    return False
