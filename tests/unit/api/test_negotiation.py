"""What a client's Accept header leads to, the first time and again."""

import pytest
from rest_framework.exceptions import NotAcceptable
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from apps.api import negotiation
from apps.api.negotiation import RememberedNegotiation
from apps.api.rendering import EventStreamRenderer, JSONRenderer

BOTH = (JSONRenderer, EventStreamRenderer)


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch):
    monkeypatch.setattr(RememberedNegotiation, "_choices", {})


def chosen(accept: str | None, renderers=BOTH) -> tuple[type, str]:
    """The renderer's class and the media type."""
    headers = {} if accept is None else {"HTTP_ACCEPT": accept}
    request = Request(APIRequestFactory().get("/", **headers))
    renderer, media_type = RememberedNegotiation().select_renderer(request, [each() for each in renderers])
    return type(renderer), media_type


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "*/*",
        "text/event-stream",
        "text/event-stream, */*",
        "application/json; indent=8",
        "application/json;q=0.5, text/event-stream",
    ],
)
def test_a_remembered_choice_is_drfs_own(accept):
    """Twice the same answer, and the one that DRF gives."""
    plain = negotiation.DefaultContentNegotiation()
    request = Request(APIRequestFactory().get("/", **({} if accept is None else {"HTTP_ACCEPT": accept})))
    theirs, media_type = plain.select_renderer(request, [each() for each in BOTH])
    assert chosen(accept) == chosen(accept) == (type(theirs), media_type)


def test_what_one_view_was_told_another_is_not():
    """The choice belongs to the renderers that there were."""
    assert chosen("*/*") == (JSONRenderer, "application/json")
    assert chosen("*/*", (EventStreamRenderer,)) == (EventStreamRenderer, "text/event-stream")


def test_what_nothing_can_answer_is_refused_each_time():
    """A refusal is not remembered as an answer."""
    for _ in range(2):
        with pytest.raises(NotAcceptable):
            chosen("text/html")


def test_many_headers_are_not_kept(monkeypatch):
    """However many different ones clients send, and however long: memory stays bounded."""
    monkeypatch.setattr(negotiation, "REMEMBERED", 4)
    for number in range(20):
        chosen(f"application/json, text/x-{number}")
        assert len(RememberedNegotiation._choices) <= 4
    before = dict(RememberedNegotiation._choices)
    chosen("application/json, " + "text/x-long, " * 40)
    assert before == RememberedNegotiation._choices
