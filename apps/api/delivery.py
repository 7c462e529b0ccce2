"""Bytes out: a file or a derived one, whole or a range of it, in a way that a browser cannot be fooled by.

Sources: RFC 9110, sections 13 (preconditions) and 14 (ranges); RFC 6266 and 8187 (Content-Disposition).
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header

from apps.api.ranges import Span, spans_of
from apps.api.validators import has_current, last_modified, not_modified, range_applies
from apps.files.errors import FileMissing, StorageAway
from apps.files.storage import as_storage_error

CHUNK_BYTES = 256 * 1024
# Types that a browser shows and cannot run. Everything else is saved, never opened in the site's name.
INLINE = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp", "text/plain"})
TEXT = "text/plain"
CACHE_CONTROL = "private, no-cache"

Piece = bytes | Span


async def deliver(
    request: HttpRequest,
    path: Path,
    *,
    name: str,
    content_type: str,
    etag: str,
    modified_at: datetime,
    charset: str = "utf-8",
) -> HttpResponseBase:
    """The bytes at the path, as the request asks for them; `charset` is that of plain text.

    Raises FileMissing, StorageAway, Busy, PreconditionFailed, RangeUnsatisfiable.
    """
    modified = last_modified(modified_at)
    if has_current(request, etag, modified_at):
        return not_modified(etag, Last_Modified=modified, Cache_Control=CACHE_CONTROL)
    try:
        stream, size = await asyncio.to_thread(_open, path)
    except FileNotFoundError as error:
        raise FileMissing from error
    except OSError as error:
        raise as_storage_error(error) from error
    try:
        spans = []
        # RFC 9110, section 14.2: a range is GET's alone
        if request.method == "GET" and range_applies(request, etag, modified_at):
            spans = spans_of(request.headers.get("Range"), size)
        shown_type = f"{TEXT}; charset={charset}" if content_type == TEXT else content_type
        pieces: list[Piece] = list(spans) or [(0, size)]
        if len(spans) > 1:
            boundary = secrets.token_hex(16)
            pieces = _parts(spans, size, shown_type, boundary)
            shown_type = f"multipart/byteranges; boundary={boundary}"
        length = sum(len(piece) if isinstance(piece, bytes) else piece[1] - piece[0] for piece in pieces)
        body = Pieces(stream, [] if request.method == "HEAD" else pieces)
        response = StreamingHttpResponse(body, status=206 if spans else 200)
    except BaseException:
        stream.close()
        raise
    response.headers["Content-Type"] = shown_type
    response.headers["Content-Length"] = str(length)
    if len(spans) == 1:
        response.headers["Content-Range"] = _content_range(spans[0], size)
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["ETag"] = etag
    response.headers["Last-Modified"] = modified
    response.headers["Cache-Control"] = CACHE_CONTROL
    response.headers["Content-Disposition"] = str(content_disposition_header(content_type not in INLINE, name))
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response


def _open(path: Path) -> tuple[BinaryIO, int]:
    stream = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
    return stream, os.fstat(stream.fileno()).st_size


def _content_range(span: Span, size: int) -> str:
    return f"bytes {span[0]}-{span[1] - 1}/{size}"


def _parts(spans: list[Span], size: int, content_type: str, boundary: str) -> list[Piece]:
    """Several ranges as one body (RFC 9110, section 14.6)."""
    pieces: list[Piece] = []
    for span in spans:
        head = (
            f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {_content_range(span, size)}\r\n\r\n"
        )
        pieces += [head.encode(), span]
    return [*pieces, f"\r\n--{boundary}--\r\n".encode()]


class Pieces:
    """Parts of an open file, chunk by chunk. The response that sends them closes it, even one that never began."""

    def __init__(self, stream: BinaryIO, pieces: list[Piece]) -> None:
        self._stream = stream
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The bytes. Raises StorageAway when the file turns out shorter than it was."""
        for piece in self._pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            position, stop = piece
            while position < stop:
                chunk = await asyncio.to_thread(self._read, position, min(CHUNK_BYTES, stop - position))
                if not chunk:
                    raise StorageAway("The file ended before its size.")
                position += len(chunk)
                yield chunk

    def _read(self, position: int, size: int) -> bytes:
        return os.pread(self._stream.fileno(), size, position)

    def close(self) -> None:
        """Give the descriptor back. Django calls this by its name when the response is closed."""
        self._stream.close()
