"""One client's way through the feed: what it missed, then what comes, each event once and in order."""

import contextlib
import dataclasses
import time
import uuid
from collections.abc import AsyncIterator

from apps.events import connections, stream
from apps.events.event import Cursor, Frame
from apps.events.hub import Topic, hub
from apps.files.errors import FeedAway


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """The next frames, none when the wait was over; or `resync`: the feed no longer reaches back to the reader."""

    frames: list[Frame]
    cursor: Cursor
    resync: bool = False


class Reader:
    """A place in the feed that only moves forward."""

    def __init__(self, topic: Topic, after: Cursor | None) -> None:
        self._topic = topic
        self.newest = topic.end
        self.position = topic.end if after is None else after

    @property
    def ended(self) -> bool:
        """Whether the server is stopping: what comes next is for another server, under the same cursor."""
        return hub().stopping

    async def next(self, wait_seconds: float) -> Batch:
        """The frames after the reader's place, waiting for one at most so long. Raises FeedAway."""
        deadline = time.monotonic() + wait_seconds
        while True:
            if self.position < self._topic.start or self.position > self._topic.end:
                batch = await self._from_stream()
            else:
                batch = self._from_ring()
            self.position = batch.cursor
            left = deadline - time.monotonic()
            if batch.frames or batch.resync or left <= 0 or self.ended:
                return batch
            if self.position >= self._topic.end:
                await self._topic.changed(left)

    def _from_ring(self) -> Batch:
        frames = self._topic.after(self.position)
        if len(frames) <= stream.PAGE_EVENTS:
            return Batch(frames=frames, cursor=self._topic.end)
        # A client that does not read keeps its batch, and the ring moves on: so it gets no more than a page of it.
        frames = frames[: stream.PAGE_EVENTS]
        return Batch(frames=frames, cursor=frames[-1].cursor)

    async def _from_stream(self) -> Batch:
        try:
            page = await stream.page(hub().client, self.position, self._topic.file_id)
        except connections.AWAY as error:
            raise FeedAway from error
        if page.lost:
            return Batch(frames=[], cursor=page.newest, resync=True)
        return Batch(frames=page.frames, cursor=page.through)


@contextlib.asynccontextmanager
async def reading(file_id: uuid.UUID | None, after: Cursor | None) -> AsyncIterator[Reader]:
    """A reader of all files' events, or of one file's, after the cursor or from now on. Raises FeedAway."""
    async with hub().topic(file_id) as topic:
        yield Reader(topic, after)
