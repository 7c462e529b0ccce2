"""Every row of the contract's table of errors, provoked; and one shape, with DEBUG on as with DEBUG off."""

import contextlib
import re
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import connections

from apps.api import views
from apps.files import storage
from apps.files.models import File
from apps.uploads.throttle import UploadThrottle
from tests.client import http_client
from tests.ports import free_port

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_clients")]

MEMBERS = {"type", "title", "status", "code", "detail", "errors"}
NO_FILE = f"/files/{uuid.UUID(int=0)}/"


@pytest.fixture(params=[False, True], ids=["debug off", "debug on"])
def debug(request, settings) -> bool:
    """Either way an error shows nothing of the inside."""
    settings.DEBUG = request.param
    return settings.DEBUG


def problem(response, status: int, code: str) -> dict:
    """The problem in the answer, its shape checked."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert set(body) == MEMBERS
    assert (body["type"], body["status"], body["code"]) == ("about:blank", status, code)
    assert body["title"]
    assert body["detail"]
    assert all(set(entry) == {"field", "code", "detail"} for entry in body["errors"])
    assert not re.search(r"Traceback|\.py\b|site-packages|/work|/tmp", response.text)
    assert response.headers["x-request-id"]
    return body


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "code"),
    [
        ("GET", "/nothing", {}, 404, "not_found"),
        ("POST", "/nothing/", {}, 404, "not_found"),
        ("GET", "/", {}, 404, "not_found"),
        ("GET", "/files/not-an-id/", {}, 404, "not_found"),
        ("GET", "/upload/a/b", {}, 404, "not_found"),
        ("GET", NO_FILE, {}, 404, "not_found"),
        ("DELETE", NO_FILE, {}, 404, "not_found"),
        ("GET", f"{NO_FILE}content/", {}, 404, "not_found"),
        ("GET", f"{NO_FILE}derived/thumbnail/", {}, 404, "not_found"),
        ("POST", f"{NO_FILE}reprocess/", {}, 404, "not_found"),
        ("GET", "/static/nothing.css", {}, 404, "not_found"),
        ("GET", "/static/%00", {}, 404, "not_found"),
        ("GET", "/static/" + "x" * 5000, {}, 404, "not_found"),
        ("GET", "/static/rest_framework", {}, 404, "not_found"),
        ("GET", "/upload/", {}, 405, "method_not_allowed"),
        ("PATCH", "/upload/", {}, 405, "method_not_allowed"),
        ("POST", "/files/", {}, 405, "method_not_allowed"),
        ("PUT", NO_FILE, {}, 405, "method_not_allowed"),
        ("TRACE", NO_FILE, {}, 405, "method_not_allowed"),
        ("DELETE", f"{NO_FILE}content/", {}, 405, "method_not_allowed"),
        ("GET", f"{NO_FILE}reprocess/", {}, 405, "method_not_allowed"),
        ("GET", "/files/", {"Accept": "application/xml"}, 406, "not_acceptable"),
        ("GET", "/healthz", {"Accept": "image/png"}, 406, "not_acceptable"),
        ("GET", "/files/", {"Host": "evil.test"}, 400, "bad_request"),
        ("GET", NO_FILE, {"Host": "evil.test"}, 400, "bad_request"),
        ("DELETE", NO_FILE, {"Host": "evil.test"}, 400, "bad_request"),
        ("GET", f"{NO_FILE}content/", {"Host": "evil.test"}, 400, "bad_request"),
        ("GET", "/files/", {"Host": "a b"}, 400, "bad_request"),
        ("GET", "/files/?format=xml", {}, 400, "invalid"),
    ],
)
async def test_f28_every_refusal_has_one_shape(debug, method, path, headers, status, code):
    """Django's own errors and DRF's are problems like ours; a 405 says what is allowed."""
    async with http_client() as client:
        response = await client.request(method, path, headers=headers)
    problem(response, status, code)
    if status == 405:
        assert "OPTIONS" in response.headers["allow"]


@pytest.mark.parametrize("path", ["/nothing", "/schema/", "/static/x.css"])
async def test_a_wrong_host_is_refused_outside_the_doors_too(path):
    """Django's stock handler answers DisallowedHost in the shape."""
    async with http_client() as client:
        problem(await client.get(path, headers={"Host": "evil.test"}), 400, "bad_request")


async def test_health_answers_whatever_the_host():
    """A probe calls by address."""
    async with http_client() as client:
        response = await client.get("/healthz", headers={"Host": "10.0.0.7"})
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_an_error_nobody_foresaw_is_a_500_without_its_words(debug, monkeypatch, caplog):
    """A bug in a door, or in a row of the database it reads, is logged whole and told in one sentence."""

    def broken(file_id):
        raise RuntimeError("the secret at /srv/inside.py")

    monkeypatch.setattr(views, "visible", broken)
    async with http_client() as client:
        response = await client.get(NO_FILE, headers={"X-Request-ID": "mine"})
    body = problem(response, 500, "internal_error")
    assert "secret" not in str(body)
    assert response.headers["x-request-id"] == "mine"
    assert "the secret" in caplog.text


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("processed=maybe", "processed"),
        ("status=done", "status"),
        ("kind=picture", "kind"),
        ("name=", "name"),
        ("uploaded_after=yesterday", "uploaded_after"),
        ("uploaded_before=1", "uploaded_before"),
        ("page_size=0", "page_size"),
        ("page_size=0002000000", "page_size"),
        ("cursor=x", "cursor"),
        ("page=2", "page"),
        ("format=json", "format"),
    ],
)
async def test_a_bad_filter_names_its_field(query, field):
    """400 with one entry for the parameter."""
    async with http_client() as client:
        body = problem(await client.get(f"/files/?{query}"), 400, "invalid")
    assert [(entry["field"], entry["code"]) for entry in body["errors"]] == [(field, "bad_filter")]


async def test_f28_too_many_uploads_of_one_client_are_429(settings):
    """With FILEWIRE_UPLOAD_RATE: 429 with Retry-After, before the body is read; other paths are not counted."""
    settings.FILEWIRE_UPLOAD_RATE = "2/min"
    UploadThrottle.cache.clear()
    try:
        async with http_client() as client:
            for _ in range(2):
                assert (await client.post("/upload/?filename=a", content=b"x")).status_code == 201
            response = await client.post("/upload/?filename=a", content=b"x")
            problem(response, 429, "throttled")
            assert 1 <= int(response.headers["retry-after"]) <= 60
            assert (await client.get("/files/")).status_code == 200
        assert await File.objects.acount() == 2
    finally:
        UploadThrottle.cache.clear()


# --- the database away ---------------------------------------------------------------------------------------


@pytest.fixture
def database_away() -> Iterator[Callable[[], None]]:
    """Call it, and every new connection leads to where nobody listens, until the end of the test."""
    config = connections["default"].settings_dict
    before = {name: config[name] for name in ("HOST", "PORT", "NAME")}

    def leave() -> None:
        if config["ENGINE"].endswith("sqlite3"):
            config["NAME"] = "/nowhere/at/all.sqlite3"
        else:
            config.update(HOST="127.0.0.1", PORT=free_port())

    yield leave
    config.update(before)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/files/"),
        ("GET", NO_FILE),
        ("DELETE", NO_FILE),
        ("GET", f"{NO_FILE}content/"),
        ("POST", f"{NO_FILE}reprocess/"),
        ("POST", "/upload/?filename=a"),
    ],
)
@pytest.mark.parametrize("keyed", [False, True])
async def test_f28_a_database_that_is_away_is_503(database_away, debug, stored, method, path, keyed):
    """With Retry-After, and no bytes of an upload are left."""
    database_away()
    headers = {"Idempotency-Key": "k"} if keyed else {}
    async with http_client() as client:
        response = await client.request(method, path, headers=headers, content=b"x" if "upload" in path else None)
    problem(response, 503, "database_unavailable")
    assert int(response.headers["retry-after"]) >= 1
    assert stored.files() == []


async def test_a_large_upload_leaves_nothing_when_the_database_is_away(database_away, stored):
    """Bytes that were on the disk already go too, and once the database is back the same upload is taken."""
    config = connections["default"].settings_dict
    before = dict(config)
    database_away()
    async with http_client() as client:
        problem(await client.post("/upload/?filename=a", content=b"x" * 400_000), 503, "database_unavailable")
        assert stored.files() == []
        config.update(before)
        assert (await client.post("/upload/?filename=a", content=b"x" * 400_000)).status_code == 201


# --- the storage away, or full -------------------------------------------------------------------------------


@contextlib.contextmanager
def mounted(settings, *options: str) -> Iterator[Path]:
    """A small tmpfs as the data directory."""
    directory = Path(tempfile.mkdtemp(prefix="filewire-mount-"))
    mount = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(directory)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        directory.rmdir()
        pytest.skip("mounting needs root")
    try:
        settings.FILEWIRE_DATA_DIR = directory
        storage.prepare()
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)
        directory.rmdir()


def remount(directory: Path, how: str) -> None:
    """Change what the mount allows."""
    subprocess.run(["mount", "-o", f"remount,{how}", str(directory)], check=True)


@pytest.mark.parametrize("size", [100_000, 3_000_000])
async def test_f28_a_full_disk_is_507(settings, stored, size):
    """With Retry-After, and nothing half-kept: what is there is what was there before, and a small file still fits."""
    with mounted(settings, "size=1m") as directory:
        (directory / "ballast").write_bytes(b"x" * 980_000)
        async with http_client() as client:
            for headers in ({}, {"Idempotency-Key": "k"}):
                response = await client.post("/upload/?filename=a", content=b"x" * size, headers=headers)
                problem(response, 507, "storage_full")
                assert response.headers["retry-after"] == "60"
            assert stored.files() == []
            assert await File.everything.acount() == 0
            (directory / "ballast").unlink()
            again = await client.post("/upload/?filename=a", content=b"x" * 9000, headers={"Idempotency-Key": "k"})
            assert again.status_code == 201


@pytest.mark.parametrize("size", [100, 3_000_000])
async def test_f28_a_read_only_storage_is_503(settings, stored, size):
    """With Retry-After; reading goes on, and so does writing once it is possible again."""
    with mounted(settings, "size=8m") as directory:
        async with http_client() as client:
            first = await client.post("/upload/?filename=a", content=b"first")
            remount(directory, "ro")
            response = await client.post("/upload/?filename=a", content=b"x" * size)
            problem(response, 503, "storage_unavailable")
            assert response.headers["retry-after"] == "5"
            assert (await client.get(f"{first.headers['location']}content/")).content == b"first"
            remount(directory, "rw")
            assert (await client.post("/upload/?filename=a", content=b"x" * size)).status_code == 201
    assert await File.objects.acount() == 2


@pytest.mark.parametrize("size", [100, 3_000_000])
async def test_a_storage_that_is_no_directory_is_503(data_directory, size):
    """A file in the place of the directories."""
    for directory in (storage.incoming(), storage.blobs()):
        directory.rmdir()
        directory.write_bytes(b"")
    async with http_client() as client:
        problem(await client.post("/upload/?filename=a", content=b"x" * size), 503, "storage_unavailable")
    assert await File.everything.acount() == 0


async def test_bytes_that_went_missing_are_404_and_unreadable_ones_503():
    """A row without its file is not found; a file that cannot be opened is the storage's trouble."""
    async with http_client() as client:
        created = await client.post("/upload/?filename=a", content=b"x")
        file = await File.objects.aget()
        path = storage.path_of(file.file.name)
        path.unlink()
        problem(await client.get(f"{created.headers['location']}content/"), 404, "not_found")
        path.parent.rmdir()
        path.parent.write_bytes(b"")
        problem(await client.get(f"{created.headers['location']}content/"), 503, "storage_unavailable")
        path.parent.unlink()
