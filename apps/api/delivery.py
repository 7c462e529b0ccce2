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
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
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
        if range_applies(request, etag, int(modified_at.timestamp())):
            span = span_of(request.headers.get("Range"), size)
        start, stop = span or (0, size)
        body = _empty(stream) if request.method == "HEAD" else _chunks(stream, start, stop)
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


async def _chunks(stream: BinaryIO, start: int, stop: int) -> AsyncIterator[bytes]:
    """The span's bytes; the descriptor is closed however the delivery ends."""
    try:
        position = start
        await asyncio.to_thread(stream.seek, start)
        while position < stop:
            chunk = await asyncio.to_thread(stream.read, min(CHUNK_BYTES, stop - position))
            if not chunk:
                raise StorageAway("The file ended before its size.")
            position += len(chunk)
            yield chunk
    finally:
        stream.close()


async def _empty(stream: BinaryIO) -> AsyncIterator[bytes]:
    stream.close()
    yield b""
