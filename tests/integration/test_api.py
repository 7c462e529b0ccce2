"""One file's questions: read, delete, process again; the documents; CORS."""

import socket
import subprocess
import sys
import uuid
from datetime import UTC, datetime

import pytest
import yaml

from apps.api import health
from apps.events import connections
from apps.files import storage
from apps.files.models import File, Status
from apps.processing import presence
from tests.client import http_client
from tests.ports import free_port

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_clients")]

ORIGIN = "https://front.test"


async def test_a_file_is_read_as_it_was_answered():
    """GET gives the document of the 201, in upper or lower case, with or without the last slash."""
    async with http_client() as client:
        created = await client.post("/upload/?filename=a.txt", content=b"x")
        file_id = created.json()["id"]
        for path in (f"/files/{file_id}/", f"/files/{file_id}", f"/files/{file_id.upper()}/"):
            response = await client.get(path)
            assert response.json() == created.json()
            assert response.headers["content-type"] == "application/json"
    assert uuid.UUID(file_id).version == 7


async def test_a_file_is_sent_again_only_when_it_changed():
    """304 by its tag, until anything of it changes."""
    async with http_client() as client:
        path = (await client.post("/upload/?filename=a.txt", content=b"x")).headers["location"]
        etag = (await client.get(path)).headers["etag"]
        again = await client.get(path, headers={"If-None-Match": etag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        await File.objects.all().aupdate(progress=40)
        changed = await client.get(path, headers={"If-None-Match": etag})
        assert (changed.status_code, changed.json()["progress"]) == (200, 40)


async def test_a_failed_file_says_why():
    """`error` has its code and detail; `processed` is false."""
    async with http_client() as client:
        path = (await client.post("/upload/?filename=a.txt", content=b"x")).headers["location"]
        error = {"code": "image_too_large", "detail": "Words."}
        await File.objects.all().aupdate(status=Status.FAILED, error=error, processed_at=datetime.now(UTC))
        document = (await client.get(path)).json()
    assert (document["status"], document["processed"], document["error"]) == ("failed", False, error)
    assert document["processed_at"].endswith("Z")


async def test_delete_takes_the_bytes_and_all_that_was_derived(stored):
    """204 without a body; from then on every question about the file is 404."""
    async with http_client() as client:
        path = (await client.post("/upload/?filename=a.txt", content=b"x")).headers["location"]
        file = await File.objects.aget()
        (storage.workdir(file.file.name, 1) / "thumbnail").write_bytes(b"y")
        response = await client.delete(path)
        assert (response.status_code, response.content) == (204, b"")
        assert "content-length" not in response.headers
        assert stored.files() == []
        for method, below in (
            ("GET", ""), ("DELETE", ""), ("GET", "content/"), ("GET", "derived/thumbnail/"), ("POST", "reprocess/"),
        ):  # fmt: skip
            assert (await client.request(method, f"{path}{below}")).status_code == 404
    assert await File.objects.acount() == 0


async def test_a_file_is_processed_again_only_when_it_is_done():
    """202 with a new attempt for a processed or a failed file; 409 while it is queued or processing."""
    async with http_client() as client:
        path = (await client.post("/upload/?filename=a.txt", content=b"x")).headers["location"]
        outcomes = {
            Status.QUEUED: 409,
            Status.PROCESSING: 409,
            Status.PROCESSED: 202,
            Status.FAILED: 202,
        }
        attempt = 1
        for status, expected in outcomes.items():
            await File.objects.all().aupdate(
                status=status, processed=status == Status.PROCESSED,
                error={"code": "x", "detail": "y"} if status == Status.FAILED else None,
            )  # fmt: skip
            response = await client.post(f"{path}reprocess/")
            assert response.status_code == expected
            if expected == 409:
                assert response.json()["code"] == "file_busy"
                continue
            attempt += 1
            document = response.json()
            assert (document["status"], document["attempt"], document["processed"]) == ("queued", attempt, False)
            assert (document["result"], document["error"], document["derived"]) == (None, None, {})
            assert (await client.post(f"{path}reprocess")).status_code == 409


async def test_options_describes_the_door():
    """As DRF answers it, without a preflight's headers."""
    async with http_client() as client:
        response = await client.options("/upload/")
    assert response.status_code == 200
    assert "POST" in response.headers["allow"]
    assert response.json()["name"]


# --- health ---------------------------------------------------------------------------------------------------


async def test_ready_is_each_part_by_its_name(data_directory):
    """503 names the part that is missing, with Retry-After; 200 when all answer."""
    async with http_client() as client:
        response = await client.get("/readyz")
        assert (response.status_code, response.headers["retry-after"]) == (503, "2")
        assert response.json() == {
            "status": "unavailable",
            "checks": {"database": "ok", "broker": "ok", "storage": "ok", "worker": "no worker answers"},
            "queue": {"queued": 0, "oldest_seconds": None},
        }
        presence.announce(connections.sync_client(), "a-worker")
        for path in ("/readyz", "/readyz/"):
            response = await client.get(path)
            assert (response.status_code, response.json()["status"]) == (200, "ok")
            assert response.headers["cache-control"] == "no-store"
        storage.incoming().rmdir()
        storage.incoming().write_bytes(b"in the way")
        response = await client.get("/readyz")
        assert response.status_code == 503
        assert response.json()["checks"]["storage"] == "unavailable (NotADirectoryError)"


async def test_f30_the_backlog_is_told():
    """How many files wait, and for how long the one that should be next has."""
    async with http_client() as client:
        assert (await client.post("/upload/", params={"filename": "a"}, content=b"waits")).status_code == 201
        first = (await client.get("/readyz")).json()["queue"]
        assert first["queued"] == 1
        assert 0 <= first["oldest_seconds"] < 60
        again = (await client.get("/readyz")).json()["queue"]
        assert again["oldest_seconds"] > first["oldest_seconds"]


async def test_a_part_that_is_away_or_silent_is_unavailable(settings, monkeypatch):
    """A broker that refuses, and one that takes the connection and says nothing, are named while the rest is ok."""
    await connections.close_async()
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    async with http_client() as client:
        response = await client.get("/readyz")
        assert response.status_code == 503
        assert response.json()["checks"]["database"] == "ok"
        assert response.json()["checks"]["broker"].startswith("unavailable (")
        monkeypatch.setattr(health, "CHECK_SECONDS", 0.2)
        await connections.close_async()
        with socket.create_server(("127.0.0.1", 0)) as silent:
            settings.REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
            response = await client.get("/readyz")
            assert response.json()["checks"]["broker"] == "no answer in time"
            await connections.close_async()


async def test_living_is_said_without_asking_anyone():
    """/healthz is 200 whatever is away, with or without its last slash."""
    async with http_client() as client:
        for path in ("/healthz", "/healthz/"):
            response = await client.get(path)
            assert (response.status_code, response.json()) == (200, {"status": "ok"})


# --- documents ------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("default")
def test_the_openapi_document_is_made_without_a_warning():
    """`spectacular --fail-on-warn`, as CI would run it."""
    command = [sys.executable, "manage.py", "spectacular", "--fail-on-warn", "--validate"]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode == 0, found.stderr
    document = yaml.safe_load(found.stdout)
    assert document["openapi"].startswith("3.")


async def test_the_schema_names_every_path():
    """Each path of the contract with its methods, each error as a problem, the File with its fields."""
    from apps.files.document import FIELDS

    async with http_client() as client:
        response = await client.get("/schema/", headers={"Accept": "application/json"})
    assert response.status_code == 200
    document = response.json()
    wanted = {
        "/upload/": {"post"},
        "/upload/{filename}/": {"put"},
        "/files/": {"get"},
        "/files/{file_id}/": {"get", "delete"},
        "/files/{file_id}/content/": {"get"},
        "/files/{file_id}/derived/{name}/": {"get"},
        "/files/{file_id}/reprocess/": {"post"},
        "/files/events/": {"get"},
        "/healthz": {"get"},
        "/readyz": {"get"},
    }
    found = {path.rstrip("/"): operations for path, operations in document["paths"].items()}
    for path, methods in wanted.items():
        assert methods <= set(found[path.rstrip("/")]), path
    assert list(document["components"]["schemas"]["File"]["properties"]) == list(FIELDS)
    upload = found["/upload"]["post"]["responses"]
    assert set(upload) == {"201", "400", "408", "409", "413", "415", "422", "429", "503", "507"}
    assert all("application/problem+json" in upload[status]["content"] for status in upload if status != "201")


async def test_the_documents_page_and_its_assets_come_from_here():
    """No script of another site: the page, its script with a tag, and 304 for it."""
    async with http_client() as client:
        page = await client.get("/docs/")
        assert page.status_code == 200
        assert "text/html" in page.headers["content-type"]
        assert "//cdn" not in page.text
        asset = await client.get("/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui.css")
        assert asset.status_code == 200
        assert asset.headers["content-type"].startswith("text/css")
        assert asset.headers["x-content-type-options"] == "nosniff"
        again = await client.get(asset.request.url.path, headers={"If-None-Match": asset.headers["etag"]})
        assert again.status_code == 304
        for path in ("/static/../settings.py", "/static/%2e%2e/%2e%2e/settings.py", "/static//etc/passwd"):
            assert (await client.get(path)).status_code in (400, 404)


# --- CORS -----------------------------------------------------------------------------------------------------


@pytest.fixture
def allowed(settings) -> None:
    """One front end of another origin."""
    settings.FILEWIRE_ALLOWED_ORIGINS = settings.CORS_ALLOWED_ORIGINS = [ORIGIN]


async def test_without_allowed_origins_no_answer_depends_on_who_asks(settings):
    """Neither CORS's headers nor a Vary, which would keep caches from sharing it."""
    settings.FILEWIRE_ALLOWED_ORIGINS = settings.CORS_ALLOWED_ORIGINS = []
    async with http_client() as client:
        response = await client.get("/files/", headers={"Origin": ORIGIN})
    assert response.status_code == 200
    assert not {"access-control-allow-origin", "vary"} & set(response.headers)


@pytest.mark.parametrize(
    ("path", "method"), [("/upload/", "POST"), ("/files/", "GET"), (f"/files/{uuid.UUID(int=0)}/", "DELETE")]
)
async def test_a_preflight_of_an_allowed_origin_is_answered(allowed, path, method):
    """With the methods and the headers that a front end sends; another origin gets none of it."""
    asked = {
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "idempotency-key,content-digest,content-disposition,content-type",
    }
    async with http_client() as client:
        response = await client.options(path, headers={"Origin": ORIGIN, **asked})
        foreign = await client.options(path, headers={"Origin": "https://evil.test", **asked})
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert method in response.headers["access-control-allow-methods"]
    permitted = response.headers["access-control-allow-headers"].split(", ")
    assert set(asked["Access-Control-Request-Headers"].split(",")) <= set(permitted)
    assert {"range", "if-none-match", "last-event-id"} <= set(permitted)
    assert "access-control-allow-origin" not in foreign.headers


async def test_answers_to_an_allowed_origin_expose_what_a_front_end_needs(allowed):
    """Location, tags, ranges and Retry-After can be read; errors and bytes have the headers too."""
    async with http_client(Origin=ORIGIN) as client:
        created = await client.post("/upload/?filename=a", content=b"x")
        answers = [
            created,
            await client.get("/files/"),
            await client.get(f"{created.headers['location']}content/"),
            await client.get("/files/?page=1"),
            await client.get("/files/none/"),
            await client.post("/upload/", content=b"x"),
        ]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        exposed = set(answer.headers["access-control-expose-headers"].split(", "))
        assert {"location", "etag", "retry-after", "content-range", "idempotency-replayed", "x-request-id"} <= exposed
        assert "origin" in answer.headers["vary"].lower()


@pytest.mark.parametrize("origin", ["https://evil.test", "null", "http://[", "https://front.test.evil.test"])
async def test_other_origins_get_no_permission(allowed, origin):
    """The answer is there, for programs; a browser does not hand it to the page."""
    async with http_client(Origin=origin) as client:
        response = await client.get("/files/")
    assert response.status_code == 200
    assert "access-control-allow-origin" not in response.headers


def test_the_allowed_origins_come_from_the_environment():
    """FILEWIRE_ALLOWED_ORIGINS is CORS's list, the WebSocket's, and CSRF's."""
    code = (
        "import os; os.environ['FILEWIRE_ALLOWED_ORIGINS'] = 'https://a.test, https://b.test'\n"
        "from project import settings as s\n"
        "assert s.CORS_ALLOWED_ORIGINS == s.CSRF_TRUSTED_ORIGINS == s.FILEWIRE_ALLOWED_ORIGINS\n"
        "print(s.FILEWIRE_ALLOWED_ORIGINS)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "['https://a.test', 'https://b.test']"
