"""ETags and preconditions (RFC 9110, sections 8.8 and 13)."""

from datetime import UTC, datetime

import pytest
from django.test import RequestFactory

from apps.api.validators import conditional_json, etag_of, range_applies, unchanged

ETAG = '"abc"'
MODIFIED = datetime(2025, 11, 23, 5, 47, 50, 456789, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "same"),
    [
        (None, False),
        ('"abc"', True),
        ('W/"abc"', True),
        ('"x", "abc"', True),
        ("*", True),
        (" * ", True),
        ('"x"', False),
        ("abc", False),
        ("", False),
        ("nonsense, more", False),
    ],
)
def test_if_none_match_compares_weakly(given, same):
    """A client that has these bytes is told so, by whichever of its tags."""
    headers = {} if given is None else {"if-none-match": given}
    assert unchanged(RequestFactory().get("/", headers=headers), ETAG) is same


@pytest.mark.parametrize(
    ("given", "applies"),
    [
        (None, True),
        ('"abc"', True),
        ('"x"', False),
        ('W/"abc"', False),
        ("Sun, 23 Nov 2025 05:47:50 GMT", True),
        ("Sun, 23 Nov 2025 05:47:51 GMT", False),
        ("Mon, 01 Jan 0001 00:00:00 -0000", False),
        ("Mon, 01 Jan 0001 00:00:00 +2359", False),
        ("yesterday", False),
        ("", False),
    ],
)
def test_if_range_compares_strongly(given, applies):
    """A range is served only while If-Range still means the present bytes."""
    headers = {} if given is None else {"if-range": given}
    assert range_applies(RequestFactory().get("/", headers=headers), ETAG, MODIFIED) is applies


def test_json_is_sent_once():
    """The second request, with the first answer's tag, is answered 304 without a body."""
    first = conditional_json(RequestFactory().get("/"), b"{}")
    assert (first.status_code, first.content, first["ETag"]) == (200, b"{}", etag_of(b"{}"))
    again = conditional_json(RequestFactory().get("/", headers={"if-none-match": first["ETag"]}), b"{}")
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
    assert "Content-Type" not in again
    assert etag_of(b"{}") != etag_of(b"[]")
