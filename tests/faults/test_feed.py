"""The feed under stress, over real sockets: readers that stop, come and go, stand behind an impatient proxy, or return
to a feed that began anew."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
import redis
from websockets.sync.client import connect

from apps.events import stream
from tests.acceptance.service import Service, service, until
from tests.faults.harness import Witness
from tests.servers import Valkey, valkey

MIB = 1024 * 1024
EVENT = (
    b'{"source":"/files","type":"file.progress","subject":"%s","time":"2026-11-23T05:47:50.456789Z",'
    b'"data":{"attempt":1,"padding":"%s"}}'
)
PADDING = b"x" * 700  # as large as a picture's event


@pytest.fixture(scope="module")
def broker() -> Iterator[Valkey]:
    """A Valkey that the tests speak to, too."""
    with valkey() as server:
        yield server


@pytest.fixture(scope="module")
def running(broker: Valkey) -> Iterator[Service]:
    """A service on it."""
    with service(REDIS_URL=broker.url) as found:
        yield found


class Announcer:
    """Appends events to the service's feed and announces them as its own processes do."""

    def __init__(self, url: str) -> None:
        from django.conf import settings

        from apps.events import connections
        from project.layer import channel_layers

        connections.close_sync()
        settings.REDIS_URL, settings.CHANNEL_LAYERS = url, channel_layers(url, 1, 2)
        self.number = time.monotonic_ns()  # beyond what another test has told of the same file

    def tell(self, count: int, file_id: str = "01932b5e-0000-7000-8000-000000000000") -> None:
        """So many events of this file."""
        from apps.events import publish

        for _ in range(count):
            self.number += 1
            kept = EVENT % (file_id.encode(), PADDING)
            assert publish._publish([stream.Entry(file_id=file_id, seq=self.number, durable=True, kept=kept)])


@pytest.fixture
def announcer(broker: Valkey, settings) -> Announcer:
    """One for this service's Valkey; the settings are the tests' own again afterwards."""
    return Announcer(broker.url)


def next_event(client, seconds: float = 20.0) -> dict:
    """The next frame that is a file's."""
    while True:
        frame = json.loads(client.recv(timeout=seconds))
        if frame["type"].startswith("file."):
            return frame


def place(frame: dict) -> tuple[int, ...]:
    """A frame's id, in the order of ids."""
    return tuple(map(int, frame["id"].split("-")))


def deaf(running: Service, request: bytes) -> socket.socket:
    """A client that sends this and then reads nothing more than the answer's head."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", running.port))
    client.sendall(request)
    assert client.recv(12).startswith(b"HTTP/1.1 ")
    return client


def test_f07_a_reader_that_stops_costs_bounded_memory(running: Service, announcer: Announcer):
    """5,000 events pass readers that have stopped: the web process grows by less than 16 MiB, another reader gets all
    of them in time, and one that reads on has all of them, or is told to resync, or is closed and replays."""
    web = running.named("manage.py web")
    handshake = (
        b"GET /ws/files/ HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    events = b"GET /files/events/ HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for request in (handshake, events):
            for _ in range(5):
                stack.enter_context(contextlib.closing(deaf(running, request)))
        paused = stack.enter_context(
            connect(f"ws://127.0.0.1:{running.port}/ws/files/", ping_interval=None, max_queue=1)
        )
        cursor = json.loads(paused.recv(timeout=10))["data"]["cursor"]
        steady = stack.enter_context(running.listen())
        announcer.tell(1500)  # the ring is full, and so are the clients' buffers
        for _ in range(1500):
            next_event(steady)
        before = web.memory_info().rss
        slowest = 0.0
        for _ in range(70):
            announcer.tell(50)
            began = time.monotonic()
            for _ in range(50):
                next_event(steady)
            slowest = max(slowest, time.monotonic() - began)
        grown = (web.memory_info().rss - before) / MIB
        assert grown < 16
        assert slowest < 2
        seen: list[dict] = []
        resynced = False
        while len(seen) < 5000 and not resynced:
            try:
                frame = json.loads(paused.recv(timeout=30))
            except Exception:
                assert paused.protocol.close_code == 1013
                break
            resynced = frame["type"] == "resync"
            seen += [frame] if frame["type"].startswith("file.") else []
        if len(seen) < 5000 and not resynced:
            last = seen[-1]["id"] if seen else cursor
            again = stack.enter_context(running.listen(after=last))
            seen += [next_event(again) for _ in range(5000 - len(seen))]
        if not resynced:
            places = [place(frame) for frame in seen]
            assert places == sorted(set(places))
            assert len(places) == 5000
    print(f"grew by {grown:.1f} MiB; the steady reader's slowest fifty took {slowest:.3f} s")


def test_f06_readers_that_come_and_go_disturb_nobody(running: Service, announcer: Announcer):
    """Fifty clients connect and go, a thousand times and more, while 1,000 events go out: who stays sees no gap."""
    over = threading.Event()
    greeted: list[str] = []

    def come_and_go() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError), running.listen() as client:
                greeted.append(json.loads(client.recv(timeout=20))["type"])

    file_id = "01932b5e-1111-7000-8000-000000000000"
    with running.listen() as all_files, running.listen() as another:
        threads = [threading.Thread(target=come_and_go) for _ in range(50)]
        for thread in threads:
            thread.start()
        try:
            seen = {client: [] for client in (all_files, another)}
            number = announcer.number
            for _ in range(100):
                announcer.tell(10, file_id)
                for client, frames in seen.items():
                    frames += [place(next_event(client)) for _ in range(10)]
            until(lambda: len(greeted) >= 1000, 60, "a thousand came and went")
        finally:
            over.set()
            for thread in threads:
                thread.join(30)
    assert announcer.number - number == 1000
    assert seen[all_files] == seen[another] == sorted(set(seen[all_files]))
    assert set(greeted) == {"hello"}


class ImpatientProxy:
    """A TCP proxy that closes a connection on which nothing has come from the server for a while, as nginx does."""

    def __init__(self, port: int, patience_seconds: float) -> None:
        self._target = ("127.0.0.1", port)
        self._patience_seconds = patience_seconds
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                upstream = socket.create_connection(self._target)
                upstream.settimeout(self._patience_seconds)
                for source, sink in ((client, upstream), (upstream, client)):
                    self._threads.append(threading.Thread(target=self._pass_on, args=(source, sink), daemon=True))
                    self._threads[-1].start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()

    def close(self) -> None:
        """Take no more connections, and see the last of them end."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(20)


def test_f09_an_idle_reader_stays_up_behind_an_impatient_proxy(running: Service, announcer: Announcer):
    """Behind a proxy that waits for 5 s, a socket and a stream on which nothing happens for 12 s are still there."""
    with contextlib.closing(ImpatientProxy(running.port, 5.0)) as proxy:
        streamed: list[str] = []

        def stream_events() -> None:
            headers = {"Accept": "text/event-stream"}
            with httpx.stream("GET", f"http://127.0.0.1:{proxy.port}/files/events/", headers=headers, timeout=30) as it:
                for line in it.iter_lines():
                    streamed.append(line)
                    if '"type":"file.' in line:
                        return

        streaming = threading.Thread(target=stream_events)
        streaming.start()
        with connect(f"ws://127.0.0.1:{proxy.port}/ws/files/", ping_interval=None) as idle:
            assert json.loads(idle.recv(timeout=10))["type"] == "hello"
            with pytest.raises(TimeoutError):
                idle.recv(timeout=12)
            announcer.tell(1)
            assert next_event(idle)["type"] == "file.progress"
        streaming.join(20)
        assert any('"type":"file.progress"' in line for line in streamed)
        assert streamed.count(": still here") >= 2


@pytest.mark.parametrize("how", ["stopped and wiped", "flushed"])
def test_f05_a_feed_that_began_anew_is_noticed(how: str):
    """Redis comes back empty: who was connected and who comes back with an old cursor are told to resync, ids never go
    back, and new files are seen."""
    with valkey() as server, service(REDIS_URL=server.url) as running, Witness(running) as witness:
        first = running.upload(b"before\n")["id"]
        witness.await_event(first, "file.processed")
        old = witness.frames[-1]["id"]
        if how == "flushed":
            with redis.Redis.from_url(server.url) as client:
                client.flushall()
        else:
            server.stop()
            server.wipe()
            server.start()
        until(lambda: witness.resyncs, 30, "the reader that was connected is told")
        second = running.upload(b"after\n")["id"]
        witness.await_event(second, "file.processed", seconds=60)
        with running.listen(after=old) as late:
            assert json.loads(late.recv(timeout=10))["type"] == "hello"
            assert json.loads(late.recv(timeout=10))["type"] == "resync"
        polled = httpx.get(f"{running.url}/files/events/", params={"after": old}, timeout=10).json()
        assert polled["resync"] is True
        order = [place(frame) for frame in witness.frames]
        assert order == sorted(set(order))


def test_an_old_cursor_is_told_to_resync_by_every_reader(broker: Valkey, running: Service, announcer: Announcer):
    """A cursor from before the oldest event that is kept: WebSocket, stream and poll say `resync`, never nothing."""
    with redis.Redis.from_url(broker.url) as client:
        announcer.tell(10)
        first = client.xrange(stream.STREAM, count=2)[1][0].decode()
        announcer.tell(5)
        client.xtrim(stream.STREAM, maxlen=3, approximate=False)
    with running.listen(after=first) as late:
        assert [json.loads(late.recv(timeout=10))["type"] for _ in range(2)] == ["hello", "resync"]
    assert httpx.get(f"{running.url}/files/events/", params={"after": first}, timeout=10).json()["resync"] is True
    headers = {"Accept": "text/event-stream", "Last-Event-ID": first}
    with httpx.stream("GET", f"{running.url}/files/events/", headers=headers, timeout=10) as it:
        assert any('"type":"resync"' in line for line in it.iter_lines() if line.startswith("data: "))
