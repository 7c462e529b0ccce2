"""DRF views that run on the event loop.

DRF's own `dispatch` is synchronous: Django would run it, and the rendering, each in a thread. Here authentication,
permission and throttle run on the loop (so they may not block: a throttle keeps its counts in this process), the
handler is awaited, and the answer leaves rendered. Everything else is DRF's: negotiation, errors, OPTIONS, schema.
"""

from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.api.requests import base_url

_methods: dict[type, list[str]] = {}  # what each view answers to


class DoorView(APIView):
    """Base of every HTTP door. Handlers are coroutines; what a door raises, `problems` answers."""

    # Django asks in a middleware that the doors do not have. It is what keeps a page that has its name resolve to
    # this host (DNS rebinding) from reading and deleting files.
    checks_host = True

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse what needs no look at the body. Raises DisallowedHost, and what DRF's does."""
        if self.checks_host:
            base_url(request)
        super().initial(request, *args, **kwargs)

    def perform_authentication(self, request: Request) -> None:
        """DRF's, where there is someone who could tell who asks."""
        if request.authenticators:
            super().perform_authentication(request)

    @property
    def allowed_methods(self) -> list[str]:
        """The methods that this view answers to; looked for once."""
        known = _methods.get(type(self))
        if known is None:
            known = _methods[type(self)] = super().allowed_methods
        return known

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        """The view; with ATOMIC_REQUESTS too, for it opens its transactions where its work is."""
        return transaction.non_atomic_requests(super().as_view(**initkwargs))

    async def dispatch(  # type: ignore[override]
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """DRF's dispatch with the handler awaited."""
        self.args = args
        self.kwargs = kwargs
        self.request: Request = self.initialize_request(request, *args, **kwargs)
        self.headers = self.default_response_headers
        try:
            self.initial(self.request, *args, **kwargs)
            handler: Any = self.http_method_not_allowed
            if self.request.method and self.request.method.lower() in self.http_method_names:
                handler = getattr(self, self.request.method.lower(), handler)
            response = handler(self.request, *args, **kwargs)
            if not isinstance(response, HttpResponseBase):
                response = await response
        except Exception as error:
            response = self.handle_exception(error)
        self.response = self.finalize_response(self.request, response, *args, **kwargs)
        rendered = _rendered(self.response)
        # View and request hold each other by this: let go, they are freed at once, and not by a collection.
        self.request.parser_context = {}
        return rendered


def _rendered(response: HttpResponseBase) -> HttpResponseBase:
    """The same answer without DRF's deferred rendering, which Django would do in a thread."""
    if not isinstance(response, Response):
        return response
    response.render()
    plain = HttpResponse(response.content, status=response.status_code)
    del plain.headers["Content-Type"]
    for name, value in response.items():
        plain.headers[name] = value
    return plain
