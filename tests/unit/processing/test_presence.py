"""Which workers are there."""

import pytest

from apps.events import connections
from apps.processing import presence

pytestmark = pytest.mark.usefixtures("shared_clients")


async def test_workers_that_say_so_are_counted():
    """Each worker counts once, however often it says that it is there, until it leaves."""
    client = connections.sync_client()
    assert await presence.count(connections.async_client()) == 0
    for name in ("a", "b", "a"):
        presence.announce(client, name)
    assert await presence.count(connections.async_client()) == 2
    presence.leave(client, "a")
    presence.leave(client, "never came")
    assert await presence.count(connections.async_client()) == 1


async def test_a_worker_that_falls_silent_is_not_believed(monkeypatch):
    """A worker that was killed says nothing; it stops counting, and the next one's word forgets it."""
    client = connections.sync_client()
    monkeypatch.setattr(presence, "BELIEVED_SECONDS", -1.0)
    presence.announce(client, "dead")
    assert await presence.count(connections.async_client()) == 0
    monkeypatch.setattr(presence, "BELIEVED_SECONDS", 10.0)
    presence.announce(client, "alive")
    assert await presence.count(connections.async_client()) == 1
    assert client.zcard(presence.WORKERS) == 1
