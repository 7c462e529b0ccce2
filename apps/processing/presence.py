"""Which workers are there: each says so every few seconds, in a sorted set of Redis, and is believed for a while."""

import time
from typing import Any

WORKERS = "filewire:workers"
BELIEVED_SECONDS = 10.0


def announce(client: Any, name: str) -> None:
    """This worker is there. Raises redis.RedisError."""
    now = time.time()
    with client.pipeline(transaction=False) as pipeline:
        pipeline.zadd(WORKERS, {name: now + BELIEVED_SECONDS})
        pipeline.zremrangebyscore(WORKERS, "-inf", now)
        pipeline.execute()


def leave(client: Any, name: str) -> None:
    """This worker goes. Raises redis.RedisError."""
    client.zrem(WORKERS, name)


async def count(client: Any) -> int:
    """How many workers are there. Raises redis.RedisError."""
    return int(await client.zcount(WORKERS, time.time(), "+inf"))
