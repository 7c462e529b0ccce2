"""Publishing: append to the stream, then announce through the channel layer to all files' group and to the file's own.

Synchronous, for the worker and the dispatcher. The announcement may be lost (Redis' publish/subscribe keeps nothing);
the hub notices by the cursor of the event before it and reads the stream.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Coroutine
from typing import Any

from channels.layers import get_channel_layer
from django.utils import timezone

from apps.events import connections, stream
from apps.events.event import body, frame
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


def pending(file: File) -> bool:
    """Publish the row's unpublished events, in their order; False when the feed is away, and they stay pending."""
    for entry in file.pending or []:
        kept = body(type=entry["type"], subject=str(file.id), time=entry["time"], data=entry["data"])
        if not _publish(str(file.id), entry["seq"], durable=True, kept=kept):
            return False
    return True


def progress(file: File) -> None:
    """Publish that the file is as far as its row says. Lost when the feed is away: the next one says more."""
    time = moment(timezone.now()) or ""
    kept = body(type="file.progress", subject=str(file.id), time=time, data=document(file))
    _publish(str(file.id), file.version, durable=False, kept=kept)


def _publish(file_id: str, seq: int, *, durable: bool, kept: bytes) -> bool:
    try:
        appended = stream.append(connections.sync_client(), file_id=file_id, seq=seq, durable=durable, kept=kept)
    except connections.AWAY as error:
        logger.warning("the feed is away: %s", type(error).__name__, extra={"file_id": file_id})
        return False
    if appended is not None:
        _announce(file_id, appended, frame(appended.cursor, kept).text)
    return True


def _announce(file_id: str, appended: stream.Appended, text: str) -> None:
    """Tell both groups; each is told the event that was before this one for its readers."""
    places = ((ALL_FILES, appended.before), (group_of(file_id), appended.before_of_file))
    try:
        _run(_send_all([(group, _message(group, appended, before, text)) for group, before in places]))
    except connections.AWAY as error:
        # The event is in the stream: the hubs find it there within two of their ticks.
        logger.warning("an announcement was lost: %s", type(error).__name__, extra={"file_id": file_id})


def _message(group: str, appended: stream.Appended, before: object, text: str) -> dict[str, str]:
    return {
        "type": "feed.event",
        "group": group,
        "id": str(appended.cursor),
        "before": str(before),
        "text": text,
    }


async def _send_all(messages: list[tuple[str, dict[str, str]]]) -> None:
    layer: Any = get_channel_layer()
    for group, message in messages:
        await layer.group_send(group, message)


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
