"""What a request says of itself: its id and the origin of the URLs in its answer."""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from apps.files import context, ids

BODY = "filewire.body"
ORIGIN = "filewire.origin"
GIVEN = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class Body(Protocol):
    """The unread body of a request to a door."""

    async def chunk(self) -> tuple[bytes, bool]:
        """The next bytes, and whether more follow. Raises ClientGone."""

    async def gone(self) -> None:
        """Return when the client has gone."""


def body_of(request: Any) -> Body:
    """The request's body, as `asgi.streaming` left it in the scope."""
    body: Body = request.scope[BODY]
    return body


def request_id_of(headers: object) -> str:
    """The id that the client or a proxy gave the request, if it is a plain word; a new one otherwise."""
    given = headers.get("X-Request-ID", "")  # type: ignore[attr-defined]
    return given if GIVEN.fullmatch(given) else ids.random_bytes().hex()


def base_url(request: HttpRequest) -> str:
    """Scheme and host as the client wrote them, for absolute URLs. Raises DisallowedHost."""
    known: str | None = request.META.get(ORIGIN)
    if known is None:  # else looked at when the door was entered
        known = request.META[ORIGIN] = f"{request.scheme}://{request.get_host()}"
    return known


@sync_and_async_middleware
def identify(
    get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], object]:
    """Give the request an id: its log lines carry it, its answer says it, its file keeps it."""
    if iscoroutinefunction(get_response):

        async def identified(request: HttpRequest) -> HttpResponseBase:
            token = context.request_id.set(request_id_of(request.headers))
            try:
                response = await get_response(request)
                response["X-Request-ID"] = context.request_id.get()
            finally:
                context.request_id.reset(token)
            return response

        return identified

    def identified_sync(request: HttpRequest) -> object:
        response: HttpResponseBase = get_response(request)  # type: ignore[assignment]
        response["X-Request-ID"] = request_id_of(request.headers)
        return response

    return identified_sync
