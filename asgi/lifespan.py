"""What opens with the server and closes with it. Source: the ASGI lifespan protocol 2.0."""

import asyncio
from typing import Any

from apps.events.connections import close_async
from apps.events.hub import close_hub
from apps.files import storage, threads
from apps.processing import wake
from apps.uploads.commit import close_committer
from project import pulse


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """Make the storage's directories at the start; at the end, commit what has arrived and close what is shared.

    In between, this loop shows that it is not stuck.
    """
    beating = asyncio.create_task(_beat())
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await asyncio.to_thread(storage.prepare)
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await close_committer()
            await close_hub()
            await asyncio.to_thread(wake.close)
            await close_async()
            await asyncio.to_thread(threads.close)
            beating.cancel()
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _beat() -> None:
    while True:
        pulse.beat()
        await asyncio.sleep(pulse.BEAT_SECONDS)
