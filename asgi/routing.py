"""The WebSocket's paths; each with or without its last slash."""

from channels.routing import URLRouter
from django.urls import re_path

from apps.api.urls import ID
from apps.events.readers.websocket import FeedConsumer, NoSuchPath

websocket_routes = URLRouter(
    [
        re_path(r"^ws/files/?$", FeedConsumer.as_asgi()),
        re_path(rf"^ws/files/{ID}/?$", FeedConsumer.as_asgi()),
        re_path(r"", NoSuchPath.as_asgi()),
    ]
)
