"""ZIP: listed from its central directory; nested ones are looked into, only to tell how deep they go."""

from __future__ import annotations

import io
from typing import BinaryIO, Final

from ... import zips
from ...contract import JSON, ProcessingFailed
from .listing import ARCHIVE_NAME, Entry, Listing, local_moment

NESTED_BYTES: Final = 16 * 1024 * 1024  # what is unpacked of a nested archive to look into it
NESTED_LOOKED_AT: Final = 32
NESTED_LEVELS: Final = 4
SPARE_BYTES: Final = 1024  # that an entry may be longer packed, besides an eighth: more than any way to pack adds


def survey(file: BinaryIO, listing: Listing) -> dict[str, JSON]:
    """Take in every entry. Raises ProcessingFailed."""
    try:
        directory = zips.find_directory(file)
    except zips.NotAZip as error:
        raise ProcessingFailed("archive_broken") from error
    packed = wrong = 0
    nested = []
    for member in zips.members(file, directory):
        packed += member.packed
        if packed > listing.packed_bytes + 64 * 1024:  # entries that share their bytes
            raise ProcessingFailed("archive_bomb", "The archive's entries overlap.")
        listing.add(_entry(member))
        wrong += member.packed > member.size + member.size // 8 + SPARE_BYTES
        if ARCHIVE_NAME.search(member.name) and member.name.lower().endswith((".zip", ".jar", ".war", ".ear")):
            nested.append(member)
        if listing.late():
            listing.truncated = True
            break
    if not listing.count and directory.count:
        raise ProcessingFailed("archive_broken")
    listing.truncated = listing.truncated or listing.count < directory.count
    _look_into(file, nested[:NESTED_LOOKED_AT], listing, 1, listing.total_bytes)
    return {"wrong_sizes": wrong, **({"comment": directory.comment[:500]} if directory.comment else {})}


def _entry(member: zips.Member) -> Entry:
    return Entry(
        name=member.name,
        size=member.size,
        modified=local_moment(*member.modified),
        sort="directory" if member.is_directory else "link" if member.is_link else "file",
        encrypted=member.encrypted,
    )


def _look_into(file: BinaryIO, nested: list[zips.Member], listing: Listing, level: int, total: int) -> int:
    """How much all of it unpacks to, as far as was looked. Raises ProcessingFailed for what is nested too deep."""
    if nested and level > NESTED_LEVELS:
        raise ProcessingFailed("archive_bomb", f"Archives are nested in it more than {NESTED_LEVELS} deep.")
    for member in nested:
        if listing.late():
            return total
        try:
            inner = io.BytesIO(zips.read(file, member, NESTED_BYTES))
            directory = zips.find_directory(inner)
        except (zips.NotAZip, zips.MemberTooLarge, zips.MemberUnreadable):
            continue
        below: list[zips.Member] = []
        for one in zips.members(inner, directory):
            total += one.size
            listing.check(total)
            if one.name.lower().endswith((".zip", ".jar", ".war", ".ear")) and len(below) < NESTED_LOOKED_AT:
                below.append(one)
        total = _look_into(inner, below, listing, level + 1, total)
    return total
