"""The feed over HTTP: Server-Sent Events and long polling."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator

import httpx
import pytest

from apps.events import connections, hub, stream
from apps.events.readers import http
from tests.client import http_client
from tests.unit.events.feeding import (
    append,
    as_described,
    own_valkey,
    place,
    tell_of_new_files,
    unsaved_file,
    until,
    web_server,
)

pytestmark = pytest.mark.usefixtures("shared_clients")

EVENT_STREAM = {"Accept": "text/event-stream"}


async def ask(**query: str) -> httpx.Response:
    """One poll."""
    async with http_client() as client:
        return await client.get("/files/events/", params=query)


# --- long polling --------------------------------------------------------------------------------------------


async def test_a_poll_without_a_cursor_says_where_the_feed_is():
    """The first poll has no events, and the cursor to poll on with."""
    append(uuid.uuid4(), 1)
    newest, _ = await stream.newest(connections.async_client())
    answer = await ask()
    assert answer.json() == {"events": [], "cursor": str(newest), "resync": False}
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_poll_answers_what_happened_since():
    """What is there is answered at once, however long the client would wait."""
    cursor = (await ask()).json()["cursor"]
    appended = [append(uuid.uuid4(), 1) for _ in range(3)]
    began = time.monotonic()
    answer = (await ask(after=cursor, wait="20")).json()
    assert time.monotonic() - began < 2
    assert [event["id"] for event in answer["events"]] == [str(one.cursor) for one in appended if one]
    assert answer["cursor"] == answer["events"][-1]["id"]
    assert answer["resync"] is False


async def test_polls_go_through_a_long_feed_page_by_page():
    """Poll after poll with the last cursor has every event once."""
    cursor = (await ask()).json()["cursor"]
    tell_of_new_files(600)
    seen: list[str] = []
    while answer := (await ask(after=cursor)).json():
        cursor = answer["cursor"]
        if not answer["events"]:
            break
        seen += [event["id"] for event in answer["events"]]
    assert len(seen) == len(set(seen)) == 600


async def test_a_poll_waits_for_the_next_event():
    """With `wait` the answer comes as soon as there is an event."""
    polling = asyncio.create_task(ask(wait="20"))
    await until(lambda: any(topic._waiting for topic in hub.hub()._topics.values()))
    began = time.monotonic()
    tell_of_new_files(1)
    answer = (await polling).json()
    assert time.monotonic() - began < 2
    assert len(answer["events"]) == 1
    for event in answer["events"]:
        as_described(httpx.Response(200, json=event).content)


async def test_a_poll_that_waited_in_vain_is_an_empty_answer():
    """When the wait is over the answer is empty, not an error, and its cursor is still good."""
    began = time.monotonic()
    answer = (await ask(wait="0.2")).json()
    assert 0.15 < time.monotonic() - began < 2
    assert (answer["events"], answer["resync"]) == ([], False)
    tell_of_new_files(1)
    assert len((await ask(after=answer["cursor"])).json()["events"]) == 1


async def test_a_wait_is_capped(monkeypatch):
    """However long the client would wait, it is answered after the longest wait there is: 30 seconds."""
    assert http.MAX_WAIT_SECONDS == 30
    monkeypatch.setattr(http, "MAX_WAIT_SECONDS", 0.2)
    assert (await asyncio.wait_for(ask(wait="1000000"), 5)).status_code == 200


async def test_a_poll_with_a_cursor_that_is_lost_is_a_resync():
    """A cursor that the feed does not reach back to is `resync`, with the one to go on from."""
    append(uuid.uuid4(), 1)
    newest, _ = await stream.newest(connections.async_client())
    for lost in ("1-0", "99999999999999-0"):
        answer = (await ask(after=lost, wait="20")).json()
        assert answer == {"events": [], "cursor": str(newest), "resync": True}


@pytest.mark.parametrize(
    "query",
    [{"after": "abc"}, {"after": "1-2-3"}, {"wait": "x"}, {"wait": "-1"}, {"wait": "nan"}, {"wait": "inf"}, {"x": "1"}],
)  # fmt: skip
async def test_what_cannot_be_understood_is_400(query):
    """A bad cursor, a bad wait and an unknown parameter are named in the problem."""
    answer = await ask(**query)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == list(query)


@pytest.mark.parametrize("headers", [{}, EVENT_STREAM])
async def test_redis_away_is_503(settings, headers):
    """While the feed is away both are told when to come back, before the answer begins."""
    with own_valkey(settings) as valkey:
        valkey.stop()
        async with http_client(**headers) as client:
            answer = await client.get("/files/events/")
    assert (answer.status_code, answer.json()["code"]) == (503, "feed_unavailable")
    assert answer.headers["Retry-After"]


async def test_a_poller_that_goes_away_leaves_its_topic():
    """Nobody waits for a client that is gone."""
    with web_server() as address:
        async with httpx.AsyncClient(base_url=f"http://{address}") as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.get("/files/events/?wait=30", timeout=0.5)
        await _topics_left(0)


async def _topics_left(count: int) -> None:
    """Return when so many topics are read in this process."""
    await until(lambda: sum(len(one._topics) for one in hub._hubs.values()) == count)


async def test_a_poll_that_the_server_ends_leaves_nothing_behind():
    """A server that stops ends a waiting poll, and its topic is left."""
    polling = asyncio.create_task(ask(wait="20"))
    await until(lambda: any(topic._waiting for topic in hub.hub()._topics.values()))
    polling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await polling
    assert hub.hub()._topics == {}


# --- Server-Sent Events --------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def event_stream(address: str, **headers: str) -> AsyncIterator[AsyncIterator[dict[str, str]]]:
    """The fields of each event of a stream; a comment is an event with the field ''."""
    async with (
        httpx.AsyncClient(base_url=f"http://{address}", timeout=20) as client,
        client.stream("GET", "/files/events/", headers={**EVENT_STREAM, **headers}) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.headers["X-Accel-Buffering"] == "no"

        async def events() -> AsyncIterator[dict[str, str]]:
            fields: dict[str, str] = {}
            async for line in answer.aiter_lines():
                if line:
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")
                elif fields:
                    yield fields
                    fields = {}

        yield events()


async def test_a_stream_says_hello_and_then_what_happens():
    """Each event has its id as the stream's, and its envelope as data."""
    with web_server() as address:
        async with event_stream(address) as events:
            hello = await anext(events)
            assert hello["retry"] == "1000"
            assert as_described(hello["data"])["type"] == "hello"
            await asyncio.to_thread(tell_of_new_files, 2)
            frames = [await anext(events) for _ in range(2)]
    assert [as_described(frame["data"])["id"] for frame in frames] == [frame["id"] for frame in frames]
    assert place(as_described(frames[0]["data"])) < place(as_described(frames[1]["data"]))


async def test_last_event_id_resumes():
    """A browser that reconnects gets what it missed; the header wins over the cursor that the page began with."""
    appended = [append(uuid.uuid4(), 1) for _ in range(3)]
    assert appended[0]
    with web_server() as address:
        async with event_stream(address, **{"Last-Event-ID": str(appended[0].cursor)}) as events:
            got = [await anext(events) for _ in range(3)]
    assert [event["id"] for event in got] == [str(one.cursor) for one in appended if one]
    assert as_described(got[0]["data"])["type"] == "hello"


async def test_a_stream_from_a_lost_cursor_resyncs():
    """A cursor that is too old is a `resync` event, whose id is where the stream goes on."""
    append(uuid.uuid4(), 1)
    with web_server() as address:
        async with event_stream(address, **{"Last-Event-ID": "1-0"}) as events:
            await anext(events)
            resync = await anext(events)
            frame = as_described(resync["data"])
            assert (frame["type"], frame["data"]["cursor"]) == ("resync", resync["id"])
            await asyncio.to_thread(tell_of_new_files, 1)
            assert as_described((await anext(events))["data"])["type"] == "file.queued"


async def test_a_client_of_the_old_http_reads_the_stream_as_it_is():
    """HTTP/1.0 knows no chunks; a proxy may speak it."""
    with web_server() as address:
        host, port = address.split(":")
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /files/events/ HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
        async with asyncio.timeout(10):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            first = await reader.readuntil(b"\n\n")
        writer.close()
        await _topics_left(0)
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert first.startswith(b"retry: 1000\nid: ")


async def test_an_idle_stream_is_kept_alive(settings):
    """A comment now and then keeps proxies from closing a stream on which nothing happens."""
    settings.FILEWIRE_PING_SECONDS = 0.1
    with web_server() as address:
        async with event_stream(address) as events:
            await anext(events)
            assert set(await anext(events)) == {""}


async def test_a_client_that_goes_away_ends_its_stream(caplog):
    """The generator ends with its client, and its topic is left."""
    with web_server() as address:
        async with event_stream(address) as events:
            await anext(events)
            await _topics_left(1)
        await _topics_left(0)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_stream_that_loses_redis_says_so(settings, monkeypatch):
    """A stream that needs what only Redis has ends with an `error` event; the browser comes back by itself."""
    with own_valkey(settings) as valkey, web_server() as address:
        append(uuid.uuid4(), 1)
        monkeypatch.setattr(stream, "page", _away)
        async with event_stream(address, **{"Last-Event-ID": "0"}) as events:
            await anext(events)
            error = as_described((await anext(events))["data"])
        assert (error["type"], error["data"]["code"]) == ("error", "feed_unavailable")
        assert valkey.process


async def _away(*_: object) -> None:
    raise ConnectionError


async def test_a_stream_that_is_never_read_leaves_its_topic():
    """An answer that is dropped before its first byte was asked for does not keep its topic."""
    import gc

    from apps.events.readers.http import _from, _lines

    lines = _lines(None)
    dropped = _from(await anext(lines), lines)
    assert len(hub.hub()._topics) == 1
    del lines, dropped
    gc.collect()
    await until(lambda: hub.hub()._topics == {})


async def test_a_head_of_the_stream_has_an_end():
    """HEAD answers the stream's headers, and the connection is free for the next request."""
    with web_server() as address:
        async with httpx.AsyncClient(base_url=f"http://{address}", timeout=5) as client:
            head = await client.head("/files/events/", headers=EVENT_STREAM)
            assert (head.status_code, head.headers["Content-Type"]) == (200, "text/event-stream")
            assert (await client.get("/files/events/")).status_code == 200
        await _topics_left(0)


async def test_one_feed_read_three_ways():
    """A WebSocket, a stream and a poll have the same ids."""
    from websockets.asyncio.client import connect

    file = unsaved_file()
    with web_server() as address:
        append(file.id, 1)
        append(file.id, 2)
        async with connect(f"ws://{address}/ws/files/?after=0") as client:
            by_socket = [as_described(await client.recv())["id"] for _ in range(3)][1:]
        async with event_stream(address, **{"Last-Event-ID": "0"}) as events:
            by_stream = [(await anext(events))["id"] for _ in range(3)][1:]
        async with httpx.AsyncClient(base_url=f"http://{address}") as client:
            by_poll = [event["id"] for event in (await client.get("/files/events/?after=0")).json()["events"]]
    assert by_socket == by_stream == by_poll
