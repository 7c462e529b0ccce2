"""Waking the dispatcher."""

import asyncio

import pytest

from apps.events import connections
from apps.processing import wake
from tests.unit.events.feeding import own_valkey, until

pytestmark = pytest.mark.usefixtures("shared_clients")


async def heard(words) -> int:
    """How many words are heard until there is silence."""
    count = 0
    while await words.get_message(timeout=0.2):
        count += 1
    return count


async def test_a_word_is_said():
    """Whoever listens on the channel hears that something waits."""
    async with connections.async_client().pubsub(ignore_subscribe_messages=True) as words:
        await words.subscribe(wake.CHANNEL)
        await words.get_message(timeout=1)
        await wake.wake()
        await until(lambda: not wake._speaking)
        assert await heard(words) == 1


async def test_words_said_at_once_are_two_at_most():
    """A thousand wishes cost one word, and one more for those that came while it was being said."""
    async with connections.async_client().pubsub(ignore_subscribe_messages=True) as words:
        await words.subscribe(wake.CHANNEL)
        await words.get_message(timeout=1)
        for _ in range(1000):
            await wake.wake()
        await asyncio.sleep(0)  # the first word is on its way
        for _ in range(1000):
            await wake.wake()
        await until(lambda: not wake._speaking)
        assert await heard(words) == 2


async def test_a_lost_word_is_no_error(settings):
    """While Redis is away waking does nothing, and it works again afterwards."""
    with own_valkey(settings) as valkey:
        valkey.stop()
        await wake.wake()
        await until(lambda: not wake._speaking)
        valkey.start()
        async with connections.async_client().pubsub(ignore_subscribe_messages=True) as words:
            await words.subscribe(wake.CHANNEL)
            await words.get_message(timeout=1)
            await wake.wake()
            await until(lambda: not wake._speaking)
            assert await heard(words) == 1
        await connections.close_async()
