"""The admin's and the documents' own scripts and styles, served from the packages that they come with."""

import asyncio
import mimetypes
from pathlib import Path

from django.contrib.staticfiles import finders
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from apps.api.negotiation import AnyAccept
from apps.api.validators import etag_of, not_modified, unchanged
from apps.api.view import DoorView
from apps.files.errors import FileMissing


def _read(path: str) -> bytes | None:
    found = finders.find(path)
    return Path(found).read_bytes() if isinstance(found, str) and Path(found).is_file() else None


class Asset(DoorView):
    """`GET /static/<path>`."""

    content_negotiation_class = AnyAccept

    @extend_schema(exclude=True)
    async def get(self, request: Request, path: str) -> HttpResponse:
        """One asset."""
        content = await asyncio.to_thread(_read, path)
        if content is None:
            raise FileMissing("There is no such asset.")
        etag = etag_of(content)
        if unchanged(request, etag):
            return not_modified(etag)
        return HttpResponse(
            content,
            content_type=mimetypes.guess_type(path)[0] or "application/octet-stream",
            headers={"ETag": etag, "Cache-Control": "max-age=3600", "X-Content-Type-Options": "nosniff"},
        )
