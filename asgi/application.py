"""The map: which part answers what.

    http   /upload/ /files/ /healthz /readyz   doors.DoorHandler   on the event loop, the body unread
           everything else                     Django's handler    the admin, the documents: threads, sessions
    websocket   /ws/files/ …                   routing             the feed
    lifespan                                   lifespan            shared clients, opened late and closed here

`application` serves all of it (`manage.py web`); `live` is the WebSocket part alone (`manage.py live`).
"""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
django.setup(set_prefix=False)

from channels.routing import ProtocolTypeRouter  # noqa: E402 - Django comes first
from django.core.handlers.asgi import ASGIHandler  # noqa: E402

from asgi.doors import DoorHandler, by_path, only_health  # noqa: E402
from asgi.lifespan import lifespan  # noqa: E402
from asgi.origins import same_or_allowed_origin  # noqa: E402
from asgi.routing import websocket_routes  # noqa: E402

DOORS = ("/upload", "/files", "/healthz", "/readyz")

doors = DoorHandler()
feed = same_or_allowed_origin(websocket_routes)

application = ProtocolTypeRouter(
    {
        "http": by_path(DOORS, doors, otherwise=ASGIHandler()),
        "websocket": feed,
        "lifespan": lifespan,
    }
)

live = ProtocolTypeRouter({"http": only_health(doors), "websocket": feed})
