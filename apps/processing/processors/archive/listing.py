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
# The same of a stream that is unpacked: so much of so little is known to be one before all of it was seen.
BOMB_RATIO_SO_FAR: Final = 500
LINKS: Final = 10_000  # that are remembered, to know what would be unpacked through them
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
    links: set[str] = field(default_factory=set)
    ends_at: float = field(default_factory=lambda: time.monotonic() + WORK_SECONDS)

    def add(self, entry: Entry) -> None:
        """Take one entry in. Raises ProcessingFailed when the archive turns out to be a bomb."""
        self.count += 1
        self.total_bytes += entry.size or 0
        self.largest_bytes = max(self.largest_bytes, entry.size or 0)
        self.encrypted = self.encrypted or entry.encrypted
        name = entry.name[:NAME_CHARACTERS]
        if is_unsafe(entry) or (self.links and self._is_below_a_link(entry.name)):
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
        if entry.target is not None and len(self.links) < LINKS:
            self.links.add(entry.name.rstrip("/"))
        self.check(self.total_bytes)

    def check(self, total_bytes: int, packed_so_far: int | None = None) -> None:
        """Raise ProcessingFailed when so many unpacked bytes, of so many packed ones, make it a bomb."""
        if total_bytes <= BOMB_BYTES:
            return
        so_far = BOMB_RATIO_SO_FAR * max(1, self.packed_bytes if packed_so_far is None else packed_so_far)
        if total_bytes > BOMB_RATIO * max(1, self.packed_bytes) or total_bytes > so_far:
            raise ProcessingFailed("archive_bomb")

    def _is_below_a_link(self, name: str) -> bool:
        """Whether one of the directories that it lies in is a link of the archive's own."""
        at = name.find("/")
        while at >= 0:
            if name[:at] in self.links:
                return True
            at = name.find("/", at + 1)
        return False

    def late(self) -> bool:
        """Whether the time for looking is over."""
        return time.monotonic() > self.ends_at


def is_unsafe(entry: Entry) -> bool:
    """Whether unpacking it as it is named would leave the directory it is unpacked to, or make what is no file."""
    if _leaves(entry.name) or entry.sort == "other":
        return True
    return entry.target is not None and _points_out(entry.name, entry.target)


def _points_out(name: str, target: str) -> bool:
    """Whether a link of this name leads out of the directory; so may one that goes down, and then up again."""
    parts = [part for part in target.replace("\\", "/").split("/") if part not in ("", ".")]
    ups = next((index for index, part in enumerate(parts) if part != ".."), len(parts))
    levels = sum(part not in ("", ".") for part in name.rstrip("/").split("/")) - 1
    return target.startswith(("/", "\\")) or ups > levels or _leaves("/".join(parts[ups:]))


def _leaves(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return "\0" in name or name.startswith(("/", "\\")) or ".." in parts or DRIVE.match(name) is not None
