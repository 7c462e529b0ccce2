"""uvicorn with what it lacks as a front door: bounds on what it reads, one shape for its own errors, and a prompt end.

A request's headers are bounded in bytes and in time: httptools takes any number of them, however slowly they come. A
body that goes on though its request has been answered is dropped, within the time limits of one that is wanted. An
offer of another protocol is passed over: httptools would take the body that comes with it for the next request. What
the server refuses by itself is problem+json too. At SIGTERM, those who wait for events are answered soon.
"""

import asyncio
import contextlib
import fcntl
import gc
import logging
import os
import socket
import struct
import sys
import termios
from collections.abc import Callable, Iterator
from typing import Any

import httptools
import uvicorn
from django.conf import settings
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from apps.api.problems import problem
from apps.events.hub import hub
from apps.uploads.view import stop_reading
from asgi.sockets import CLOSE_SECONDS, MESSAGE_BYTES, PONG_SECONDS, bound
from project import environment as env
from project import pulse

logger = logging.getLogger(__name__)

HEADER_BYTES = 64 * 1024
HEADER_SECONDS = 15.0
PIPELINED = 128  # requests of a connection that wait for the answers to those before them; what comes then is not read
STALLED_SECONDS = 60.0  # a client that takes nothing of its answers for so long is cut off
LOOKS = 6  # in that time, whether it has taken something
LINGER_SECONDS = 2.0  # for a client that still sends to read why its connection is closed
GRACE_SECONDS = 10
OF_AN_UPGRADE = frozenset({b"upgrade", b"http2-settings"})  # headers, and words of `Connection`
COLLECT_AT = (10_000, 20, 20)  # new objects, then rounds: a busy server makes Python's 700 some hundred times a second
BACKLOG = 4096  # connections that may wait to be accepted; the kernel's `somaxconn` where that is less
MAY_WAIT = frozenset({"GET", "HEAD"})  # methods whose answers may take long, or have no end
ACCEPTS = 16  # connections accepted in one turn of the loop, at most
DOOR_SECONDS = 2.0  # of the grace, for whoever waits at the door when it is to be shut
LAST_DOOR_SECONDS = 0.05
LAST_TURNS = 8  # of the loop: enough for a connection that has been accepted to be read
LAST_WORDS_SECONDS = 2.0  # of the grace, for the answers to what has to be cut off


class Lingering:
    """A connection's transport, which is closed for writing first where the client still sends.

    Closed at once, with bytes that nobody has read, the connection is reset, and the client may lose its answer.
    """

    def __init__(self, transport: asyncio.Transport, linger: Callable[[], bool]) -> None:
        self.transport = transport
        self.write, self.is_closing, self.abort = transport.write, transport.is_closing, transport.abort
        self._linger = linger

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def close(self) -> None:
        """Close it now, or as soon as the client has had the time to read its answer."""
        if self._linger():
            self.write = _drop  # the answer is out; whoever still works on the request has come too late
        else:
            self.transport.close()

    def forget(self) -> None:
        """The connection is gone: let go of who looks after it, so that both are freed at once."""
        self._linger = bool


def _drop(data: Any = None) -> None:
    """Write nothing, tell nobody."""


class EndedByClose(RequestResponseCycle):
    """One of HTTP/1.0: an answer without a length ends with its connection, for its client knows no chunks."""

    async def send(self, message: Any) -> None:
        """Send; the bytes as they are."""
        if message["type"] == "http.response.start":
            if not any(name.lower() == b"content-length" for name, _ in message.get("headers", ())):
                self.chunked_encoding = self._has_length = False
        elif not self._has_length:
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)

    _has_length = True


class BoundedHttp(HttpToolsProtocol):
    """One connection of HTTP/1.1."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect headers, and not for ever."""
        self._transport = transport
        self._lingering = Lingering(transport, self._linger)
        super().connection_made(self._lingering)  # type: ignore[arg-type]
        self._in_headers = True
        self._data = b""  # what is being parsed
        self._passed_over = False  # an offer of another protocol: the request is read again without it
        self._reading_again = False
        self._deaf = False
        self._lingers = False
        self._running: RequestResponseCycle | None = None  # the request being answered; `cycle` is the newest
        self._ahead: dict[RequestResponseCycle, int] = {}  # the bytes of headers of those that wait for their turn
        self._reader_timer: asyncio.TimerHandle | None = None  # of a client that does not read
        self._unread = self._taken_at = 0.0  # the least that it had not taken yet, and since when
        self._header_bytes = 0  # of all reads since the last bytes of a body, whatever else was in the first of them
        self._first_bytes = 0  # of that first read, where it had the end of another request
        self._header_timer: asyncio.TimerHandle | None = None
        self._body_timer: asyncio.TimerHandle | None = None  # of a body that nobody wants any more
        self._body_since = self._heard_at = 0.0
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing, and tell whoever answers."""
        self._headers_came()
        self._body_ended()
        self._reader_came()
        self._lingering.forget()
        if self._running is not None and self._running is not self.cycle:  # to which it is told below
            self._running.disconnected = True
            self._running.message_event.set()
        self._forget_ahead()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client is slow, or does not read: it has some time for that, whatever it is sent."""
        super().pause_writing()
        self._expect_reader()

    def resume_writing(self) -> None:
        """The client has read; what is left to read after the end has the time of before."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._reader_came()

    def data_received(self, data: bytes) -> None:
        """Parse, unless the headers are more than anyone needs, or what comes with a body beside its bytes."""
        if self._deaf:
            return
        self._data = data
        self._header_bytes += len(data)
        if self._body_timer is not None:
            self._heard_at = self.loop.time()
        super().data_received(data)
        self._data = b""
        if self._header_bytes - self._first_bytes > HEADER_BYTES and not self._deaf:
            self._refuse_headers()
        elif self._in_headers and self._header_timer is None and self.timeout_keep_alive_task is None:
            self._keep_alive()

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more; whether the connection stays open until its request has an answer.

        A client that has left looks the same, and from here on nothing is read: even a reset is seen only by whoever
        writes. So a GET ends here: it may be a long poll or a stream, which has to know that it waits for no one. A
        whole request of another method, an upload say, is answered soon, and then the connection ends. Within a request
        the client has gone.
        """
        cycles = [cycle for cycle, _ in self.pipeline]
        if self._running is not None and not self._running.response_complete:
            cycles.append(self._running)
        if not cycles or any(cycle.more_body or cycle.scope["method"] in MAY_WAIT for cycle in cycles):
            return False
        self._headers_came()  # of a next request, which has no end
        self.cycle.keep_alive = False
        return True

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._expect_headers()

    def on_headers_complete(self) -> None:
        """The headers are whole, and no more than anyone needs though they came in one read. Raises ValueError."""
        self._headers_came()
        if self._header_bytes > HEADER_BYTES and self._size_of_headers() > HEADER_BYTES:
            self._refuse_headers()
            raise ValueError  # the parser's end
        self._in_headers = False
        if len(self.pipeline) >= PIPELINED or sum(self._ahead.values()) > HEADER_BYTES:  # thousands fit into one read
            self._deaf = self._answers_first()
            raise ValueError
        self._header_bytes = self._first_bytes = 0
        self._body_since = self.loop.time()
        offered = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        self._passed_over = offered and not self._should_upgrade()
        if self._passed_over:
            return
        super().on_headers_complete()
        if self.pipeline and self.pipeline[0][0] is self.cycle:
            self._ahead[self.cycle] = self._size_of_headers()
        if not self.parser.should_upgrade():
            self.headers = []  # what comes behind the body is no header of the request (RFC 9110, section 6.5.1)
        if self.scope["http_version"] < "1.1" and self.cycle is not None:
            self.cycle.__class__ = EndedByClose

    def on_body(self, body: bytes) -> None:
        """A piece of the body, kept as it came where all before it has been read: else it is copied twice."""
        self._header_bytes = 0
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete:
            if not cycle.body:
                cycle.body, body = body, b""
            elif isinstance(cycle.body, bytes):
                cycle.body = bytearray(cycle.body)  # which grows without being copied for each small piece
        super().on_body(body)

    def on_message_complete(self) -> None:
        """What comes now is another request's."""
        if self._passed_over:
            return
        self._in_headers = True
        self._header_bytes = self._first_bytes = len(self._data)
        self._body_ended()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """A request has its answer; the rest of its body, where there is more, is dropped, but not for ever."""
        super().on_response_complete()
        if self.pipeline and not self.transport.is_closing():
            self.flow.pause_reading()  # there are requests enough
        cycle: RequestResponseCycle | None = self.cycle
        if self._deaf or self._in_headers or self.transport.is_closing():
            return
        if cycle is not None and cycle.response_complete:
            self._heard_at = self.loop.time()
            self._look_at_body()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        self._ahead.pop(cycle, None)
        super()._start_asgi_task(cycle, app)

    def _unsupported_upgrade_warning(self) -> None:
        """Read the request again without the offer of another protocol, as which httptools has taken its body."""
        paused = sys.exc_info()[1]
        if not self._passed_over or not isinstance(paused, httptools.HttpParserUpgrade):
            super()._unsupported_upgrade_warning()
            return
        if self._reading_again:  # requests sent without waiting for answers, each with an offer: one is answered
            self.send_400_response("")
            return
        self._passed_over, self._reading_again = False, True
        head = b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        for name, value in self.headers:
            if name == b"connection":
                kept = [word for word in value.split(b",") if word.strip().lower() not in OF_AN_UPGRADE]
                value = b",".join(kept) or b"keep-alive"
            if name not in OF_AN_UPGRADE:
                head += b"%s: %s\r\n" % (name, value)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        super().data_received(head + b"\r\n" + self._data[paused.args[0] :])
        self._reading_again = False

    def handle_websocket_upgrade(self) -> None:
        """What comes now is no HTTP: it has the connection's own transport."""
        if self._answers_first():
            return
        if any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
            for name, value in self.headers
        ):
            self._refuse(400, "malformed", "A WebSocket begins with a request that has no body.")
            return
        self.transport = self._transport
        super().handle_websocket_upgrade()

    def shutdown(self) -> None:
        """The server stops: whose request has its answer is not waited for."""
        if self.cycle is not None and self.cycle.response_complete:
            self._transport.close()
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """What cannot be parsed is refused; but a request that is whole is answered first, whatever came behind it."""
        if not self._deaf and not self._answers_first():
            self._refuse(400, "malformed", "The request is not valid HTTP.")

    def _answers_first(self) -> bool:
        """Whether a request that is whole has no answer yet: it gets one, and the connection ends behind it."""
        if self.pipeline and self.cycle.more_body:  # it will never be whole, and its turn has not come
            self._ahead.pop(self.pipeline.popleft()[0], None)
            self.cycle = self.pipeline[0][0] if self.pipeline else self._running  # type: ignore[assignment]
        if self.cycle is None or self.cycle.more_body or self.cycle.response_complete:
            return False
        self.cycle.keep_alive = False
        self.flow.pause_reading()
        return True

    def _expect_headers(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(HEADER_SECONDS, self._headers_late)

    def _headers_came(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _expect_reader(self) -> None:
        if self._reader_timer is None:
            self._unread, self._taken_at = self._not_taken(), self.loop.time()
            self._reader_timer = self.loop.call_later(STALLED_SECONDS / LOOKS, self._look_at_reader)

    def _reader_came(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _look_at_reader(self) -> None:
        unread = self._not_taken()
        if unread < self._unread:
            self._unread, self._taken_at = unread, self.loop.time()
        elif self.loop.time() - self._taken_at >= STALLED_SECONDS:
            logger.info("a client has taken nothing for %g s: its connection is broken", STALLED_SECONDS)
            self._transport.abort()
            return
        self._reader_timer = self.loop.call_later(STALLED_SECONDS / LOOKS, self._look_at_reader)

    def _not_taken(self) -> int:
        """The bytes that the client's system has not confirmed: ours, and those that the kernel keeps for it.

        A slow client's system takes some of them long before there is room for ours again: the kernel keeps megabytes.
        """
        kept = 0
        with contextlib.suppress(OSError, ValueError):  # it may just be closed
            answer = fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
            (kept,) = struct.unpack("=i", answer)
        return self._transport.get_write_buffer_size() + kept

    def _keep_alive(self) -> None:
        """Wait for a request, and not for ever: what came last was the end of a dropped body, or a blank line."""
        if self in self.connections and self.cycle is not None and self.cycle.response_complete:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _linger(self) -> bool:
        """Whether the connection is closed later: the client is in a body, or may be, and reads its answer first."""
        if self._in_headers or self._transport.is_closing():
            if self._transport.get_write_buffer_size():
                self._expect_reader()
            return False
        if not self._lingers:
            self._lingers = self._deaf = True
            self._forget_ahead()
            self._transport.write_eof()
            self._body_ended()
            self._body_timer = self.loop.call_later(LINGER_SECONDS, self._transport.abort)
        return True

    def _forget_ahead(self) -> None:
        """Begin none of those that wait for their turn, and let go of them at once: they may be megabytes."""
        for cycle, _ in self.pipeline:
            cycle.on_response = _drop
        self.pipeline.clear()
        self._ahead.clear()

    def _body_ended(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    def _look_at_body(self) -> None:
        idle_at = self._heard_at + settings.FILEWIRE_UPLOAD_IDLE_SECONDS
        ends_at = min(idle_at, self._body_since + settings.FILEWIRE_UPLOAD_TOTAL_SECONDS)
        if self.loop.time() >= ends_at:
            self.transport.abort()
        else:
            self._body_timer = self.loop.call_at(ends_at, self._look_at_body)

    def _is_answering(self) -> bool:
        return self._running is not None and not self._running.response_complete

    def _headers_late(self) -> None:
        self._header_timer = None
        if self._is_answering():  # so it may be us who do not read
            self._expect_headers()
        elif self._header_bytes:
            self._refuse(408, "headers_timeout", f"The request's headers took longer than {HEADER_SECONDS:g} seconds.")
        else:
            self.transport.close()

    def _size_of_headers(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _refuse_headers(self) -> None:
        """The headers are too large: nothing more is read, and a request that came before them is answered first."""
        self._headers_came()
        answered = not self._in_headers and self.cycle is not None and self.cycle.response_complete
        self._in_headers = False
        self._deaf = True
        if answered:  # the request whose body has them
            self.transport.close()
        elif not self._answers_first():
            self._refuse(431, "headers_too_large", f"The request's headers are larger than {HEADER_BYTES} bytes.")

    def _refuse(self, status: int, code: str, detail: str) -> None:
        if self.transport.is_closing():
            return
        self._headers_came()
        self._in_headers = False  # more may come, which nobody reads
        if self._is_answering() and self._running.response_started:  # type: ignore[union-attr]
            self.transport.close()  # these words would be taken for that answer's
            return
        answer = problem(status, code, detail, headers={"Connection": "close"})
        answer.headers["Content-Length"] = str(len(answer.content))
        lines = [f"HTTP/1.1 {status} {answer.reason_phrase}", *(f"{name}: {value}" for name, value in answer.items())]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + answer.content)
        self.transport.close()


class ClosableWebSocket(WebSocketsSansIOProtocol):
    """One WebSocket, which can be closed though its client does not read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bound what is kept for the client."""
        bound(transport.get_extra_info("socket"))
        self._end: asyncio.TimerHandle | None = None
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more to end."""
        if self._end is not None:
            self._end.cancel()
        super().connection_lost(exc)

    async def send(self, message: Any) -> None:
        """Send; a close goes out behind what the client has not read, and is not held back until it has."""
        if message["type"] == "websocket.close":
            self.writable.set()
            self._end_soon()
        await super().send(message)

    def keepalive_timeout(self) -> None:
        """The client has not answered a ping; it may not read either."""
        self._end_soon()
        super().keepalive_timeout()

    def _end_soon(self) -> None:
        """Bound the time in which the client may read what is kept for it: an orderly end waits for that for ever."""
        if self._end is None:
            self._end = self.loop.call_later(CLOSE_SECONDS, self.transport.abort)


class Server(uvicorn.Server):
    """Accepts however busy it is, and stops within seconds with an answer for everyone who waits."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, with several handles on each socket.

        libuv accepts one connection a handle in a turn of the loop. Under load a turn serves dozens of requests, and
        with one handle whoever is new waits for as many turns as there are new ones before him: for seconds.
        """
        await super().startup(sockets)
        self._doors: list[socket.socket] = []
        loop = asyncio.get_running_loop()
        for server in tuple(self.servers):
            self._doors += [socket.socket(fileno=os.dup(listening.fileno())) for listening in server.sockets]
        for door in self._doors:
            door.setblocking(False)
            for _ in range(ACCEPTS - 1):
                self.servers.append(await loop.create_server(self._connection, sock=door.dup(), backlog=BACKLOG))

    def _connection(self) -> BoundedHttp:
        return BoundedHttp(self.config, self.server_state, self.lifespan.state)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let in who stands at the door, then end what waits for events, and last what still sends its body.

        Connections that the kernel has already taken for us are taken from it first: closed with the socket, they would
        be reset under a request that cannot be sent again. All of it is within the grace.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self._take_in()
        left = max(LAST_WORDS_SECONDS, (self.config.timeout_graceful_shutdown or 0) - (loop.time() - began))
        self.config.timeout_graceful_shutdown = left  # type: ignore[assignment]  # asyncio takes parts of a second
        hub().stop()
        loop.call_later(left - LAST_WORDS_SECONDS, stop_reading)
        await super().shutdown(sockets)

    async def _take_in(self) -> None:
        """Accept and read all who wait at the door, and let hardly any more queue up; for some seconds at most."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + DOOR_SECONDS
        for each in self._doors:
            each.listen(0)
        waited = True
        while waited and loop.time() < ends_at:
            accepted = list(_waiting_at(self._doors))
            waited = bool(accepted)
            taking = (loop.connect_accepted_socket(self._connection, client) for client in accepted)
            await asyncio.gather(*taking, return_exceptions=True)  # some may have gone again
            await asyncio.sleep(LAST_DOOR_SECONDS)  # for what is on its way to a connection that is there
            for _ in range(LAST_TURNS):  # a turn may be longer than that
                await asyncio.sleep(0)
        for each in self._doors:
            each.close()


def _waiting_at(doors: list[socket.socket]) -> Iterator[socket.socket]:
    """The connections that the kernel has taken for us, and nobody has accepted."""
    for each in doors:
        with contextlib.suppress(OSError):  # none any more; or as many are open as may be
            for _ in range(BACKLOG):
                yield each.accept()[0]


def serve(host: str, port: int) -> None:
    """Serve HTTP and WebSockets until SIGTERM; then finish what is under way, for a few seconds."""
    config = uvicorn.Config(
        "asgi.application:application",
        host=host,
        port=port,
        loop="uvloop",
        http=BoundedHttp,
        ws=ClosableWebSocket,
        ws_max_size=MESSAGE_BYTES,
        ws_ping_interval=settings.FILEWIRE_PING_SECONDS,
        ws_ping_timeout=PONG_SECONDS,
        ws_per_message_deflate=False,  # 1,000 sockets would each keep a compressor's memory
        lifespan="on",
        access_log=False,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=env.text("FORWARDED_ALLOW_IPS", "127.0.0.1"),
        timeout_keep_alive=75,  # longer than a proxy keeps its idle connections to us
        timeout_graceful_shutdown=GRACE_SECONDS,
        backlog=BACKLOG,
        log_config=None,
    )
    config.load()
    gc.collect()
    gc.freeze()  # what has been imported by now stays: a collection need not look at it each time
    gc.set_threshold(*COLLECT_AT)
    pulse.watch(settings.FILEWIRE_HANG_SECONDS)
    Server(config).run()
