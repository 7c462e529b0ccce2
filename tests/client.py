"""A client of the ASGI application in this process: httpx for whole requests, and bare ASGI where it matters how
the bytes arrive."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx


def http_client(**headers: str) -> httpx.AsyncClient:
    """A client of the whole application."""
    from asgi.application import application

    transport = httpx.ASGITransport(app=application, raise_app_exceptions=True)
    return httpx.AsyncClient(transport=transport, base_url="http://testserver", headers=headers)


@dataclass
class Answer:
    """What an application answered."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


DISCONNECT = object()


async def asgi_request(
    method: str,
    path: str,
    chunks: Iterable[bytes | object] | AsyncIterator[bytes | object],
    headers: dict[str, str],
    query: str = "",
) -> Answer:
    """One request whose body arrives in these chunks; DISCONNECT among them is a client that goes away."""
    from asgi.application import application

    answer, finished = Answer(), asyncio.Event()

    async def messages() -> AsyncIterator[dict[str, Any]]:
        source = chunks if isinstance(chunks, AsyncIterator) else _each(chunks)
        async for chunk in source:
            if chunk is DISCONNECT:
                break
            yield {"type": "http.request", "body": chunk, "more_body": True}
        else:
            yield {"type": "http.request", "body": b"", "more_body": False}
            await finished.wait()
        while True:
            yield {"type": "http.disconnect"}

    stream = messages()

    async def receive() -> dict[str, Any]:
        return await anext(stream)

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]}
        else:
            answer.body += message.get("body", b"")
            if not message.get("more_body"):
                finished.set()

    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(b"host", b"testserver"), *raw], "client": ("127.0.0.1", 1), "server": ("testserver", 80),
    }  # fmt: skip
    await application(scope, receive, send)
    return answer


async def _each(chunks: Iterable[bytes | object]) -> AsyncIterator[bytes | object]:
    for chunk in chunks:
        yield chunk


BOUNDARY = "a-boundary-of-the-tests"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(
    content: bytes, *, name: str = "file", filename: str | None = "a.txt", content_type: str = "text/plain"
) -> bytes:
    """One part of a form, its delimiter before it."""
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename is not None else "")
    head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\nContent-Type: {content_type}\r\n\r\n"
    return head.encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    """A whole form of these parts."""
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
