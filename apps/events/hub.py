"""The feed live, once per process: follows the channel layer's groups and keeps the newest events for all readers.

Each topic (all files, or one file) keeps a ring of frames without a gap between `start` and `end`. A reader keeps
nothing but its place: one that falls behind the ring reads the stream, so a thousand slow readers cost what one
does. An announcement names the event before it; where that is not the ring's end, something was missed (the channel
layer keeps nothing for a subscriber that is away), and the hub fills the gap from the stream before going on. A tick
finds what was missed with nothing after it.
"""

import asyncio
import contextlib
import logging
import uuid
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from channels.layers import get_channel_layer

from apps.events import connections, stream
from apps.events.event import BEGINNING, Cursor, Frame
from apps.events.publish import ALL_FILES, group_of
from apps.files.errors import FeedAway
from apps.files.loops import PerLoop

logger = logging.getLogger(__name__)

RING_FRAMES = 1024
TICK_SECONDS = 1.0
FOLLOW_TICKS = 5  # so often it is said which files are read alone: six times within the time for which it holds
JOIN_SECONDS = 5.0


class Topic:
    """What is being read on this process of all files, or of one."""

    def __init__(self, file_id: uuid.UUID | None, end: Cursor) -> None:
        self.file_id = file_id
        self.group = ALL_FILES if file_id is None else group_of(file_id)
        self.ring: deque[Frame] = deque()
        self.start = end
        self.end = end
        self.readers = 0
        self.late: Cursor | None = None  # what the last tick found to be missing
        self._waiting: set[asyncio.Event] = set()

    def after(self, position: Cursor) -> list[Frame]:
        """The kept frames after this place, oldest first."""
        frames = []
        for frame in reversed(self.ring):
            if frame.cursor <= position:
                break
            frames.append(frame)
        frames.reverse()
        return frames

    def append(self, frame: Frame) -> None:
        """Keep the next frame, and let go of the oldest."""
        if len(self.ring) == RING_FRAMES:
            self.start = self.ring.popleft().cursor
        self.ring.append(frame)
        self.end = frame.cursor
        self.wake()

    def restart(self, end: Cursor) -> None:
        """Keep nothing from before this place: readers that are not there yet must ask the stream."""
        self.ring.clear()
        self.start = self.end = end
        self.wake()

    def wake(self) -> None:
        """Let every waiting reader look."""
        for event in self._waiting:
            event.set()

    async def changed(self, timeout_seconds: float) -> None:
        """Return when there may be something new, or when the time is over."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            async with asyncio.timeout(timeout_seconds):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting.discard(event)


class Hub:
    """All topics of this event loop, and the two tasks that feed them."""

    def __init__(self) -> None:
        self.client = connections.async_client()
        self._layer: Any = get_channel_layer()
        self._channel = ""
        self._topics: dict[str, Topic] = {}
        self._genesis: Cursor | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._joining = asyncio.Lock()
        self._ticks = 0
        self.stopping = False

    @contextlib.asynccontextmanager
    async def topic(self, file_id: uuid.UUID | None) -> AsyncIterator[Topic]:
        """The topic, joined before its end is read, so that nothing falls between. Raises FeedAway."""
        name = ALL_FILES if file_id is None else group_of(file_id)
        try:
            # The wait for those who join before is part of it: while Redis hangs, a thousand must not take turns.
            async with asyncio.timeout(JOIN_SECONDS), self._joining:
                topic = self._topics.get(name)
                if topic is None:
                    topic = await self._join(name, file_id)
                topic.readers += 1
        except connections.AWAY as error:
            raise FeedAway from error
        try:
            yield topic
        finally:
            topic.readers -= 1
            if not topic.readers and self._topics.get(name) is topic:
                del self._topics[name]
                with contextlib.suppress(*connections.AWAY):
                    async with asyncio.timeout(JOIN_SECONDS):
                        await self._layer.group_discard(name, self._channel)

    async def _join(self, name: str, file_id: uuid.UUID | None) -> Topic:
        if not self._channel:
            await stream.newest(self.client)  # the layer never forgets a channel that it could not subscribe to
            self._channel = await self._layer.new_channel()
            self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._tick())]
        await self._layer.group_add(name, self._channel)
        if file_id is not None:
            await stream.newest_of(self.client, [file_id], follow=True)
        newest, genesis = await stream.newest(self.client)
        if self._genesis is None:
            self._genesis = genesis
        topic = Topic(file_id, newest)
        self._topics[name] = topic
        return topic

    async def _listen(self) -> None:
        # Never cancelled but at the end: the layer takes a cancelled `receive` for the channel's end.
        while True:
            message = await self._layer.receive(self._channel)
            try:
                await self._take(message)
            except Exception:  # one bad announcement must not end the feed; the stream has the event
                logger.exception("an announcement met an error nobody foresaw")

    async def _take(self, message: dict[str, Any]) -> None:
        topic = self._topics.get(message["group"])
        if topic is None:
            return
        for event in message["events"]:
            cursor = Cursor.parse(event["id"])
            if cursor <= topic.end:
                continue
            if Cursor.parse(event["before"]) <= topic.end:
                topic.append(Frame(cursor, event["text"]))
            else:
                await self._fill(topic)

    async def _fill(self, topic: Topic) -> None:
        """Append what the stream has after the topic's end."""
        try:
            while True:
                page = await stream.page(self.client, topic.end, topic.file_id)
                if page.lost:
                    topic.restart(page.newest)
                    return
                for frame in page.frames:
                    if frame.cursor > topic.end:
                        topic.append(frame)
                if page.through >= page.newest:
                    return
                topic.end = max(topic.end, page.through)
        except connections.AWAY:
            return  # the tick tries again

    async def _tick(self) -> None:
        away = False
        while True:
            await asyncio.sleep(TICK_SECONDS)
            if not self._topics:
                continue
            try:
                await self._check()
            except connections.AWAY as error:
                if not away:
                    logger.warning("the feed is away: %s", type(error).__name__)
                away = True
            except Exception:
                logger.exception("the feed's check met an error nobody foresaw")
            else:
                if away:
                    logger.info("the feed is back")
                away = False

    async def _check(self) -> None:
        newest, genesis = await stream.newest(self.client)
        topics = list(self._topics.values())
        files = [topic.file_id for topic in topics if topic.file_id is not None]
        if genesis != self._genesis:  # the feed began anew: no cursor from before means anything
            self._genesis = genesis
            for topic in topics:
                topic.restart(newest)
            await stream.newest_of(self.client, files, follow=True)
            return
        self._ticks += 1
        newest_of = await stream.newest_of(self.client, files, follow=self._ticks % FOLLOW_TICKS == 0)
        of_files = dict(zip(files, newest_of, strict=True))
        for topic in topics:
            there = newest if topic.file_id is None else of_files.get(topic.file_id, BEGINNING)
            # One tick's grace: an announcement may still be on its way.
            if topic.late is not None and topic.end < topic.late:
                await self._fill(topic)
            topic.late = there if there > topic.end else None

    def stop(self) -> None:
        """The server is stopping: every reader is to end, and whoever waits is to look."""
        self.stopping = True
        for topic in self._topics.values():
            topic.wake()

    async def close(self) -> None:
        """End the two tasks; waiting no longer than to join: the layer takes its leave of Redis, which may be away."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            ended, _ = await asyncio.wait(self._tasks, timeout=JOIN_SECONDS)
            await asyncio.gather(*ended, return_exceptions=True)
        self._tasks = []
        self._topics = {}


_hubs = PerLoop(Hub)


def hub() -> Hub:
    """This event loop's hub."""
    return _hubs.get()


async def close_hub() -> None:
    """Close this event loop's hub, if it has one."""
    found = _hubs.pop()
    if found is not None:
        await found.close()
