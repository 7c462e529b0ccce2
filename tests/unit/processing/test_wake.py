"""The word after a commit."""

import signal
import time

import pytest

from apps.events import connections
from apps.events.stream import CHANGED
from apps.processing import wake
from tests.unit.events.feeding import own_valkey

pytestmark = pytest.mark.usefixtures("shared_clients")


async def heard(words) -> int:
    """How many words are heard until there is silence."""
    count = 0
    while await words.get_message(timeout=0.2):
        count += 1
    return count


async def test_a_word_is_said():
    """Whoever listens on the channel hears that something waits, and what was kept is seen to be old."""
    async with connections.async_client().pubsub(ignore_subscribe_messages=True) as words:
        await words.subscribe(wake.CHANNEL)
        await words.get_message(timeout=1)
        seen = set()
        for _ in range(3):
            wake.tell()
            seen.add(await connections.async_client().get(CHANGED))
        assert await heard(words) == 3
        assert len(seen) == 3


def test_the_word_is_said_after_the_work_and_not_after_a_failure(feed):
    """What was not committed changes nothing."""
    client = connections.sync_client()
    assert wake.told(lambda value: (client.get(CHANGED), value), 3) == (None, 3)
    said = client.get(CHANGED)
    assert said
    with pytest.raises(ZeroDivisionError):
        wake.told(lambda: 1 / 0)
    assert client.get(CHANGED) == said


async def test_a_lost_word_is_no_error(settings, monkeypatch):
    """While Redis is away telling does nothing but count, and it works again afterwards."""
    wake.close()
    before = wake.missed()
    with own_valkey(settings) as valkey:
        valkey.stop()
        wake.tell()
        assert wake.missed() == before + 1
        valkey.start()
        wake.tell()  # not tried again at once
        assert wake.missed() == before + 2
        monkeypatch.setattr(wake, "_silent_until", 0.0)
        wake.tell()
        assert wake.missed() == before + 2
        assert await connections.async_client().get(CHANGED)
        await connections.close_async()
        wake.close()


def test_a_redis_that_hangs_costs_a_moment_and_then_nothing(settings):
    """A quarter of a second for the first commit, nothing for those of the second that follows."""
    wake.close()
    with own_valkey(settings) as valkey:
        wake.tell()
        assert valkey.process
        valkey.process.send_signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            for _ in range(100):
                wake.tell()
            assert 0.2 < time.monotonic() - began < 0.9
        finally:
            valkey.process.send_signal(signal.SIGCONT)
        wake.close()
