"""What a request says of itself."""

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from apps.api.rendering import EventStreamRenderer, JSONRenderer
from apps.api.requests import identify, request_id_of
from apps.files import context


@pytest.mark.parametrize("given", ["abc-123", "a.b:c_d", "x" * 64])
def test_a_plain_request_id_is_kept(given):
    """The id of a client or a proxy is the request's."""
    assert request_id_of({"X-Request-ID": given}) == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\nb", "é", "a/../b"])
def test_any_other_request_id_is_replaced(given):
    """What could forge a line of the log, or fill it, is not taken over."""
    made = request_id_of({"X-Request-ID": given})
    assert made != given
    assert len(made) == 16


async def test_the_log_and_the_answer_carry_the_id():
    """Within the request the context has its id; the answer says it; afterwards it is as it was."""
    seen = []

    async def view(request):
        seen.append(context.request_id.get())
        return HttpResponse()

    response = await identify(view)(RequestFactory().get("/", headers={"x-request-id": "mine"}))
    assert seen == [response["X-Request-ID"]] == ["mine"]
    assert context.request_id.get() == "-"


def test_a_synchronous_chain_is_identified_too():
    """Django's own handler may call the middleware without a loop."""
    response = identify(lambda request: HttpResponse())(RequestFactory().get("/", headers={"x-request-id": "mine"}))
    assert response["X-Request-ID"] == "mine"


def test_renderers_write_json():
    """Both renderers write JSON; nothing is no bytes at all."""
    assert JSONRenderer().render({"a": "é"}) == '{"a":"é"}'.encode()
    assert JSONRenderer().render(None) == b""
    assert EventStreamRenderer().render({}) == b"{}"
