"""Kept pages: as fresh as a read of the database, for whoever was answered before."""

import asyncio

import pytest

from apps.api import pages as module
from apps.api.pages import Pages
from apps.events import connections
from apps.events.stream import CHANGED
from apps.processing import wake
from tests.unit.events.feeding import own_valkey, tell_of_new_files

pytestmark = pytest.mark.usefixtures("shared_clients")


class Source:
    """Renders a page, each time another one, and counts."""

    def __init__(self) -> None:
        self.count = 0
        self.begun: asyncio.Queue[int] = asyncio.Queue()
        self.gate = asyncio.Event()
        self.gate.set()

    async def render(self) -> bytes:
        """The next page, once the gate is open."""
        self.count += 1
        mine = self.count
        self.begun.put_nowait(mine)
        await self.gate.wait()
        return b"page %d" % mine


async def get(pages: Pages, source: Source, address: str = "http://a/files/?") -> bytes:
    """The page's bytes."""
    return (await pages.get(address, source.render)).content


async def test_a_page_is_kept_until_something_changes():
    """One render for all who ask; one more after a commit, and one after an event."""
    pages, source = Pages(), Source()
    wake.tell()
    assert {await get(pages, source) for _ in range(5)} == {b"page 1"}
    await asyncio.to_thread(wake.tell)
    assert {await get(pages, source) for _ in range(5)} == {b"page 2"}
    await asyncio.to_thread(tell_of_new_files, 1)
    assert {await get(pages, source) for _ in range(5)} == {b"page 3"}


async def test_each_address_has_its_own_page():
    """Another query or another host is another page."""
    pages, source = Pages(), Source()
    wake.tell()
    assert await get(pages, source, "http://a/files/?") == b"page 1"
    assert await get(pages, source, "http://b/files/?") == b"page 2"
    assert await get(pages, source, "http://a/files/?kind=text") == b"page 3"
    assert await get(pages, source, "http://a/files/?") == b"page 1"


async def test_those_who_ask_at_once_share_one_render():
    """Fifty at the same time, one query; one who came after a change waits for no answer from before it."""
    pages, source = Pages(), Source()
    wake.tell()
    source.gate.clear()
    first = [asyncio.create_task(get(pages, source)) for _ in range(50)]
    await source.begun.get()
    await asyncio.to_thread(wake.tell)
    later = asyncio.create_task(get(pages, source))
    await source.begun.get()
    source.gate.set()
    assert set(await asyncio.gather(*first)) == {b"page 1"}
    assert await later == b"page 2"
    assert source.count == 2


async def test_one_who_goes_takes_the_page_from_nobody():
    """The first who asked loses its connection; the others are answered."""
    pages, source = Pages(), Source()
    wake.tell()
    source.gate.clear()
    first = asyncio.create_task(get(pages, source))
    second = asyncio.create_task(get(pages, source))
    await source.begun.get()
    first.cancel()
    await asyncio.sleep(0)
    source.gate.set()
    assert await second == b"page 1"
    assert source.count == 1


async def test_a_failure_is_everyones_and_is_not_kept():
    """Those who waited are told; the next one tries again."""
    pages = Pages()
    wake.tell()

    async def fail() -> bytes:
        await asyncio.sleep(0)
        raise OSError("away")

    results = await asyncio.gather(*(pages.get("a", fail) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [OSError] * 3
    source = Source()
    assert await get(pages, source, "a") == b"page 1"


async def test_without_a_word_of_redis_nothing_is_kept(settings):
    """Redis is empty at first, or away: the request reads the database, and waits for nobody long."""
    pages, source = Pages(), Source()
    assert await get(pages, source) == b"page 1"
    assert {await get(pages, source) for _ in range(3)} == {b"page 2"}
    with own_valkey(settings) as valkey:
        await connections.close_async()
        wake.close()
        wake.tell()
        assert await get(pages, source) == b"page 3"
        valkey.stop()
        assert await get(pages, source) == b"page 4"
        assert await get(pages, source) == b"page 5"
        await connections.close_async()
        wake.close()


async def test_a_change_that_could_not_be_said_is_known_in_its_process(settings, monkeypatch):
    """Redis misses the word and comes back with the value of before: what was kept is not good all the same."""
    pages, source = Pages(), Source()
    wake.tell()
    assert await get(pages, source) == b"page 1"
    monkeypatch.setattr(wake, "_silent_until", float("inf"))
    wake.tell()
    assert await get(pages, source) == b"page 2"
    assert await get(pages, source) == b"page 2"


async def test_no_page_is_kept_for_long(monkeypatch):
    """Another process may have changed it without a word: a page ends by itself."""
    monkeypatch.setattr(module, "KEPT_SECONDS", 0.05)
    pages, source = Pages(), Source()
    wake.tell()
    assert await get(pages, source) == b"page 1"
    await asyncio.sleep(0.06)
    assert await get(pages, source) == b"page 2"


async def test_memory_is_bounded(monkeypatch):
    """However many addresses are asked for, and however long, no more is kept than the limit, and the newest of it."""
    monkeypatch.setattr(module, "KEPT_BYTES", 20_000)
    pages, source = Pages(), Source()
    wake.tell()
    addresses = [f"{number}{'x' * 1000 * (number % 4)}" for number in range(50)]
    for address in (*addresses, addresses[-1]):
        await get(pages, source, address)
    kept = [len(address) + len(page.content) + module.ENTRY_BYTES for address, page in pages._kept.items()]
    assert pages._bytes == sum(kept) <= 20_000
    assert 5 < len(kept) < 15
    assert await get(pages, source, addresses[-1]) == b"page 50"
    assert source.count == 50
    assert await connections.async_client().get(CHANGED)
