"""daphne as a server of WebSockets alone, with what it lacks for that: refusing bodies, and waiting for slow readers.

Twisted parses a multipart POST whole, in memory, before daphne or the application sees a byte: one such request is an
attack. So a request with a body is refused when its headers are read. And daphne writes to a client that does not
read without end; here a send waits until the client has read, so a slow reader is the hub's to handle, not memory's.
"""

import asyncio
import logging
from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.server import Server
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from django.conf import settings
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import LoopingCall, deferLater
from zope.interface import implementer

from asgi.application import live
from asgi.sockets import CLOSE_SECONDS, MESSAGE_BYTES, PONG_SECONDS, bound
from project import pulse

logger = logging.getLogger(__name__)

RESTARTS = 1012
SERVERS_CODES = (1011, RESTARTS, 1013)  # an internal error, a restart, try again later
LAST_WORDS_SECONDS = 1.0
REFUSAL = b"HTTP/1.1 413 Content Too Large\r\nContent-Type: application/problem+json\r\nConnection: close\r\n"
REFUSAL_BODY = (
    b'{"type":"about:blank","title":"Content Too Large","status":413,"code":"no_body_here",'
    b'"detail":"This server speaks WebSocket and takes no body.","errors":[]}'
)


class BodilessRequest(WebRequest):
    """A request that is refused as soon as its headers announce a body."""

    def gotLength(self, length: int | None) -> None:  # noqa: N802 - Twisted's name
        """Called when the headers are read; None is a chunked body."""
        if length == 0:
            super().gotLength(length)
            return
        self.transport.write(REFUSAL + b"Content-Length: %d\r\n\r\n" % len(REFUSAL_BODY) + REFUSAL_BODY)
        super().gotLength(0)
        self.channel.loseConnection()


@implementer(IPushProducer)
class PausableProtocol(WebSocketProtocol):
    """A WebSocket that knows whether its client keeps up."""

    def onOpen(self) -> None:  # noqa: N802 - autobahn's name
        """Learn from the transport when its buffer is full, and when it is empty again."""
        super().onOpen()
        bound(self.transport.getHandle())
        self.closeHandshakeTimeout = CLOSE_SECONDS  # autobahn's is one second, and a reset
        self.writable = asyncio.Event()
        self.writable.set()
        # The handshake's HTTP channel has left itself there, and a transport has one producer at a time.
        self.transport.unregisterProducer()
        self.transport.registerProducer(self, True)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:  # noqa: N802, N803 - autobahn's names
        """Whoever waits to send may go on, and find the connection closed."""
        self.resumeProducing()
        super().onClose(wasClean, code, reason)

    def serverClose(self, code: int | None = None) -> None:  # noqa: N802 - daphne's name
        """Close with a server's codes too: autobahn refuses to send any below 3000 but 1000, as a browser must."""
        if code in SERVERS_CODES:
            self.sendCloseFrame(code=code)
        else:
            super().serverClose(code)

    def onAutoPingTimeout(self) -> None:  # noqa: N802 - autobahn's name
        """No pong came. A socket that is being closed stays: its client has its time to read that."""
        if self.state == self.STATE_CLOSING:
            self.autoPingTimeoutCall: Any = None
        else:
            super().onAutoPingTimeout()

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        """The buffer is full."""
        self.writable.clear()

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        """The buffer is empty."""
        if hasattr(self, "writable"):
            self.writable.set()

    def stopProducing(self) -> None:  # noqa: N802 - Twisted's name
        """The connection is lost."""
        self.resumeProducing()


class BodilessFactory(HTTPFactory):
    """Makes channels whose requests are bodiless."""

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802 - Twisted's name
        """A channel for one connection."""
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = BodilessRequest
        return protocol


class LiveServer(Server):
    """daphne's server with both, which tells its clients when it stops."""

    def kill_all_applications(self) -> Any:
        """Close every socket with 1012, give the clients the time to read that, and end what is left."""
        following = [each for each in self.connections if isinstance(each, PausableProtocol)]
        for protocol in following:
            if protocol.state == protocol.STATE_OPEN:
                protocol.serverClose(code=RESTARTS)
        if not following:
            return super().kill_all_applications()
        from twisted.internet import reactor

        return deferLater(reactor, LAST_WORDS_SECONDS, super().kill_all_applications)

    async def handle_reply(self, protocol: Any, message: Any) -> None:
        """Send, once the client has read what was sent before."""
        if message["type"] == "websocket.send" and hasattr(protocol, "writable"):
            await protocol.writable.wait()
        await super().handle_reply(protocol, message)


def serve(host: str, port: int) -> None:
    """Serve WebSockets until SIGTERM."""
    import daphne.server as daphne_server

    # daphne makes its factories by these names; it has no other way to be given them.
    daphne_server.HTTPFactory = BodilessFactory
    daphne_server.WebSocketFactory = type("PausableFactory", (WebSocketFactory,), {"protocol": PausableProtocol})
    LoopingCall(pulse.beat).start(pulse.BEAT_SECONDS)
    pulse.watch(settings.FILEWIRE_HANG_SECONDS)
    LiveServer(
        application=live,
        endpoints=[f"tcp:port={port}:interface={host}"],
        http_timeout=30,
        ping_interval=settings.FILEWIRE_PING_SECONDS,
        ping_timeout=PONG_SECONDS,
        websocket_timeout=-1,
        websocket_max_message_size=MESSAGE_BYTES,
        websocket_max_frame_size=MESSAGE_BYTES,
        server_name="",
    ).run()
