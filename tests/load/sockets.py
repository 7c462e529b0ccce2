"""WebSockets by the thousand in one event loop: a handshake by hand, and frames that are looked at and forgotten."""

import asyncio
import base64
import os
import socket
import struct
import time
from collections.abc import Callable

AT_ONCE = 50  # handshakes under way
TRIES = 5  # a server that is busy lets go of handshakes (daphne: after 5 s)
PATIENCE_SECONDS = 120
OPCODE_TEXT, OPCODE_CLOSE, OPCODE_PING, OPCODE_PONG = 1, 8, 9, 10


class Listener(asyncio.Protocol):
    """One socket: tells each text frame, with when it came, and answers pings."""

    def __init__(self, request: bytes, heard: Callable[[bytes, float], None]) -> None:
        self._request, self._heard = request, heard
        self._buffer = bytearray()
        self._open = False
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost = False
        self.close_code = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Ask for the upgrade."""
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Frames, whole or in part."""
        now = time.monotonic()
        self._buffer += data
        if not self._open:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            if not self._buffer.startswith(b"HTTP/1.1 101"):
                self.ready.set_exception(ConnectionError(bytes(self._buffer[:200]).decode(errors="replace")))
                self.transport.close()
                return
            del self._buffer[: end + 4]
            self._open = True
        while (frame := self._frame()) is not None:
            self._take(*frame, now)

    def connection_lost(self, error: Exception | None) -> None:
        """It is closed."""
        self.lost = True
        if not self.ready.done():
            when = "after" if self._open else "in"
            self.ready.set_exception(ConnectionError(f"closed {when} the handshake (code {self.close_code})"))

    def _frame(self) -> tuple[int, bytes] | None:
        if len(self._buffer) < 2:
            return None
        length, start = self._buffer[1] & 0x7F, 2
        if length >= 126:
            width = 2 if length == 126 else 8
            if len(self._buffer) < 2 + width:
                return None
            length = int.from_bytes(self._buffer[2 : 2 + width], "big")
            start = 2 + width
        if len(self._buffer) < start + length:
            return None
        opcode, payload = self._buffer[0] & 0x0F, bytes(self._buffer[start : start + length])
        del self._buffer[: start + length]
        return opcode, payload

    def _take(self, opcode: int, payload: bytes, now: float) -> None:
        if opcode == OPCODE_TEXT:
            if not self.ready.done():
                self.ready.set_result(None)  # the first frame says that the feed is being followed
            self._heard(payload, now)
        elif opcode == OPCODE_PING:
            mask = os.urandom(4)
            masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
            self.transport.write(struct.pack("!BB", 0x80 | OPCODE_PONG, 0x80 | len(payload)) + mask + masked)
        elif opcode == OPCODE_CLOSE:
            self.close_code = int.from_bytes(payload[:2], "big")
            self.transport.close()

    def drop(self) -> None:
        """End it at once, without the minute in which its port would not be free."""
        transport_socket = self.transport.get_extra_info("socket")
        if transport_socket is not None and not self.transport.is_closing():
            transport_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


async def listen(
    port: int, path: str, count: int, heard: Callable[[int, bytes, float], None], failed: list[str] | None = None
) -> list[Listener]:
    """So many sockets, each of which has had its first frame. `heard` is told the socket's number too.

    One that the server lets go of while it is opened is opened again, and why goes to `failed`.
    """
    loop = asyncio.get_running_loop()
    gate = asyncio.Semaphore(AT_ONCE)
    key = base64.b64encode(os.urandom(16)).decode()
    request = (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()

    async def one(number: int) -> Listener:
        async with gate:
            for left in reversed(range(TRIES)):
                _, listener = await loop.create_connection(
                    lambda: Listener(request, lambda payload, at: heard(number, payload, at)), "127.0.0.1", port
                )
                try:
                    await asyncio.wait_for(listener.ready, PATIENCE_SECONDS)
                except ConnectionError as error:
                    if failed is None or not left:
                        raise
                    failed.append(str(error))
                    await asyncio.sleep(1)
                else:
                    return listener
        raise AssertionError("unreachable")

    return list(await asyncio.gather(*(one(number) for number in range(count))))
