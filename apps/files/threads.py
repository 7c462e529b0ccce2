"""The way from the event loop into the database and back: a few long-lived threads, each with its connection.

asgiref would give each request a thread of its own, hence a new PostgreSQL connection (8 ms). These threads live as
long as the process, so their connections do too; one that sat idle is tried before it is used, and a lost one is
opened again.
"""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, Error, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from apps.files.errors import DatabaseAway
from apps.files.faults import is_database_away

P = ParamSpec("P")
T = TypeVar("T")

IDLE_SECONDS = 1.0  # a connection idle for longer may have been closed by the other end

_last_used = threading.local()
_pool: ThreadPoolExecutor | None = None
_opened: list[BaseDatabaseWrapper] = []  # one connection a thread


def _executor() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(
            settings.FILEWIRE_DATABASE_THREADS,
            thread_name_prefix="database",
            initializer=lambda: _opened.append(connections[DEFAULT_DB_ALIAS]),
        )
    return _pool


@contextmanager
def connected() -> Iterator[None]:
    """A block of database work in this thread: on a connection that answers, DatabaseAway when there is none."""
    now = time.monotonic()
    if now - getattr(_last_used, "moment", 0.0) > IDLE_SECONDS and connection.connection is not None:
        connection.close_if_unusable_or_obsolete()
        if connection.connection is not None and not connection.is_usable():
            connection.close()
    try:
        yield
    except Error as error:
        if not is_database_away(error):
            raise
        connection.close()
        raise DatabaseAway from error
    finally:
        _last_used.moment = time.monotonic()


async def transact(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the function returns, run in a thread that may use the database. Raises DatabaseAway, and what it raises."""

    def call() -> T:
        with connected():
            return function(*args, **kwargs)

    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(_executor(), lambda: context.run(call))


def close() -> None:
    """End the threads and their connections."""
    global _pool
    if _pool is not None:
        pool, _pool = _pool, None
        pool.shutdown(wait=True)
        while _opened:
            left = _opened.pop()
            left.inc_thread_sharing()  # its own thread is gone
            left.close()
