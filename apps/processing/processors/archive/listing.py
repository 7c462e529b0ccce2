"""What is known of an archive's entries as they are gone through: counts, sizes, the first of them, what is unsafe."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from ...contract import JSON, ProcessingFailed

LISTED: Final = 100
NAME_CHARACTERS: Final = 500
UNSAFE_LISTED: Final = 20
# What an operator would call a bomb: it unpacks to much more than it is, and to more than a disk may have to spare.
BOMB_RATIO: Final = 100
BOMB_BYTES: Final = 512 * 1024**2
WORK_SECONDS: Final = 10.0

ARCHIVE_NAME: Final = re.compile(
    r"\.(zip|jar|war|ear|apk|7z|rar|tar|tgz|tbz2?|txz|tzst|gz|bz2|xz|zst|lzma|cab|iso)$", re.IGNORECASE
)
DRIVE: Final = re.compile(r"[A-Za-z]:")


def local_moment(*parts: int) -> str | None:
    """Year, month, day, hour, minute, second of a clock whose zone is not told, as ISO 8601; None if there is none."""
    try:
        return datetime(*parts).isoformat()  # type: ignore[arg-type]
    except ValueError:
        return None


@dataclass(kw_only=True)
class Entry:
    """One thing in an archive. Sizes in bytes, None where it is not told; `modified` as ISO 8601."""

    name: str
    size: int | None
    modified: str | None = None
    sort: str = "file"  # or "directory", "link", "other"
    encrypted: bool = False
    target: str | None = None  # of a link


@dataclass(kw_only=True)
class Listing:
    """The entries of one archive of so many bytes."""

    packed_bytes: int
    count: int = 0
    total_bytes: int = 0
    largest_bytes: int = 0
    encrypted: bool = False
    truncated: bool = False
    unsafe_count: int = 0
    unsafe: list[str] = field(default_factory=list)
    nested_count: int = 0
    nested: list[str] = field(default_factory=list)
    entries: list[dict[str, JSON]] = field(default_factory=list)
    ends_at: float = field(default_factory=lambda: time.monotonic() + WORK_SECONDS)

    def add(self, entry: Entry) -> None:
        """Take one entry in. Raises ProcessingFailed when the archive turns out to be a bomb."""
        self.count += 1
        self.total_bytes += entry.size or 0
        self.largest_bytes = max(self.largest_bytes, entry.size or 0)
        self.encrypted = self.encrypted or entry.encrypted
        name = entry.name[:NAME_CHARACTERS]
        if is_unsafe(entry):
            self.unsafe_count += 1
            if len(self.unsafe) < UNSAFE_LISTED:
                self.unsafe.append(name)
        if entry.sort == "file" and ARCHIVE_NAME.search(entry.name):
            self.nested_count += 1
            if len(self.nested) < UNSAFE_LISTED:
                self.nested.append(name)
        if len(self.entries) < LISTED:
            shown: dict[str, JSON] = {"name": name, "size": entry.size, "type": entry.sort}
            if entry.modified:
                shown["modified"] = entry.modified
            self.entries.append(shown)
        self.check(self.total_bytes)

    def check(self, total_bytes: int) -> None:
        """Raise ProcessingFailed when so many unpacked bytes make it a bomb."""
        if total_bytes > BOMB_BYTES and total_bytes > BOMB_RATIO * max(1, self.packed_bytes):
            raise ProcessingFailed("archive_bomb")

    def late(self) -> bool:
        """Whether the time for looking is over."""
        return time.monotonic() > self.ends_at


def is_unsafe(entry: Entry) -> bool:
    """Whether unpacking it as it is named would leave the directory it is unpacked to, or make what is no file."""
    if _leaves(entry.name) or entry.sort == "other":
        return True
    return entry.target is not None and (_leaves(entry.target) or entry.target.startswith(("/", "\\")))


def _leaves(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return "\0" in name or name.startswith(("/", "\\")) or ".." in parts or DRIVE.match(name) is not None
