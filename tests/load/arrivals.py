"""An open-loop client: uploads arrive at a fixed mean rate, Poisson, whether or not earlier ones were answered.

A closed loop waits for a server that is slow, and so hides how long others would have waited. Here the time of an
answer counts from when its upload was due. Run as a program it writes what it found as JSON:
`python -m tests.load.arrivals HOST:PORT BODY OUTPUT --rate 500 --seconds 5`. Its own lateness is among it: a generator
that does not keep up is seen.
"""

import argparse
import asyncio
import json
import os
import random
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from project.descriptors import allow_many

PATIENCE_SECONDS = 30.0
MAX_CONNECTIONS = 12_000


@dataclass
class Found:
    """What became of the uploads."""

    answers: Counter[str] = field(default_factory=Counter)  # by status; `broken` had none
    wrong: Counter[str] = field(default_factory=Counter)  # why an answer is not one of those that may come
    accepted: list[tuple[float, float]] = field(default_factory=list)  # when it was due, how long it took
    refused: list[tuple[float, float]] = field(default_factory=list)
    late: list[float] = field(default_factory=list)  # how long after it was due an upload was sent


class Connection(asyncio.Protocol):
    """One kept connection: a request, its answer, the next."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._buffer = b""
        self.answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """There it is."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """An answer, once it is whole."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        length = re.search(rb"\r\ncontent-length: *(\d+)", head)
        chunked = b"transfer-encoding: chunked" in head
        if chunked and not self._buffer.endswith(b"0\r\n\r\n"):
            return
        if not chunked and len(self._buffer) < end + 4 + int(length[1] if length else 0):
            return
        self._buffer = b""
        if self.answer is not None and not self.answer.done():
            self.answer.set_result((int(head[9:12]), head))

    def connection_lost(self, error: Exception | None) -> None:
        """It is gone, and with it the answer that was waited for."""
        self._pool.forget(self)
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(ConnectionResetError("no answer"))


class Pool:
    """Connections: one that is idle, or a new one."""

    def __init__(self, host: str, port: int, request: bytes) -> None:
        self._host, self._port, self._request = host, port, request
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()

    async def __aenter__(self) -> "Pool":
        return self

    async def __aexit__(self, *error: object) -> None:
        for connection in list(self._open):
            connection.transport.abort()
        await asyncio.sleep(0)  # in which they are told that they are gone

    def forget(self, connection: Connection) -> None:
        """A connection that is gone."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    async def ask(self) -> tuple[int, bytes]:
        """Send the upload; status and head of the answer."""
        loop = asyncio.get_running_loop()
        if self._idle:
            connection = self._idle.pop()
        elif len(self._open) >= MAX_CONNECTIONS:
            raise ConnectionError("too many connections")
        else:
            _, connection = await loop.create_connection(lambda: Connection(self), self._host, self._port)
            self._open.add(connection)
        connection.answer = loop.create_future()
        connection.transport.write(self._request)
        async with asyncio.timeout(PATIENCE_SECONDS):
            status, head = await connection.answer
        if b"connection: close" in head:
            connection.transport.close()
        elif not connection.transport.is_closing():
            self._idle.append(connection)
        return status, head


async def arrive(
    host: str,
    port: int,
    request: bytes,
    rate: float,
    *,
    seconds: float,
    stop: asyncio.Event | None = None,
    seed: int = 1,
) -> Found:
    """Uploads at this rate for so long; what became of each."""
    chance, found = random.Random(seed), Found()
    loop = asyncio.get_running_loop()
    began = loop.time()
    due = began
    running: set[asyncio.Task[None]] = set()

    async def one(pool: Pool, due: float) -> None:
        found.late.append(loop.time() - due)
        try:
            status, head = await pool.ask()
        except (OSError, TimeoutError) as error:
            found.answers["broken"] += 1
            found.wrong[f"{type(error).__name__}: {error}"] += 1
            return
        took = loop.time() - due
        found.answers[str(status)] += 1
        if status == 201:
            found.accepted.append((due - began, took))
        elif status == 503 and b"\r\nretry-after: " in head:
            found.refused.append((due - began, took))
        else:
            found.wrong[f"{status} without Retry-After" if status == 503 else str(status)] += 1

    async with Pool(host, port, request) as pool:
        while due - began < seconds and not (stop is not None and stop.is_set()):
            wait = due - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            elif len(found.late) % 64 == 0:
                await asyncio.sleep(0)
            task = loop.create_task(one(pool, due))
            running.add(task)
            task.add_done_callback(running.discard)
            due += chance.expovariate(rate)
        while running:
            await asyncio.wait(list(running))
    return found


def quantile(values: list[float], share: float) -> float:
    """The value below which this share of them lies; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def request_of(host: str, port: int, body: bytes, content_type: str) -> bytes:
    """The upload as it goes over the wire."""
    head = f"POST /upload/ HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: {content_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def _until_stopped(stop: asyncio.Event) -> None:
    await asyncio.to_thread(sys.stdin.buffer.read)  # whoever started this closes it
    stop.set()


async def _main(options: argparse.Namespace) -> Found:
    host, port = options.address.split(":")
    request = request_of(host, int(port), options.body.read_bytes(), options.type)
    stop = asyncio.Event()
    waiting = asyncio.create_task(_until_stopped(stop)) if options.until_stopped else None
    seconds = float("inf") if options.until_stopped else options.seconds
    found = await arrive(host, int(port), request, options.rate, seconds=seconds, stop=stop)
    if waiting is not None:
        await waiting
    return found


def main() -> None:
    """Send, and write down what became of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", help="host:port")
    parser.add_argument("body", type=Path)
    parser.add_argument("output", type=Path, help="a file for what became of them")
    parser.add_argument("--type", default="text/plain")
    parser.add_argument("--rate", type=float, required=True, help="uploads a second")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--until-stopped", action="store_true", help="until stdin is closed")
    options = parser.parse_args()
    allow_many()
    import uvloop

    began = time.monotonic()
    found = uvloop.run(_main(options))
    spent = os.times()
    figures = {
        "answers": found.answers,
        "wrong": found.wrong,
        "accepted": found.accepted,
        "refused": found.refused,
        "late_p99": quantile(found.late, 0.99),
        "seconds": time.monotonic() - began,
        "cpu_seconds": spent.user + spent.system,
    }
    options.output.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
