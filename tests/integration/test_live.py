"""`manage.py live`, as a real process: WebSockets alone, no bodies, and no memory for those who do not read."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from asgiref.sync import sync_to_async
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from apps.events import publish
from apps.events.readers.websocket import STALLED_SECONDS
from tests.ports import free_port
from tests.unit.events.feeding import (
    a_file,
    append,
    as_described,
    database_url,
    place,
    tell,
    tell_of_new_files,
    unsaved_file,
    until_now,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_clients")]

ROOT = Path(__file__).resolve().parents[2]


class Live:
    """The process, its address, and what it logged."""

    def __init__(self, process: subprocess.Popen[bytes], address: str, log: Path) -> None:
        self.process = process
        self.address = address
        self.log = log

    @property
    def memory(self) -> int:
        """Its resident memory in bytes."""
        return psutil.Process(self.process.pid).memory_info().rss

    def send(self, data: bytes) -> socket.socket:
        """A connection on which these bytes were sent."""
        host, port = self.address.split(":")
        client = socket.create_connection((host, int(port)), timeout=10)
        client.sendall(data)
        return client


@pytest.fixture
def live(settings, data_directory) -> Iterator[Live]:
    """A server of WebSockets."""
    with served(data_directory, settings.REDIS_URL) as found:
        yield found


@contextlib.contextmanager
def served(data_directory: Path, redis_url: str) -> Iterator[Live]:
    """The process, for as long as the block; it logs no error."""
    port = free_port()
    environment = {
        **os.environ, "REDIS_URL": redis_url, "DATABASE_URL": database_url(),
        "FILEWIRE_DATA_DIR": str(data_directory), "FILEWIRE_ALLOWED_ORIGINS": "https://allowed.example",
    }  # fmt: skip
    with tempfile.NamedTemporaryFile() as log:
        command = [sys.executable, "manage.py", "live", f"--port={port}"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        address = f"127.0.0.1:{port}"
        try:
            until_now(lambda: _healthy(address), 30)
            yield Live(process, address, Path(log.name))
        finally:
            process.terminate()
            process.wait(20)
        errors = [line for line in Path(log.name).read_text().splitlines() if "Traceback" in line or " ERROR " in line]
        assert errors == [], Path(log.name).read_text()


def _healthy(address: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://{address}/healthz", timeout=2).status_code == 200
    return False


async def test_who_follows_is_told_that_the_server_stops(live):
    """As by the other server: the client comes back with its cursor."""
    async with connect(f"ws://{live.address}/ws/files/") as client:
        assert as_described(await client.recv())["type"] == "hello"
        live.process.terminate()
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(client.recv(), 10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    await asyncio.to_thread(live.process.wait, 10)


async def test_the_feed_by_daphne(live):
    """Hello, replay, live, pong, one file, unknown files and paths: all as the other server has it."""
    file = await sync_to_async(a_file)()
    first = append(file.id, 1)
    append(uuid.uuid4(), 1)
    assert first
    async with connect(f"ws://{live.address}/ws/files/?after={first.cursor}") as client:
        frames = [as_described(await client.recv()) for _ in range(2)]
        await asyncio.to_thread(tell_of_new_files, 50)
        frames += [as_described(await asyncio.wait_for(client.recv(), 10)) for _ in range(50)]
        await client.send('{"type": "ping"}')
        frames.append(as_described(await client.recv()))
        await client.send(b"binary")
        assert as_described(await client.recv())["data"]["code"] == "text_only"
    assert [frame["type"] for frame in frames] == ["hello", *["file.queued"] * 51, "pong"]
    places = [place(frame) for frame in frames]
    assert places[:-1] == sorted(set(places))
    async with connect(f"ws://{live.address}/ws/files/{file.id}/") as client:
        await client.recv()
        await asyncio.to_thread(tell_of_new_files, 1)
        await asyncio.to_thread(tell, file)
        assert as_described(await client.recv())["subject"] == str(file.id)
    for path in (f"/ws/files/{uuid.uuid4()}/", "/nothing/"):
        async with connect(f"ws://{live.address}{path}") as client:
            assert as_described(await client.recv())["data"]["code"] == "not_found"
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.rcvd
            assert closed.value.rcvd.code == 4404


async def test_f21_a_foreign_origin_is_refused_by_daphne(live):
    """A foreign origin is 403; the same, an allowed one and none are let in."""
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://{live.address}/ws/files/", origin="https://evil.example")
    assert refused.value.response.status_code == 403
    for origin in (f"http://{live.address}", "https://allowed.example", None):
        async with connect(f"ws://{live.address}/ws/files/", origin=origin) as client:
            assert as_described(await client.recv())["type"] == "hello"


def test_over_http_there_is_health_alone(live):
    """`/healthz` answers; every other path is 404, the doors' too."""
    with httpx.Client(base_url=f"http://{live.address}") as client:
        assert client.get("/healthz").status_code == 200
        for path in ("/", "/files/", "/upload/", "/admin/", "/readyz"):
            assert client.get(path).status_code == 404


HEADS = {
    "length": b"Content-Type: text/plain\r\nContent-Length: 1073741824\r\n",
    "multipart": b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 1073741824\r\n",
    "chunked": b"Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n",
}


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("path", [b"/upload/", b"/healthz"])
def test_f10_a_body_is_refused_before_it_is_read(live, kind, path):
    """A request that announces a body is answered 413 by its headers alone, once, and closed."""
    with live.send(b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\n" + HEADS[kind] + b"\r\n") as client:
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in answer
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("kind", HEADS)
def test_f10_a_body_that_comes_all_the_same_costs_no_memory(live, kind):
    """A client that sends its body without waiting for the answer is cut off."""
    before = live.memory
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n" if kind == "chunked" else b"x" * 65536
    client = live.send(b"POST /upload/ HTTP/1.1\r\nHost: localhost\r\n" + HEADS[kind] + b"\r\n")
    with client, pytest.raises(OSError, match=r"[Rr]eset|[Bb]roken"):
        client.sendall(chunk * 1600)  # 100 MiB
    assert live.memory - before < 20 * 1024 * 1024
    assert _healthy(live.address)


def test_a_small_body_is_refused_in_words(live):
    """A small form, sent with its headers at once, gets the one answer too."""
    for body in (b"hello", b"--b\r\n\r\nx\r\n--b--\r\n"):
        head = b"POST /upload/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        with live.send(head + b"Content-Length: %d\r\n\r\n" % len(body) + body) as client:
            answer = b""
            while piece := client.recv(65536):
                answer += piece
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert answer.count(b"HTTP/1.1") == 1


def test_a_small_chunked_body_is_refused_in_words(live):
    """The same for a chunked one that is whole in its first packet."""
    head = b"POST /upload/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with live.send(head + b"5\r\nhello\r\n0\r\n\r\n") as client:
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.count(b"HTTP/1.1") == 1


async def test_f07_daphne_does_not_buffer_for_a_client_that_stops_reading(live):
    """While a client reads nothing the server's memory stays flat; read again, nothing is missing and nothing twice."""
    url = f"ws://{live.address}/ws/files/"
    async with connect(url) as steady, connect(url, max_queue=1, ping_interval=None) as paused:
        await steady.recv()

        async def say(count: int) -> None:
            publishing = asyncio.create_task(asyncio.to_thread(_tell_of_large, count))
            for _ in range(count):
                await asyncio.wait_for(steady.recv(), 10)
            await publishing

        await say(1200)  # at 8 KiB each: the ring is full, and so is what the kernel holds between the two
        before = live.memory
        await say(1800)
        assert live.memory - before < 7 * 1024 * 1024  # half of what was sent
        frames = [as_described(await asyncio.wait_for(paused.recv(), 10)) for _ in range(3001)]
    assert [place(frame) for frame in frames] == sorted({place(frame) for frame in frames})


def test_a_client_of_daphne_that_slept_reads_what_was_kept_and_1013(live):
    """It has stalled for longer than is waited for; its connection is not reset under what it has yet to read."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, port = live.address.split(":")
        client.connect((host, int(port)))
        client.sendall(
            b"GET /ws/files/ HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        head = client.recv(100)
        assert head.startswith(b"HTTP/1.1 101")
        _tell_of_large(100)
        time.sleep(STALLED_SECONDS + 5)  # what is tested is that so much time makes no difference
        client.settimeout(10)
        received = b""
        while not received.endswith(b"\x88\x02\x03\xf5"):  # the frame that closes, with 1013
            piece = client.recv(65536)
            assert piece, "it ended without a reason"
            received += piece
    assert received.count(b"file.queued") > 10


async def test_daphne_tells_a_client_to_try_again_later(data_directory):
    """By the code that says so, which autobahn does not send for an application."""
    with served(data_directory, f"redis://127.0.0.1:{free_port()}/0") as away:
        async with connect(f"ws://{away.address}/ws/files/") as client:
            await asyncio.wait_for(client.wait_closed(), 15)
        assert client.close_code == 1013


def _tell_of_large(count: int) -> None:
    for _ in range(count):
        assert publish.pending(unsaved_file(name="x" * 8000))


def test_sigterm_ends_it(live):
    """It stops when it is told to, at once."""
    live.process.send_signal(signal.SIGTERM)
    assert live.process.wait(10) in (0, -signal.SIGTERM)
