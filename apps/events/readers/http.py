"""The feed over HTTP: long polling, and Server-Sent Events (WHATWG HTML, section 9.2)."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import Any

from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request

from apps.api import schema
from apps.api.rendering import EventStreamRenderer, JSONRenderer
from apps.api.requests import body_of
from apps.api.view import DoorView
from apps.events.event import BEGINNING, Cursor, connection_frame
from apps.events.reader import Batch, reading
from apps.files.errors import BadCursor, FilewireError

MAX_WAIT_SECONDS = 30.0
SOURCE = "/files/events/"
PARAMETERS = ("after", "wait")
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would otherwise hold it back


def _wrong(field: str, detail: str) -> ValidationError:
    return ValidationError({field: [ErrorDetail(detail, code="bad_filter")]})


class FileEvents(DoorView):
    """`GET /files/events/`."""

    renderer_classes = [JSONRenderer, EventStreamRenderer]  # noqa: RUF012 - DRF's way

    @extend_schema(
        operation_id="files_events",
        parameters=[
            OpenApiParameter("after", str, description="The last event id that the client has seen."),
            OpenApiParameter("wait", float, description="Seconds to wait for an event, at most 30."),
            schema.header("Last-Event-ID", "The same as `after`, as EventSource sends it."),
        ],
        responses={
            (200, "application/json"): {
                "type": "object",
                "properties": {
                    "events": {"type": "array", "items": {"type": "object"}},
                    "cursor": {"type": "string"},
                    "resync": {"type": "boolean"},
                },
                "required": ["events", "cursor", "resync"],
            },
            (200, "text/event-stream"): OpenApiTypes.STR,
            **schema.problems(400, 406, 503),
        },
    )
    async def get(self, request: Request) -> HttpResponseBase:
        """What happened after the cursor: at once, when it happens, or as a stream."""
        for name in request.query_params:
            if name not in PARAMETERS:
                raise _wrong(name, "This parameter is not known.")
        after, wait_seconds = self._after(request), self._wait(request)
        if request.accepted_renderer.media_type == EventStreamRenderer.media_type:
            if request.method == "HEAD":  # a stream has no end, and so its connection would never be free again
                return HttpResponse(content_type=EventStreamRenderer.media_type, headers=STREAM_HEADERS)
            return await self._stream(after)
        return await self._poll(request, after, wait_seconds)

    def _after(self, request: Request) -> Cursor | None:
        given = request.headers.get("Last-Event-ID") or request.query_params.get("after")
        if not given:
            return None
        try:
            return Cursor.parse(given)
        except BadCursor as error:
            raise _wrong("after", error.detail) from error

    def _wait(self, request: Request) -> float:
        given = request.query_params.get("wait", "0")
        try:
            wait = float(given)
        except ValueError:
            wait = -1.0
        if not 0 <= wait < float("inf"):
            raise _wrong("wait", "This must be a number of seconds.")
        return min(wait, MAX_WAIT_SECONDS)

    async def _poll(self, request: Request, after: Cursor | None, wait_seconds: float) -> HttpResponse:
        async with reading(None, after) as reader:
            batch = await _unless_gone(reader.next(wait_seconds), request)
        events = ",".join(frame.text for frame in batch.frames)
        resync = "true" if batch.resync else "false"
        return HttpResponse(
            f'{{"events":[{events}],"cursor":"{batch.cursor}","resync":{resync}}}',
            content_type="application/json",
            headers={"Cache-Control": "no-store"},
        )

    async def _stream(self, after: Cursor | None) -> StreamingHttpResponse:
        lines = _lines(after)
        # Begun before the answer is, so that a feed that is away is a 503 and not a broken stream.
        hello = await anext(lines)
        return StreamingHttpResponse(
            _from(hello, lines),
            content_type=EventStreamRenderer.media_type,
            headers=STREAM_HEADERS,
        )


async def _unless_gone(work: Coroutine[Any, Any, Batch], request: Request) -> Batch:
    """What the work returns; ended early when the client goes, so that nobody waits for no one."""
    working = asyncio.create_task(work)
    gone = asyncio.create_task(body_of(request).gone())
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:  # the server, too, may end it
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)
    return Batch(frames=[], cursor=BEGINNING) if working.cancelled() else working.result()


async def _from(first: bytes, lines: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(lines):
        yield first
        async for line in lines:
            yield line


async def _lines(after: Cursor | None) -> AsyncGenerator[bytes, None]:
    async with reading(None, after) as reader:
        yield b"retry: 1000\n" + _event(reader.position, "hello", cursor=str(reader.newest))
        try:
            while True:
                batch = await reader.next(settings.FILEWIRE_PING_SECONDS)
                if batch.resync:
                    yield _event(batch.cursor, "resync", cursor=str(batch.cursor))
                elif batch.frames:
                    yield "".join(f"id: {frame.cursor}\ndata: {frame.text}\n\n" for frame in batch.frames).encode()
                elif reader.ended:
                    return
                else:
                    yield b": still here\n\n"
        except FilewireError as error:
            yield _event(reader.position, "error", code=error.code, detail=error.detail)


def _event(position: Cursor, event_type: str, **data: str) -> bytes:
    return f"id: {position}\ndata: {connection_frame(event_type, position, SOURCE, **data)}\n\n".encode()
