"""What can be said of any bytes at all: taken by every file that no other processor understands."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..contract import JSON, Job, Outcome

ENTROPY_BLOCK_BYTES = 16 * 1024
ENTROPY_BLOCKS = 32


SCHEMA: Final[Mapping[str, JSON]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "other",
    "description": "What can be said of any bytes. Also the result of a type that is told and not read.",
    "type": "object",
    "properties": {
        "content_type": {"type": "string", "description": "From the bytes."},
        "size": {"type": "integer", "description": "Bytes."},
        "sha256": {"type": "string", "description": "Hexadecimal."},
        "entropy_bits_per_byte": {"type": "number", "description": "0, one value only, to 8, as if random."},
    },
    "required": ["content_type", "size", "sha256", "entropy_bits_per_byte"],
    "additionalProperties": False,
}


def process(job: Job) -> Outcome:
    """Size, type, digest, and the entropy of the bytes."""
    entropy = entropy_bits_per_byte(job.path)
    job.report(100)
    return Outcome(
        result={
            "content_type": job.content_type,
            "size": job.size,
            "sha256": job.sha256,
            "entropy_bits_per_byte": entropy,
        }
    )


def entropy_bits_per_byte(path: Path) -> float:
    """Shannon entropy of the file's bytes: 0.0, one value only, to 8.0, as if random (packed or encrypted).

    Files over `ENTROPY_BLOCKS` blocks are sampled in as many blocks, evenly spread, so the cost is bounded.
    """
    counts: Counter[int] = Counter()
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= ENTROPY_BLOCKS * ENTROPY_BLOCK_BYTES:
            counts.update(file.read())
        else:
            for index in range(ENTROPY_BLOCKS):
                file.seek((size - ENTROPY_BLOCK_BYTES) * index // (ENTROPY_BLOCKS - 1))
                counts.update(file.read(ENTROPY_BLOCK_BYTES))
    total = counts.total()
    # "+ 0.0": a file of one repeated byte would otherwise have an entropy of minus zero.
    return round(-sum(n / total * math.log2(n / total) for n in counts.values()) + 0.0, 3)
