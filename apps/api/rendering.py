"""How answers become bytes."""

from typing import Any

import orjson
from rest_framework.renderers import BaseRenderer


class JSONRenderer(BaseRenderer):
    """JSON by orjson, UTF-8."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        """The data as JSON; None as no bytes at all."""
        return b"" if data is None else orjson.dumps(data)


class EventStreamRenderer(BaseRenderer):
    """Lets content negotiation choose Server-Sent Events; the view itself writes them."""

    media_type = "text/event-stream"
    format = "event-stream"
    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        """Only errors come this way, and they are JSON."""
        return orjson.dumps(data)
