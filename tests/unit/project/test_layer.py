"""The channel layer over Redis: the kernel's end of a connection is nobody's time-out."""

import asyncio
import errno
from typing import Any

import pytest
from channels.layers import get_channel_layer
from redis.asyncio.connection import SSLConnection

from project.layer import Noticing, channel_layers
from tests.unit.events.feeding import until

pytestmark = pytest.mark.usefixtures("shared_clients")


async def test_a_connection_that_the_kernel_has_given_up_is_opened_anew():
    """Packets vanished for some time: the loop goes on, and what is announced afterwards is heard."""
    layer: Any = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add("a-group", channel)
    shard = layer._get_layer()._shards[0]
    await until(lambda: shard._pubsub.connection is not None)
    shard._pubsub.connection._reader.set_exception(TimeoutError(errno.ETIMEDOUT, "Connection timed out"))
    heard = asyncio.create_task(layer.receive(channel))
    async with asyncio.timeout(10):
        while not heard.done():
            await layer.group_send("a-group", {"type": "told"})
            await asyncio.wait({heard}, timeout=0.1)
    assert (await heard)["type"] == "told"


def test_an_address_with_tls_has_connections_with_tls():
    """That notice as well; what else the address says is kept."""
    (host,) = channel_layers("rediss://:secret@redis:7000/3", 1, 2)["default"]["CONFIG"]["hosts"]
    assert issubclass(host["connection_class"], Noticing)
    assert issubclass(host["connection_class"], SSLConnection)
    assert (host["host"], host["port"], host["db"], host["password"]) == ("redis", 7000, 3, "secret")
