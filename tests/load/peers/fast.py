"""FastAPI with asyncpg, as their documentation leads to: an UploadFile, a pool, an INSERT, a task.

Run as `uvicorn tests.load.peers.fast:application`, with DATABASE_URL, REDIS_URL and DATA in the environment. QUEUE says
who is sent the task: `celery` or `arq`. COMMIT=group gives it this project's own way to commit, so that it is seen how
much of the difference that makes. FSYNC=on makes the bytes durable before the answer.
"""

import asyncio
import contextlib
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import arq
import asyncpg
from arq.connections import RedisSettings
from celery import Celery
from fastapi import FastAPI, UploadFile
from fastapi.concurrency import run_in_threadpool

DATA = Path(os.environ["DATA"])
INSERT = "INSERT INTO upload (id, file, uploaded_at, processed) VALUES ($1, $2, $3, false)"
TOGETHER = """INSERT INTO upload (id, file, uploaded_at, processed)
    SELECT *, false FROM unnest($1::uuid[], $2::text[], $3::timestamptz[])"""
LIST = "SELECT id, file, uploaded_at, processed FROM upload ORDER BY uploaded_at DESC LIMIT 50"

celery = Celery("fast", broker=os.environ["REDIS_URL"])


@celery.task(name="fast.process", ignore_result=True)
def process(file_id: str) -> None:
    """Never run here: what is measured is what it takes to accept a file."""


class Group:
    """Uploads that arrive while the last transaction is in flight share the next one."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._waiting: list[tuple[tuple[Any, ...], asyncio.Future[None]]] = []
        self._running: asyncio.Task[None] | None = None

    async def insert(self, row: tuple[Any, ...]) -> None:
        """Return when the row is committed."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, done))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        await done

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await self._pool.execute(
                    TOGETHER, *(list(column) for column in zip(*(row for row, _ in batch), strict=True))
                )
            except Exception as error:
                for _, done in batch:
                    done.set_exception(error)
            else:
                for _, done in batch:
                    done.set_result(None)
        self._running = None


@contextlib.asynccontextmanager
async def lifespan(application: FastAPI) -> AsyncIterator[None]:
    """Pools, opened once."""
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], max_size=16) as pool:
        state = application.state
        state.pool = pool
        group = Group(pool)

        async def each(row: tuple[Any, ...]) -> None:
            await pool.execute(INSERT, *row)

        state.insert = group.insert if os.environ.get("COMMIT") == "group" else each
        state.send = await sender()
        yield


async def sender() -> Callable[[str], Awaitable[Any]]:
    """What sends a task, by its queue's own client."""
    if os.environ["QUEUE"] == "arq":
        redis = await arq.create_pool(RedisSettings.from_dsn(os.environ["REDIS_URL"]))
        return lambda file_id: redis.enqueue_job("process", file_id)
    return lambda file_id: run_in_threadpool(process.delay, file_id)


application = FastAPI(lifespan=lifespan)


def save(source: BinaryIO, path: Path) -> None:
    """The upload's bytes, where they stay."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as target:
        shutil.copyfileobj(source, target)
        if os.environ.get("FSYNC") == "on":
            target.flush()
            os.fsync(target.fileno())


@application.post("/upload/", status_code=201)
async def upload(file: UploadFile) -> dict[str, Any]:
    """Save, record, send."""
    file_id = uuid.uuid4()
    name = f"{file_id.hex[:2]}/{file_id.hex}"
    await run_in_threadpool(save, file.file, DATA / name)
    uploaded_at = datetime.now(UTC)
    await application.state.insert((file_id, name, uploaded_at))
    await application.state.send(str(file_id))
    return {"id": file_id, "file": name, "uploaded_at": uploaded_at, "processed": False}


@application.get("/files/")
async def files() -> dict[str, Any]:
    """The newest fifty."""
    return {"results": [dict(row) for row in await application.state.pool.fetch(LIST)]}
