"""Bad input: each kind answers as the contract says, within a second, and leaves no bytes, no row, no descriptor."""

import asyncio
import base64
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from apps.files import storage
from apps.files.models import File
from tests import samples
from tests.client import BOUNDARY, DISCONNECT, FORM, Answer, asgi_request, form, http_client, part

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_clients")]

RAW = {"Content-Type": "application/octet-stream", "Content-Disposition": 'attachment; filename="a.bin"'}
MEMBERS = {"type", "title", "status", "code", "detail", "errors"}


def open_uploads() -> list[str]:
    """This process's descriptors that lead into the storage."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if target.startswith(str(storage.root())):
            found.append(target)
    return found


async def refused(answer: Answer, status: int, code: str) -> dict:
    """The problem in the answer, once it is certain that nothing was kept."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == MEMBERS
    assert (problem["status"], problem["code"]) == (status, code)
    assert all(set(entry) == {"field", "code", "detail"} for entry in problem["errors"])
    assert [path for path in storage.root().rglob("*") if path.is_file()] == []
    assert await File.everything.acount() == 0
    assert open_uploads() == []
    return problem


def pieces(whole: bytes, size: int) -> Iterator[bytes]:
    """The bytes in pieces of this size."""
    return (whole[start : start + size] for start in range(0, len(whole), size))


@pytest.mark.parametrize(
    ("accept", "reject", "content"),
    [
        (["image"], [], b"only text\n"),
        ([], ["text/plain"], b"only text\n"),
        (["document"], ["image/*"], samples.jpeg()),
        ([], ["text"], b"only text\n" * 100_000),
    ],
)
async def test_a_type_that_is_not_taken_is_415(settings, accept, reject, content):
    """By its bytes, whatever it is called; a large one before its body is over."""
    settings.FILEWIRE_ACCEPT, settings.FILEWIRE_REJECT = accept, reject
    read = []

    async def body() -> AsyncIterator[bytes]:
        for piece in pieces(content, 100_000):
            read.append(piece)
            yield piece

    answer = await asgi_request(
        "POST", "/upload/", body(), {**RAW, "Content-Disposition": 'attachment; filename="a.pdf"'}
    )
    problem = await refused(answer, 415, "type_not_accepted")
    assert problem["errors"][0]["field"] == "file"
    assert len(read) <= 4


async def test_a_container_is_let_in_to_be_looked_at(settings):
    """The first bytes of a ZIP do not say what is in it: the worker decides."""
    settings.FILEWIRE_ACCEPT = ["document"]
    async with http_client() as client:
        response = await client.post("/upload/", files={"file": ("a.docx", samples.zip())})
    assert response.status_code == 201


LARGE = b"x" * 400_000  # goes to a file on its way
OF_NOTHING = f"sha-256=:{base64.b64encode(hashlib.sha256().digest()).decode()}:"

BAD_FORMS = {
    "no part at all": (form(), 400, "missing_file"),
    "a missing part": (form(part(b"x", name="other")), 400, "missing_file"),
    "a value named file": (form(part(b"x", filename=None)), 400, "missing_file"),
    "an empty file": (form(part(b"")), 400, "empty_file"),
    "no file chosen": (form(part(b"", filename="")), 400, "empty_file"),
    "two files": (form(part(b"x"), part(b"y")), 400, "too_many_files"),
    "two files, the first large": (form(part(LARGE), part(b"y")), 400, "too_many_files"),
    "a boundary that never comes": (b"x" * 100_000, 400, "malformed"),
    "a file that never ends": (part(LARGE), 400, "malformed"),
    "a truncated body": (form(part(LARGE))[:-9], 400, "malformed"),
    "an empty body": (b"", 400, "malformed"),
    "a part without a disposition": (f"--{BOUNDARY}\r\nX: y\r\n\r\nz\r\n".encode() + form(), 400, "malformed"),
    "a header that never ends": (f"--{BOUNDARY}\r\nX: ".encode() + b"y" * 20_000, 400, "too_many_parts"),
    "a header that is no text": (f"--{BOUNDARY}\r\nX: \xff".encode("latin-1") + b"\r\n\r\n", 400, "malformed"),
    "a large value": (form(part(b"x" * 1_200_000, name="v", filename=None)), 400, "too_many_parts"),
    "an endless end": (form(part(b"x")) + b"\r\n" * 600_000, 400, "too_many_parts"),
}


@pytest.mark.parametrize("kind", BAD_FORMS)
@pytest.mark.parametrize("size", [65_536, 3_000_000])
async def test_f12_a_bad_form_is_refused_and_leaves_nothing(kind, size):
    """Each bad form has its code, in pieces or at once, and within a second."""
    body, status, code = BAD_FORMS[kind]
    started = time.monotonic()
    answer = await asgi_request("POST", "/upload/", pieces(body, size), FORM)
    assert time.monotonic() - started < 1
    await refused(answer, status, code)


async def test_f19_ten_thousand_parts_are_refused_fast():
    """The limit is met at the first part over, not after the last."""
    body = form(*[part(b"", name="file", filename=f"{n}") for n in range(10_000)])
    started = time.monotonic()
    answer = await asgi_request("POST", "/upload/", pieces(body, 65_536), FORM)
    assert time.monotonic() - started < 0.5
    assert answer.json()["code"] in ("too_many_parts", "too_many_files")
    await refused(answer, 400, answer.json()["code"])
    body = form(*[part(b"", name=f"n{n}", filename=None) for n in range(10_000)])
    await refused(await asgi_request("POST", "/upload/", pieces(body, 65_536), FORM), 400, "too_many_parts")


async def test_a_content_type_that_cannot_be_read_is_refused():
    """A parameter in a charset that does not exist is the client's mistake."""
    answer = await asgi_request(
        "POST", "/upload/", [b"x"], {"Content-Type": "multipart/form-data; boundary*=nonsense''x"}
    )
    assert answer.status == 400


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({"Content-Type": "multipart/form-data"}, b"x", 400, "malformed"),
        ({"Content-Type": 'multipart/form-data; boundary=""'}, b"x", 400, "malformed"),
        ({"Content-Type": "multipart/mixed; boundary=x"}, b"x", 415, "unsupported_media_type"),
        ({"Content-Type": "application/json"}, b"{}", 415, "unsupported_media_type"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"a=b", 415, "unsupported_media_type"),
        ({"Content-Type": "application/octet-stream"}, b"x", 400, "missing_filename"),
        ({}, b"x", 400, "missing_filename"),
        ({"Content-Length": "0"}, b"", 400, "missing_file"),
        (RAW, b"", 400, "empty_file"),
        (RAW | {"Content-Disposition": "attachment"}, b"x", 400, "missing_filename"),
        (RAW | {"Content-Disposition": "attachment; filename*=nonsense''x"}, b"x", 400, "bad_header"),
        (RAW | {"Content-Encoding": "gzip"}, b"x", 415, "unsupported_media_type"),
        (RAW | {"Content-Digest": "sha-256=:AAAA:"}, b"x", 400, "bad_header"),
        (RAW | {"Content-Digest": "nonsense"}, b"x", 400, "bad_header"),
        (RAW | {"Transfer-Encoding": "gzip, chunked"}, b"x", 415, "unsupported_media_type"),
        (RAW | {"Content-Digest": f"sha-256=:{'A' * 43}=:"}, b"x", 422, "digest_mismatch"),
        (RAW | {"Content-Digest": f"sha-256=:{'A' * 43}=:"}, LARGE, 422, "digest_mismatch"),
        (RAW | {"Content-Digest": OF_NOTHING}, b"x", 422, "digest_mismatch"),  # of a stream that was read before
        (RAW | {"Idempotency-Key": ""}, b"x", 400, "bad_header"),
        (RAW | {"Idempotency-Key": "a b"}, b"x", 400, "bad_header"),
        (RAW | {"Idempotency-Key": "k" * 256}, b"x", 400, "bad_header"),
        (RAW | {"Idempotency-Key": "é"}, b"x", 400, "bad_header"),
        (RAW | {"Host": "evil.test"}, b"x", 400, "bad_request"),
        (RAW | {"Accept": "text/html"}, b"x", 406, "not_acceptable"),
    ],
)
async def test_a_bad_request_is_refused_and_leaves_nothing(headers, body, status, code):
    """Each header or body that cannot be taken has its status and code."""
    if "Host" in headers:
        async with http_client() as client:
            response = await client.post("/upload/", content=body, headers=headers)
        answer = Answer(response.status_code, dict(response.headers), response.content)
    else:
        answer = await asgi_request("POST", "/upload/", [body], headers)
    await refused(answer, status, code)


# --- sizes ---------------------------------------------------------------------------------------------------


class Counting:
    """A body that counts how much of it was asked for."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks
        self.read = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            self.read += 1
            yield chunk


@pytest.mark.parametrize(("headers", "over"), [(RAW, 1001), (FORM, 1000 + 1024 * 1024 + 64 * 1024 + 1), (RAW, 10**18)])
async def test_f11_a_content_length_over_the_limit_is_refused_unread(settings, headers, over):
    """413 with the limit in words, before one byte of the body was asked for."""
    settings.FILEWIRE_MAX_FILE_BYTES = 1000
    body = Counting(b"x" * 1001)
    answer = await asgi_request("POST", "/upload/", aiter(body), {**headers, "Content-Length": str(over)})
    problem = await refused(answer, 413, "file_too_large")
    assert "1000 bytes" in problem["detail"]
    assert body.read == 0


@pytest.mark.parametrize(
    ("headers", "wrap"),
    [(RAW, lambda content: content), (FORM, part)],
    ids=["raw", "form"],
)
@pytest.mark.parametrize("limit", [1000, 400_000])
async def test_f11_without_a_length_the_first_byte_over_is_refused(settings, headers, wrap, limit):
    """A chunked body is taken up to the limit, and refused with the chunk that crosses it; no more is read."""
    settings.FILEWIRE_MAX_FILE_BYTES = limit
    head, tail = wrap(b"CUT").split(b"CUT")
    body = Counting(head + b"x" * limit, b"y", *[b"z" * 100] * 50, tail)
    answer = await asgi_request("POST", "/upload/", aiter(body), headers)
    await refused(answer, 413, "file_too_large")
    # A form's last bytes may be the beginning of its boundary: the parser hands them on with what follows.
    assert body.read <= 3


@pytest.mark.parametrize(
    ("headers", "wrap"), [(RAW, lambda content: content), (FORM, lambda content: form(part(content)))]
)
async def test_a_file_of_exactly_the_limit_is_taken(settings, headers, wrap):
    """The limit itself is allowed."""
    settings.FILEWIRE_MAX_FILE_BYTES = 1000
    whole = wrap(b"x" * 1000)
    answer = await asgi_request("POST", "/upload/", [whole], {**headers, "Content-Length": str(len(whole))})
    assert answer.status == 201


@pytest.mark.parametrize("length", ["-1", "1.5", "abc", "\xb2", "9" * 5000, ""])
async def test_a_content_length_that_is_no_number_is_never_a_500(length):
    """What a server should have refused is not trusted, and not fatal."""
    answer = await asgi_request("POST", "/upload/", [b"x"], RAW | {"Content-Length": length})
    assert answer.status == 201


async def test_a_body_that_stands_still_is_refused(settings):
    """408 after the idle limit, and the connection is not kept."""
    settings.FILEWIRE_UPLOAD_IDLE_SECONDS = 0.1

    async def still() -> AsyncIterator[bytes]:
        yield LARGE
        await asyncio.Event().wait()

    answer = await asgi_request("POST", "/upload/", still(), RAW)
    await refused(answer, 408, "upload_timeout")
    assert answer.headers["connection"] == "close"


async def test_a_body_that_trickles_is_refused(settings):
    """408 after the limit on the whole, however steadily a byte comes."""
    settings.FILEWIRE_UPLOAD_TOTAL_SECONDS = 0.2

    async def trickle() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0.01)

    await refused(await asgi_request("POST", "/upload/", trickle(), RAW), 408, "upload_timeout")


async def test_f12_a_hundred_aborted_uploads_leave_nothing():
    """Clients that go away at any place of their bodies: no rows, no files, no descriptors."""
    whole = form(part(LARGE))
    places = [(n * 4_001) % len(whole) for n in range(100)]
    await asyncio.gather(
        *(asgi_request("POST", "/upload/", [whole[:place], DISCONNECT], FORM) for place in places),
        *(asgi_request("POST", "/upload/", [LARGE, DISCONNECT], RAW) for _ in range(5)),
    )
    assert [path for path in storage.root().rglob("*") if path.is_file()] == []
    assert await File.everything.acount() == 0
    assert open_uploads() == []


@pytest.mark.parametrize("content", [b"x" * 10, LARGE])
async def test_f12_a_cancelled_upload_leaves_nothing(content):
    """A request whose task is cancelled, as a server that stops does, cleans up as one that failed."""

    waiting = asyncio.Event()

    async def never() -> AsyncIterator[bytes]:
        yield content
        waiting.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(asgi_request("POST", "/upload/", never(), RAW))
    async with asyncio.timeout(5):
        await waiting.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert [path for path in storage.root().rglob("*") if path.is_file()] == []
    assert open_uploads() == []


# --- names and types -----------------------------------------------------------------------------------------

NAMES: dict[str, tuple[str, Callable[[str], bool]]] = {
    "../../etc/passwd": ("../../etc/passwd", lambda shown: shown == "passwd"),
    "dots": ("..", lambda shown: shown == "unnamed"),
    "a dot": (".", lambda shown: shown == "unnamed"),
    "a backslash": ("C:\\a\\b.txt", lambda shown: shown == "b.txt"),
    "NUL": ("a\x00b.txt", lambda shown: shown == "ab.txt"),
    "CR LF": ("a\r\nX-Evil: 1.txt", lambda shown: "\r" not in shown and "\n" not in shown),
    "300 CJK": ("漢" * 300 + ".txt", lambda shown: shown.endswith("漢.txt") and len(shown.encode()) <= 255),
    "300 ASCII": ("a" * 300, lambda shown: shown == "a" * 255),
    "many dots": (".".join("abcdefghij" * 9) + ".txt", lambda shown: shown.endswith(".txt")),
    "RTL override": ("invoice\u202egpj.exe", lambda shown: shown == "invoicegpj.exe"),
    "quotes": ('a "quoted" name.txt', lambda shown: shown == 'a "quoted" name.txt'),
    "emoji": ("🐍.py", lambda shown: shown == "🐍.py"),
}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("way", ["query", "form", "form, quoted by a browser"])
async def test_f18_no_name_is_fatal_and_none_is_a_path(kind, way):
    """201 with a harmless name or a 4xx, never a 500; the key is the id's, whatever the name."""
    name, right = NAMES[kind]
    async with http_client() as client:
        if way == "query":
            response = await client.post("/upload/", params={"filename": name}, content=b"x")
        elif way == "form":
            response = await client.post("/upload/", content=form(part(b"x", filename=name)), headers=FORM)
        else:
            escaped = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
            response = await client.post("/upload/", content=form(part(b"x", filename=escaped)), headers=FORM)
        if response.status_code != 201:
            assert 400 <= response.status_code < 500
            # only a raw line break or quote inside a part's header, which no such header can hold
            assert way == "form"
            assert kind in ("CR LF", "NUL", "quotes")
            assert await File.objects.acount() == 0
            return
        shown = response.json()["name"]
        if way == "query" or kind not in ("CR LF", "quotes"):
            assert right(shown), shown
        content = await client.get(f"/files/{response.json()['id']}/content/")
        assert content.status_code == 200
        assert "\n" not in content.headers["content-disposition"]
    file = await File.objects.aget()
    assert file.file.name == storage.key_of(file.id)


@pytest.mark.parametrize(
    ("name", "declared", "content", "content_type", "kind"),
    [
        ("picture.txt", "text/plain", samples.png(), "image/png", "image"),
        ("page.png", "image/png", samples.html(), "text/html", None),
        ("photo.jpg", "image/jpeg", samples.png(), "image/png", "image"),
        ("noise.pdf", "application/pdf", b"\x00\x01\x02\xff" * 10, "application/octet-stream", "other"),
    ],
)
async def test_the_type_comes_from_the_bytes(name, declared, content, content_type, kind):
    """Neither the name nor the client's header decides; both are kept as they were given."""
    async with http_client() as client:
        response = await client.post("/upload/", files={"file": (name, content, declared)})
    document = response.json()
    assert response.status_code == 201
    assert (document["name"], document["declared_content_type"]) == (name, declared)
    assert document["content_type"] == content_type
    assert kind is None or document["kind"] == kind
    assert document["sha256"] == hashlib.sha256(content).hexdigest()


async def test_a_declared_type_of_any_kind_is_harmless():
    """Too long, or with characters that have no place in a header: kept short and printable."""
    answer = await asgi_request(
        "POST", "/upload/", [form(part(b"x", content_type="text/" + "é" * 400 + "\u202e\x07"))], FORM
    )
    assert answer.status == 201
    assert answer.json()["declared_content_type"] == "text/" + "é" * 250
