"""Which bytes of a file a Range header asks for. Source: RFC 9110, section 14."""

import re

from apps.files.errors import RangeUnsatisfiable

MAX_RANGES = 16  # more, or ranges that overlap, are how a client has a server send a file many times over
RANGES = re.compile(r"bytes=([0-9,\- \t]{1,512})", re.ASCII | re.IGNORECASE)
RANGE = re.compile(r"(\d{0,18})-(\d{0,18})", re.ASCII)

Span = tuple[int, int]


def spans_of(header: str | None, size: int) -> list[Span]:
    """First byte and the one after the last of each range asked for, in that order; none means the whole file.

    A header that is not understood, asks for too many ranges or for some that overlap means the whole file, as RFC 9110
    allows. Raises RangeUnsatisfiable when no range lies in the file.
    """
    match = RANGES.fullmatch(header.strip()) if header else None
    if match is None:
        return []
    asked = [RANGE.fullmatch(word.strip()) for word in match[1].split(",") if word.strip()]
    if not asked or len(asked) > MAX_RANGES:
        return []
    spans = []
    for one in asked:
        if one is None or not any(one.groups()):
            return []
        first, last = one.groups()
        if first and last and int(last) < int(first):
            return []
        span = (int(first), min(size, int(last) + 1) if last else size) if first else (max(0, size - int(last)), size)
        if span[0] < span[1]:
            spans.append(span)
    if not spans:
        raise RangeUnsatisfiable(Content_Range=f"bytes */{size}")
    ordered = sorted(spans)
    if any(ordered[i][1] > ordered[i + 1][0] for i in range(len(ordered) - 1)):
        return []
    return spans
