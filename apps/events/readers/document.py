"""The feed's own description: AsyncAPI 3 at `/schema/events/`. A test validates it and holds it to the code."""

from typing import Any

import orjson
from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from apps.api.negotiation import AnyAccept
from apps.api.validators import conditional_json
from apps.api.view import DoorView
from apps.events.event import CONNECTION_EVENTS, FILE_EVENTS
from apps.files.document import FIELDS
from apps.files.models import Status
from apps.processing import plugins

_TEXT = {"type": "string"}
_MOMENT = {"type": "string", "format": "date-time"}
_CURSOR = {
    "type": "string",
    "pattern": "^[0-9]+-[0-9]+$",
    "description": "An event's id: a place in the feed.",
}


def _nullable(kind: str) -> dict[str, Any]:
    return {"type": [kind, "null"]}


_FILE: dict[str, dict[str, Any]] = {
    "id": {"type": "string", "format": "uuid"},
    "file": {"type": "string", "description": "The path of the bytes; relative in events."},
    "name": _TEXT,
    "size": {"type": "integer", "minimum": 0},
    "content_type": _TEXT,
    "declared_content_type": _TEXT,
    "kind": {"enum": list(plugins.kinds())},
    "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    "uploaded_at": _MOMENT,
    "processed": {"type": "boolean"},
    "status": {"enum": list(Status.values)},
    "progress": {"type": "integer", "minimum": 0, "maximum": 100},
    "attempt": {"type": "integer", "minimum": 1},
    "processed_at": {"type": ["string", "null"], "format": "date-time"},
    "result": _nullable("object"),
    "derived": {"type": "object", "additionalProperties": _TEXT},
    "error": {"type": ["object", "null"], "properties": {"code": _TEXT, "detail": _TEXT}},
}

_CONNECTION_DATA: dict[str, dict[str, Any]] = {
    "hello": {
        "description": "The first frame. `data.cursor` is the newest event's id.",
        "data": {"cursor": _CURSOR},
    },
    "resync": {
        "description": "The cursor is older than what is kept: read GET /files/, and go on from `data.cursor`.",
        "data": {"cursor": _CURSOR},
    },
    "pong": {"description": 'Answers {"type": "ping"}.', "data": {}},
    "error": {
        "description": "Says what was wrong with a frame, or why the connection is about to be closed.",
        "data": {"code": _TEXT, "detail": _TEXT},
    },
}


def _envelope(event_type: str, data: dict[str, Any]) -> dict[str, Any]:
    of_file = event_type in FILE_EVENTS
    properties: dict[str, Any] = {
        "specversion": {"const": "1.0"},
        "id": _CURSOR,
        "source": _TEXT,
        "type": {"const": event_type},
        "time": _MOMENT,
        "data": data,
    }
    if of_file:
        properties["subject"] = {"type": "string", "format": "uuid", "description": "The file's id."}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _messages() -> dict[str, Any]:
    messages: dict[str, Any] = {}
    for event_type in FILE_EVENTS:
        payload = _envelope(event_type, {"$ref": "#/components/schemas/File"})
        messages[event_type] = {"name": event_type, "contentType": "application/json", "payload": payload}
    for event_type in CONNECTION_EVENTS:
        fields = _CONNECTION_DATA[event_type]["data"]
        payload = _envelope(event_type, {"type": "object", "properties": fields, "required": list(fields)})
        messages[event_type] = {
            "name": event_type,
            "summary": _CONNECTION_DATA[event_type]["description"],
            "contentType": "application/json",
            "payload": payload,
        }
    return messages


def describe(host: str) -> dict[str, Any]:
    """The AsyncAPI 3.0 document of the feed as this host serves it."""
    received = list(_messages())
    channels = {
        "files": ("/ws/files/", "Every file that the caller may see."),
        "file": ("/ws/files/{file_id}/", "One file; close code 4404 when there is none of this id."),
    }
    after = {
        "type": "object",
        "properties": {"after": {**_CURSOR, "description": "Replay what came after this event, then go on live."}},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Filewire feed",
            "version": settings.SPECTACULAR_SETTINGS["VERSION"],
            "description": "Text frames, one CloudEvents 1.0 object each. Ids only grow; a client that reconnects "
            "with the last id it saw misses nothing and sees nothing twice. A reader that stops reading is sent "
            "`resync`, or closed with 1013.",
        },
        "defaultContentType": "application/json",
        "servers": {"this": {"host": host, "protocol": "ws"}},
        "channels": {
            name: {
                "address": address,
                "description": description,
                "bindings": {"ws": {"query": after, "bindingVersion": "0.1.0"}},
                **({"parameters": {"file_id": {"description": "The file's id."}}} if name == "file" else {}),
                "messages": {
                    **{key: {"$ref": f"#/components/messages/{key}"} for key in received},
                    "ping": {"$ref": "#/components/messages/ping"},
                },
            }
            for name, (address, description) in channels.items()
        },
        "operations": {
            f"{action}_{name}": {
                "action": action,
                "channel": {"$ref": f"#/channels/{name}"},
                "messages": [{"$ref": f"#/channels/{name}/messages/{key}"} for key in keys],
            }
            for name in channels
            for action, keys in (("send", received), ("receive", ["ping"]))
        },
        "components": {
            "schemas": {
                "File": {"type": "object", "properties": _FILE, "required": list(FIELDS)},
            },
            "messages": {
                **_messages(),
                "ping": {
                    "name": "ping",
                    "contentType": "application/json",
                    "payload": {
                        "type": "object",
                        "properties": {"type": {"const": "ping"}},
                        "required": ["type"],
                    },
                },
            },
        },
    }


class EventsDocument(DoorView):
    """`GET /schema/events/`."""

    content_negotiation_class = AnyAccept

    @extend_schema(exclude=True)
    async def get(self, request: Request) -> HttpResponse:
        """The AsyncAPI document."""
        return conditional_json(request, orjson.dumps(describe(request.get_host())))
