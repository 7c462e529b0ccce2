"""A light HTTP client for loads: kept connections, one request at a time on each, nothing but what is needed.

A client that takes more of the machine than the server does measures itself.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

BOUNDARY = "a-boundary-of-the-load"


class Refused(Exception):
    """The service answered what was not expected."""


def form(name: str, content: bytes) -> tuple[dict[str, str], bytes]:
    """The headers and the body of a form with this file."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    body = head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()
    return {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}, body


class Connection:
    """A kept connection to the service."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and content of the answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
        reader, writer = self._streams
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()
        first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(first.split()[1])
        found = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest if line)}
        content = b"" if status in (204, 304) else await reader.readexactly(int(found["content-length"]))
        if found.get("connection", "").lower() == "close":
            self.close()
        return status, found, content

    async def upload(self, name: str, content: bytes) -> dict[str, Any]:
        """The File that became of this upload. Raises Refused."""
        status, _, answer = await self.ask("POST", "/upload/", *form(name, content))
        if status != 201:
            raise Refused(f"{status}: {answer[:300]!r}")
        document: dict[str, Any] = json.loads(answer)
        return document

    def close(self) -> None:
        """Let go of it."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def closed_loop(
    port: int, connections: int, count: int, act: Callable[[Connection], Awaitable[Any]]
) -> list[Any]:
    """What so many calls return, made over so many connections, each making its next call when the last has ended."""
    left = iter(range(count))

    async def work() -> list[Any]:
        connection = Connection(port)
        try:
            return [await act(connection) for _ in left]
        finally:
            connection.close()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work()) for _ in range(connections)]
    return [answer for task in tasks for answer in task.result()]
