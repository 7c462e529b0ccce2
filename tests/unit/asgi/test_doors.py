"""Which application answers a path, and what the web process loads."""

import json
import subprocess
import sys

import pytest
from django.http.request import HttpHeaders

from asgi.doors import Headers, by_path, only_health


def answering(name, seen):
    """An application that says it was asked."""

    async def application(scope, receive, send):
        seen.append((name, scope["path"]))

    return application


@pytest.mark.parametrize(
    ("path", "chosen"),
    [
        ("/upload", "door"),
        ("/upload/", "door"),
        ("/files/x", "door"),
        ("/uploads", "other"),
        ("/filesystem", "other"),
        ("/", "other"),
    ],
)
async def test_a_path_under_a_prefix_goes_to_the_doors(path, chosen):
    """The prefix itself and what is below it; not what merely begins with the same letters."""
    seen = []
    route = by_path(("/upload", "/files"), answering("door", seen), otherwise=answering("other", seen))
    await route({"path": path}, None, None)
    assert seen == [(chosen, path)]


async def test_the_websocket_server_answers_only_its_health():
    """Every other path becomes one that does not exist."""
    seen = []
    route = only_health(answering("door", seen))
    for path in ("/healthz", "/healthz/", "/upload/", "/files/"):
        await route({"path": path}, None, None)
    assert [path for _, path in seen] == ["/healthz", "/healthz/", "/", "/"]


def test_headers_are_those_of_django():
    """By names in whatever case, with what WSGI calls otherwise; as many, and the same, as Django's own mapping has."""
    meta = {"CONTENT_TYPE": "text/plain", "CONTENT_LENGTH": "3", "HTTP_IF_NONE_MATCH": '"x"', "REMOTE_ADDR": "::1"}
    headers = Headers(meta)
    assert dict(headers) == dict(HttpHeaders(meta))
    assert len(headers) == 3
    for name in ("If-None-Match", "if-none-match", "IF-NONE-MATCH"):
        assert headers[name] == headers.get(name) == '"x"'
        assert name in headers
    assert headers.get("content-length") == "3"
    assert headers.get("Remote-Addr", "none") == "none"
    with pytest.raises(KeyError):
        headers["Accept"]


async def test_a_path_that_is_no_text_is_refused_in_the_shape():
    """A request that Django cannot even make is 400, as a problem."""
    from asgi.application import doors

    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/upload/", "headers": [(b"cookie", b"\xff=\xff; " * 3)],
        "query_string": b"\xff\xfe=\xfd", "root_path": "", "http_version": "1.1", "scheme": "http",
        "server": ("testserver", 80), "client": ("127.0.0.1", 1),
    }  # fmt: skip

    async def receive():
        return {"type": "http.disconnect"}

    await doors(scope, receive, send)
    assert sent[0]["status"] == 400
    assert json.loads(sent[1]["body"])["status"] == 400


def test_the_web_process_loads_nothing_that_opens_files():
    """After the whole application is imported there is no Pillow, no PDF library and no processor in memory."""
    code = (
        "import asgi.application, sys, json;"
        "from django.urls import get_resolver; get_resolver().url_patterns;"
        "print(json.dumps(sorted(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    modules = json.loads(found.stdout.splitlines()[-1])
    forbidden = ("PIL", "pypdf", "pikepdf", "pypdfium2", "apps.processing.processors", "apps.processing.run", "celery")
    assert [name for name in modules if any(name == f or name.startswith(f"{f}.") for f in forbidden)] == []
