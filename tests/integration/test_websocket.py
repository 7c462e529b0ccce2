"""The feed over WebSockets: what a client is told, through Channels' communicator and through a real socket."""

import asyncio
import contextlib
import os
import socket
import uuid
from urllib.parse import urlencode

import psutil
import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from apps.events import connections, hub, stream
from apps.events.event import BEGINNING
from tests.unit.events.feeding import (
    a_file,
    append,
    as_described,
    own_valkey,
    place,
    tell,
    tell_of_new_files,
    unsaved_file,
    until,
    web_server,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_clients")]


class Client:
    """A WebSocket client of the application in this process; each frame it gets is held to the document."""

    def __init__(self, path: str = "/ws/files/", *, headers: dict[str, str] | None = None, **query: str) -> None:
        from asgi.application import application

        raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
        url = f"{path}?{urlencode(query)}" if query else path
        self.socket = WebsocketCommunicator(application, url, headers=[(b"host", b"testserver"), *raw])
        self.accepted = False

    async def __aenter__(self) -> "Client":
        self.accepted, _ = await self.socket.connect(timeout=5)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.socket.disconnect(timeout=5)

    async def frame(self) -> dict:
        """The next frame."""
        return as_described(await self.socket.receive_from(timeout=5))

    async def frames(self, count: int) -> list[dict]:
        """The next frames."""
        return [await self.frame() for _ in range(count)]

    async def closed(self) -> int:
        """The code that the next message closes the socket with."""
        message = await self.socket.receive_output(timeout=5)
        assert message["type"] == "websocket.close"
        return message["code"]


async def test_hello_comes_first():
    """The first frame says where the feed is, and it is the cursor to come back with."""
    append(uuid.uuid4(), 1)
    newest, _ = await stream.newest(connections.async_client())
    async with Client() as client:
        hello = await client.frame()
    assert hello["type"] == "hello"
    assert hello["data"] == {"cursor": str(newest)}
    assert hello["id"] == str(newest)


async def test_events_come_as_they_are_published():
    """Each event is one frame with the whole File, and ids only grow."""
    file = unsaved_file(name="holiday.jpg")
    async with Client() as client:
        frames = [await client.frame()]
        tell(file)
        tell(file)
        frames += await client.frames(2)
        assert await client.socket.receive_nothing(0.1)
    assert [frame["type"] for frame in frames] == ["hello", "file.processing", "file.processing"]
    assert frames[1]["subject"] == frames[1]["data"]["id"] == str(file.id)
    assert frames[1]["data"]["name"] == "holiday.jpg"
    assert frames[1]["source"] == "/files"
    assert [place(frame) for frame in frames] == sorted({place(frame) for frame in frames})


async def test_a_cursor_replays_what_was_missed():
    """With `after`, everything since then comes before anything live."""
    first, *_ = [append(uuid.uuid4(), 1) for _ in range(4)]
    assert first
    async with Client(after=str(first.cursor)) as client:
        hello = await client.frame()
        assert hello["id"] == str(first.cursor)
        replayed = await client.frames(3)
        assert replayed[-1]["id"] == hello["data"]["cursor"]
        tell_of_new_files(1)
        live = await client.frame()
    assert place(hello) < place(replayed[0]) < place(replayed[-1]) < place(live)


async def test_more_readers_than_there_are_connections_come_back_at_once():
    """After a restart, say: they take turns at Redis, and each gets all it has missed."""
    for _ in range(3):
        append(uuid.uuid4(), 1)

    async def caught_up() -> list[tuple[int, int]]:
        async with Client(after="0-0") as client:
            return [place(frame) for frame in await client.frames(4)]

    found = await asyncio.gather(*(caught_up() for _ in range(3 * connections.CONNECTIONS)))
    assert len(found[0]) == 4
    assert all(each == found[0] for each in found)


async def test_zero_is_the_beginning():
    """`after=0` replays all there ever was, while nothing was trimmed."""
    append(uuid.uuid4(), 1)
    async with Client(after="0") as client:
        assert [frame["type"] for frame in await client.frames(2)] == ["hello", "file.queued"]


async def test_f05_a_cursor_that_is_too_old_is_a_resync(settings):
    """Who comes back too late is told so, with the cursor to go on from; then it is live."""
    settings.FILEWIRE_FEED_EVENTS = 100
    first = append(uuid.uuid4(), 1)
    for _ in range(400):
        append(uuid.uuid4(), 1)
    newest, _ = await stream.newest(connections.async_client())
    assert first
    async with Client(after=str(first.cursor)) as client:
        hello, resync = await client.frames(2)
        assert (hello["type"], resync["type"]) == ("hello", "resync")
        assert resync["data"]["cursor"] == str(newest)
        tell_of_new_files(1)
        assert place(await client.frame()) > place(resync)


async def test_a_cursor_from_the_future_is_a_resync():
    """A cursor that this feed has not reached was given by another: the client starts over."""
    async with Client(after="99999999999999-0") as client:
        assert [frame["type"] for frame in await client.frames(2)] == ["hello", "resync"]


@pytest.mark.parametrize("after", ["abc", "1-2-3", "-1", "\N{SUPERSCRIPT TWO}", "9" * 40, "1-0 "])
async def test_what_is_no_cursor_is_an_error_and_a_resync(after):
    """A cursor that cannot be read is answered with an error, and the connection goes on from now."""
    async with Client(after=after) as client:
        hello, error, resync = await client.frames(3)
        assert (hello["type"], error["type"], resync["type"]) == ("hello", "error", "resync")
        assert error["data"]["code"] == "bad_cursor"
        tell_of_new_files(1)
        assert (await client.frame())["type"] == "file.queued"


async def test_ping_is_answered_with_pong():
    """A ping is answered where the connection is, whatever else it says."""
    async with Client() as client:
        hello = await client.frame()
        await client.socket.send_to(text_data='{"type": "ping", "more": [1, 2]}')
        pong = await client.frame()
    assert (pong["type"], pong["id"]) == ("pong", hello["id"])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "invalid_json"),
        (" ", "invalid_json"),
        ("[" * 100_000, "invalid_json"),
        ("[]", "unknown_type"),
        ("null", "unknown_type"),
        ('"ping"', "unknown_type"),
        ('{"type": "subscribe"}', "unknown_type"),
        ('{"type": ["ping"]}', "unknown_type"),
        ("{}", "unknown_type"),
    ],
)
async def test_bad_input_is_answered_and_the_connection_stays(text, code):
    """Whatever a client sends, it is told what was wrong, and events go on."""
    async with Client() as client:
        await client.frame()
        await client.socket.send_to(text_data=text)
        error = await client.frame()
        assert (error["type"], error["data"]["code"]) == ("error", code)
        tell_of_new_files(1)
        assert (await client.frame())["type"] == "file.queued"


async def test_binary_frames_are_answered():
    """The feed speaks text alone, and says so."""
    async with Client() as client:
        await client.frame()
        await client.socket.send_to(bytes_data=b'{"type": "ping"}')
        assert (await client.frame())["data"]["code"] == "text_only"


async def test_one_file_is_told_of_alone():
    """The socket of one file has its events only; the path may lack its last slash."""
    file = await sync_to_async(a_file)()
    async with Client(f"/ws/files/{file.id}") as client:
        await client.frame()
        tell_of_new_files(2)
        tell(file)
        frame = await client.frame()
        assert frame["subject"] == str(file.id)
        assert await client.socket.receive_nothing(0.1)


async def test_one_file_is_replayed_alone():
    """Its replay, too, passes over the others."""
    file = await sync_to_async(a_file)()
    append(uuid.uuid4(), 1)
    append(file.id, 1)
    append(uuid.uuid4(), 1)
    async with Client(f"/ws/files/{file.id}/", after="0") as client:
        _, frame = await client.frames(2)
        assert frame["subject"] == str(file.id)
        assert await client.socket.receive_nothing(0.1)


async def test_an_unknown_file_closes_with_4404():
    """The client is told in words, and by the code."""
    async with Client(f"/ws/files/{uuid.uuid4()}/") as client:
        error = await client.frame()
        assert (error["type"], error["data"]["code"]) == ("error", "not_found")
        assert await client.closed() == 4404


@pytest.mark.parametrize("path", ["/ws/files/not-an-id/", "/ws/", "/", "/ws/files/x/y/"])
async def test_an_unknown_path_closes_with_4404(path):
    """A path without a feed is told so, never dropped in silence."""
    async with Client(path) as client:
        assert (await client.frame())["data"]["code"] == "not_found"
        assert await client.closed() == 4404


async def test_redis_away_is_an_error_and_1013(settings):
    """Who connects while the feed is away is told to try again later."""
    with own_valkey(settings) as valkey:
        valkey.stop()
        async with Client() as client:
            error = await client.frame()
            assert (error["type"], error["data"]["code"]) == ("error", "feed_unavailable")
            assert await client.closed() == 1013
            await client.socket.send_to(text_data='{"type": "ping"}')  # after goodbye nothing is said
            assert await client.socket.receive_nothing(0.1)


async def test_an_error_nobody_foresaw_closes_with_1011(monkeypatch, caplog):
    """A bug is an error frame, a close code and a traceback in the log, and never a socket that is silent."""

    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(stream, "newest", broken)
    async with Client() as client:
        assert (await client.frame())["data"]["code"] == "error"
        assert await client.closed() == 1011
    assert "ZeroDivisionError" in caplog.text


async def test_a_socket_that_closes_leaves_its_topic():
    """What nobody reads any more is not followed."""
    async with Client() as client:
        await client.frame()
        assert len(hub.hub()._topics) == 1
    assert hub.hub()._topics == {}


# --- origins -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://testserver.evil.example", "http://testserver:81", "null", "http://testserver:x",
     "file://", "https://allowed.example.evil", "http://allowed.example", ""],
)  # fmt: skip
async def test_f21_a_foreign_origin_is_refused(settings, origin):
    """A page of another origin does not get through the handshake."""
    settings.FILEWIRE_ALLOWED_ORIGINS = ["https://allowed.example"]
    client = Client(headers={"Origin": origin})
    assert await client.socket.connect(timeout=5) == (False, 1000)


@pytest.mark.parametrize(
    "origin",
    [None, "http://testserver", "http://TESTSERVER:80", "https://testserver", "https://allowed.example",
     "https://ALLOWED.example:443"],
)  # fmt: skip
async def test_f21_a_welcome_origin_is_let_in(settings, origin):
    """The same origin, one that is allowed, and a program that has none are let in."""
    settings.FILEWIRE_ALLOWED_ORIGINS = ["https://allowed.example"]
    async with Client(headers={"Origin": origin} if origin else {}) as client:
        assert client.accepted
        await client.frame()


# --- through a real socket -----------------------------------------------------------------------------------


async def test_f21_the_refusal_is_a_403():
    """On the wire a foreign origin is answered 403; the same origin, and none, are let in."""
    with web_server() as address:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://{address}/ws/files/", origin="https://evil.example")
        assert refused.value.response.status_code == 403
        for origin in (f"http://{address}", None):
            async with connect(f"ws://{address}/ws/files/", origin=origin) as client:
                assert as_described(await client.recv())["type"] == "hello"


async def test_f05_replay_and_live_meet_without_gap_or_double():
    """Clients that connect with a cursor while events go out at full speed get each event once, in order."""
    first = append(uuid.uuid4(), 1)
    assert first
    with web_server() as address:
        publishing = asyncio.create_task(asyncio.to_thread(tell_of_new_files, 1500))

        async def follow(delay: float) -> list[str]:
            await asyncio.sleep(delay)
            ids: list[str] = []
            async with connect(f"ws://{address}/ws/files/?after={first.cursor}") as client:
                while len(ids) < 1500:
                    frame = as_described(await asyncio.wait_for(client.recv(), 20))
                    if frame["type"] != "hello":
                        ids.append(frame["id"])
            return ids

        followed = await asyncio.gather(*(follow(number / 20) for number in range(6)))
        await publishing
    everything = await _every_id_after(first.cursor)
    assert len(everything) == 1500
    assert all(ids == everything for ids in followed)


async def _every_id_after(cursor) -> list[str]:
    ids: list[str] = []
    while True:
        page = await stream.page(connections.async_client(), cursor)
        ids += [str(frame.cursor) for frame in page.frames]
        if page.through >= page.newest:
            return ids
        cursor = page.through


async def test_f05_a_client_that_is_cut_off_comes_back_with_its_last_id():
    """Cut off again and again in the middle, and back with the last id it saw, a client sees each event once."""
    with web_server() as address:
        publishing = asyncio.create_task(asyncio.to_thread(tell_of_new_files, 600))
        seen: list[str] = []
        after = "0"
        while len(seen) < 600:
            client = await connect(f"ws://{address}/ws/files/?after={after}")
            for _ in range(60):
                frame = as_described(await asyncio.wait_for(client.recv(), 20))
                if frame["type"] != "hello":
                    seen.append(frame["id"])
                    after = frame["id"]
                if len(seen) == 600:
                    break
            client.transport.abort()
        await publishing
    assert seen == await _every_id_after(BEGINNING)


async def test_a_client_that_vanishes_is_no_error(caplog):
    """A connection that is reset while events are sent to it leaves no traceback in the log."""
    with web_server() as address:
        clients = [await connect(f"ws://{address}/ws/files/") for _ in range(20)]
        publishing = asyncio.create_task(asyncio.to_thread(tell_of_new_files, 300))
        for client in clients:
            await client.recv()
            client.transport.abort()
        await publishing
    assert not [record for record in caplog.records if record.exc_info or record.levelname == "ERROR"]


async def test_a_server_that_refuses_to_send_is_no_error(caplog):
    """A server says by an OSError that the client has gone; the socket ends, its topic is left, nobody is alarmed."""
    from asgi.application import application

    received: asyncio.Queue[dict] = asyncio.Queue()
    received.put_nowait({"type": "websocket.connect"})
    refused = asyncio.Event()

    async def send(message: dict) -> None:
        if message["type"] != "websocket.accept":
            refused.set()
            raise OSError

    scope = {"type": "websocket", "path": "/ws/files/", "headers": [], "query_string": b"", "subprotocols": []}
    served = asyncio.create_task(application(scope, received.get, send))
    await asyncio.wait_for(refused.wait(), 5)
    await until(lambda: hub.hub()._topics == {})
    received.put_nowait({"type": "websocket.receive", "text": '{"type": "ping"}'})
    received.put_nowait({"type": "websocket.disconnect", "code": 1006})
    await asyncio.wait_for(served, 5)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_live_sockets_outlive_a_redis_that_stops(settings):
    """While Redis is stopped and started again with its data, sockets stay open, and nothing is missed."""
    with own_valkey(settings) as valkey, web_server() as address:
        async with connect(f"ws://{address}/ws/files/") as client:
            hello = as_described(await client.recv())
            await asyncio.to_thread(tell_of_new_files, 3)
            await asyncio.to_thread(valkey.stop)
            await client.send('{"type": "ping"}')
            await asyncio.to_thread(valkey.start)
            await asyncio.to_thread(tell_of_new_files, 3)
            frames = []
            while len(frames) < 6:
                frame = as_described(await asyncio.wait_for(client.recv(), 10))
                frames += [frame] if frame["type"] != "pong" else []
        places = [place(frame) for frame in (hello, *frames)]
        assert places == sorted(set(places))


async def test_f07_a_client_that_stops_reading_costs_bounded_memory(monkeypatch):
    """While some clients read nothing, memory stays flat and others stay live; read again, nothing is missing."""
    name = "x" * 200
    with web_server() as address:
        stuck = [await asyncio.to_thread(_deaf_client, address) for _ in range(5)]
        url = f"ws://{address}/ws/files/"
        async with connect(url) as steady, connect(url, max_queue=1, ping_interval=None) as paused:
            await steady.recv()
            process = psutil.Process(os.getpid())
            counted = 0

            async def publish(count: int) -> None:
                nonlocal counted
                publishing = asyncio.create_task(asyncio.to_thread(_tell_of_large, count, name))
                for _ in range(count):
                    await asyncio.wait_for(steady.recv(), 10)
                    counted += 1
                await publishing

            await publish(1500)  # the ring is full
            before = process.memory_info().rss
            await publish(3500)
            grown = process.memory_info().rss - before
            frames = [as_described(await asyncio.wait_for(paused.recv(), 10)) for _ in range(5001)]
            assert [place(frame) for frame in frames] == sorted({place(frame) for frame in frames})
        for client in stuck:
            client.close()
    # Five queues of 3,500 frames of 1 KiB would be 17 MiB.
    assert grown < 10 * 1024 * 1024
    assert counted == 5000


async def test_f07_a_client_that_never_reads_again_is_closed_with_1013(monkeypatch):
    """A reader that has stood still for too long is told to try again later, after what it was already sent."""
    monkeypatch.setattr("apps.events.readers.websocket.STALLED_SECONDS", 1.0)
    with web_server() as address:
        url = f"ws://{address}/ws/files/"
        async with connect(url, max_queue=1, ping_interval=None) as paused, connect(url) as steady:
            await steady.recv()
            # more than the sockets' buffers hold
            publishing = asyncio.create_task(asyncio.to_thread(_tell_of_large, 8000, "x" * 200))
            for _ in range(8000):
                await asyncio.wait_for(steady.recv(), 10)
            await publishing
            with contextlib.suppress(ConnectionClosed):
                async for _ in paused:
                    pass
            assert paused.close_code == 1013


async def test_a_pong_never_claims_what_was_not_sent():
    """The id of a connection's frame is at most that of the last event before it: any id is a safe cursor."""
    with web_server() as address:
        async with connect(f"ws://{address}/ws/files/") as client:
            last = place(as_described(await client.recv()))
            publishing = asyncio.create_task(asyncio.to_thread(tell_of_new_files, 300))
            pongs = events = 0
            while events < 300:
                if events % 10 == 0:
                    await client.send('{"type": "ping"}')
                frame = as_described(await asyncio.wait_for(client.recv(), 10))
                if frame["type"] == "pong":
                    assert place(frame) <= last
                    pongs += 1
                else:
                    last, events = place(frame), events + 1
            await publishing
            assert pongs


def _tell_of_large(count: int, name: str) -> None:
    from apps.events import publish

    for _ in range(count):
        assert publish.pending(unsaved_file(name=name))


def _deaf_client(address: str) -> socket.socket:
    """A client that shakes hands and then reads nothing."""
    host, port = address.split(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((host, int(port)))
    client.sendall(
        f"GET /ws/files/ HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    assert b"101" in client.recv(64)
    return client


async def test_a_page_under_a_name_that_is_not_ours_is_refused():
    """DNS rebinding: a page whose own name resolves to this host is of the same origin, and is kept out."""
    with web_server() as address:
        port = address.split(":")[1]
        with pytest.raises(InvalidStatus) as refused:
            async with connect(
                f"ws://{address}/ws/files/",
                origin=f"http://evil.example:{port}",
                additional_headers={"Host": f"evil.example:{port}"},
            ):
                pass
        assert refused.value.response.status_code == 403
