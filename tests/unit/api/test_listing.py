"""What may be asked of the list."""

import contextlib
import uuid
from urllib.parse import parse_qs, urlsplit

import pytest
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import ValidationError

from apps.api.listing import DEFAULT_PAGE_SIZE, Place, asked, link

SOME_ID = uuid.UUID("01932b5e-0000-7000-8000-000000000001")


def test_nothing_asked_is_everything():
    """An empty query is the first page of the usual size, of all files."""
    listing = asked(QueryDict(""))
    assert (listing.page_size, listing.place) == (DEFAULT_PAGE_SIZE, None)
    assert not listing.where


@pytest.mark.parametrize(
    "query",
    [
        "processed=true",
        "processed=false",
        "status=queued&status=failed",
        "kind=image&kind=text",
        "name=holi",
        "name=%25_%5C",
        "uploaded_after=2026-11-23T05:47:50Z",
        "uploaded_after=2026-11-23T05:47:50.123456%2B02:00",
        "uploaded_after=2026-11-23T05:47:50+02:00",
        "uploaded_before=2026-11-23",
        "uploaded_before=2026-11-23T05:47:50",
        "uploaded_before=0001-01-01T00:00:00Z",
        "page_size=1",
        "page_size=200",
        f"cursor=o{SOME_ID.hex}",
        f"cursor=n{SOME_ID.hex}",
    ],
)
def test_what_is_known_is_understood(query):
    """Every parameter of the contract, in each of its spellings."""
    asked(QueryDict(query))


@pytest.mark.parametrize(
    ("field", "query"),
    [
        ("processed", "processed=yes"),
        ("processed", "processed="),
        ("status", "status=queued&status=done"),
        ("status", "status="),
        ("kind", "kind=picture"),
        ("name", "name="),
        ("name", "name=a%00b"),
        ("uploaded_after", "uploaded_after=yesterday"),
        ("uploaded_after", "uploaded_after=9999-12-31T23:59:59.999999Z"),
        ("uploaded_after", "uploaded_after="),
        ("uploaded_before", "uploaded_before=2026-13-01T00:00:00Z"),
        ("page_size", "page_size=0"),
        ("page_size", "page_size=201"),
        ("page_size", "page_size=-1"),
        ("page_size", "page_size=1.5"),
        ("page_size", "page_size="),
        ("page_size", "page_size=%C2%B2"),
        ("page_size", "page_size=0000201"),
        ("page_size", "page_size=0002000000"),
        ("page_size", "page_size=" + "9" * 5000),
        ("cursor", "cursor=abc"),
        ("cursor", f"cursor=x{SOME_ID.hex}"),
        ("cursor", f"cursor=o{'z' * 32}"),
        ("page", "page=2"),
        ("format", "format=json"),
        ("Status", "Status=queued"),
    ],
)
def test_what_is_not_known_names_its_field(field, query):
    """An unknown parameter, or a value that is not understood, is an error under the parameter's name."""
    with pytest.raises(ValidationError) as caught:
        asked(QueryDict(query))
    assert set(caught.value.get_full_details()) == {field}
    assert caught.value.get_full_details()[field][0]["code"] == "bad_filter"


def test_all_that_is_wrong_is_said_at_once():
    """Several mistakes are several errors, in one answer."""
    with pytest.raises(ValidationError) as caught:
        asked(QueryDict("status=x&page_size=0&colour=red"))
    assert set(caught.value.get_full_details()) == {"status", "page_size", "colour"}


@given(st.uuids(), st.booleans())
def test_a_cursor_is_read_as_it_was_written(file_id, backwards):
    """A place survives its way through a link."""
    place = Place(file_id=file_id, backwards=backwards)
    assert Place.parse(str(place)) == place


def test_a_link_keeps_the_filters_and_replaces_the_cursor():
    """The next page is asked for with the same words."""
    place = Place(file_id=SOME_ID, backwards=False)
    query = QueryDict(f"status=queued&status=failed&name=a+b&cursor=n{SOME_ID.hex}")
    url = link("http://testserver/files/", query, place)
    assert parse_qs(urlsplit(url).query) == {"status": ["queued", "failed"], "name": ["a b"], "cursor": [str(place)]}
    assert link("http://testserver/files/", query, None) is None


@given(st.text(max_size=30), st.sampled_from(["page_size", "cursor", "uploaded_after", "uploaded_before", "status"]))
def test_any_value_is_understood_or_refused(value, name):
    """No value of a parameter raises anything but the error that names it."""
    query = QueryDict(mutable=True)
    query[name] = value
    with contextlib.suppress(ValidationError):
        assert 1 <= asked(query).page_size <= 200
