"""The edges of the server: its end, its bounds, and what others do to it."""

import contextlib
import http.client
import json
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from tests.acceptance.service import Service, refusal_of_serve, service, until


def raw(running: Service, data: bytes, seconds: float = 20.0) -> bytes:
    """What the server answers to these bytes before it closes, or stays silent for a second."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=seconds) as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(data)
        answer = b""
        client.settimeout(2)
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while chunk := client.recv(65536):
                answer += chunk
        return answer


def problem(answer: bytes) -> dict:
    """The problem in a raw answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    return json.loads(body)


def clients_of(web: psutil.Process, running: Service) -> int:
    """How many connections the server has from clients; its own, to Valkey, are none of them."""
    found = web.net_connections("tcp")
    return len([one for one in found if one.status == "ESTABLISHED" and one.laddr.port == running.port])


def test_whoever_waits_is_answered_at_the_end():
    """At SIGTERM a long poll answers empty, a stream ends, a half-sent upload is told 503, and all of it soon."""
    with service() as running, contextlib.ExitStack() as stack:
        found: dict[str, object] = {}

        def poll() -> None:
            answer = httpx.get(f"{running.url}/files/events/", params={"wait": 30}, timeout=40)
            found["poll"] = (answer.status_code, answer.json()["events"])

        def stream() -> None:
            headers = {"Accept": "text/event-stream"}
            with httpx.stream("GET", f"{running.url}/files/events/", headers=headers, timeout=40) as answer:
                found["stream"] = answer.read().count(b'"type":"hello"')

        waiting = [threading.Thread(target=poll), threading.Thread(target=stream)]
        for thread in waiting:
            thread.start()
        web = running.named("manage.py web")
        until(lambda: clients_of(web, running) >= 2, 20)
        half = stack.enter_context(
            contextlib.closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=40))
        )
        half.putrequest("POST", "/upload/?filename=half.bin")
        half.putheader("Content-Length", "1000000")
        half.endheaders(b"x" * 1000)
        until(lambda: clients_of(web, running) >= 3, 20)
        running.process.send_signal(signal.SIGTERM)
        for thread in waiting:
            began = time.monotonic()
            thread.join(20)
            assert time.monotonic() - began < 5
        answer = half.getresponse()
        assert (answer.status, json.loads(answer.read())["code"]) == (503, "server_stopping")
        running.process.wait(20)
        assert found == {"poll": (200, []), "stream": 1}
        assert "Traceback" not in "".join(running.output)


def test_one_data_directory_is_one_service(running: Service):
    """A second `serve` on the same data is refused in words, before it touches anything."""
    said = refusal_of_serve(FILEWIRE_DATA_DIR=str(running.data), DATABASE_URL="", REDIS_URL="", PORT="0")
    assert f"Another `serve` runs on {running.data}" in said


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"a:b\r\n" * 60_000,
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 300_000,
        b"GET /" + b"x" * 300_000,
    ],
    ids=["many", "long", "address"],
)
def test_headers_are_bounded(running: Service, head: bytes):
    """A request whose headers do not end is refused with 431 as soon as they are too large."""
    assert problem(raw(running, head))["status"] == 431


def test_headers_that_do_not_come_are_not_waited_for(running: Service):
    """Half a header is answered 408, and a connection without a byte is closed, after a while."""
    with (
        socket.create_connection(("127.0.0.1", running.port), timeout=30) as half,
        socket.create_connection(("127.0.0.1", running.port), timeout=30) as silent,
    ):
        half.sendall(b"GET /healthz HTTP/1.1\r\nHo")
        assert problem(half.recv(65536))["code"] == "headers_timeout"
        assert silent.recv(65536) == b""


def test_what_is_not_http_is_a_problem(running: Service):
    """The server's own refusals have the shape of all errors."""
    for request in (
        b"NONSENSE\r\n\r\n",
        b"POST /upload/?filename=a HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /upload/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
    ):
        assert problem(raw(running, request))["code"] == "malformed"


def test_a_body_longer_than_it_says_is_the_length_it_says(running: Service):
    """The upload is the bytes that were announced, and is answered as such; what follows breaks the connection."""
    head = "POST /upload/?filename=longer.txt HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 500\r\n\r\n"
    answer = raw(running, head.encode() + b"y" * 1000)
    assert answer.startswith(b"HTTP/1.1 201")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["size"] == 500


def test_the_key_of_a_killed_upload_is_soon_free():
    """An idempotency key whose web process died is not held for longer than its lease."""
    with service() as running, contextlib.ExitStack() as stack:
        client = stack.enter_context(contextlib.closing(http.client.HTTPConnection("127.0.0.1", running.port)))
        client.putrequest("POST", "/upload/?filename=a.txt")
        client.putheader("Content-Length", "1000000")
        client.putheader("Idempotency-Key", "killed")
        client.endheaders(b"x" * 1000)

        def again() -> httpx.Response:
            headers = {"Idempotency-Key": "killed"}
            return httpx.post(f"{running.url}/upload/?filename=a.txt", content=b"whole", headers=headers, timeout=30)

        found = again()
        assert (found.status_code, found.json()["code"]) == (409, "idempotency_key_in_flight")
        assert found.headers["Retry-After"]
        running.named("manage.py web").kill()
        until(running.is_ready, 60, "ready again")
        until(lambda: again().status_code == 201, 30, "the key is free")
        assert again().headers["Idempotency-Replayed"] == "true"
        assert len(httpx.get(f"{running.url}/files/").json()["results"]) == 1


def test_a_reader_that_slept_too_long_is_told_1013(running: Service):
    """Longer than the server's own ping time-outs, and the code still says that it may come back with its cursor."""
    large = "n" * 200
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", running.port))
        client.sendall(
            f"GET /ws/files/ HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        with httpx.Client(base_url=running.url, timeout=30) as uploads, ThreadPoolExecutor(8) as threads:

            def upload(number: int) -> int:
                name = {"filename": f"{large}{number}.txt"}
                return uploads.post("/upload/", params=name, content=b"%d" % number).status_code

            # Far more than the kernel keeps for it, and soon: it must be the reader that stalls, not a late pong.
            assert set(threads.map(upload, range(500))) == {201}
        time.sleep(45)  # what is tested is that so much time makes no difference
        received = b""
        client.settimeout(20)
        with contextlib.suppress(ConnectionResetError):
            while chunk := client.recv(65536):
                received += chunk
    assert b"reader_stalled" in received[-200:]
    assert b"Traceback" not in "".join(running.output).encode()
