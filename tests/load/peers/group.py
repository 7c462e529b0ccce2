"""A minimal consumer on channels_redis' PubSub layer, as its documentation has it: joins a group, sends what comes.

Run as `daphne tests.load.peers.group:application`, with REDIS_URL in the environment.
"""

import os

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="load",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [os.environ["REDIS_URL"]]},
        }
    },
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter  # noqa: E402

GROUP = "files"


class Files(AsyncWebsocketConsumer):
    """Sends each event of the group to its client."""

    async def connect(self) -> None:
        """Join, and say so."""
        await self.channel_layer.group_add(GROUP, self.channel_name)
        await self.accept()
        await self.send(text_data='{"type":"hello"}')

    async def disconnect(self, code: int) -> None:
        """Leave."""
        await self.channel_layer.group_discard(GROUP, self.channel_name)

    async def file_event(self, event: dict) -> None:
        """One event."""
        await self.send(text_data=event["text"])


application = ProtocolTypeRouter({"websocket": Files.as_asgi()})
