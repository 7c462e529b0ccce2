"""Back-pressure: more uploads than the service takes, whether or not earlier ones were answered."""

import asyncio
import time

import psutil
import pytest

from tests.acceptance.service import Service, service
from tests.load.arrivals import Found, Pool, arrive, quantile, request_of

LIMIT = 8
SECONDS = 4.0
TIMES = 2.0
MIB = 1024 * 1024


def request(running: Service) -> bytes:
    """An upload of 10 KiB as it goes over the wire."""
    boundary = "a-boundary"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
    body = head.encode() + b"a line of a text\n" * 600 + f"\r\n--{boundary}--\r\n".encode()
    return request_of("127.0.0.1", running.port, body, f"multipart/form-data; boundary={boundary}")


async def capacity(running: Service, seconds: float) -> float:
    """Uploads a second that are taken, with as many under way as the limit."""
    ends_at, count = time.monotonic() + seconds, 0

    async def one_client(pool: Pool) -> None:
        nonlocal count
        while time.monotonic() < ends_at:
            status, _ = await pool.ask()
            assert status == 201
            count += 1

    async with Pool("127.0.0.1", running.port, request(running)) as pool:
        await asyncio.gather(*(one_client(pool) for _ in range(LIMIT)))
    return count / seconds


async def alone(running: Service, count: int) -> list[float]:
    """How long each of so many uploads took, one after another."""
    times = []
    async with Pool("127.0.0.1", running.port, request(running)) as pool:
        for _ in range(count):
            began = time.monotonic()
            status, _ = await pool.ask()
            assert status == 201
            times.append(time.monotonic() - began)
    return times


async def overloaded(running: Service, web: psutil.Process, rate: float) -> tuple[Found, int]:
    """What became of uploads at this rate, and the most memory that web had meanwhile."""
    peak = 0
    load = asyncio.create_task(arrive("127.0.0.1", running.port, request(running), rate, seconds=SECONDS))
    while not load.done():
        peak = max(peak, web.memory_info().rss)
        await asyncio.sleep(0.1)
    return await load, peak


@pytest.fixture(scope="module")
def small() -> Service:
    """A service that takes few uploads at once."""
    with service(FILEWIRE_MAX_UPLOADS=str(LIMIT), FILEWIRE_WORKER_PROCESSES="1") as running:
        yield running


def test_an_overload_is_refused_in_words_and_leaves_nothing_behind(small: Service):
    """At twice what is taken each answer is 201 or 503 with Retry-After, soon, in bounded memory; then all is well."""
    web = small.named("manage.py web")
    asyncio.run(alone(small, 20))
    usual = sorted(asyncio.run(alone(small, 20)))
    rate = asyncio.run(capacity(small, 2.0))
    before = web.memory_info().rss
    found, peak = asyncio.run(overloaded(small, web, TIMES * rate))
    ended = time.monotonic()
    assert not found.wrong, found.wrong
    assert set(found.answers) == {"201", "503"}, found.answers
    assert quantile([took for _, took in found.accepted], 0.99) < 2
    assert quantile([took for _, took in found.refused], 0.99) < 2
    assert peak - before < 64 * MIB
    quickest = min(asyncio.run(alone(small, 5)))
    while quickest > usual[-1] and time.monotonic() - ended < 2:
        quickest = min(quickest, *asyncio.run(alone(small, 5)))
    assert quickest <= usual[-1]
