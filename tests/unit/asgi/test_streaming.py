"""The unread body."""

import asyncio

import pytest

from apps.files.errors import ClientGone
from asgi.streaming import UnreadBody


def body_of(*messages) -> UnreadBody:
    """A body of these ASGI messages."""
    waiting = list(messages)

    async def receive():
        return waiting.pop(0)

    return UnreadBody(receive)


async def test_chunks_come_one_by_one_until_the_last():
    """Each with the word whether more follow; the keys that ASGI lets out count as empty and last."""
    body = body_of({"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.request"})
    assert await body.chunk() == (b"a", True)
    assert await body.chunk() == (b"", False)


async def test_a_client_that_left_is_an_error_of_its_own():
    """The disconnect ends the reading, and whoever waits for it knows."""
    body = body_of({"type": "http.disconnect"})
    with pytest.raises(ClientGone):
        await body.chunk()
    async with asyncio.timeout(1):
        await body.gone()


async def test_waiting_for_the_end_drops_what_is_still_sent():
    """Bytes after the answer began are passed over."""
    body = body_of({"type": "http.request", "body": b"late", "more_body": False}, {"type": "http.disconnect"})
    async with asyncio.timeout(1):
        await body.gone()
