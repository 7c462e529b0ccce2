"""The server's door: how many come in by it in one turn of the loop, how it shuts, and who may not stand in it."""

import asyncio
import contextlib
import gc
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
import uvloop

from asgi.server import ACCEPTS, BACKLOG, GRACE_SECONDS, HEADER_BYTES, PIPELINED, BoundedHttp, Server

CLIENTS = 8 * ACCEPTS
BODY_TO_COME = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def refusing(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers at once, whatever the body."""
    await send({"type": "http.response.start", "status": 503, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"no"})


answer_at_once = refusing


async def answering_late(scope: Any, receive: Any, send: Any) -> None:
    """The same a little later."""
    await asyncio.sleep(0.2)
    await answer_at_once(scope, receive, send)


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[tuple[Server, tuple[str, int]]]:
    """A server that has not looked at its door yet, and its address."""
    config = uvicorn.Config(
        refusing,
        port=0,
        http=BoundedHttp,
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=GRACE_SECONDS,
        backlog=BACKLOG,
    )
    config.load()
    server = Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield server, server.servers[0].sockets[0].getsockname()
    finally:
        await server.shutdown()
        assert not any(each.is_serving() for each in server.servers)


def clients_at(address: tuple[str, int], request: bytes = b"") -> list[socket.socket]:
    """So many connections, and a request on each, without a turn of the loop: nobody has accepted them."""
    clients = []
    for _ in range(CLIENTS):
        client = socket.create_connection(address)
        client.sendall(request)
        client.setblocking(False)
        clients.append(client)
    return clients


async def turns_until_all_are_in() -> int:
    """How many turns the loop takes for as many connections as wait at the door when it first looks."""
    async with serving() as (server, address):
        clients = clients_at(address)
        turns = 0
        while len(server.server_state.connections) < CLIENTS and turns < 10 * CLIENTS:
            await asyncio.sleep(0)
            turns += 1
        for client in clients:
            client.close()
    return turns


def test_many_are_let_in_by_one_turn_of_the_loop():
    """A turn is long under load: whoever is new does not wait for as many as there are new ones before him."""
    assert uvloop.run(turns_until_all_are_in()) < CLIENTS / 2


async def answers_of_a_server_told_to_stop() -> list[bytes]:
    """What those were told whose requests stood at the door when the server was told to stop."""
    async with serving() as (_, address):
        clients = clients_at(address, REQUEST)
    answers = []
    for client in clients:
        client.setblocking(True)
        answers.append(client.recv(100)[:12])
        client.close()
    return answers


def test_whoever_stands_at_the_door_is_answered_before_it_shuts():
    """Many more than a turn accepts: none is reset under a request that it has sent."""
    assert uvloop.run(answers_of_a_server_told_to_stop()) == [b"HTTP/1.1 503"] * CLIENTS


async def seconds_until_closed(sent_after: bytes, every: float) -> float:
    """How long a connection lives whose body was refused, and which sends this again and again."""
    async with serving() as (_, (host, port)):
        reader, writer = await asyncio.open_connection(host, port)
        loop = asyncio.get_running_loop()
        began = loop.time()
        writer.write(BODY_TO_COME)
        assert (await reader.readuntil(b"no")).startswith(b"HTTP/1.1 503")
        writer.write(b"x")

        async def sending() -> None:
            while True:
                await asyncio.sleep(every)
                writer.write(sent_after)

        more = asyncio.create_task(sending())
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(10):
                assert await reader.read() == b""
        more.cancel()
        writer.close()
        return loop.time() - began


@pytest.mark.parametrize(("idle", "total", "least"), [(0.3, 60.0, 0.3), (5.0, 0.5, 0.5)])
def test_a_body_that_was_refused_has_the_time_of_one_that_was_not(settings, idle, total, least):
    """Whoever sends nothing more, or goes on for ever, is cut off."""
    settings.FILEWIRE_UPLOAD_IDLE_SECONDS, settings.FILEWIRE_UPLOAD_TOTAL_SECONDS = idle, total
    sent_after = b"" if idle < total else b"x"
    assert least <= uvloop.run(seconds_until_closed(sent_after, 0.1)) < 5.0


async def answer_after_a_dropped_body() -> bytes:
    """What a request is told that follows a body which was refused, and came all the same."""
    async with serving() as (server, (host, port)):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(BODY_TO_COME)
        await reader.readuntil(b"no")
        writer.write(b"x" * 100_000 + REQUEST)
        answer = await reader.readuntil(b"no")
        writer.write(BODY_TO_COME)
        await reader.readuntil(b"no")
        [connection] = server.server_state.connections
        connection.timeout_keep_alive = 0.2
        writer.write(b"x" * 100_000)
        async with asyncio.timeout(5):
            assert await reader.read() == b""  # after the body's end it is a connection like any other
        writer.close()
        return answer


async def answer_to_a_client_that_does_not_wait(request: bytes) -> bytes:
    """What a client reads that is refused while it sends, and reads only when it has sent a good part."""
    async with serving() as (_, (host, port)):
        with socket.create_connection((host, port)) as client:
            client.sendall(request)
            await asyncio.sleep(0.2)  # in which it is answered, and its connection closed
            client.settimeout(5)
            await asyncio.to_thread(client.sendall, b"x" * 1_000_000)
            return await asyncio.to_thread(client.recv, 65_536)


def test_a_client_that_is_cut_off_while_it_sends_reads_why(monkeypatch):
    """A connection that is closed with bytes in it that nobody has read would be reset, and the answer lost."""

    async def closing(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"2"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": b"no"})

    monkeypatch.setattr("tests.unit.asgi.test_server.refusing", closing)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n"
    answer = uvloop.run(answer_to_a_client_that_does_not_wait(head))
    assert answer.startswith(b"HTTP/1.1 503")
    assert answer.endswith(b"no")


def test_what_follows_a_body_that_was_dropped_is_answered():
    """The connection stays, and knows where the body ended."""
    assert uvloop.run(answer_after_a_dropped_body()).startswith(b"HTTP/1.1 503")


async def protocols_left_after_requests() -> int:
    """How many connections are in memory still, though they are closed and nothing was collected."""
    gc.collect()
    gc.disable()
    try:
        async with serving() as (server, (host, port)):
            for request in (REQUEST, b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n", b"?\r\n\r\n") * 5:
                reader, writer = await asyncio.open_connection(host, port)
                writer.write(request)
                await reader.readuntil(b"}" if request.startswith(b"?") else b"no")
                writer.close()
            async with asyncio.timeout(5):
                while server.server_state.connections:  # noqa: ASYNC110 - uvicorn has no event for it
                    await asyncio.sleep(0.01)
            del reader, writer
        return sum(isinstance(each, BoundedHttp) for each in gc.get_objects())
    finally:
        gc.enable()


def test_a_connection_that_is_gone_is_freed_without_a_collection():
    """Collections are rare in a server that is busy."""
    assert uvloop.run(protocols_left_after_requests()) == 0


async def echoing(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers with the body."""
    body, more = b"", True
    while more:
        message = await receive()
        assert isinstance(message["body"], bytes)
        body, more = body + message["body"], message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def echo_of(*packets: bytes, size: int) -> bytes:
    """The body of the answer."""
    async with serving() as (_, (host, port)):
        reader, writer = await asyncio.open_connection(host, port)
        for packet in packets:
            writer.write(packet)
            await writer.drain()
            await asyncio.sleep(0.05)  # or the next bytes would come with these
        await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(size)
        writer.close()
    return body


@pytest.mark.parametrize("pieces", [1, 3, 40_000], ids=["whole", "some", "tiny"])
@pytest.mark.parametrize("size", [80_000, 1_000_000])
def test_a_body_in_pieces_of_any_size_is_read_as_it_was_sent(monkeypatch, pieces, size):
    """Pieces that come while none waits are kept as they are; others are put together."""
    monkeypatch.setattr("tests.unit.asgi.test_server.refusing", echoing)
    content = os.urandom(size)
    step = -(-size // pieces)
    chunks = [content[start : start + step] for start in range(0, size, step)]
    sent = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert uvloop.run(echo_of(head + sent + b"0\r\n\r\n", size=size)) == content


OFFER = (
    b"Connection: keep-alive, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
)


@pytest.mark.parametrize("cut", [0, 10, 40, 150, -30, -1], ids=str)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_the_body_behind_an_offer_of_another_protocol_is_the_requests(monkeypatch, cut, chunked):
    """As `curl --http2` sends it: the offer is passed over, wherever the packets are cut."""
    monkeypatch.setattr("tests.unit.asgi.test_server.refusing", echoing)
    content = REQUEST * 9  # which would be answered were it taken for requests
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(content)
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content) if chunked else content
    request = b"POST / HTTP/1.1\r\nHost: x\r\n" + OFFER + framing + b"\r\n\r\n" + body
    assert uvloop.run(echo_of(request[:cut], request[cut:], size=len(content))) == content


def test_of_many_offers_at_once_the_first_is_answered():
    """They cost what one costs, and the connection ends behind its answer."""
    offering = b"GET / HTTP/1.1\r\nHost: x\r\n" + OFFER + b"\r\n"
    answer = uvloop.run(all_of(offering * 1500))
    assert answer.startswith(b"HTTP/1.1 503")
    assert answer.count(b"HTTP/1.1") == 1


async def all_of(*packets: bytes) -> bytes:
    """Everything that is answered until the connection ends."""
    async with serving() as (_, (host, port)):
        reader, writer = await asyncio.open_connection(host, port)
        for packet in packets[:-1]:
            writer.write(packet)
            await asyncio.sleep(0.05)  # or the next bytes would come with these
        writer.write(packets[-1])
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()
    return answer


WEBSOCKET = (
    b"GET /ws/files/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.mark.parametrize("body", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"])
def test_a_handshake_with_a_body_is_malformed(body):
    """It waited for ever."""
    answer = uvloop.run(all_of(WEBSOCKET + body))
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"malformed" in answer


@pytest.mark.parametrize("rest", [b"\r\n", b"Content-Length: 5\r\n\r\nhello"], ids=["right", "with a body"])
def test_a_handshake_behind_a_request_without_an_answer_does_not_overtake_it(monkeypatch, rest):
    """The request is answered and the connection ends: no answer is mixed into a WebSocket."""
    monkeypatch.setattr("tests.unit.asgi.test_server.refusing", answering_late)
    answer = uvloop.run(all_of(REQUEST + WEBSOCKET + rest))
    assert answer.startswith(b"HTTP/1.1 503")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "head", [b"POST / HTTP/1.1\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n", b"NONSENSE\r\n\r\n"]
)
def test_who_is_refused_in_the_headers_can_read_why_as_well(head):
    """Though it goes on sending for a while."""
    answer = uvloop.run(answer_to_a_client_that_does_not_wait(head))
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.endswith(b"}")


def with_headers(size: int, line: bytes = b"A: " + b"a" * 995 + b"\r\n", more: bytes = b"") -> bytes:
    """A request with about so many bytes of headers."""
    return REQUEST[:-2] + more + line * (size // len(line)) + b"\r\n"


LARGE = with_headers(100_000)
ONE_LINE = with_headers(100_000, b"A: " + b"a" * 99_995 + b"\r\n")


@pytest.mark.parametrize(
    "packets",
    [
        (LARGE,),
        (ONE_LINE,),
        (LARGE[:100], LARGE[100:]),
        (LARGE[:50_000], LARGE[50_000:]),
        (LARGE[:-1], b"\n"),
        (LARGE[:-2],),
        (with_headers(100_000, more=OFFER),),
        (LARGE[:-2] + b"Content-Length: 9\r\n\r\n" + b"x" * 9,),
        (REQUEST.replace(b"/", b"/" + b"a" * 100_000, 1),),
    ],
    ids=["one read", "one line", "two", "halves", "end alone", "no end", "an offer", "a body", "a path"],
)
def test_headers_are_bounded_however_they_come(packets):
    """In one read or in several, whole or not: nothing of it reaches the application."""
    answer = uvloop.run(all_of(*packets))
    assert answer.startswith(b"HTTP/1.1 431")
    assert b"headers_too_large" in answer
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("cut", [0, 40, 90_000, -1], ids=str)
def test_large_headers_behind_a_request_without_an_answer_do_not_overtake_it(monkeypatch, cut):
    """It is answered, and the connection ends."""
    monkeypatch.setattr("tests.unit.asgi.test_server.refusing", answering_late)
    answer = uvloop.run(all_of(REQUEST + LARGE[:cut], LARGE[cut:]))
    assert answer.startswith(b"HTTP/1.1 503")
    assert answer.count(b"HTTP/1.1") == 1


def test_large_headers_behind_an_answer_are_refused_in_words():
    """In one read, on a connection that was kept for them."""
    answer = uvloop.run(all_of(REQUEST, LARGE))
    assert answer.startswith(b"HTTP/1.1 503")
    assert answer.count(b"HTTP/1.1") == 2
    assert b"HTTP/1.1 431" in answer


CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"


async def answers_to_much_behind_a_body(end: bytes, line: bytes) -> bytes:
    """All that is answered when this is sent again and again, in as many reads, until the server has enough."""
    async with serving() as (_, (host, port)):
        reader, writer = await asyncio.open_connection(host, port)
        answering = asyncio.create_task(reader.read())
        writer.write(CHUNKED + end)
        async with asyncio.timeout(5):
            for _ in range(1000):
                writer.write(line)
                await writer.drain()
                await asyncio.sleep(0)
                if answering.done():
                    break
            answer = await answering
        writer.close()
    return answer


@pytest.mark.parametrize(
    ("end", "line"), [(b"0\r\n", b"A: " + b"a" * 995 + b"\r\n"), (b"0\r\nA: ", b"a" * 1000), (b"5;a=", b"a" * 1000)]
)
@pytest.mark.parametrize("at_once", [True, False])
def test_what_stands_behind_a_body_is_bounded_as_headers_are(monkeypatch, at_once, end, line):
    """Trailers, and what a chunk says beside its length: whether or not the request has its answer."""
    if not at_once:
        monkeypatch.setattr("tests.unit.asgi.test_server.refusing", echoing)
    answer = uvloop.run(answers_to_much_behind_a_body(end, line))
    assert answer.startswith(b"HTTP/1.1 503" if at_once else b"HTTP/1.1 431")
    assert answer.count(b"HTTP/1.1") == 1


def test_small_trailers_are_passed_over(monkeypatch):
    """The body is read, and so is the next request."""
    monkeypatch.setattr("tests.unit.asgi.test_server.refusing", echoing)
    sent = CHUNKED + b"0\r\n" + b"A: a\r\n" * 100 + b"\r\n"
    assert uvloop.run(echo_of(sent + sent, size=5)) == b"hello"


@pytest.mark.parametrize("cut", [0, 40, 60_000, -1], ids=str)
def test_what_comes_with_headers_is_not_counted_for_them(monkeypatch, cut):
    """A body in the same read, of this request or the one before it, makes them no larger."""
    monkeypatch.setattr("tests.unit.asgi.test_server.refusing", echoing)
    body = b"x" * 90_000
    first = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n" + body
    second = with_headers(HEADER_BYTES - 2_000, more=b"Content-Length: 90000\r\nConnection: close\r\n") + body
    sent = first + second
    end = len(first) + cut if cut >= 0 else cut
    answer = uvloop.run(all_of(sent[:end], sent[end:]))
    assert answer.count(b"HTTP/1.1 200") == 2
    assert answer.count(body) == 2


LAST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def test_requests_that_do_not_wait_for_answers_are_answered_in_turn():
    """As many as a client may send ahead."""
    answer = uvloop.run(all_of(REQUEST * (PIPELINED - 1) + LAST))
    assert answer.count(b"HTTP/1.1 503") == PIPELINED


def test_requests_sent_ahead_are_bounded():
    """Thousands fit into one read: those that have a place are answered, and the connection ends."""
    answer = uvloop.run(all_of(REQUEST * 5000))
    assert answer.count(b"HTTP/1.1 503") == PIPELINED + 1
    assert answer.count(b"HTTP/1.1") == PIPELINED + 1
    assert answer.lower().count(b"connection: close") == 1


def test_headers_sent_ahead_are_bounded_together():
    """As one request's are: many with large ones would be megabytes for each connection."""
    answer = uvloop.run(all_of(with_headers(HEADER_BYTES // 8) * PIPELINED))
    assert 8 <= answer.count(b"HTTP/1.1 503") <= 12
    assert answer.lower().count(b"connection: close") == 1


async def many_that_leave_requests_behind() -> int:
    """How many protocols are left of clients that sent requests ahead and are gone, without a collection."""
    async with serving() as (server, (host, port)):
        for _ in range(5):
            _, writer = await asyncio.open_connection(host, port)
            writer.write(REQUEST * 20)
            await asyncio.sleep(0.05)
            writer.transport.abort()
        async with asyncio.timeout(5):
            while server.server_state.connections or server.server_state.tasks:  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.01)
        return sum(type(each) is BoundedHttp for each in gc.get_objects())


def test_requests_that_are_never_begun_are_freed_without_a_collection(monkeypatch):
    """Their client is gone: megabytes may not wait for one."""
    monkeypatch.setattr("tests.unit.asgi.test_server.refusing", answering_late)
    gc.collect()
    gc.disable()
    try:
        assert uvloop.run(many_that_leave_requests_behind()) == 0
    finally:
        gc.enable()


async def answering_in_pieces(scope: Any, receive: Any, send: Any) -> None:
    """An application whose answer takes a while."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"on", "more_body": True})
    await asyncio.sleep(0.2)
    await send({"type": "http.response.body", "body": b"ce"})


@pytest.mark.parametrize(
    "behind", [CHUNKED + b"nonsense\r\n", b"NONSENSE\r\n\r\n", LARGE], ids=["body", "line", "large"]
)
@pytest.mark.parametrize("asked", [1, 3])
@pytest.mark.parametrize(
    ("application", "begin", "end"),
    [(answering_late, b"HTTP/1.1 503", b"no"), (answering_in_pieces, b"HTTP/1.1 200", b"once")],
)
def test_what_is_wrong_behind_requests_does_not_overtake_their_answers(
    monkeypatch, application, begin, end, asked, behind
):
    """They are answered, each whole, and the connection ends."""
    monkeypatch.setattr("tests.unit.asgi.test_server.refusing", application)
    answer = uvloop.run(all_of(REQUEST * asked + behind))
    assert answer.startswith(begin)
    assert answer.endswith(end)
    assert answer.count(b"HTTP/1.1") == answer.count(begin) == asked


def test_headers_that_come_slowly_wait_for_the_answer_before_them(monkeypatch):
    """Until then it may be the server that does not read; then they have their time, and no more."""
    monkeypatch.setattr("asgi.server.HEADER_SECONDS", 0.05)
    monkeypatch.setattr("tests.unit.asgi.test_server.refusing", answering_late)
    answer = uvloop.run(all_of(REQUEST + REQUEST[:9]))
    assert [answer.index(b"HTTP/1.1 503"), answer.count(b"HTTP/1.1")] == [0, 2]
    assert b"HTTP/1.1 408" in answer


def test_what_waits_behind_a_last_answer_is_not_begun(monkeypatch):
    """Its answer could not be sent: the connection is closed, though the client is still in a body."""
    begun: list[str] = []

    async def last(scope: Any, receive: Any, send: Any) -> None:
        begun.append(scope["path"])
        await asyncio.sleep(0.2)
        headers = [(b"content-length", b"2"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    monkeypatch.setattr("tests.unit.asgi.test_server.refusing", last)
    answer = uvloop.run(all_of(REQUEST + REQUEST.replace(b"/", b"/second", 1) + CHUNKED))
    assert answer.count(b"HTTP/1.1") == 1
    assert begun == ["/"]


async def a_client_that_does_not_read() -> None:
    """Returns when nothing is left of a connection on which answers are not read."""
    async with serving() as (server, (host, port)):
        reader, writer = await asyncio.open_connection(host, port)
        reader._transport.pause_reading()
        writer.write(REQUEST * 20)
        async with asyncio.timeout(5):
            while not server.server_state.connections:  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.01)
            while server.server_state.connections or server.server_state.tasks:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        writer.transport.abort()


@pytest.mark.parametrize("headers", [[], [(b"connection", b"close")]], ids=["", "the last"])
def test_a_client_that_does_not_read_is_cut_off(monkeypatch, headers):
    """Whatever it was to read: what is kept for it would be kept for ever."""

    async def telling_much(scope: Any, receive: Any, send: Any) -> None:
        given = [(b"content-length", b"20000000"), *headers]
        await send({"type": "http.response.start", "status": 200, "headers": given})
        await send({"type": "http.response.body", "body": bytes(20_000_000)})

    monkeypatch.setattr("asgi.server.STALLED_SECONDS", 0.2)
    monkeypatch.setattr("tests.unit.asgi.test_server.refusing", telling_much)
    uvloop.run(a_client_that_does_not_read())


async def what_a_slow_client_reads() -> int:
    """How many bytes, a quarter of a megabyte at a time."""
    async with serving() as (_, address):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, address)
        await loop.sock_sendall(client, LAST)
        count = 0
        while data := await loop.sock_recv(client, 250_000):
            count += len(data)
            await asyncio.sleep(0.01)
        client.close()
    return count


def test_a_client_that_reads_slowly_gets_all_of_it(monkeypatch):
    """Though the kernel keeps so much for it that there is no room for more for longer than it may read nothing."""

    async def telling_much(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"20000000")]})
        await send({"type": "http.response.body", "body": bytes(10_000_000), "more_body": True})
        await send({"type": "http.response.body", "body": bytes(10_000_000)})

    monkeypatch.setattr("asgi.server.STALLED_SECONDS", 0.3)
    monkeypatch.setattr("tests.unit.asgi.test_server.refusing", telling_much)
    assert uvloop.run(what_a_slow_client_reads()) > 20_000_000


def test_trailers_are_no_headers(monkeypatch):
    """Not even where they come in one read with them, before the application has begun."""
    found: list[Any] = []

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        found.extend(scope["headers"])
        await answer_at_once(scope, receive, send)

    monkeypatch.setattr("tests.unit.asgi.test_server.refusing", noting)
    uvloop.run(all_of(CHUNKED + b"0\r\nContent-Disposition: attachment\r\n\r\n" + LAST))
    assert [name for name, _ in found] == [b"host", b"transfer-encoding", b"host", b"connection"]


def test_uploads_sent_ahead_by_a_client_that_reads_on_are_answered(monkeypatch):
    """It has closed its side behind the last of them."""
    monkeypatch.setattr("tests.unit.asgi.test_server.refusing", answering_late)
    assert uvloop.run(half_closed(WHOLE * 3)).count(b"HTTP/1.1 503") == 3


WHOLE = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"


async def half_closed(request: bytes) -> bytes:
    """What is answered to a client that sends no more and reads on; it leaves nothing behind."""
    async with serving() as (server, (host, port)):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(request)
        writer.write_eof()
        async with asyncio.timeout(5):
            answer = await reader.read()
            while server.server_state.connections or server.server_state.tasks:  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.01)
        writer.close()
    return answer


@pytest.mark.parametrize("more", [b"", REQUEST[:9], LARGE[:70_000]], ids=["", "a part of another", "a large part"])
def test_a_client_that_has_sent_all_and_reads_on_is_answered(monkeypatch, more):
    """Its connection ends behind the answer."""
    monkeypatch.setattr("tests.unit.asgi.test_server.refusing", answering_late)
    answer = uvloop.run(half_closed(WHOLE + more))
    assert answer.startswith(b"HTTP/1.1 503")
    assert answer.count(b"HTTP/1.1") == 1
    assert b"\r\nconnection: close\r\n" in answer


@pytest.mark.parametrize(
    "sent", [REQUEST, WHOLE[:-1], REQUEST * 2], ids=["may be a long poll", "within a body", "with another behind it"]
)
def test_a_client_that_may_have_left_is_told_to_whoever_waits(monkeypatch, sent):
    """The end of what it sends is all that one sees of a client that has left."""
    told: list[str] = []

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        while told[-1:] != ["http.disconnect"]:
            told.append((await receive())["type"])

    monkeypatch.setattr("tests.unit.asgi.test_server.refusing", waiting)
    assert uvloop.run(half_closed(sent)) == b""
    assert told == ["http.request", "http.disconnect"]


async def serving_clients_that_leave() -> None:
    """Return when those have had an answer that nobody reads, and no connection is left."""
    async with serving() as (server, (host, port)):
        for _ in range(10):
            _, writer = await asyncio.open_connection(host, port)
            writer.write(WHOLE)
            writer.close()
            await writer.wait_closed()
        state = server.server_state
        async with asyncio.timeout(5):
            while state.total_requests < 10 or state.connections:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)


def test_a_client_that_left_behind_its_request_keeps_nothing(monkeypatch):
    """Its connection ends as soon as the answer is there, though it looked like one that reads on."""
    monkeypatch.setattr("tests.unit.asgi.test_server.refusing", answering_late)
    uvloop.run(serving_clients_that_leave())


@pytest.mark.parametrize("length", [None, 10])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_client_of_the_old_http_gets_no_chunks(monkeypatch, method, length):
    """An answer without a length is the bytes as they are, to the connection's end."""

    async def streaming(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"Content-Length", b"%d" % length)] if length else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for part in (b"first ", b"", b"last"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})

    monkeypatch.setattr("tests.unit.asgi.test_server.refusing", streaming)
    answer = uvloop.run(all_of(method + b" / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"transfer-encoding" not in head
    assert (b"content-length: 10" in head) == bool(length)
    assert b"connection: close" in head
    assert body == (b"first last" if method == b"GET" else b"")
