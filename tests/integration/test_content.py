"""Bytes out: ranges, preconditions, and headers that a browser cannot be fooled by."""

import asyncio
import email
import os
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

import httpx
import pytest

from apps.files import storage
from apps.files.models import File, Kind, Status
from asgi.application import application
from tests import samples
from tests.client import http_client

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_clients")]

CONTENT = bytes(range(256)) * 4


async def upload(client: httpx.AsyncClient, content: bytes = CONTENT, name: str = "a.bin") -> str:
    """The new file's path."""
    response = await client.post("/upload/", params={"filename": name}, content=content)
    assert response.status_code == 201
    return response.headers["location"]


def open_blobs() -> int:
    """How many of this process's descriptors lead into the storage."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith(str(storage.root()))
        except OSError:
            continue
    return count


async def test_the_bytes_come_back_as_they_went_in():
    """Whole, with their length, their tag, and no way for a browser to run them."""
    async with http_client() as client:
        path = await upload(client)
        response = await client.get(f"{path}content/")
        document = (await client.get(path)).json()
        assert response.status_code == 200
        assert response.content == CONTENT
        headers = response.headers
        assert headers["content-length"] == "1024"
        assert re.fullmatch(f'"{document["sha256"]}-[0-9a-f]{{8}}"', headers["etag"])
        assert headers["accept-ranges"] == "bytes"
        assert headers["content-type"] == document["content_type"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("sandbox")
        assert headers["content-disposition"] == 'attachment; filename="a.bin"'
        assert (await client.get(document["file"])).content == CONTENT
        assert (await client.get(f"{path}content")).content == CONTENT
    assert open_blobs() == 0


async def test_plain_text_has_the_charset_that_was_found():
    """UTF-8 until it is known better: a browser is not to guess."""
    async with http_client() as client:
        path = await upload(client, "привет и мир\n".encode("cp1251") * 20, "a.txt")
        first = await client.get(f"{path}content/")
        assert first.headers["content-type"] == "text/plain; charset=utf-8"
        kept = {"If-None-Match": first.headers["etag"]}
        assert (await client.get(f"{path}content/", headers=kept)).status_code == 304
        await File.objects.aupdate(result={"encoding": "windows-1251"})
        assert (await client.get(f"{path}content/")).headers["content-type"] == "text/plain; charset=windows-1251"
        assert (await client.get(f"{path}content/", headers=kept)).status_code == 200  # the same bytes, shown otherwise
        for untrue in ("utf-8\r\nX-Injected: yes", "x; y=z", 'a"b', "", 7):
            await File.objects.aupdate(result={"encoding": untrue})
            response = await client.get(f"{path}content/")
            assert response.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=100-199", 100, 200),
        ("bytes=1000-", 1000, 1024),
        ("bytes=-24", 1000, 1024),
        ("bytes=-5000", 0, 1024),
        ("bytes=1020-9999", 1020, 1024),
        ("bytes=0-0", 0, 1),
    ],
)
async def test_a_range_is_206(asked, start, stop):
    """First, middle, open, suffix: exactly these bytes, and where they lie."""
    async with http_client() as client:
        path = await upload(client)
        response = await client.get(f"{path}content/", headers={"Range": asked})
    assert response.status_code == 206
    assert response.content == CONTENT[start:stop]
    assert response.headers["content-range"] == f"bytes {start}-{stop - 1}/1024"
    assert response.headers["content-length"] == str(stop - start)


@pytest.mark.parametrize("asked", ["bytes=0-5,5-6", "bytes=9-5", "pages=1-2", "bytes=x", ""])
async def test_a_range_that_is_not_understood_is_the_whole_file(asked):
    """As the standard allows."""
    async with http_client() as client:
        response = await client.get(f"{await upload(client)}content/", headers={"Range": asked})
    assert (response.status_code, response.content) == (200, CONTENT)
    assert "content-range" not in response.headers


async def test_several_ranges_are_one_body_of_parts():
    """Each part says which bytes it is, in the order asked for; the length is told beforehand, and is right."""
    async with http_client() as client:
        response = await client.get(f"{await upload(client)}content/", headers={"Range": "bytes=1000-, 0-9"})
    assert response.status_code == 206
    assert response.headers["content-type"].startswith("multipart/byteranges; boundary=")
    assert "content-range" not in response.headers
    assert response.headers["content-length"] == str(len(response.content))
    head = b"Content-Type: " + response.headers["content-type"].encode() + b"\r\n\r\n"
    parts = email.message_from_bytes(head + response.content).get_payload()
    found = [(part["Content-Range"], part["Content-Type"], part.get_payload(decode=True)) for part in parts]
    assert found == [
        ("bytes 1000-1023/1024", "application/octet-stream", CONTENT[1000:]),
        ("bytes 0-9/1024", "application/octet-stream", CONTENT[:10]),
    ]
    assert open_blobs() == 0


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=5000-6000", "bytes=-0"])
async def test_a_range_outside_the_file_is_416(asked):
    """A problem with the size in Content-Range, and no descriptor left open."""
    async with http_client() as client:
        response = await client.get(f"{await upload(client)}content/", headers={"Range": asked})
    assert (response.status_code, response.json()["code"]) == (416, "range_not_satisfiable")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["content-range"] == "bytes */1024"
    assert open_blobs() == 0


async def test_if_range_serves_a_part_only_of_the_same_bytes():
    """By tag or by date: the range while they match, the whole file otherwise."""
    async with http_client() as client:
        path = f"{await upload(client)}content/"
        whole = await client.get(path)
        for given, status in (
            (whole.headers["etag"], 206),
            (whole.headers["last-modified"], 206),
            ('"other"', 200),
            (format_datetime(datetime(2020, 1, 1, tzinfo=UTC), usegmt=True), 200),
            (f"W/{whole.headers['etag']}", 200),
            (moved(whole.headers["last-modified"], 1), 200),
            ("nonsense", 200),
        ):
            response = await client.get(path, headers={"Range": "bytes=0-9", "If-Range": given})
            assert response.status_code == status, given


async def test_bytes_that_the_client_has_are_304():
    """By its tag, weak or strong, among others, or by a star; nothing is opened."""
    async with http_client() as client:
        path = f"{await upload(client)}content/"
        etag = (await client.get(path)).headers["etag"]
        for given in (etag, f"W/{etag}", f'"x", {etag}', "*"):
            response = await client.get(path, headers={"If-None-Match": given})
            assert (response.status_code, response.content) == (304, b"")
            assert response.headers["etag"] == etag
        assert (await client.get(path, headers={"If-None-Match": '"x"'})).status_code == 200


def moved(date: str, seconds: int) -> str:
    """An HTTP date so much later."""
    return format_datetime(parsedate_to_datetime(date) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_bytes_that_the_client_has_by_their_date_are_304(method):
    """Of that second or a later one, in any form of a date; what is no date, or has a tag beside it, is not heeded."""
    async with http_client() as client:
        path = f"{await upload(client)}content/"
        whole = await client.get(path)
        date, etag = whole.headers["last-modified"], whole.headers["etag"]
        obsolete = parsedate_to_datetime(date).strftime("%A, %d-%b-%y %H:%M:%S GMT")
        for given, status in (
            ({"If-Modified-Since": date}, 304),
            ({"If-Modified-Since": obsolete}, 304),
            ({"If-Modified-Since": moved(date, 3600)}, 304),
            ({"If-Modified-Since": moved(date, -1)}, 200),
            ({"If-Modified-Since": "yesterday"}, 200),
            ({"If-Modified-Since": f"{date}, {date}"}, 200),
            ({"If-Modified-Since": date, "If-None-Match": '"other"'}, 200),
            ({"If-Modified-Since": moved(date, -1), "If-None-Match": etag}, 304),
            ({"If-Modified-Since": date, "Range": "bytes=0-9"}, 304),
        ):
            response = await client.request(method, path, headers=given)
            assert response.status_code == status, given
            assert (response.headers["etag"], response.headers["last-modified"]) == (etag, date)
            assert response.headers["cache-control"] == whole.headers["cache-control"]
            if status == 304:
                assert response.content == b""
                assert "content-type" not in response.headers
    assert open_blobs() == 0


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_bytes_that_are_not_those_that_were_meant_are_412(method):
    """By a tag that is strongly equal or, where there is none, by a date; it comes before every other precondition."""
    async with http_client() as client:
        path = f"{await upload(client)}content/"
        whole = await client.get(path)
        date, etag = whole.headers["last-modified"], whole.headers["etag"]
        for given, status in (
            ({"If-Match": etag}, 200),
            ({"If-Match": f'"x", {etag}'}, 200),
            ({"If-Match": "*"}, 200),
            ({"If-Match": f"W/{etag}"}, 412),
            ({"If-Match": '"x"'}, 412),
            ({"If-Match": '"x"', "If-None-Match": etag}, 412),
            ({"If-Match": etag, "If-None-Match": etag}, 304),
            ({"If-Match": etag, "If-Unmodified-Since": moved(date, -1)}, 200),
            ({"If-Unmodified-Since": date}, 200),
            ({"If-Unmodified-Since": moved(date, -1)}, 412),
            ({"If-Unmodified-Since": moved(date, -1), "If-Modified-Since": date}, 412),
            ({"If-Unmodified-Since": "tomorrow"}, 200),
            ({"If-Unmodified-Since": moved(date, -1), "Range": "bytes=5000-"}, 412),
        ):
            response = await client.request(method, path, headers=given)
            assert response.status_code == status, given
            if status == 412 and method == "GET":
                assert response.json()["code"] == "precondition_failed"
    assert open_blobs() == 0


async def test_head_is_the_headers_alone():
    """The same length and tag, no body, no range, and no descriptor left open."""
    async with http_client() as client:
        path = f"{await upload(client)}content/"
        response = await client.head(path)
        ranged = await client.head(path, headers={"Range": "bytes=0-9"})
    for answer in (response, ranged):
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-length"] == "1024"
    assert response.headers["accept-ranges"] == "bytes"
    assert open_blobs() == 0


@pytest.mark.parametrize(
    ("name", "disposition"),
    [
        ("plain.bin", 'attachment; filename="plain.bin"'),
        ('with "quotes".bin', 'attachment; filename="with \\"quotes\\".bin"'),
        ("with ; and , .bin", 'attachment; filename="with ; and , .bin"'),
        ("naïve 日本.bin", "attachment; filename*=utf-8''na%C3%AFve%20%E6%97%A5%E6%9C%AC.bin"),
        ("a\r\nX-Evil: 1", 'attachment; filename="aX-Evil: 1"'),
        ("漢" * 300, "attachment; filename*=utf-8''" + "%E6%BC%A2" * 85),
    ],
)
async def test_f18_the_header_names_the_file_as_rfc_6266_says(name, disposition):
    """Quoted, escaped or encoded, never a second header."""
    async with http_client() as client:
        response = await client.get(f"{await upload(client, name=name)}content/")
    assert response.headers["content-disposition"] == disposition


@pytest.mark.parametrize(
    ("content", "name", "shown"),
    [
        (samples.html(), "page.html", False),
        (samples.html(), "page.png", False),
        (samples.svg(), "picture.svg", False),
        (samples.pdf(), "paper.pdf", False),
        (samples.xml(), "data.xml", False),
        (samples.polyglot_gif_js(), "both.js", True),
        (samples.png(), "picture.png", True),
        (samples.text(), "notes.html", True),
    ],
)
async def test_f17_what_could_run_is_saved_and_never_shown(content, name, shown):
    """HTML, SVG and PDF are attachments in a sandbox; only plain text and pictures without scripts open in place."""
    async with http_client() as client:
        response = await client.get(f"{await upload(client, content, name)}content/")
    assert response.headers["content-disposition"].startswith("inline" if shown else "attachment")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-security-policy"].startswith("sandbox")
    if shown:
        assert response.headers["content-type"].split(";")[0] in ("image/gif", "image/png", "text/plain")


async def test_any_accept_header_gets_the_bytes():
    """An `<img>` asks for images; what it gets is the file's own type."""
    async with http_client() as client:
        response = await client.get(f"{await upload(client)}content/", headers={"Accept": "image/avif,image/webp"})
    assert response.status_code == 200


@pytest.mark.parametrize("leave_after", [0, 1, 3])
async def test_f12_a_client_that_goes_away_closes_the_descriptor(leave_after, data_directory):
    """Before the first byte or in the middle: the file is closed when the client has gone."""
    async with http_client() as client:
        path = await upload(client, os.urandom(3_000_000))
    gone, sent = asyncio.Event(), []

    async def receive():
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)
        if len(sent) > leave_after:
            gone.set()
            await asyncio.Event().wait()  # a client that does not read

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": f"{path}content/", "raw_path": f"{path}content/".encode(), "query_string": b"", "root_path": "",
        "headers": [(b"host", b"testserver")], "client": ("127.0.0.1", 1), "server": ("testserver", 80),
    }  # fmt: skip
    async with asyncio.timeout(5):
        await application(scope, receive, send)
    assert open_blobs() == 0
    assert len(sent) == leave_after + 1


async def test_a_file_that_turns_out_shorter_breaks_the_connection():
    """Its length has been promised: an end that looks whole would be a lie."""
    async with http_client() as client:
        path = await upload(client, os.urandom(1_000_000))
        file = await File.objects.aget()
        sent = []

        async def receive():
            await asyncio.Event().wait()

        async def send(message):
            if not sent:
                os.truncate(storage.path_of(file.file.name), 300_000)
            sent.append(message)

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": f"{path}content/", "raw_path": b"", "query_string": b"", "root_path": "",
            "headers": [(b"host", b"testserver")], "client": ("127.0.0.1", 1), "server": ("testserver", 80),
        }  # fmt: skip
        with pytest.raises(Exception, match="ended before its size"):
            await application(scope, receive, send)
    assert sent[-1].get("more_body", True)
    assert open_blobs() == 0


async def test_a_derived_file_has_the_same_headers():
    """Ranges, tag and safety as the file's own; another name is 404."""
    async with http_client() as client:
        path = await upload(client, samples.png())
        file = await File.objects.aget()
        thumbnail = samples.webp()
        (storage.workdir(file.file.name, 1) / "thumbnail.webp").write_bytes(thumbnail)
        entry = {"attempt": 1, "file": "thumbnail.webp", "content_type": "image/webp", "size": len(thumbnail)}
        await File.objects.all().aupdate(
            status=Status.PROCESSED, processed=True, processed_at=datetime.now(UTC), derived={"thumbnail": entry},
            kind=Kind.IMAGE,
        )  # fmt: skip
        url = (await client.get(path)).json()["derived"]["thumbnail"]
        assert url == f"http://testserver{path}derived/thumbnail/"
        response = await client.get(url)
        assert (response.status_code, response.content) == (200, thumbnail)
        assert response.headers["content-type"] == "image/webp"
        assert response.headers["content-disposition"] == 'inline; filename="thumbnail.webp"'
        assert response.headers["content-security-policy"].startswith("sandbox")
        assert (await client.get(url, headers={"Range": "bytes=0-3"})).content == thumbnail[:4]
        assert (await client.get(url, headers={"If-None-Match": response.headers["etag"]})).status_code == 304
        dated = {"If-Modified-Since": response.headers["last-modified"]}
        assert (await client.get(url, headers=dated)).status_code == 304
        assert (await client.get(url, headers={"If-Match": '"x"'})).status_code == 412
        part = {"Range": "bytes=0-3", "If-Range": response.headers["last-modified"]}
        assert (await client.get(url, headers=part)).status_code == 206
        assert response.headers["etag"] != (await client.get(f"{path}content/")).headers["etag"]
        missing = await client.get(f"{path}derived/preview/")
        assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
        for name in ("..%2F..%2Fa", "a%00b", "%2e%2e%2fcontent"):
            assert (await client.get(f"{path}derived/{name}/")).status_code == 404
