"""Publishing: append to the stream, then announce through the channel layer to all files' group and to the file's own.

The file's own group is told where it has members: the stream knows, and a message for nobody costs as much as another.

Synchronous, for the worker and the dispatcher. The announcement may be lost (Redis' publish/subscribe keeps nothing);
the hub notices by the cursor of the event before it and reads the stream.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from channels.layers import get_channel_layer
from django.utils import timezone

from apps.events import connections, stream
from apps.events.event import Cursor, body, frame
from apps.events.stream import Appended, Entry
from apps.files.document import document, moment
from apps.files.models import File

logger = logging.getLogger(__name__)

ALL_FILES = "files"
ANNOUNCE_SECONDS = 3.0

_loop: tuple[int, asyncio.AbstractEventLoop] | None = None
_lock = threading.Lock()


def group_of(file_id: object) -> str:
    """The channel layer's group of one file's readers."""
    return f"file.{file_id}"


def pending(*files: File) -> bool:
    """Publish these rows' unpublished events, each row's in their order; False when the feed is away.

    Then all of them stay pending, and the ones that got there are known when they are published again.
    """
    return _publish(
        [
            Entry(
                file_id=str(file.id),
                seq=entry["seq"],
                durable=True,
                kept=body(type=entry["type"], subject=str(file.id), time=entry["time"], data=entry["data"]),
            )
            for file in files
            for entry in file.pending or []
        ]
    )


def progress(file: File) -> None:
    """Publish that the file is as far as its row says. Lost when the feed is away: the next one says more."""
    time = moment(timezone.now()) or ""
    kept = body(type="file.progress", subject=str(file.id), time=time, data=document(file))
    _publish([Entry(file_id=str(file.id), seq=file.version, durable=False, kept=kept)])


def _publish(entries: Sequence[Entry]) -> bool:
    if not entries:
        return True
    try:
        appended = stream.append(connections.sync_client(), entries)
    except connections.AWAY as error:
        logger.warning("the feed is away: %s", type(error).__name__, extra={"file_id": entries[0].file_id})
        return False
    _announce([(entry, place) for entry, place in zip(entries, appended, strict=True) if place is not None])
    return True


def _announce(events: Sequence[tuple[Entry, Appended]]) -> None:
    """Tell the groups, all files' by one message; each is told the event that was before each one for its readers."""
    groups: dict[str, list[dict[str, str]]] = {}
    for entry, place in events:
        text = frame(place.cursor, entry.kept).text
        groups.setdefault(ALL_FILES, []).append(_told(place.cursor, place.before, text))
        if place.followed:
            groups.setdefault(group_of(entry.file_id), []).append(_told(place.cursor, place.before_of_file, text))
    if not groups:
        return
    try:
        _run(_send_all(groups))
    except connections.AWAY as error:
        # The events are in the stream: the hubs find them there within two of their ticks.
        logger.warning("an announcement was lost: %s", type(error).__name__, extra={"file_id": events[0][0].file_id})


def _told(cursor: Cursor, before: Cursor, text: str) -> dict[str, str]:
    return {"id": str(cursor), "before": str(before), "text": text}


async def _send_all(groups: Mapping[str, list[dict[str, str]]]) -> None:
    layer: Any = get_channel_layer()
    for group, events in groups.items():
        await layer.group_send(group, {"type": "feed.events", "group": group, "events": events})


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run on this process's own event loop, in its own thread.

    One loop for the life of the process: `async_to_sync` would make a loop, and so a connection, for each call,
    and leave it behind ("Event loop is closed").
    """
    global _loop
    with _lock:
        if _loop is None or _loop[0] != os.getpid():
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="announce", daemon=True).start()
            _loop = (os.getpid(), loop)
    asyncio.run_coroutine_threadsafe(coroutine, _loop[1]).result(ANNOUNCE_SECONDS)
