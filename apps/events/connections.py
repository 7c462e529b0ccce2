"""Connections to Redis: one client a process for synchronous code, one an event loop for asynchronous code.

Short time-outs and no retries: who calls decides what to do while Redis is away.
"""

import asyncio
import os
import weakref
from typing import Any

import redis
import redis.asyncio
from django.conf import settings
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

AWAY = (redis.RedisError, OSError, asyncio.TimeoutError)

_sync: tuple[int, redis.Redis] | None = None
_async: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, redis.asyncio.Redis]" = weakref.WeakKeyDictionary()


def _options() -> dict[str, Any]:
    return {
        "socket_connect_timeout": settings.REDIS_CONNECT_SECONDS,
        "socket_timeout": settings.REDIS_ANSWER_SECONDS,
    }


def sync_client() -> redis.Redis:
    """This process's client; a forked child gets one of its own."""
    global _sync
    if _sync is None or _sync[0] != os.getpid():
        client = redis.Redis.from_url(settings.REDIS_URL, retry=Retry(NoBackoff(), 0), **_options())
        _sync = (os.getpid(), client)
    return _sync[1]


def async_client() -> redis.asyncio.Redis:
    """This event loop's client."""
    loop = asyncio.get_running_loop()
    client = _async.get(loop)
    if client is None:
        client = redis.asyncio.Redis.from_url(settings.REDIS_URL, retry=AsyncRetry(NoBackoff(), 0), **_options())
        _async[loop] = client
    return client


def close_sync() -> None:
    """Close this process's client."""
    global _sync
    if _sync is not None and _sync[0] == os.getpid():
        _sync[1].close()
    _sync = None


async def close_async() -> None:
    """Close this event loop's client."""
    client = _async.pop(asyncio.get_running_loop(), None)
    if client is not None:
        await client.aclose()
