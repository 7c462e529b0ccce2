"""Idempotency-Key: a repeat is answered as the first was, and makes no second file."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.db.models import QuerySet
from django.utils import timezone

from apps.files import idempotency
from apps.files.errors import DatabaseAway
from apps.files.models import File, IdempotencyKey
from tests.client import DISCONNECT, FORM, asgi_request, form, http_client, part

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_clients")]

KEYED = {**FORM, "Idempotency-Key": "a-key"}


async def keys_held(count: int) -> None:
    """Wait until so many keys are held."""
    async with asyncio.timeout(5):
        while await IdempotencyKey.objects.acount() < count:  # noqa: ASYNC110 - another's row has no event
            await asyncio.sleep(0.01)


async def test_f27_twenty_equal_posts_at_once_are_one_file(stored):
    """One row, one file on disk, twenty equal answers; all but the first say that they are replayed."""
    async with http_client() as client:
        responses = await asyncio.gather(
            *(client.post("/upload/", content=form(part(b"x" * 5000)), headers=KEYED) for _ in range(20))
        )
    assert [response.status_code for response in responses] == [201] * 20
    assert len({response.content for response in responses}) == 1
    assert len({response.headers["location"] for response in responses}) == 1
    assert [response.headers.get("idempotency-replayed") for response in responses].count("true") == 19
    assert await File.everything.acount() == 1
    assert len(stored.files()) == 1


@pytest.mark.parametrize("content", [b"x", b"x" * 400_000])
async def test_a_repeat_is_answered_as_the_first_was(content, stored):
    """Even when the file has changed since: the same bytes, the same place, and the word that it is a replay."""
    async with http_client() as client:
        first = await client.post("/upload/", content=form(part(content)), headers=KEYED)
        await File.objects.all().aupdate(progress=50)
        again = await client.post("/upload/", content=form(part(content)), headers=KEYED)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert first.headers["location"] == again.headers["location"]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert len(stored.files()) == 1


async def test_a_form_and_a_raw_body_of_one_file_are_the_same():
    """What makes two requests equal is the file: its bytes, its name, its declared type."""
    raw = {
        "Content-Type": "text/plain",
        "Content-Disposition": "attachment; filename=a.txt",
        "Idempotency-Key": "a-key",
    }
    async with http_client() as client:
        await client.post("/upload/", content=form(part(b"x")), headers=KEYED)
        again = await client.post("/upload/", content=b"x", headers=raw)
    assert again.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize(
    "other", [part(b"y"), part(b"x", filename="b.txt"), part(b"x", content_type="text/html")], ids=["b", "n", "t"]
)
async def test_another_file_under_the_same_key_is_refused(other):
    """409 without Retry-After: it will not become right by waiting."""
    async with http_client() as client:
        await client.post("/upload/", content=form(part(b"x")), headers=KEYED)
        response = await client.post("/upload/", content=form(other), headers=KEYED)
    assert (response.status_code, response.json()["code"]) == (409, "idempotency_key_reused")
    assert "retry-after" not in response.headers
    assert await File.objects.acount() == 1


async def test_f28_a_key_in_flight_is_refused_for_now(settings, stored):
    """409 with Retry-After while the first request is still being read; afterwards its answer."""
    settings.FILEWIRE_IDEMPOTENCY_WAIT_SECONDS = 0.1
    go_on = asyncio.Event()
    whole = form(part(b"x"))

    async def slowly() -> AsyncIterator[bytes]:
        yield whole[:30]
        await go_on.wait()
        yield whole[30:]

    first = asyncio.create_task(asgi_request("POST", "/upload/", slowly(), KEYED))
    await keys_held(1)
    early = await asgi_request("POST", "/upload/", [whole], KEYED)
    assert (early.status, early.json()["code"]) == (409, "idempotency_key_in_flight")
    assert early.headers["retry-after"] == "1"
    go_on.set()
    answer = await first
    late = await asgi_request("POST", "/upload/", [whole], KEYED)
    assert (answer.status, late.status) == (201, 201)
    assert answer.body == late.body


@pytest.mark.parametrize(
    ("body", "status"), [([form(part(b""))], 400), ([part(b"x" * 300_000), DISCONNECT], None), ([b"nonsense"], 400)]
)
async def test_a_failed_upload_frees_its_key(body, status):
    """What became nothing holds nothing: the corrected request goes through under the same key."""
    answer = await asgi_request("POST", "/upload/", body, KEYED)
    assert status is None or answer.status == status
    assert await IdempotencyKey.objects.acount() == 0
    assert (await asgi_request("POST", "/upload/", [form(part(b"x"))], KEYED)).status == 201


async def test_a_cancelled_upload_frees_its_key():
    """A request that the server gives up does not hold its key for an hour."""

    async def never() -> AsyncIterator[bytes]:
        yield part(b"x")
        await asyncio.Event().wait()

    task = asyncio.create_task(asgi_request("POST", "/upload/", never(), KEYED))
    await keys_held(1)
    task.cancel()
    await asyncio.wait([task])
    assert await IdempotencyKey.objects.acount() == 0


async def test_a_bad_repeat_is_refused_as_any_bad_body():
    """The body of a repeat is held to the same rules."""
    async with http_client() as client:
        await client.post("/upload/", content=form(part(b"x")), headers=KEYED)
        assert (await client.post("/upload/", content=form(part(b"")), headers=KEYED)).json()["code"] == "empty_file"
        assert (await client.post("/upload/", content=b"x", headers=KEYED)).json()["code"] == "malformed"


async def test_f11_a_repeat_that_is_too_large_is_refused(settings):
    """Nor is it read beyond the limit."""
    settings.FILEWIRE_MAX_FILE_BYTES = 1000
    async with http_client() as client:
        await client.post("/upload/", content=form(part(b"x")), headers=KEYED)
        response = await client.post("/upload/", content=form(part(b"x" * 1001)), headers=KEYED)
    assert (response.status_code, response.json()["code"]) == (413, "file_too_large")


async def test_an_expired_key_is_free_again():
    """After its time the same key makes a new file; the sweep removes what nobody used again."""
    async with http_client() as client:
        first = await client.post("/upload/", content=form(part(b"x")), headers=KEYED)
        await IdempotencyKey.objects.all().aupdate(expires_at=timezone.now() - timedelta(seconds=1))
        second = await client.post("/upload/", content=form(part(b"y")), headers=KEYED)
        assert (first.status_code, second.status_code) == (201, 201)
        assert first.json()["id"] != second.json()["id"]
        assert await sync_to_async(idempotency.forget_expired)(10) == 0
        await IdempotencyKey.objects.all().aupdate(expires_at=timezone.now() - timedelta(seconds=1))
        assert await sync_to_async(idempotency.forget_expired)(10) == 1
        assert await IdempotencyKey.objects.acount() == 0


async def test_a_key_that_cannot_be_freed_hides_no_refusal(monkeypatch, settings):
    """The database goes while an upload is refused: it is told what was wrong with it, and its key is soon free."""

    def away(key, holder):
        raise DatabaseAway

    settings.FILEWIRE_MAX_FILE_BYTES = 1000
    monkeypatch.setattr(idempotency, "release", away)
    async with http_client() as client:
        response = await client.post("/upload/", content=form(part(b"x" * 1001)), headers=KEYED)
    assert (response.status_code, response.json()["code"]) == (413, "file_too_large")


async def test_a_key_that_is_taken_over_while_expired_ones_are_removed_stays(monkeypatch):
    """Its holder's upload is recorded under it, and is what a repeat is answered with."""
    await sync_to_async(idempotency.reserve)("a-key")
    await IdempotencyKey.objects.all().aupdate(expires_at=timezone.now() - timedelta(seconds=1))
    real, taken = QuerySet.delete, []

    def delete(self):
        if not taken:
            taken.append(idempotency.reserve("a-key"))
        return real(self)

    monkeypatch.setattr(QuerySet, "delete", delete)
    await sync_to_async(idempotency.forget_expired)(10)
    assert [key.holder async for key in IdempotencyKey.objects.all()] == taken


async def test_an_upload_that_lost_its_key_meanwhile_is_not_recorded(stored):
    """A holder so slow that its key expired and went to another does not make a second file."""
    whole = form(part(b"x"))

    async def slowly() -> AsyncIterator[bytes]:
        yield whole[:30]
        await IdempotencyKey.objects.all().aupdate(holder=uuid.uuid4())
        yield whole[30:]

    answer = await asgi_request("POST", "/upload/", slowly(), KEYED)
    assert (answer.status, answer.json()["code"]) == (409, "idempotency_key_in_flight")
    assert await File.everything.acount() == 0
    assert stored.files() == []
    assert await IdempotencyKey.objects.acount() == 1  # the other's


async def test_one_lost_key_fails_alone_in_its_batch():
    """Uploads that share a transaction with it are recorded."""
    go_on = asyncio.Event()
    whole = form(part(b"x"))

    async def slowly() -> AsyncIterator[bytes]:
        yield whole[:30]
        await go_on.wait()
        yield whole[30:]

    tasks = [
        asyncio.create_task(asgi_request("POST", "/upload/", slowly(), {**FORM, "Idempotency-Key": f"key-{number}"}))
        for number in range(6)
    ]
    await keys_held(6)
    await IdempotencyKey.objects.filter(key="key-3").aupdate(holder=uuid.uuid4())
    go_on.set()
    answers = await asyncio.gather(*tasks)
    assert [answer.status for answer in answers] == [201, 201, 201, 409, 201, 201]
    assert await File.objects.acount() == 5


async def test_keys_are_the_callers_own_words():
    """255 visible characters are a key; what is kept is the first answer, as JSON."""
    key = "~" * 255
    async with http_client() as client:
        response = await client.post("/upload/", content=form(part(b"x")), headers={**FORM, "Idempotency-Key": key})
    kept = await IdempotencyKey.objects.aget(key=key)
    assert str(kept) == key
    assert json.loads(kept.response) == response.json()
