"""Bodies that are the file itself, digests, and a real server's wire."""

import asyncio
import base64
import contextlib
import hashlib
import shutil
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn

from apps.files.models import File, Status
from asgi.server import BoundedHttp
from tests.client import FORM, form, http_client, part

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_clients")]


def digest_of(content: bytes) -> str:
    """The Content-Digest of these bytes."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


@pytest.mark.parametrize(
    ("query", "disposition", "name"),
    [
        ({}, 'attachment; filename="x.png"', "x.png"),
        ({}, "attachment; filename=x.png", "x.png"),
        ({}, "attachment; filename*=UTF-8''na%C3%AFve%20%E6%97%A5.png", "naïve 日.png"),
        ({}, "attachment; filename=\"plain.png\"; filename*=UTF-8''fancy%20%E6%97%A5.png", "fancy 日.png"),
        ({}, 'attachment; filename="日本.png"'.encode(), "日本.png"),
        ({}, 'attachment; filename="caf\xe9.png"'.encode("latin-1"), "café.png"),
        ({"filename": "x.png"}, None, "x.png"),
        ({"filename": "日本 \u202e.png"}, None, "日本 .png"),
        ({"filename": "query.png"}, 'attachment; filename="header.png"', "header.png"),
        ({"filename": "query.png"}, "attachment", "query.png"),
    ],
)
@pytest.mark.parametrize("path", ["/upload/", "/upload"])
async def test_a_raw_body_is_named_by_header_or_query(path, query, disposition, name):
    """Either way, in any charset that clients write, with or without the last slash: 201 and that name."""
    headers = {"Content-Type": "image/x-of-the-client"}
    if disposition is not None:
        headers["Content-Disposition"] = disposition
    async with http_client() as client:
        response = await client.post(path, params=query, content=b"bytes", headers=headers)
    assert response.status_code == 201
    document = response.json()
    assert (document["name"], document["size"]) == (name, 5)
    assert document["declared_content_type"] == "image/x-of-the-client"
    assert document["sha256"] == hashlib.sha256(b"bytes").hexdigest()


@pytest.mark.parametrize(
    ("path", "headers", "name"),
    [
        ("/upload/x%20%E6%97%A5.png", {}, "x 日.png"),
        ("/upload/x.png/", {}, "x.png"),
        ("/upload/..%2F..%2Fpasswd", {}, None),
        ("/upload/x.png?filename=y.png", {}, "y.png"),
        ("/upload/x.png", {"Content-Disposition": "attachment; filename=z.png"}, "z.png"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_raw_body_is_named_by_its_path(method, path, headers, name):
    """What `curl -T` sends; header and query still come first, and a path in the path is no path of ours."""
    async with http_client() as client:
        response = await client.request(method, path, content=b"bytes", headers=headers)
    if name is None:
        assert response.status_code == 404
    else:
        assert (response.status_code, response.json()["name"]) == (201, name)


@pytest.mark.parametrize("content", [b"small", b"large" * 100_000])
async def test_a_right_digest_is_taken(content):
    """Of a raw body, of a form's file, or of a form as a whole: the bytes are what the client says."""
    async with http_client() as client:
        raw = await client.post(
            "/upload/", params={"filename": "a"}, content=content, headers={"Content-Digest": digest_of(content)}
        )
        whole = form(part(content))
        for digest in (digest_of(content), digest_of(whole)):
            in_form = await client.post("/upload/", content=whole, headers={**FORM, "Content-Digest": digest})
            assert in_form.status_code == 201
        own = whole.replace(b"\r\n\r\n", f"\r\nContent-Digest: {digest_of(content)}\r\n\r\n".encode(), 1)
        in_part = await client.post("/upload/", content=own, headers=FORM)
    assert (raw.status_code, in_part.status_code) == (201, 201)


async def test_a_wrong_digest_in_a_form_is_refused(stored):
    """The form's own header and the part's are checked alike."""
    whole = form(part(b"x"))
    own = whole.replace(b"\r\n\r\n", f"\r\nContent-Digest: {digest_of(b'y')}\r\n\r\n".encode(), 1)
    async with http_client() as client:
        for content, headers in ((whole, {**FORM, "Content-Digest": digest_of(b"y")}), (own, FORM)):
            response = await client.post("/upload/", content=content, headers=headers)
            assert (response.status_code, response.json()["code"]) == (422, "digest_mismatch")
            assert response.json()["errors"][0]["field"] == "Content-Digest"
    assert stored.files() == []
    assert await File.objects.acount() == 0


async def test_f13_two_hundred_uploads_are_two_hundred_rows(stored):
    """Every 201 names a file that can be read at once by anyone: the row was there before the answer."""
    async with http_client() as client:

        async def one(number: int) -> None:
            response = await client.post("/upload/", params={"filename": f"{number}.txt"}, content=b"%d" % number)
            assert response.status_code == 201
            found = await client.get(response.headers["Location"])
            assert found.status_code == 200
            assert found.json() == response.json()

        await asyncio.gather(*(one(number) for number in range(200)))
    assert await File.objects.filter(status=Status.QUEUED).acount() == 200
    assert len(stored.files()) == 200


# --- a real server's wire --------------------------------------------------------------------------------------


@pytest.fixture
async def server(shared_clients) -> AsyncIterator[int]:
    """The application behind uvicorn in this process; its port."""
    config = uvicorn.Config("asgi.application:application", port=0, lifespan="off", log_config=None, http=BoundedHttp)
    running = uvicorn.Server(config)
    running.capture_signals = contextlib.nullcontext  # pytest's Ctrl-C is pytest's
    listening = socket.create_server(("127.0.0.1", 0))
    task = asyncio.create_task(running.serve(sockets=[listening]))
    async with asyncio.timeout(10):
        while not running.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.005)
    yield listening.getsockname()[1]
    running.should_exit = True
    await task


async def talk(port: int, *sent: bytes, half_close: bool = False) -> bytes:
    """What the server answers to these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for data in sent:
            writer.write(data)
            await writer.drain()
        if half_close:
            writer.write_eof()
        async with asyncio.timeout(5):
            return await reader.read(65_536)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


HEAD = (
    b"POST /upload/?filename=a.bin HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/octet-stream\r\nConnection: close\r\n"
)


async def gone(path_count, *, rows: int) -> None:
    """Wait until nothing is on its way any more."""
    async with asyncio.timeout(5):
        while path_count():  # noqa: ASYNC110 - the file system has no event for it
            await asyncio.sleep(0.01)
    assert await File.everything.acount() == rows


async def test_f11_the_server_answers_413_before_the_body_is_sent(server, settings, stored):
    """A client that waits for 100 Continue never sends the bytes that are not wanted."""
    settings.FILEWIRE_MAX_FILE_BYTES = 1000
    answer = await talk(server, HEAD + b"Content-Length: 5000\r\nExpect: 100-continue\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"file_too_large" in answer
    assert b"\r\nconnection: close\r\n" in answer  # it may send the body all the same, or its next request


async def test_f11_the_server_answers_413_to_a_chunked_body_at_the_first_byte_over(server, settings, stored):
    """The answer comes while the client could still send for ever."""
    settings.FILEWIRE_MAX_FILE_BYTES = 1000
    chunk = b"3e8\r\n" + b"x" * 1000 + b"\r\n"
    answer = await talk(server, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk, b"1\r\nx\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    await gone(stored.files, rows=0)


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        (b"Content-Length: 500000\r\n\r\n", b"x" * 300_000),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"40000\r\n" + b"x" * 100_000),
    ],
)
async def test_f12_a_body_shorter_than_it_says_leaves_nothing(server, stored, headers, sent):
    """A client that lies about its length, and hangs up, is as one that went away."""
    await talk(server, HEAD + headers, sent, half_close=True)
    await gone(stored.files, rows=0)


async def test_a_client_that_sends_no_more_and_reads_on_is_answered(server, stored):
    """HTTP lets it close its side behind a whole request."""
    answer = await talk(server, HEAD + b"Content-Length: 5\r\n\r\n", b"hello", half_close=True)
    assert answer.startswith(b"HTTP/1.1 201 ")
    await gone(lambda: len(stored.files()) != 1, rows=1)


async def test_a_body_longer_than_it_says_is_cut_where_it_said(server, stored):
    """What follows the announced length is no part of the file."""
    answer = await talk(server, HEAD + b"Content-Length: 5\r\n\r\n", b"hello and more\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert [path.read_bytes() for path in stored.files()] == [b"hello"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not there")
@pytest.mark.parametrize("how", ["-T", "-X POST -T", "-F", "-T -"])
async def test_curl_uploads(server, how, tmp_path):
    """`curl -F` and `curl -T`, from a file and from a pipe without a length."""
    path = tmp_path / "x.txt"
    path.write_bytes(b"from curl\n" * 10)
    url = f"http://127.0.0.1:{server}/upload/"  # curl adds the file's name to a path that ends with a slash
    arguments = {
        "-T": ["-T", str(path), url],
        "-X POST -T": ["-X", "POST", "-T", str(path), url],
        "-T -": ["-X", "POST", "-T", "-", "-H", 'Content-Disposition: attachment; filename="x.txt"', url],
        "-F": ["-F", f"file=@{path}", url],
    }[how]
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", "--max-time", "10", "-w", "%{http_code}", "-o", "/dev/null", *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate(path.read_bytes())
    assert output == b"201"
    file = await File.objects.aget()
    assert (file.name, file.size) == ("x.txt", 100)
