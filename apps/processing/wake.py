"""Waking the dispatcher: a word on a Redis channel, said after a commit. Lost words cost one poll, never a file."""

import asyncio
import logging

from apps.events import connections

logger = logging.getLogger(__name__)

CHANNEL = "filewire:wake"

_speaking: set[asyncio.Task[None]] = set()
_unsaid = False


async def wake() -> None:
    """Say that something waits; returns at once, whether or not Redis can be reached.

    One word at a time: those that come while one is being said are said as one, after it. (It may have been heard,
    and acted on, before what they are about was there.)
    """
    global _unsaid
    _unsaid = True
    if not _speaking:
        task = asyncio.create_task(_say())
        _speaking.add(task)
        task.add_done_callback(_speaking.discard)


async def close() -> None:
    """Return when the last word is said, so that its connection may be closed."""
    await asyncio.gather(*_speaking, return_exceptions=True)


async def _say() -> None:
    global _unsaid
    try:
        while _unsaid:
            _unsaid = False
            await connections.async_client().publish(CHANNEL, "1")
    except connections.AWAY as error:
        logger.debug("nobody could be woken: %s", type(error).__name__)
