"""The unread body of a request: handed to the view, which reads it as it arrives.

Django would read it whole into a spooled file before any view runs, and the multipart parser would write it a second
time. Here `receive` is kept back: the handler puts this object into the scope, and Django sees no body.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from apps.files.errors import ClientGone

Receive = Callable[[], Awaitable[Any]]


class UnreadBody:
    """A request's body, chunk by chunk, and the news that the client has gone."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = asyncio.Event()
        self.asked_for = False  # by the view: who waits to be told to continue is told then

    async def chunk(self) -> tuple[bytes, bool]:
        """The next bytes, and whether more follow. Raises ClientGone."""
        self.asked_for = True
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._gone.set()
            raise ClientGone
        return message.get("body", b""), message.get("more_body", False)

    async def gone(self) -> None:
        """Return when the client has gone; what it still sends is dropped. For doors that answer for a long time."""
        self.asked_for = True
        while not self._gone.is_set():
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._gone.set()
