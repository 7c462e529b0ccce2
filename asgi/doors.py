"""The doors' handler: Django's own, with the body left unread and no thread on the way.

Django's handler spools the body, sends its signals through threads and gives each request a thread of its own. The
doors are coroutines from end to end, so this one calls their middleware and view on the loop: measured, half the time
of a request. Everything else about a request is Django's: URLs, middleware, request and response objects.
"""

import asyncio
import io
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler, ASGIRequest, get_script_prefix
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest
from django.http.request import HttpHeaders
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch, set_script_prefix
from django.utils.functional import cached_property
from django.utils.module_loading import import_string
from multipart import parse_options_header

from apps.api.problems import not_found, problem
from apps.api.requests import BODY
from asgi.streaming import UnreadBody

NO_CONTENT = frozenset({204, 304})  # RFC 9110, section 8.6: these have no Content-Length of their own

Application = Callable[[Any, Any, Any], Awaitable[None]]


class Headers(Mapping[str, str]):
    """A request's headers by name: looked up where they are, and not first all of them copied to a mapping."""

    def __init__(self, meta: Mapping[str, Any]) -> None:
        self._meta = meta

    def __getitem__(self, name: str) -> str:
        value: str = self._meta[_key_of(name)]
        return value

    def get(self, name: str, default: Any = None) -> Any:
        """The header's value."""
        return self._meta.get(_key_of(name), default)

    def __iter__(self) -> Iterator[str]:
        return iter(HttpHeaders(self._meta))

    def __len__(self) -> int:
        return len(HttpHeaders(self._meta))


@lru_cache(maxsize=256)
def _key_of(name: str) -> str:
    key = name.replace("-", "_").upper()
    return key if key in HttpHeaders.UNPREFIXED_HEADERS else HttpHeaders.HTTP_PREFIX + key


class DoorRequest(ASGIRequest):
    """Django's request; its Content-Type is read as the doors read a form's other headers, at a tenth of the cost."""

    @cached_property
    def headers(self) -> Headers:  # type: ignore[override]
        """The headers, by names in whatever case."""
        return Headers(self.META)

    def _set_content_type_params(self, meta: Mapping[str, Any]) -> None:
        self.content_type, self.content_params = parse_options_header(meta.get("CONTENT_TYPE", ""))


class DoorHandler(ASGIHandler):
    """Serves views that are coroutines and read `scope["filewire.body"]` themselves."""

    request_class = DoorRequest

    def load_middleware(self, is_async: bool = False) -> None:
        """The doors' own chain, all of it native to the loop."""
        handler: Any = convert_exception_to_response(self._get_response_async)  # type: ignore[attr-defined]
        for name in reversed(settings.DOOR_MIDDLEWARE):
            handler = convert_exception_to_response(import_string(name)(handler))
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        self._middleware_chain = handler
        self._resolved: dict[str, ResolverMatch] = {}  # as many as there are paths without arguments

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        body = UnreadBody(receive)
        scope = {**scope, BODY: body}
        if scope.get("root_path"):
            set_script_prefix(get_script_prefix(scope))
        try:
            request, _ = self.create_request(scope, io.BytesIO())
        except ValueError:
            request = None
        if request is None:
            detail = "The request's path cannot be read."
            refusal = problem(400, "bad_request", detail, headers={"Connection": "close"})
            await self.send_response(refusal, send)
            return
        response = await self._middleware_chain(request)
        if "HTTP_EXPECT" in request.META and not body.asked_for:
            # Whether the client sends its body all the same nobody can tell: what comes next is a body or a request.
            response.headers["Connection"] = "close"
        if not response.streaming:  # nothing of it is open, and `close` would tell Django's threads of a request's end
            if response.status_code not in NO_CONTENT:
                response.headers["Content-Length"] = str(len(response.content))
            await self.send_response(response, send)
            return
        try:
            await self._send_while_there(response, body, send)
        finally:
            response.close()

    async def send_response(self, response: Any, send: Any) -> None:
        """Django's, and what is whole goes out whole."""
        if response.streaming or response.cookies:
            await super().send_response(response, send)
            return
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.items()]
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": response.content})

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        """The view and its arguments; of a path without any, as it was resolved the first time."""
        known = self._resolved.get(request.path_info)
        if known is None:
            known = super().resolve_request(request)
            if not known.args and not known.kwargs and known.func is not not_found:
                self._resolved[request.path_info] = known
        request.resolver_match = known
        return known

    async def _send_while_there(self, response: HttpResponseBase, body: UnreadBody, send: Any) -> None:
        """Send a streaming answer until its end or the client's; either ends the generator behind it."""
        sending = asyncio.create_task(self.send_response(response, send))
        gone = asyncio.create_task(body.gone())
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, gone):
                task.cancel()
            results = await asyncio.gather(sending, gone, return_exceptions=True)
        if isinstance(results[0], Exception):
            # The status has been sent: all that is left is to break the connection, and to say so in the log.
            raise results[0]


def by_path(prefixes: tuple[str, ...], application: Application, *, otherwise: Application) -> Application:
    """An application that gives the paths under these prefixes to one, and the rest to the other."""

    async def route(scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        chosen = any(path == prefix or path.startswith(f"{prefix}/") for prefix in prefixes)
        await (application if chosen else otherwise)(scope, receive, send)

    return route


def only_health(application: Application) -> Application:
    """The application's answer to `/healthz`, and 404 for all else: what a server of WebSockets says over HTTP."""

    async def route(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"].rstrip("/") != "/healthz":
            scope = {**scope, "path": "/", "raw_path": b"/"}
        await application(scope, receive, send)

    return route
