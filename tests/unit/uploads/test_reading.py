"""How a body is read while the server ends: what is still on its way is refused, whatever its upload waits for."""

import asyncio

import pytest

from apps.files.errors import ServerStopping
from apps.uploads import view
from apps.uploads.view import BATCH_BYTES, stop_reading, timely_batches


class Arriving:
    """A body of which so many batches are here, and then its end or nothing more."""

    def __init__(self, batches: int, *, ends: bool) -> None:
        self.left, self.ends = batches, ends

    async def chunk(self) -> tuple[bytes, bool]:
        """The next bytes, and whether more follow."""
        if not self.left:
            await asyncio.Event().wait()
        self.left -= 1
        return b"x" * BATCH_BYTES, bool(self.left) or not self.ends

    async def gone(self) -> None:
        """Never."""
        await asyncio.Event().wait()


@pytest.fixture(autouse=True)
def _going_on(monkeypatch):
    """The server is not ending yet, and is not for the next test."""
    monkeypatch.setattr(view, "_stopping", False)


async def test_a_body_that_is_waited_for_is_refused():
    """At once, though it would have had more time."""
    batches = timely_batches(Arriving(0, ends=True))
    waiting = asyncio.ensure_future(anext(batches))
    await asyncio.sleep(0)
    stop_reading()
    async with asyncio.timeout(2):
        with pytest.raises(ServerStopping):
            await waiting


async def test_a_body_whose_upload_waits_for_the_disk_is_refused_when_more_is_wanted():
    """It was not being read when the end was announced."""
    batches = timely_batches(Arriving(1, ends=False))
    assert len(await anext(batches)) == BATCH_BYTES
    stop_reading()
    async with asyncio.timeout(2):
        with pytest.raises(ServerStopping):
            await anext(batches)


async def test_what_is_here_already_is_taken():
    """A body that need not be waited for is whole."""
    batches = timely_batches(Arriving(3, ends=True))
    assert len(await anext(batches)) == BATCH_BYTES
    stop_reading()
    assert [len(batch) async for batch in batches] == [BATCH_BYTES] * 2
