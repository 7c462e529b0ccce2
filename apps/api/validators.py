"""Validators and preconditions: ETag, If-None-Match, If-Range. Source: RFC 9110, sections 8.8 and 13."""

import hashlib
from email.utils import parsedate_to_datetime

from django.http import HttpRequest, HttpResponse
from django.utils.http import parse_etags


def etag_of(content: bytes) -> str:
    """The entity tag of these bytes."""
    return f'"{hashlib.blake2b(content, digest_size=16).hexdigest()}"'


def unchanged(request: HttpRequest, etag: str) -> bool:
    """Whether the client has what this tag stands for (the weak comparison, as If-None-Match asks)."""
    given = request.headers.get("If-None-Match")
    if given is None:
        return False
    if given.strip() == "*":
        return True
    return etag.removeprefix("W/") in {tag.removeprefix("W/") for tag in parse_etags(given)}


def not_modified(etag: str) -> HttpResponse:
    """304 with its tag."""
    response = HttpResponse(status=304, headers={"ETag": etag})
    del response.headers["Content-Type"]
    return response


def range_applies(request: HttpRequest, etag: str, modified_at_seconds: int) -> bool:
    """Whether If-Range, where there is one, still means the present bytes (the strong comparison)."""
    given = request.headers.get("If-Range")
    if given is None:
        return True
    if given.startswith('"'):
        return given == etag
    try:
        return int(parsedate_to_datetime(given).timestamp()) == modified_at_seconds
    except (ValueError, TypeError):
        return False


def conditional_json(request: HttpRequest, content: bytes, etag: str | None = None) -> HttpResponse:
    """These bytes as JSON, or 304 when the client has them; `etag` is theirs, where it is known already."""
    etag = etag or etag_of(content)
    if unchanged(request, etag):
        return not_modified(etag)
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    return HttpResponse(content, content_type="application/json", headers=headers)
