"""The example page in a real browser, and `wscat`."""

import base64
import contextlib
import functools
import http.server
import io
import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tests.acceptance.service import ROOT, Service, service, until
from tests.browser.chromium import Page, page


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """A folder served from an origin of its own."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def write_page(folder: Path, running: Service) -> None:
    """The example page, for this service."""
    text = (ROOT / "docs" / "examples" / "live.html").read_text()
    (folder / "index.html").write_text(text.replace("http://127.0.0.1:8000", running.url))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page lies."""
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def origin(folder: Path) -> Iterator[str]:
    """Where the page comes from: another origin than the service's."""
    with served(folder) as found:
        yield found


@pytest.fixture(scope="module")
def running(origin: str, folder: Path) -> Iterator[Service]:
    """The service, which lets that origin's pages in."""
    with service(FILEWIRE_ALLOWED_ORIGINS=origin) as found:
        write_page(folder, found)
        yield found


@pytest.fixture
def live(running: Service, origin: str) -> Iterator[Page]:
    """The example page, open and greeted."""
    with page(f"{origin}/index.html") as tab:
        tab.until("typeof cursor !== 'undefined' && cursor !== null")
        yield tab


def picture(hue: int) -> bytes:
    """A small landscape."""
    image = Image.new("RGB", (1200, 800))
    draw = ImageDraw.Draw(image)
    for y in range(800):
        draw.line([(0, y), (1200, y)], fill=(hue, 90 + y // 8, 255 - y // 5))
    draw.ellipse([760, 120, 960, 320], fill=(255, 240, 190))
    draw.polygon([(0, 800), (420, 330), (800, 800)], fill=(40, 60, hue))
    draw.polygon([(380, 800), (860, 420), (1200, 800)], fill=(30, 90, 70))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def send(tab: Page, name: str, content: bytes) -> dict:
    """Upload from within the page, as its file input does."""
    data = json.dumps(base64.b64encode(content).decode())
    script = f"Uint8Array.from(atob({data}), (c) => c.charCodeAt(0))"
    found: dict = tab.run(f"upload(new File([{script}], {json.dumps(name)}))")
    return found


def rows(tab: Page) -> list[str]:
    """The table's rows as text, newest first."""
    found: list[str] = tab.run("[...document.querySelectorAll('#files tr')].map((row) => row.innerText)")
    return found


def test_a_page_of_an_allowed_origin_uploads_and_watches(live: Page, running: Service):
    """fetch and WebSocket work across origins; the page shows each file's life as it happens."""
    sent = {
        "mountains.jpg": picture(120),
        "notes.txt": ("A walk in the hills, and what was seen on the way. " * 40).encode(),
        "broken.png": picture(90)[:900],
        "lake.jpg": picture(200),
        "<img src=x onerror=alert(1)>.csv": b"a,b\n1,2\n3,4\n",
    }
    for name, content in sent.items():
        send(live, name, content)
    # By their names: the list has whatever other tests have uploaded before.
    ended = (
        "(names) => [...document.querySelectorAll('#files tr')]"
        ".filter((row) => row.querySelector('.processed, .failed'))"
        ".filter((row) => [...row.cells].some((cell) => names.includes(cell.innerText))).length"
    )
    live.until(f"({ended})({json.dumps(list(sent))}) === 5")
    shown = "\n".join(rows(live))
    assert "1200 \N{MULTIPLICATION SIGN} 800" in shown
    assert "image_" in shown
    live.until("[...document.querySelectorAll('#files img')].every((image) => image.complete && image.naturalWidth)")
    target = os.environ.get("FILEWIRE_PICTURE")
    if target:
        live.screenshot(Path(target))


def test_the_page_misses_nothing_while_the_server_restarts(live: Page, running: Service):
    """A page that lost its connection comes back with its cursor and shows what happened meanwhile, once."""
    running.named("manage.py web").kill()
    until(running.is_ready, 60, "the service is ready again")
    document = running.upload(b"while nobody watched\n", "meanwhile.txt")
    running.finished(document["id"])
    live.until("[...document.querySelectorAll('#files tr')].some((row) => row.innerText.includes('meanwhile.txt')"
               " && row.innerText.includes('processed'))")  # fmt: skip
    feed = live.run("document.querySelector('#feed').innerText")
    assert len(re.findall(r"file\.processed +meanwhile\.txt", feed)) == 1
    order = [tuple(map(int, found)) for found in re.findall(r"(\d+)-(\d+) ", feed)]
    assert order == sorted(set(order))


def test_f21_a_page_of_another_origin_is_kept_out(running: Service, tmp_path: Path):
    """A page that is not allowed reads no answer and gets no socket."""
    write_page(tmp_path, running)
    with served(tmp_path) as elsewhere, page(f"{elsewhere}/index.html") as tab:
        assert tab.run(f"fetch('{running.url}/files/').then(() => 'read', () => 'refused')") == "refused"
        opened = tab.run(
            f"new Promise((done) => {{ const s = new WebSocket('{running.url.replace('http', 'ws')}/ws/files/');"
            " s.onopen = () => done('opened'); s.onerror = () => done('refused'); })"
        )
        assert opened == "refused"


def test_the_documents_page_needs_nobody_else(running: Service):
    """Swagger UI shows every path, from this service's own files."""
    with page(f"{running.url}/docs/") as tab:
        tab.until("document.querySelectorAll('.opblock').length >= 9")
        outside = tab.run(
            "performance.getEntriesByType('resource').map((entry) => new URL(entry.name).origin)"
            ".filter((origin) => origin !== location.origin && origin !== 'null')"
        )
        assert outside == []


def test_wscat_shows_it_happen(running: Service):
    """The README's first command shows an upload from queued to processed."""
    command = ["npx", "--yes", "wscat", "-c", f"{running.url.replace('http', 'ws')}/ws/files/"]
    socket = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    seen: list[str] = []
    assert socket.stdout is not None

    def keep() -> None:
        with socket.stdout as output:
            seen.extend(iter(output.readline, ""))

    reader = threading.Thread(target=keep)
    reader.start()
    try:
        until(lambda: any('"type":"hello"' in line for line in seen), 120, "wscat is connected")
        document = running.upload(b"for wscat\n", "wscat.txt")
        mine = [
            f'"type":"file.{state}","subject":"{document["id"]}"' for state in ("queued", "processing", "processed")
        ]
        until(lambda: all(any(want in line for line in seen) for want in mine), 30, "wscat shows the file's life")
    finally:
        socket.stdin.close()
        socket.terminate()
        socket.wait(20)
        reader.join()
