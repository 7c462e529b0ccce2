"""`POST /upload/`: one upload, from the first byte to the 201."""

import asyncio
import contextlib
import hashlib
import re
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import parse_header_parameters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request

from apps.api import schema
from apps.api.problems import answer_to
from apps.api.requests import Body, base_url, body_of
from apps.api.serializers import FileSerializer
from apps.api.view import DoorView
from apps.files import context, idempotency, ids, lifecycle
from apps.files.document import absolute
from apps.files.errors import (
    BadHeader,
    Busy,
    DatabaseAway,
    EmptyFile,
    FileTooLarge,
    KeyInFlight,
    KeyReused,
    Malformed,
    MissingFile,
    MissingName,
    ServerStopping,
    TooSlow,
    TypeNotAccepted,
    UnsupportedBody,
)
from apps.files.lifecycle import Held
from apps.files.models import IdempotencyKey
from apps.files.threads import transact
from apps.processing import detect
from apps.processing.acceptance import is_refused_at_the_door
from apps.uploads import digest, places
from apps.uploads.commit import Receipt, committer
from apps.uploads.multipart import FIELD, MAX_OTHER_BYTES, FormParser, PartStart
from apps.uploads.names import shown_name
from apps.uploads.sink import Received, Sink
from apps.uploads.throttle import UploadThrottle

FORM = "multipart/form-data"
# Bodies that are the values of a form or a call, never a file, unless the request names a file.
VALUES = frozenset({"application/json", "application/x-www-form-urlencoded"})
LENGTH = re.compile(r"[0-9]{1,19}")
KEY = re.compile(r"[\x21-\x7e]{1,255}")
KEY_POLL_SECONDS = 0.05
BATCH_BYTES = 250_000  # what the server reads at once (256,000) is a batch as it is


@dataclass(kw_only=True)
class Arrival:
    """What is known of an upload once its body is over."""

    name: str = ""
    declared_content_type: str = ""
    file_digest: bytes | None = None
    body_hash: Any = None  # of a form, where someone asks what it hashes to


class Upload(DoorView):
    """One file in."""

    throttle_classes = [UploadThrottle]  # noqa: RUF012 - DRF's way
    brings = frozenset({"POST"})  # methods that bring a file

    async def dispatch(  # type: ignore[override]
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """The door's dispatch for whoever gets a place; the others are told so before their request is looked at."""
        if request.method not in self.brings:
            return await super().dispatch(request, *args, **kwargs)
        if not places.take():
            return answer_to(Busy())
        try:
            return await super().dispatch(request, *args, **kwargs)
        finally:
            places.leave()

    @extend_schema(
        operation_id="upload",
        parameters=[
            OpenApiParameter("filename", str, description="The name, where the body is the file itself."),
            schema.header("Content-Disposition", "`attachment; filename=…`: the same."),
            schema.header("Content-Digest", "`sha-256=:…:` of the body; checked."),
            schema.header("Idempotency-Key", "A repeat with the same key is answered as the first was."),
        ],
        request={
            FORM: {
                "type": "object",
                "properties": {FIELD: {"type": "string", "format": "binary"}},
                "required": [FIELD],
            },
            "application/octet-stream": OpenApiTypes.BINARY,
        },
        responses={
            201: FileSerializer,
            **schema.problems(400, 408, 409, 413, 415, 422, 429, 503, 507),
        },
    )
    async def post(self, request: Request, filename: str = "") -> HttpResponse:
        """Receive a file, record it, and queue it for processing."""
        refuse_early(request)
        key = idempotency_key(request)
        holder = await transact(idempotency.reserve, key) if key else None
        if key and holder is None:
            return await self._repeat(request, key)
        async with holding(key, holder):
            return await self._receive(request, key, holder)

    async def _receive(self, request: Request, key: str | None, holder: uuid.UUID | None) -> HttpResponse:
        sink = Sink(settings.FILEWIRE_MAX_FILE_BYTES, lambda head: refuse_type(detect.sniff(head, name=sink.name)))
        taken = False
        try:
            arrival, received = await read(request, sink)
            moment = datetime.now(UTC)
            detected = detect.sniff(received.head, received.size, arrival.name)
            refuse_type(detected)
            file = lifecycle.new_file(
                id=ids.new_id(moment),
                name=arrival.name,
                size=received.size,
                content_type=detected.content_type,
                declared_content_type=arrival.declared_content_type,
                kind=detected.kind,
                sha256=received.sha256.hex(),
                uploaded_at=moment,
                request_id=context.request_id.get(),
            )
            content = orjson.dumps(absolute(lifecycle.newest_document(file), base_url(request)))
            location = f"/files/{file.id}/"
            held = None
            if key and holder:
                held = Held(
                    key=key,
                    holder=holder,
                    fingerprint=fingerprint(arrival, received),
                    response=content.decode(),
                    location=location,
                )
            taken = True
            await committer().commit(Receipt(file=file, payload=received.payload, held=held))
        finally:
            if not taken:
                await asyncio.shield(sink.discard())
        return created(content, location)

    async def _repeat(self, request: Request, key: str) -> HttpResponse:
        """The answer to a request whose key another one has: the body is read and compared, not kept."""
        sink = Discarding(settings.FILEWIRE_MAX_FILE_BYTES)
        arrival, received = await read(request, sink)
        first = await answered(key)
        if first.fingerprint != fingerprint(arrival, received):
            raise KeyReused
        response = created((first.response or "").encode(), first.location)
        response.headers["Idempotency-Replayed"] = "true"
        return response


class NamedUpload(Upload):
    """The same with the name in the path: what `curl -T` makes of an address that ends with a slash."""

    brings = frozenset({"POST", "PUT"})

    @extend_schema(
        operation_id="upload_named",
        request={"application/octet-stream": OpenApiTypes.BINARY},
        responses={201: FileSerializer, **schema.problems(400, 408, 409, 413, 415, 422, 429, 503, 507)},
    )
    async def put(self, request: Request, filename: str) -> HttpResponse:
        """Receive a file under this name; each call is a new file."""
        return await super().post(request)

    @extend_schema(exclude=True)
    async def post(self, request: Request, filename: str = "") -> HttpResponse:
        """Receive a file under this name."""
        return await super().post(request)


class Discarding(Sink):
    """Counts and hashes, and keeps nothing."""

    async def write(self, data: bytes) -> None:
        """Take the next bytes. Raises FileTooLarge."""
        self._count(data)
        self._hash.update(data)

    async def finish(self) -> Received:
        """What was seen."""
        return Received(payload=b"", size=self._size, sha256=self._hash.digest(), head=self._head)


# --- before the body is read ---------------------------------------------------------------------------------


def refuse_early(request: Request) -> None:
    """Refuse, with no byte of the body read, what its headers rule out. Raises FileTooLarge, UnsupportedBody."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedBody("An encoded body is not accepted.", Accept_Encoding="identity")
    if request.headers.get("Transfer-Encoding", "chunked").strip().lower() != "chunked":
        raise UnsupportedBody("A body is accepted as it is or chunked, and in no other transfer coding.")
    length = request.headers.get("Content-Length", "")
    media_type = request._request.content_type or ""
    allowed = settings.FILEWIRE_MAX_FILE_BYTES + (MAX_OTHER_BYTES if media_type == FORM else 0)
    if LENGTH.fullmatch(length) and int(length) > allowed:
        raise FileTooLarge(
            f"The request's body is larger than {settings.FILEWIRE_MAX_FILE_BYTES} bytes, "
            "the most this service accepts."
        )


def refuse_type(detected: detect.Detected) -> None:
    """Refuse a file whose first bytes say that it is none of those this service takes. Raises TypeNotAccepted."""
    if is_refused_at_the_door(detected, settings.FILEWIRE_ACCEPT, settings.FILEWIRE_REJECT):
        raise TypeNotAccepted(f"Files of type {detected.content_type} are not accepted here.", field=FIELD)


def idempotency_key(request: Request) -> str | None:
    """The request's Idempotency-Key, if it has one. Raises BadHeader for one that is no key."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not KEY.fullmatch(key):
        raise BadHeader("Idempotency-Key must be 1 to 255 visible ASCII characters.", field="Idempotency-Key")
    return key


# --- the body ------------------------------------------------------------------------------------------------


async def read(request: Request, sink: Sink) -> tuple[Arrival, Received]:
    """Read the whole body into the sink, within the limits. Raises whatever is wrong with it."""
    content_type = request.headers.get("Content-Type", "")
    plain = request._request  # Django has read this header already: media type, lower case, and parameters
    media_type, parameters = plain.content_type or "", plain.content_params or {}
    expected = digest.sha256_of(request.headers.get(digest.HEADER))
    batches = timely_batches(body_of(request))
    if media_type == FORM:
        arrival = await read_form(batches, parameters.get("boundary", ""), sink, hash_body=expected is not None)
    elif media_type.startswith("multipart/"):
        raise UnsupportedBody
    else:
        arrival = Arrival(name=given_name(request, media_type), declared_content_type=content_type)
        sink.name = arrival.name
        async for batch in batches:
            await sink.write(batch)
    received = await sink.finish()
    if not received.size:
        raise EmptyFile(field=FIELD)
    whole = [arrival.body_hash.digest()] if arrival.body_hash is not None else []
    digest.verify(expected, received.sha256, *whole)
    digest.verify(arrival.file_digest, received.sha256)
    arrival.name = shown_name(arrival.name, settings.FILEWIRE_MAX_NAME_BYTES)
    arrival.declared_content_type = "".join(c for c in arrival.declared_content_type if c.isprintable())[:255]
    return arrival, received


async def read_form(batches: AsyncIterator[bytes], boundary: str, sink: Sink, *, hash_body: bool) -> Arrival:
    """Read a form's file into the sink; the whole body is hashed only where someone asks what it hashes to."""
    if not boundary:
        raise Malformed("The multipart boundary is missing from Content-Type.")
    parser = FormParser(
        boundary,
        max_parts=settings.FILEWIRE_MAX_PARTS,
        max_part_header_bytes=settings.FILEWIRE_MAX_PART_HEADER_BYTES,
    )
    arrival = Arrival(body_hash=hashlib.sha256() if hash_body else None)
    async for batch in batches:
        if hash_body:
            arrival.body_hash.update(batch)
        for event in parser.push(batch):
            if isinstance(event, PartStart):
                arrival.name = sink.name = event.name
                arrival.declared_content_type = event.content_type
                arrival.file_digest = digest.sha256_of(event.content_digest)
            else:
                await sink.write(event)
    parser.finish()
    return arrival


def given_name(request: Request, media_type: str) -> str:
    """The name of a body that is the file itself. Raises MissingName, or what such a body without a name means."""
    _, parameters = header_parameters(request, "Content-Disposition")
    name = (
        parameters.get("filename")
        or request.query_params.get("filename")
        or request.parser_context["kwargs"].get("filename")
    )
    if name:
        return str(name)
    if media_type in VALUES:
        raise UnsupportedBody
    if request.headers.get("Content-Length") == "0":
        raise MissingFile(field=FIELD)
    raise MissingName(field="filename")


def header_parameters(request: Request, name: str) -> tuple[str, dict[str, str]]:
    """The header's value, lower case, and its parameters. Raises BadHeader."""
    given = request.headers.get(name, "")
    with contextlib.suppress(UnicodeError):
        # Django reads headers as Latin-1; curl and most programs write the UTF-8 of a name as it is.
        given = given.encode("latin-1").decode()
    try:
        return parse_header_parameters(given)
    except ValueError as error:
        raise BadHeader(f"{name} could not be understood.", field=name) from error


_reading: set[asyncio.Timeout] = set()
_stopping = False


def stop_reading() -> None:
    """The server is about to end: every body of which something is still on its way is refused now, in words."""
    global _stopping
    _stopping = True
    for timeout in _reading:
        with contextlib.suppress(RuntimeError):  # its time is up just now
            timeout.reschedule(asyncio.get_running_loop().time())


async def timely_batches(body: Body) -> AsyncIterator[bytes]:
    """The body in larger pieces, each chunk within the idle limit and all within the total. Raises TooSlow, ClientGone.

    A batch is worth a thread's while; it is never waited for longer than the body's end.
    """
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + settings.FILEWIRE_UPLOAD_TOTAL_SECONDS
    kept: list[bytes] = []
    size, total, more = 0, 0, True
    while more:
        until = min(loop.time() + (0 if _stopping else settings.FILEWIRE_UPLOAD_IDLE_SECONDS), ends_at)
        try:
            async with asyncio.timeout_at(until) as timeout:
                _reading.add(timeout)
                chunk, more = await body.chunk()
        except TimeoutError:
            raise (ServerStopping if _stopping else TooSlow)(Connection="close") from None
        finally:
            _reading.discard(timeout)
        if chunk:
            kept.append(chunk)
            size += len(chunk)
            total += len(chunk)
        # From the limit on nothing is gathered: the first byte over is to be seen when it comes.
        if kept and (size >= BATCH_BYTES or not more or total > settings.FILEWIRE_MAX_FILE_BYTES):
            yield kept[0] if len(kept) == 1 else b"".join(kept)
            kept, size = [], 0


@contextlib.asynccontextmanager
async def holding(key: str | None, holder: uuid.UUID | None) -> AsyncIterator[None]:
    """The idempotency key held, where there is one, for as long as the block takes; free again when it raises."""
    if key is None or holder is None:
        yield
        return
    renewing = asyncio.create_task(_renew(key, holder))
    try:
        yield
    except BaseException:
        with contextlib.suppress(DatabaseAway):  # then it is free soon; what is raised says what was wrong
            await asyncio.shield(transact(idempotency.release, key, holder))
        raise
    finally:
        renewing.cancel()


async def _renew(key: str, holder: uuid.UUID) -> None:
    while True:
        await asyncio.sleep(idempotency.LEASE_SECONDS / 3)
        with contextlib.suppress(DatabaseAway):  # the next one may be in time
            await transact(idempotency.renew, key, holder)


# --- the answer ----------------------------------------------------------------------------------------------


def fingerprint(arrival: Arrival, received: Received) -> str:
    """What makes two requests under one key the same: the file's bytes, its name and its declared type."""
    parts = (received.sha256.hex(), arrival.name, arrival.declared_content_type)
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()


def created(content: bytes, location: str) -> HttpResponse:
    """201 with the file and where it is."""
    return HttpResponse(content, status=201, content_type="application/json", headers={"Location": location})


async def answered(key: str) -> IdempotencyKey:
    """The key with its first answer, waiting a little for one that is in flight. Raises KeyInFlight."""
    ends_at = time.monotonic() + settings.FILEWIRE_IDEMPOTENCY_WAIT_SECONDS
    while True:
        found = await transact(idempotency.look, key)
        if found is not None and found.response is not None:
            return found
        if found is None or time.monotonic() >= ends_at:
            raise KeyInFlight
        await asyncio.sleep(KEY_POLL_SECONDS)
