"""Whether the process lives, and whether the service can do its work, part by part."""

import asyncio
from collections.abc import Awaitable, Callable

from django.db import connection
from django.http import HttpResponse, JsonResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from apps.api import schema
from apps.api.view import DoorView
from apps.events import connections
from apps.files import lifecycle, storage
from apps.files.errors import DatabaseAway
from apps.files.threads import transact
from apps.processing import presence

CHECK_SECONDS = 3.0
COUNTED_FILES = 10_000


class Health(DoorView):
    """`GET /healthz`."""

    checks_host = False  # a probe calls the process by its address

    @extend_schema(operation_id="healthz", responses={200: dict})
    async def get(self, request: Request) -> HttpResponse:
        """The process lives."""
        return JsonResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})


def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


async def _check_database() -> str | None:
    await transact(_database)
    return None


async def _check_broker() -> str | None:
    await connections.async_client().ping()
    return None


async def _check_storage() -> str | None:
    await asyncio.to_thread(storage.probe)
    return None


async def _check_worker() -> str | None:
    count = await presence.count(connections.async_client())
    return None if count else "no worker answers"


CHECKS: dict[str, Callable[[], Awaitable[str | None]]] = {
    "database": _check_database,
    "broker": _check_broker,
    "storage": _check_storage,
    "worker": _check_worker,
}


async def _outcome(check: Callable[[], Awaitable[str | None]]) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check() or "ok"
    except TimeoutError:
        return "no answer in time"
    except Exception as error:
        return f"unavailable ({type(error).__name__})"


async def _queue() -> dict[str, float | None] | None:
    """How many files wait, counted up to a bound, and for how long; null while the database is away."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            found = await transact(lifecycle.backlog, COUNTED_FILES)
    except (TimeoutError, DatabaseAway):
        return None
    age = found.oldest_seconds
    return {"queued": found.queued, "oldest_seconds": None if age is None else round(age, 3)}


class Readiness(DoorView):
    """`GET /readyz`."""

    checks_host = False

    @extend_schema(operation_id="readyz", responses={200: dict, 503: dict, **schema.problems(406)})
    async def get(self, request: Request) -> HttpResponse:
        """Database, broker, storage and at least one worker answer; 503 names those that do not."""
        outcomes = await asyncio.gather(*(_outcome(check) for check in CHECKS.values()))
        checks = dict(zip(CHECKS, outcomes, strict=True))
        ready = all(outcome == "ok" for outcome in outcomes)
        body = {"status": "ok" if ready else "unavailable", "checks": checks, "queue": await _queue()}
        headers = {"Cache-Control": "no-store"} | ({} if ready else {"Retry-After": "2"})
        return JsonResponse(body, status=200 if ready else 503, headers=headers)
