"""Bytes out: a file or a derived one, whole or a range of it, in a way that a browser cannot be fooled by.

Sources: RFC 9110, section 14 (ranges); RFC 6266 and 8187 (Content-Disposition).
"""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import datetime
from email.utils import format_datetime
from pathlib import Path
from typing import BinaryIO

from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header

from apps.api.validators import not_modified, range_applies, unchanged
from apps.files.errors import FileMissing, RangeUnsatisfiable, StorageAway

CHUNK_BYTES = 256 * 1024
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII | re.IGNORECASE)
# Types that a browser shows and cannot run. Everything else is saved, never opened in the site's name.
INLINE = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp", "text/plain"})
TEXT = "text/plain"


def span_of(header: str | None, size: int) -> tuple[int, int] | None:
    """The first byte and the one after the last that the Range header asks for; None for the whole file.

    A header that is not understood, or asks for several ranges, means the whole file, as RFC 9110 allows. Raises
    RangeUnsatisfiable.
    """
    match = RANGE.fullmatch(header.strip()) if header else None
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:  # the last so many bytes
        start, stop = max(0, size - int(last)), size
        unsatisfiable = int(last) == 0
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
        unsatisfiable = start >= size
    if unsatisfiable or size == 0:
        raise RangeUnsatisfiable(Content_Range=f"bytes */{size}")
    return start, stop


async def deliver(
    request: HttpRequest, path: Path, *, name: str, content_type: str, etag: str, modified_at: datetime
) -> HttpResponseBase:
    """The bytes at the path, as the request asks for them. Raises FileMissing, StorageAway, RangeUnsatisfiable."""
    if unchanged(request, etag):
        return not_modified(etag)
    try:
        stream, size = await asyncio.to_thread(_open, path)
    except FileNotFoundError as error:
        raise FileMissing from error
    except OSError as error:
        raise StorageAway from error
    try:
        span = None
        # RFC 9110, section 14.2: a range is GET's alone
        if request.method == "GET" and range_applies(request, etag, int(modified_at.timestamp())):
            span = span_of(request.headers.get("Range"), size)
        start, stop = span or (0, size)
        body = Span(stream, start, start if request.method == "HEAD" else stop)
        response = StreamingHttpResponse(body, status=206 if span else 200)
    except BaseException:
        stream.close()
        raise
    response.headers["Content-Type"] = f"{TEXT}; charset=utf-8" if content_type == TEXT else content_type
    response.headers["Content-Length"] = str(stop - start)
    if span:
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["ETag"] = etag
    response.headers["Last-Modified"] = format_datetime(modified_at, usegmt=True)
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Content-Disposition"] = str(content_disposition_header(content_type not in INLINE, name))
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response


def _open(path: Path) -> tuple[BinaryIO, int]:
    stream = path.open("rb")
    return stream, path.stat().st_size


class Span:
    """A part of an open file, chunk by chunk. The response that sends it closes it, even one that never began."""

    def __init__(self, stream: BinaryIO, start: int, stop: int) -> None:
        self._stream = stream
        self._start = start
        self._stop = stop

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The bytes. Raises StorageAway when the file turns out shorter than it was."""
        position = self._start
        if position < self._stop:
            await asyncio.to_thread(self._stream.seek, position)
        while position < self._stop:
            chunk = await asyncio.to_thread(self._stream.read, min(CHUNK_BYTES, self._stop - position))
            if not chunk:
                raise StorageAway("The file ended before its size.")
            position += len(chunk)
            yield chunk

    def close(self) -> None:
        """Give the descriptor back. Django calls this by its name when the response is closed."""
        self._stream.close()
