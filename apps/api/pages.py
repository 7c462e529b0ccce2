"""Pages of the list that are kept until something changes, so that a thousand who poll cost one query a change.

Every commit that clients may see is followed by a word in Redis, before its answer or with its event: a new value of
`CHANGED`. A page is kept with the value that was there before it was read from the database, and is good for a request
that finds the same value after it came in. So whoever was answered, or heard an event, finds it in the list, whichever
process they ask. Without Redis nothing is kept; and no page is for longer than `KEPT_SECONDS`, in case a process that
could not reach Redis has changed what another one keeps.

All who ask see the same list: a page's address, with scheme and host, is all that it depends on.
"""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from apps.api.validators import etag_of
from apps.events import connections
from apps.events.stream import CHANGED
from apps.files.loops import PerLoop
from apps.processing import wake

KEPT_SECONDS = 2.0
KEPT_BYTES = 8 * 1024 * 1024  # of all kept pages, their addresses, and what keeping them takes
ENTRY_BYTES = 600  # beside a page's address and content: objects, and places in mappings

State = tuple[bytes | str, int]


@dataclass(frozen=True, slots=True)
class Page:
    """An answer's bytes, their entity tag, and of which state they are."""

    content: bytes
    etag: str
    state: State | None
    until: float


class Pages:
    """The pages that this event loop keeps."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Page] = OrderedDict()
        self._bytes = 0
        self._rendering: dict[tuple[str, State], asyncio.Task[Page]] = {}
        self._asking: list[asyncio.Future[State | None]] = []
        self._asker: asyncio.Task[None] | None = None
        self._silent_until = 0.0

    async def get(self, address: str, render: Callable[[], Awaitable[bytes]]) -> Page:
        """The page at this address: kept and still good, or rendered now. Raises what `render` raises."""
        state = await self._state()
        if state is None:
            return _page(await render(), None)
        kept = self._kept.get(address)
        if kept is not None and kept.state == state and time.monotonic() < kept.until:
            self._kept.move_to_end(address)
            return kept
        task = self._rendering.get((address, state))
        if task is None:
            # A task of its own: those who wait for the same page must not lose it with the first one's connection.
            task = self._rendering[address, state] = asyncio.ensure_future(self._render(address, state, render))
        return await asyncio.shield(task)

    async def _render(self, address: str, state: State, render: Callable[[], Awaitable[bytes]]) -> Page:
        try:
            page = _page(await render(), state)
        finally:
            del self._rendering[address, state]
        self._keep(address, page)
        return page

    def _keep(self, address: str, page: Page) -> None:
        before = self._kept.pop(address, None)
        self._bytes += _cost(address, page) - (_cost(address, before) if before else 0)
        self._kept[address] = page
        while self._bytes > KEPT_BYTES:
            self._bytes -= _cost(*self._kept.popitem(last=False))

    async def _state(self) -> State | None:
        """What Redis says of changes, asked after this call; None when it cannot say.

        One question at a time: all who come while one is on its way are answered by the next.
        """
        if time.monotonic() < self._silent_until:
            return None
        answer: asyncio.Future[State | None] = asyncio.get_running_loop().create_future()
        self._asking.append(answer)
        if self._asker is None:
            self._asker = asyncio.ensure_future(self._ask())
        return await answer

    async def _ask(self) -> None:
        try:
            while self._asking:
                asking, self._asking = self._asking, []
                state: State | None = None
                try:
                    async with asyncio.timeout(wake.ANSWER_SECONDS):
                        missed = wake.missed()
                        value = await connections.async_client().get(CHANGED)
                        if value is None:  # an empty Redis: from now on changes will be seen
                            await connections.async_client().set(CHANGED, secrets.token_hex(8), nx=True)
                        else:
                            state = (value, missed)
                except connections.AWAY:
                    self._silent_until = time.monotonic() + wake.PAUSE_SECONDS
                finally:
                    for answer in asking:
                        if not answer.done():
                            answer.set_result(state)
        finally:
            self._asker = None


def _cost(address: str, page: Page) -> int:
    return len(address) + len(page.content) + ENTRY_BYTES


def _page(content: bytes, state: State | None) -> Page:
    return Page(content, etag_of(content), state, time.monotonic() + KEPT_SECONDS)


_pages = PerLoop(Pages)


def pages() -> Pages:
    """This event loop's pages."""
    return _pages.get()
