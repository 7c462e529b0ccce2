"""What the fault suite shares: a service that knows files which last or kill, a witness of the feed, the invariants."""

import contextlib
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.acceptance.service import ROOT, Service, service, until, words_of

PLUGIN = ROOT / "tests" / "faults" / "plugin"
TERMINAL = ("file.processed", "file.failed")
# Delays of seconds in place of tens of them; the promises are the same.
QUICK = {
    "FILEWIRE_LEASE_SECONDS": "3",
    "FILEWIRE_SWEEP_SECONDS": "0.5",
    "FILEWIRE_REDISPATCH_SECONDS": "3",
    "FILEWIRE_REPUBLISH_SECONDS": "1",
    "FILEWIRE_HANG_SECONDS": "3",
    "FILEWIRE_ORPHAN_SECONDS": "5",
}


def drill(what: str) -> bytes:
    """A file that does this to whoever works on it: `sleep 10`, `die`, `exit 3`, `fail`, `grow`, or nothing."""
    return f"filewire drill\n{what}\n".encode()


@contextlib.contextmanager
def drilled(**environment: str) -> Iterator[Service]:
    """A running service that knows drills."""
    path = os.pathsep.join(filter(None, [str(PLUGIN), os.environ.get("PYTHONPATH", "")]))
    with service(PYTHONPATH=path, **environment) as running:
        yield running


class Witness:
    """Follows the feed with its cursor, comes back whatever breaks, and remembers every frame."""

    def __init__(self, running: Service) -> None:
        self._running = running
        self._over = threading.Event()
        self._heard = threading.Condition()
        self._cursor: str | None = None
        self.frames: list[dict[str, Any]] = []
        self.resyncs = 0
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> "Witness":
        self._thread.start()
        until(lambda: self._cursor, 30, "the witness was greeted")
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(20)

    def _follow(self) -> None:
        while not self._over.is_set():
            with (
                contextlib.suppress(OSError, ConnectionClosed, InvalidHandshake, TimeoutError, EOFError),
                self._running.listen(after=self._cursor) as socket,
            ):
                while not self._over.is_set():
                    with contextlib.suppress(TimeoutError):
                        self._hear(json.loads(socket.recv(timeout=0.2)))
            self._over.wait(0.05)

    def _hear(self, frame: dict[str, Any]) -> None:
        with self._heard:
            if frame["type"] == "hello":
                self._cursor = self._cursor or frame["data"]["cursor"]
            elif frame["type"] == "resync":
                self.resyncs += 1
                self._cursor = frame["data"]["cursor"]
            elif frame["type"].startswith("file."):
                self.frames.append(frame)
                self._cursor = frame["id"]
            self._heard.notify_all()

    def of(self, file_id: str) -> list[dict[str, Any]]:
        """The file's events so far."""
        with self._heard:
            return [frame for frame in self.frames if frame["subject"] == file_id]

    def await_event(self, file_id: str, *types: str, seconds: float = 60.0, attempt: int = 0) -> dict[str, Any]:
        """The file's first event of one of these types (in this attempt or a later one), once it is heard."""
        ends_at = time.monotonic() + seconds
        with self._heard:
            while True:
                for frame in self.frames:
                    if frame["subject"] == file_id and frame["type"] in types and frame["data"]["attempt"] >= attempt:
                        return frame
                left = ends_at - time.monotonic()
                assert left > 0, f"not within {seconds:g} s: {types} of {file_id}; heard {self._words(file_id)}"
                self._heard.wait(left)

    def await_ends(self, ids: list[str], seconds: float = 60.0) -> None:
        """Return when the last thing heard of each file is its end."""
        ends_at = time.monotonic() + seconds
        with self._heard:
            while True:
                last = {frame["subject"]: frame["type"] for frame in self.frames}
                open_ids = [file_id for file_id in ids if last.get(file_id) not in TERMINAL]
                if not open_ids:
                    return
                left = ends_at - time.monotonic()
                assert left > 0, f"not within {seconds:g} s: {[(i, self._words(i)) for i in open_ids[:5]]}"
                self._heard.wait(left)

    def _words(self, file_id: str) -> list[str]:
        return [f"{f['type']}/{f['data']['attempt']}" for f in self.frames if f["subject"] == file_id]


def verify(running: Service, witness: Witness, ids: list[str]) -> dict[str, dict[str, Any]]:
    """The invariants, of every acknowledged upload; the files as they stand.

    Terminal in the record and in the feed alike; each event once and in order; for each attempt at most one terminal
    event, and exactly one for the last; `processed` exactly when the status says so; the bytes are there.
    """
    order = [tuple(map(int, frame["id"].split("-"))) for frame in witness.frames]
    assert order == sorted(set(order)), "an id came twice, or went back"
    found = {}
    for file_id in ids:
        file = found[file_id] = running.file(file_id)
        assert file["status"] in ("processed", "failed"), file
        assert file["processed"] is (file["status"] == "processed")
        events = witness.of(file_id)
        words = [(frame["type"], frame["data"]["attempt"]) for frame in events]
        attempts = [attempt for _, attempt in words]
        assert attempts == sorted(attempts), words
        ends = [attempt for kind, attempt in words if kind in TERMINAL]
        assert len(ends) == len(set(ends)), words
        assert ends[-1:] == [file["attempt"]] == attempts[-1:], words
        assert events[-1]["type"] == f"file.{file['status']}", words
        for kind in ("file.queued", "file.processing"):
            told = [attempt for event, attempt in words if event == kind]
            assert len(told) == len(set(told)), words
            assert file["attempt"] in told, words
        assert httpx.get(file["file"], timeout=30).status_code == 200
    return found


def leftovers(running: Service) -> list[Path]:
    """What lies in the storage and belongs to no file that is listed; probes of the storage apart."""
    known = set()
    url: str | None = f"{running.url}/files/?page_size=200"
    while url:
        page = httpx.get(url, timeout=30).json()
        known |= {file["id"].replace("-", "") for file in page["results"]}
        url = page["next"]
    return [
        path
        for path in running.stored()
        if "probe-" not in path.name and not any(part.removesuffix(".d") in known for part in path.parts)
    ]


def celery_main(running: Service) -> psutil.Process:
    """Celery's first process."""
    return running.named("celery")


def pool(running: Service) -> list[psutil.Process]:
    """Celery's processes that work."""
    return [child for child in celery_main(running).children() if "celery" in words_of(child)]


def sandboxes(running: Service) -> list[psutil.Process]:
    """The sandboxes beside them; not their children."""
    return [
        child for worker in pool(running) for child in worker.children() if "apps.processing.sandbox" in words_of(child)
    ]


def working(running: Service) -> list[psutil.Process]:
    """The children that work on a file just now: they are confined; those that wait for one are not."""
    return [
        child
        for sandbox in sandboxes(running)
        for child in sandbox.children()
        if seccomp_filters(child) > seccomp_filters(sandbox)
    ]


def seccomp_filters(process: psutil.Process) -> int:
    """How many filters its system calls pass; none when it has gone."""
    with contextlib.suppress(OSError):
        found = re.search(r"Seccomp_filters:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
        return int(found[1]) if found else 0
    return 0


def is_stopped(process: psutil.Process) -> bool:
    """Whether it stands still; not when it has gone."""
    try:
        return bool(process.status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


def has_ended(process: psutil.Process) -> bool:
    """Whether it has gone, or is only waiting to be buried."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def busy(running: Service, witness: Witness, seconds: float) -> str:
    """The id of a file that a child has begun to work on for so long."""
    file_id = running.upload(drill(f"sleep {seconds:g}"), "long.drill")["id"]
    witness.await_event(file_id, "file.progress", seconds=60)
    return file_id


def one_working(running: Service) -> psutil.Process:
    """The one child that works just now."""
    return until(lambda: working(running)[:1], 20, "a child works")[0]


def worker_of(child: psutil.Process) -> psutil.Process:
    """The Celery process whose sandbox forked this child."""
    return child.parent().parent()
