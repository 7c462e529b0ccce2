"""Uploads, from the first byte to the row."""

import asyncio
import hashlib

import pytest
from django.db import connections

from apps.files.models import File
from tests.client import DISCONNECT, FORM, asgi_request, form, http_client, part

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_clients")]


async def test_a_form_with_one_file_becomes_a_queued_file(stored):
    """The answer is 201 with the file's place and its document, and the bytes are stored once."""
    async with http_client() as client:
        response = await client.post("/upload/", files={"file": ("a.txt", b"hello\n", "text/plain")})
    assert response.status_code == 201
    document = response.json()
    assert response.headers["Location"] == f"/files/{document['id']}/"
    assert document["name"] == "a.txt"
    assert document["size"] == 6
    assert document["sha256"] == hashlib.sha256(b"hello\n").hexdigest()
    assert (document["status"], document["processed"], document["attempt"]) == ("queued", False, 1)
    assert document["file"] == f"http://testserver/files/{document['id']}/content/"
    file = await File.objects.aget(id=document["id"])
    assert [path.read_bytes() for path in stored.files()] == [b"hello\n"]
    assert file.file.name not in ("", "a.txt")


async def test_a_client_that_goes_away_leaves_nothing(stored):
    """A body that ends before its time leaves no bytes and no row."""
    chunks = [part(b"x" * 300_000)[:200_000], DISCONNECT]
    await asgi_request("POST", "/upload/", chunks, FORM)
    assert stored.files() == []
    assert await File.objects.acount() == 0


async def test_a_large_file_is_hashed_and_kept_whole(stored):
    """A file that does not fit in memory is the same on disk as it was sent, however its chunks fall."""
    content = bytes(range(256)) * 9000
    whole = form(part(content))
    chunks = [whole[start : start + 60_001] for start in range(0, len(whole), 60_001)]
    answer = await asgi_request("POST", "/upload/", chunks, FORM)
    assert answer.status == 201
    assert answer.json()["sha256"] == hashlib.sha256(content).hexdigest()
    (path,) = stored.files()
    assert path.read_bytes() == content


async def test_f13_atomic_requests_do_not_hold_rows_back():
    """With ATOMIC_REQUESTS on, each of 200 uploads is there for others as soon as it is answered."""
    connections["default"].settings_dict["ATOMIC_REQUESTS"] = True
    try:
        async with http_client() as client:
            for number in range(200):
                answer = await client.post(f"/upload/?filename={number}.txt", content=b"%d" % number)
                assert answer.status_code == 201
                found = await asyncio.to_thread(_seen_elsewhere, answer.json()["id"])
                assert found
    finally:
        connections["default"].settings_dict["ATOMIC_REQUESTS"] = False


def _seen_elsewhere(file_id: str) -> bool:
    """Whether another connection sees the row."""
    try:
        return File.objects.filter(id=file_id).exists()
    finally:
        connections["default"].close()
