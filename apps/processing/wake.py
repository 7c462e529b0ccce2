"""Waking the dispatcher: a word on a Redis channel, said after a commit. Lost words cost one poll, never a file."""

import asyncio
import logging

from apps.events import connections

logger = logging.getLogger(__name__)

CHANNEL = "filewire:wake"

_speaking: set[asyncio.Task[None]] = set()


async def wake() -> None:
    """Say that something waits; returns at once, whether or not Redis can be reached.

    Words that would be said while one is being said say nothing more, so one at a time is said.
    """
    if not _speaking:
        task = asyncio.create_task(_say())
        _speaking.add(task)
        task.add_done_callback(_speaking.discard)


async def _say() -> None:
    try:
        await connections.async_client().publish(CHANNEL, "1")
    except connections.AWAY as error:
        logger.debug("nobody could be woken: %s", type(error).__name__)
