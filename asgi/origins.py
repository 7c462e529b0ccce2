"""Who may open a WebSocket from a page: the same origin, or one that is allowed.

A browser sends cookies with a handshake from any page (cross-site WebSocket hijacking); its Origin header says which.
Programs such as `wscat` send none, and carry no one else's cookies: they are let in.
"""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.http.request import split_domain_port, validate_host

Application = Callable[[Any, Any, Any], Awaitable[None]]
PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def _host_and_port(origin: str) -> tuple[str, int | None]:
    parts = urlsplit(origin)
    return (parts.hostname or "").lower(), parts.port or PORTS.get(parts.scheme)


def is_welcome(origin: str | None, host: str, scheme: str) -> bool:
    """Whether a page of this origin may connect to this host, as the client wrote both."""
    if origin is None:
        return True
    # A page whose own name was made to resolve to this host (DNS rebinding) is of the same origin, and not welcome.
    if not validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS):
        return False
    try:
        there = _host_and_port(origin)
        same = there[0] != "" and there in {_host_and_port(f"{name}://{host}") for name in (scheme, *_secure(scheme))}
        allowed = any(
            there == _host_and_port(name) and urlsplit(origin).scheme == urlsplit(name).scheme
            for name in settings.FILEWIRE_ALLOWED_ORIGINS
        )
    except ValueError:  # a port that is no number
        return False
    return same or allowed


def _secure(scheme: str) -> tuple[str, ...]:
    # Behind a proxy that ends TLS, the page is https and the host has no port, while this hop is plain.
    return ("wss",) if scheme in ("ws", "http") else ()


def same_or_allowed_origin(application: Application) -> Application:
    """The application, for handshakes whose origin is welcome; others are answered 403."""

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        origin, host = headers.get(b"origin"), headers.get(b"host", "")
        if is_welcome(origin, host, scope.get("scheme", "ws")):
            await application(scope, receive, send)
        else:
            await WebsocketDenier()(scope, receive, send)

    return guarded
