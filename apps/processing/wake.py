"""The word that is said after a commit and before its answer: the dispatcher wakes by it, and no kept page is good.

Synchronous, in the thread of the commit, one word for all that was committed together. A Redis that is away costs a
quarter of a second, then nothing for a second. Lost words cost the dispatcher one poll, never a file; what they were to
say of kept answers is known here by `missed`, and elsewhere after `apps.api.pages.KEPT_SECONDS`.
"""

import itertools
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import redis
from django.conf import settings

from apps.events import connections
from apps.events.stream import CHANGED

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)

CHANNEL = "filewire:wake"
ANSWER_SECONDS = 0.25
PAUSE_SECONDS = 1.0

_numbers = itertools.count()
_spoken: tuple[tuple[int, str], redis.Redis, str] | None = None
_lock = threading.Lock()
_silent_until = 0.0
_missed = 0


def missed() -> int:
    """How many words were not said: what was kept before the last of them is not to be trusted."""
    return _missed


def tell() -> None:
    """Say that something was committed; returns soon, whether or not Redis can be reached."""
    global _silent_until, _missed
    client, name = _mouth()
    if time.monotonic() < _silent_until:
        _missed += 1
        return
    try:
        with client.pipeline(transaction=False) as words:
            words.set(CHANGED, f"{name}-{next(_numbers)}")
            words.publish(CHANNEL, "1")
            words.execute()
    except connections.AWAY as error:
        _missed += 1
        _silent_until = time.monotonic() + PAUSE_SECONDS
        logger.debug("nobody could be told: %s", type(error).__name__)


def told(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the function returns, once the word is said of what it committed. Raises what it raises."""
    result = function(*args, **kwargs)
    tell()
    return result


def _mouth() -> tuple[redis.Redis, str]:
    """This process's client for words, and a name that no other process has."""
    global _spoken, _silent_until
    whose = (os.getpid(), settings.REDIS_URL)
    with _lock:
        if _spoken is None or _spoken[0] != whose:
            client = connections.open_sync(ANSWER_SECONDS, ANSWER_SECONDS)
            _spoken, _silent_until = (whose, client, secrets.token_hex(8)), 0.0
        return _spoken[1], _spoken[2]


def close() -> None:
    """Close this process's client for words."""
    global _spoken, _silent_until
    with _lock:
        if _spoken is not None and _spoken[0][0] == os.getpid():
            _spoken[1].close()
        _spoken, _silent_until = None, 0.0
