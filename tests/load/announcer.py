"""Publishes one event for each line of stdin, `ours` or as the peer `group` would; says what and when, as JSON.

Ours goes the way of the worker's events: appended to the stream, then announced. The peer's text is as long.
"""

import asyncio
import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator


def ours() -> Callable[[uuid.UUID], None]:
    """This service's own publishing."""
    import django

    django.setup()
    from apps.events import publish
    from apps.files.models import File

    def send(file_id: uuid.UUID) -> None:
        name, size = "a file among many.txt", 10_240
        publish.progress(File(id=file_id, file="x", name=name, size=size, content_type="text/plain", kind="text"))

    return send


def group() -> Callable[[uuid.UUID], None]:
    """`group_send` of the channel layer."""
    from channels_redis.pubsub import RedisPubSubChannelLayer

    layer = RedisPubSubChannelLayer(hosts=[os.environ["REDIS_URL"]])
    loop = asyncio.new_event_loop()

    def send(file_id: uuid.UUID) -> None:
        event = {"type": "file.progress", "subject": str(file_id), "data": "x" * 600}
        text = json.dumps(event, separators=(",", ":"))
        loop.run_until_complete(layer.group_send("files", {"type": "file.event", "text": text}))

    return send


def lines() -> Iterator[str]:
    """What is asked for, as it comes."""
    while line := sys.stdin.readline():
        yield line


if __name__ == "__main__":
    send = {"ours": ours, "group": group}[sys.argv[1]]()
    print(json.dumps({"ready": True}), flush=True)
    for _ in lines():
        file_id = uuid.uuid4()
        at = time.monotonic()
        send(file_id)
        print(json.dumps({"id": str(file_id), "at": at}), flush=True)
