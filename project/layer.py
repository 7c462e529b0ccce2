"""The channel layer over Redis, whose connections notice when the kernel has given one of them up."""

from typing import Any

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff


class Noticing(AbstractConnection):
    """A connection whose end is not taken for a time-out of whoever reads from it.

    When packets to Redis vanish, the kernel ends the connection with ETIMEDOUT, which Python makes a TimeoutError.
    redis-py takes that for the end of the reader's own time: nothing was there, go on. The layer would, without end and
    without letting anyone else on the loop, for the stream raises the same at once each time.
    """

    async def _read_response_from_parser(
        self, disable_decoding: bool = False, push_request: bool | None = False
    ) -> Any:
        try:
            return await super()._read_response_from_parser(disable_decoding, push_request)
        except TimeoutError as error:  # a reader's own time ends outside
            raise ConnectionResetError(error.errno, str(error)) from error


def channel_layers(url: str, connect_seconds: float, answer_seconds: float) -> dict[str, Any]:
    """Django's `CHANNEL_LAYERS`: the layer over Redis at this address, with TLS or without."""
    address: dict[str, Any] = {**parse_url(url)}
    kind = address.pop("connection_class", Connection)
    host = {
        **address,
        "connection_class": type(f"Noticing{kind.__name__}", (Noticing, kind), {}),
        "socket_connect_timeout": connect_seconds,
        "socket_timeout": answer_seconds,
        # redis-py's own retries wait up to 10 s; here the caller decides, so one try is one try
        "retry": Retry(NoBackoff(), 0),
    }
    return {"default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [host]}}}
