"""Validators and preconditions: by tag, by date, and of ranges. Source: RFC 9110, sections 8.8 and 13."""

import hashlib
from datetime import datetime
from email.utils import format_datetime

from django.http import HttpRequest, HttpResponse
from django.utils.http import parse_etags, parse_http_date_safe

from apps.files.errors import PreconditionFailed


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


def has_current(request: HttpRequest, etag: str, modified_at: datetime) -> bool:
    """Whether the client has the present bytes, by its tag or, where it gave none, by its date.

    Preconditions are weighed in the order of section 13.2.2. A date that is none says nothing.

    Raises PreconditionFailed.
    """
    modified = int(modified_at.timestamp())
    if (tags := request.headers.get("If-Match")) is not None:
        if tags.strip() != "*" and etag not in parse_etags(tags):  # a weak tag is never strongly equal
            raise PreconditionFailed
    elif (before := _date_of(request, "If-Unmodified-Since")) is not None and modified > before:
        raise PreconditionFailed
    if "If-None-Match" in request.headers:
        return unchanged(request, etag)
    since = _date_of(request, "If-Modified-Since")
    return request.method in ("GET", "HEAD") and since is not None and modified <= since


def _date_of(request: HttpRequest, name: str) -> int | None:
    """The header's date, in seconds; None where there is none, or it is no HTTP date."""
    given = request.headers.get(name)
    return None if given is None else parse_http_date_safe(given)


def last_modified(modified_at: datetime) -> str:
    """The moment as an HTTP date, of which a second is the least part."""
    return format_datetime(modified_at, usegmt=True)


def not_modified(etag: str, **headers: str) -> HttpResponse:
    """304 with its tag, and what else of the whole answer's headers a cache is to know."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    response = HttpResponse(status=304, headers={"ETag": etag, **given})
    del response.headers["Content-Type"]
    return response


def range_applies(request: HttpRequest, etag: str, modified_at: datetime) -> bool:
    """Whether If-Range, where there is one, still means the present bytes (the strong comparison)."""
    given = request.headers.get("If-Range")
    if given is None:
        return True
    if given.startswith('"'):
        return given == etag
    return _date_of(request, "If-Range") == int(modified_at.timestamp())


def conditional_json(request: HttpRequest, content: bytes, etag: str | None = None) -> HttpResponse:
    """These bytes as JSON, or 304 when the client has them; `etag` is theirs, where it is known already."""
    etag = etag or etag_of(content)
    if unchanged(request, etag):
        return not_modified(etag, Cache_Control="no-cache")
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    return HttpResponse(content, content_type="application/json", headers=headers)
