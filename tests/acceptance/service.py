"""The service as real processes, driven and watched from outside."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg2
from websockets.sync.client import ClientConnection, connect

from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
TERMINAL = ("processed", "failed")


def until(condition: Callable[[], Any], seconds: float = 30.0, what: str = "") -> Any:
    """What the condition returns once that is true; fails when it is not within the time."""
    ends_at = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < ends_at, f"not within {seconds:g} s: {what or condition}"
        time.sleep(0.02)


def words_of(process: psutil.Process) -> str:
    """A process's command line, as one string; nothing when it has gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


class Service:
    """`manage.py serve` on a free port, in a data directory of its own."""

    def __init__(self, data: Path, environment: dict[str, str]) -> None:
        self.data = data
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = environment
        self.output: list[str] = []
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Run it, and return when every part is ready."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("FILEWIRE_", "REDIS_", "DATABASE_"))
        }
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "serve"],
            cwd=ROOT,
            env={
                **kept,
                "DJANGO_SETTINGS_MODULE": "project.settings",
                "FILEWIRE_DATA_DIR": str(self.data),
                "PORT": str(self.port),
                **self.environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._keep_output, args=(self.process,), daemon=True)
        self._reader.start()
        until(self.is_ready, 60, "the service is ready")

    def _keep_output(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self.output.append(line)

    def is_ready(self) -> bool:
        """Whether `/readyz` says so; fails at once when the process has ended."""
        assert self.process is not None
        assert self.process.poll() is None, "".join(self.output)
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/readyz", timeout=10).status_code == 200
        return False

    def stop(self, signum: int = signal.SIGTERM) -> float:
        """Stop it; how many seconds that took."""
        assert self.process is not None
        children = self.processes()
        began = time.monotonic()
        self.process.send_signal(signum)
        self.process.wait(60)
        took = time.monotonic() - began
        self._reader.join()
        _, alive = psutil.wait_procs(children, timeout=5)
        assert not alive, f"still there: {alive}"
        return took

    def processes(self) -> list[psutil.Process]:
        """Every process of the service but its parent."""
        assert self.process is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def named(self, words: str) -> psutil.Process:
        """The outermost process whose command line holds these words."""
        return next(process for process in self.processes() if words in words_of(process))

    def memory(self) -> dict[int, int]:
        """The resident memory in bytes of every process but its parent, by pid; a file's child may end meanwhile."""
        found = {}
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                found[process.pid] = process.memory_info().rss
        return found

    # --- as a client -----------------------------------------------------------------------------------------

    def upload(self, content: bytes, name: str = "a.txt", **headers: str) -> dict[str, Any]:
        """Upload these bytes; the File."""
        response = httpx.post(f"{self.url}/upload/", files={"file": (name, content)}, headers=headers, timeout=30)
        assert response.status_code == 201, response.text
        document: dict[str, Any] = response.json()
        return document

    def file(self, file_id: str) -> dict[str, Any]:
        """The File as it stands."""
        document: dict[str, Any] = httpx.get(f"{self.url}/files/{file_id}/", timeout=30).json()
        return document

    def finished(self, file_id: str, seconds: float = 40.0) -> dict[str, Any]:
        """The File, once it is processed or failed."""

        def look() -> dict[str, Any] | None:
            file = self.file(file_id)
            return file if file["status"] in TERMINAL else None

        found: dict[str, Any] = until(look, seconds, f"{file_id} is processed or failed")
        return found

    def listen(self, path: str = "/ws/files/", after: str | None = None) -> ClientConnection:
        """A WebSocket to the feed."""
        query = f"?after={after}" if after else ""
        return connect(f"ws://127.0.0.1:{self.port}{path}{query}", open_timeout=20)

    def stored(self) -> list[Path]:
        """Every file in the storage."""
        # os.walk passes over a directory that has just gone
        found = [Path(folder) / name for folder, _, names in os.walk(self.data / "files") for name in names]
        return [path for path in found if path.name != "storage-id"]


def frames(
    socket: ClientConnection, last: Callable[[dict[str, Any]], bool], seconds: float = 30.0
) -> list[dict[str, Any]]:
    """The socket's frames up to the one that is the last."""
    found = []
    ends_at = time.monotonic() + seconds
    while True:
        frame = json.loads(socket.recv(timeout=max(0.01, ends_at - time.monotonic())))
        found.append(frame)
        if last(frame):
            return found


@contextlib.contextmanager
def database() -> Iterator[str]:
    """The URL of a new, empty database on the tests' PostgreSQL; nothing, for SQLite, where there is none."""
    server = os.environ.get("DATABASE_URL", "")
    if not server:
        yield ""
        return
    name = f"acceptance_{uuid.uuid4().hex}"
    with contextlib.closing(psycopg2.connect(server)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
            try:
                yield re.sub(r"/[^/]*$", f"/{name}", server)
            finally:
                cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextlib.contextmanager
def service(**environment: str) -> Iterator[Service]:
    """A running service, stopped and forgotten at the end; what it said is shown when a test fails."""
    with tempfile.TemporaryDirectory(prefix="filewire-acceptance-") as data, database() as url:
        running = Service(Path(data), {"DATABASE_URL": url, **environment})
        try:
            running.start()
            yield running
        except BaseException:
            print("".join(running.output[-200:]))
            raise
        finally:
            if running.process is not None and running.process.poll() is None:
                running.stop()


def refusal_of_serve(**environment: str) -> str:
    """What a `serve` that cannot start says as it ends."""
    found = subprocess.run(
        [sys.executable, "manage.py", "serve"],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "project.settings", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 1, found.stdout
    return found.stderr
