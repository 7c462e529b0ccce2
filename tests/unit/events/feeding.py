"""What the tests of the feed share: files to tell of, a Valkey of one's own, and a server on a real socket."""

import contextlib
import json
import os
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import jsonschema
import uvicorn
from django.db import connection
from django.utils import timezone

from apps.events import connections, publish, stream
from apps.events.event import body
from apps.files import lifecycle, storage
from apps.files.document import document
from apps.files.models import File
from project.layer import channel_layers
from tests import servers
from tests.ports import free_port


def unsaved_file(**fields: Any) -> File:
    """A queued file that is in no database: enough to publish."""
    given = {
        "name": "a.txt", "size": 6, "content_type": "text/plain", "kind": "text", "sha256": "0" * 64,
        "request_id": "the-request", "uploaded_at": timezone.now(), **fields,
    }  # fmt: skip
    return lifecycle.new_file(**given)


def a_file(content: bytes = b"hello\n", **fields: Any) -> File:
    """A queued file in the database and in the storage."""
    file = unsaved_file(size=len(content), **fields)
    storage.put(str(file.file.name), content)
    lifecycle.receive([file], {})
    return file


def append(file_id: uuid.UUID | str, seq: int, *, durable: bool = True) -> stream.Appended | None:
    """Append an event of the file to the stream and announce it to nobody."""
    file = unsaved_file(id=uuid.UUID(str(file_id)))
    kept = body(type="file.queued", subject=str(file_id), time="2026-11-23T05:47:50.456789Z", data=document(file))
    entry = stream.Entry(file_id=str(file_id), seq=seq, durable=durable, kept=kept)
    return stream.append(connections.sync_client(), [entry])[0]


def tell(file: File) -> File:
    """Publish one more event of the file, as a worker or the dispatcher does."""
    file.version += 1
    file.pending = lifecycle._with_event(file, "processing", timezone.now())[-1:]
    assert publish.pending(file)
    return file


def tell_of_new_files(count: int) -> None:
    """Publish one event each of so many files."""
    for _ in range(count):
        assert publish.pending(unsaved_file())


async def until(true: Callable[[], Any], seconds: float = 10.0) -> None:
    """Return when it is true; fail when it is not in time."""
    import asyncio

    ends_at = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends_at, "this did not become true in time"
        await asyncio.sleep(0.01)


def until_now(true: Callable[[], Any], seconds: float = 10.0) -> None:
    """The same without a loop."""
    ends_at = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends_at, "this did not become true in time"
        time.sleep(0.01)


# --- frames --------------------------------------------------------------------------------------------------


@cache
def _validators() -> dict[str, jsonschema.Draft7Validator]:
    from apps.events.readers.document import describe

    described = describe("testserver")
    return {
        name: jsonschema.Draft7Validator(
            {**message["payload"], "components": described["components"]},
            format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER,
        )
        for name, message in described["components"]["messages"].items()
    }


def as_described(text: str | bytes) -> dict[str, Any]:
    """The frame, once it is what the AsyncAPI document says a frame of its type is."""
    frame: dict[str, Any] = json.loads(text)
    _validators()[frame["type"]].validate(frame)
    return frame


def place(frame: dict[str, Any]) -> tuple[int, ...]:
    """A frame's id, in the order of ids."""
    return tuple(int(part) for part in frame["id"].split("-"))


# --- servers -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def own_valkey(settings: Any) -> Iterator[servers.Valkey]:
    """A Valkey that the service uses until the end of the block, and that may be stopped, started and wiped."""
    with servers.valkey() as server:
        connections.close_sync()
        settings.REDIS_URL = server.url
        settings.CHANNEL_LAYERS = channel_layers(server.url, 1, 2)
        try:
            yield server
        finally:
            connections.close_sync()


@contextlib.contextmanager
def web_server() -> Iterator[str]:
    """uvicorn in a thread, set up as `manage.py web` does: the address without its scheme."""
    from asgi.application import application
    from asgi.server import BoundedHttp

    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(
            application, host="127.0.0.1", port=port, ws="websockets-sansio", http=BoundedHttp, loop="asyncio",
            lifespan="on", log_config=None, access_log=False, ws_per_message_deflate=False,
            timeout_graceful_shutdown=2,
        )
    )  # fmt: skip
    thread = threading.Thread(target=server.run, name="web")
    thread.start()
    try:
        until_now(lambda: server.started)
        yield f"127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def database_url() -> str:
    """The URL of the tests' database, for a process."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))


async def frames_of(socket: Any) -> AsyncIterator[dict[str, Any]]:
    """The frames of a `websockets` connection, each held to the document."""
    async for text in socket:
        yield as_described(text)
