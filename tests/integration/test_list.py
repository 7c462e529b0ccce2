"""The list: pages by keyset in both directions, every filter, one query."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.api import listing
from apps.events import publish
from apps.files import ids, lifecycle
from apps.files.models import File, Kind, Status
from tests.client import http_client

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_clients")]

START = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)


def row(moment: datetime, **changes: Any) -> File:
    """One file, uploaded at this moment."""
    fields = {
        "id": ids.new_id(moment), "name": "a.txt", "size": 1, "content_type": "text/plain",
        "declared_content_type": "", "kind": Kind.TEXT, "sha256": "0" * 64, "uploaded_at": moment, "request_id": "",
    } | changes  # fmt: skip
    return lifecycle.new_file(**fields)


async def rows(count: int) -> list[str]:
    """So many files, three in each millisecond and two in each microsecond; their ids, newest first."""
    made = [row(START + timedelta(milliseconds=n // 3, microseconds=n // 2)) for n in range(count)]
    await File.objects.abulk_create(made)
    return sorted((str(file.id) for file in made), reverse=True)


async def page(client: httpx.AsyncClient, url: str) -> tuple[list[str], str | None, str | None]:
    """The ids of one page, and the pages beside it."""
    response = await client.get(url)
    assert response.status_code == 200, response.text
    body = response.json()
    assert set(body) == {"next", "previous", "results"}
    return [file["id"] for file in body["results"]], body["next"], body["previous"]


async def walk(client: httpx.AsyncClient, url: str, direction: int) -> tuple[list[list[str]], str]:
    """All pages from here in one direction (1 next, 2 previous), and the last one's address."""
    pages = []
    while True:
        found = await page(client, url)
        pages.append(found[0])
        following = found[direction]
        if following is None:
            return pages, url
        url = following


@pytest.mark.parametrize("page_size", [7, 50, 120, 200])
async def test_pages_forward_and_back_hold_every_file_once(page_size):
    """Newest first to the end, and back to the beginning: the same files, none twice, none missing, ties included."""
    expected = await rows(120)
    async with http_client() as client:
        forward, last = await walk(client, f"/files/?page_size={page_size}", 1)
        assert [file for found in forward for file in found] == expected
        assert all(len(found) == page_size for found in forward[:-1])
        back, first = await walk(client, last, 2)
        assert [file for found in reversed(back) for file in found] == expected
        assert (await page(client, first))[2] is None


async def test_fifty_are_a_page_if_nothing_is_said():
    """The usual page, its links absolute and with the filters of the first."""
    expected = await rows(51)
    async with http_client() as client:
        found, following, previous = await page(client, "/files/?kind=text&name=a.t")
        assert found == expected[:50]
        assert previous is None
        assert following.startswith("http://testserver/files/?kind=text&name=a.t&cursor=")
        rest, end, back = await page(client, following)
        assert (rest, end) == (expected[50:], None)
        assert (await page(client, back))[0] == expected[:50]


async def test_files_that_come_meanwhile_move_nothing():
    """While someone pages, new files appear before the first page: no page repeats or skips one."""
    expected = await rows(60)
    async with http_client() as client:
        seen, following, _ = await page(client, "/files/?page_size=20")
        while following:
            await File.objects.abulk_create([row(datetime.now(UTC)) for _ in range(5)])
            found, following, previous = await page(client, following)
            seen += found
        assert seen == expected
        back, _ = await walk(client, previous, 2)
        assert len({file for found in back for file in found}) == 40 + 10


async def test_a_page_whose_files_went_is_empty():
    """A cursor past the end, or one before the beginning, is an empty page and no error."""
    async with http_client() as client:
        for cursor in ("o", "n"):
            found = await page(
                client, f"/files/?cursor={cursor}{uuid.UUID(int=0 if cursor == 'o' else 2**128 - 1).hex}"
            )
            assert found == ([], None, None)


async def test_one_page_is_one_query_without_offset():
    """However many rows, wherever the page: one SELECT, by the primary key."""
    await rows(120)

    def queries(query: str) -> list[str]:
        from django.http import QueryDict

        with CaptureQueriesContext(
            connection,
        ) as captured:
            listing.page(listing.asked(QueryDict(query)))
        return [entry["sql"] for entry in captured.captured_queries]

    cursor = ids.floor_id(START + timedelta(milliseconds=20)).hex
    for query in (
        "page_size=1",
        "page_size=100",
        f"cursor=o{cursor}",
        f"cursor=n{cursor}&page_size=3",
        "status=queued",
    ):
        sent = await sync_to_async(queries)(query)
        assert len(sent) == 1
        assert "OFFSET" not in sent[0]
        assert "COUNT" not in sent[0]


FULL = {
    "name": "Gr\u00fc\u00dfe \u2603 \U0001f600.csv", "size": 2**40, "content_type": "text/csv",
    "declared_content_type": "text/x", "kind": Kind.TABLE, "sha256": "ab" * 32, "processed": True,
    "status": Status.PROCESSED, "progress": 100, "attempt": 3,
    "uploaded_at": START + timedelta(microseconds=7), "processed_at": START + timedelta(seconds=61),
    "result": {
        "zz": [1, -0.5, 1.0, 1e-7, 1e16, 2.9e21, -1e300, 2**53, True, None, {}, []],
        "a": {"\u00fc \"\\/\n\x1f\x7f": "\U0001f600 %s %"},
    },
    "derived": {"thumbnail": {"attempt": 3, "file": "t.webp", "content_type": "image/webp"}, "text": {}},
}  # fmt: skip
BROKEN = {"status": Status.FAILED, "error": {"code": "table_broken", "detail": "It is \u201cbroken\u201d."}}


@pytest.mark.parametrize("changes", [{}, FULL, BROKEN, {"result": {}}], ids=["new", "full", "failed", "empty"])
async def test_a_file_in_the_list_is_the_file_itself(changes):
    """Byte for byte the document that `GET /files/<id>/` gives, which is made of the model: all of it, or none yet."""
    file = row(START, **changes)
    await File.objects.abulk_create([file])
    async with http_client() as client:
        alone = (await client.get(f"/files/{file.id}/")).content
        assert (await client.get("/files/")).content == b'{"next":null,"previous":null,"results":[%s]}' % alone
        found = (await client.get("/files/")).json()["results"][0]
    for name in ("name", "size", "content_type", "kind", "sha256", "status", "attempt", "result", "error"):
        assert found[name] == getattr(file, name)


# --- filters -------------------------------------------------------------------------------------------------


@pytest.fixture
async def mixed(shared_clients) -> dict[str, str]:
    """One file of each status, with different names, kinds and moments; their ids by name."""
    made = [
        row(START, name="Holiday in Rome.JPG", kind=Kind.IMAGE),
        row(START + timedelta(seconds=1), name="100% done_.txt", status=Status.PROCESSING),
        row(START + timedelta(seconds=2), name="table.csv", kind=Kind.TABLE, status=Status.PROCESSED, processed=True),
        row(START + timedelta(seconds=3), name="back\\slash", status=Status.FAILED, error={"code": "x", "detail": "y"}),
    ]
    await File.objects.abulk_create(made)
    return {file.name[:4]: str(file.id) for file in made}


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["back", "tabl", "100%", "Holi"]),
        ("processed=true", ["tabl"]),
        ("processed=false", ["back", "100%", "Holi"]),
        ("status=queued", ["Holi"]),
        ("status=processing", ["100%"]),
        ("status=failed&status=processed", ["back", "tabl"]),
        ("kind=image", ["Holi"]),
        ("kind=image&kind=table", ["tabl", "Holi"]),
        ("kind=video", []),
        ("name=holiday", ["Holi"]),
        ("name=.jpg", ["Holi"]),
        ("name=%25", ["100%"]),
        ("name=_", ["100%"]),
        ("name=%5C", ["back"]),
        ("name=nothing", []),
        ("name='", []),
        ("uploaded_after=2026-11-23T05:00:01Z", ["back", "tabl"]),
        ("uploaded_after=2026-11-23T05:00:00.999999Z", ["back", "tabl", "100%"]),
        ("uploaded_before=2026-11-23T05:00:01Z", ["Holi"]),
        ("uploaded_before=2026-11-23T07:00:01.000001%2B02:00", ["100%", "Holi"]),
        ("uploaded_before=2026-11-23T07:00:01.000001+02:00", ["100%", "Holi"]),
        ("uploaded_after=2026-11-23T05:00:00Z&uploaded_before=2026-11-23T05:00:03Z", ["tabl", "100%"]),
        ("uploaded_after=2026-11-24", []),
        ("processed=false&status=failed&kind=text&name=slash", ["back"]),
    ],
)
async def test_filters_choose(mixed, query, names):
    """Each filter of the contract, alone and together; a part of a name is plain text, its case does not matter."""
    async with http_client() as client:
        found, _, _ = await page(client, f"/files/?{query}")
    assert found == [mixed[name] for name in names]


# --- what has not changed is not sent --------------------------------------------------------------------------


def progress_of(file_id: str) -> None:
    """A worker claims the file, and says so."""
    file = lifecycle.claim(uuid.UUID(file_id), 1)
    assert file
    assert publish.pending(file)


async def test_a_list_is_sent_again_only_when_something_changed():
    """304 while nothing changed; 200 with another tag after an upload, a change of state, a deletion."""
    async with http_client() as client:
        tags = []
        made = None
        for step in ("empty", "upload", "processing", "delete of one"):
            if step == "upload":
                made = await client.post("/upload/?filename=a", content=b"x")
                await client.post("/upload/?filename=b", content=b"x")
            elif step == "processing":
                await sync_to_async(progress_of)(made.json()["id"])
            elif step == "delete of one":
                assert (await client.delete(made.headers["location"])).status_code == 204
            if tags:
                assert (await client.get("/files/", headers={"If-None-Match": tags[-1]})).status_code == 200
            answer = await client.get("/files/")
            tags.append(answer.headers["etag"])
            again = await client.get("/files/", headers={"If-None-Match": tags[-1]})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tags[-1])
            assert "content-length" not in again.headers
        assert len(set(tags)) == 4


async def test_a_deleted_file_is_in_no_page():
    """From the answer to DELETE on."""
    async with http_client() as client:
        made = await client.post("/upload/?filename=a", content=b"x")
        assert (await page(client, "/files/"))[0] == [made.json()["id"]]
        await client.delete(made.headers["location"])
        assert (await page(client, "/files/"))[0] == []
