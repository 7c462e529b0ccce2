"""Connections to Redis: one client a process for synchronous code, one an event loop for asynchronous code.

Short time-outs and no retries: who calls decides what to do while Redis is away.
"""

import asyncio
import os

import redis
import redis.asyncio
from django.conf import settings
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from apps.files.loops import PerLoop

CONNECTIONS = 64  # of an event loop: thousands of readers that come back at once take turns
TURN_SECONDS = 20.0  # to wait for one of them
AWAY = (redis.RedisError, OSError, asyncio.TimeoutError)


def open_sync(connect_seconds: float, answer_seconds: float) -> redis.Redis:
    """A new client, for whoever waits no longer than this."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        retry=Retry(NoBackoff(), 0),
        socket_connect_timeout=connect_seconds,
        socket_timeout=answer_seconds,
    )


def _open_async() -> redis.asyncio.Redis:
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        settings.REDIS_URL,
        max_connections=CONNECTIONS,
        timeout=TURN_SECONDS,
        retry=AsyncRetry(NoBackoff(), 0),
        socket_connect_timeout=settings.REDIS_CONNECT_SECONDS,
        socket_timeout=settings.REDIS_ANSWER_SECONDS,
    )
    client: redis.asyncio.Redis = redis.asyncio.Redis.from_pool(pool)
    return client


_sync: tuple[int, redis.Redis] | None = None
_async = PerLoop(_open_async)


def sync_client() -> redis.Redis:
    """This process's client; a forked child gets one of its own."""
    global _sync
    if _sync is None or _sync[0] != os.getpid():
        _sync = (os.getpid(), open_sync(settings.REDIS_CONNECT_SECONDS, settings.REDIS_ANSWER_SECONDS))
    return _sync[1]


def async_client() -> redis.asyncio.Redis:
    """This event loop's client."""
    return _async.get()


def close_sync() -> None:
    """Close this process's client."""
    global _sync
    if _sync is not None and _sync[0] == os.getpid():
        _sync[1].close()
    _sync = None


async def close_async() -> None:
    """Close this event loop's client."""
    client = _async.pop()
    if client is not None:
        await client.aclose()
