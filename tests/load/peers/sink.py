"""The limit of what one ASGI server takes in: an application that drains each body, counts it, and keeps nothing.

Run as `uvicorn tests.load.peers.sink:application`. Every POST is answered with 201; GET tells what has come so far.
"""

import json
from typing import Any

seen = {"requests": 0, "bytes": 0}


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """One request."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        seen["bytes"] += len(message.get("body", b""))
        more = message.get("more_body", False)
    created = scope["method"] != "GET"
    seen["requests"] += created
    content = json.dumps(seen).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": 201 if created else 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})
