"""Answers to pages of other origins: django-cors-headers, where there are any that may read them."""

from collections.abc import Awaitable

from corsheaders.middleware import CorsMiddleware
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase


class AllowedOrigins(CorsMiddleware):
    """`FILEWIRE_ALLOWED_ORIGINS` read its answers; where there are none, no answer depends on who asks."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """The answer, with the headers of CORS."""
        if not settings.CORS_ALLOWED_ORIGINS:
            return self.get_response(request)
        return super().__call__(request)
