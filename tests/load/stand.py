"""The whole service under measurement: its real processes on a real PostgreSQL and Valkey, each part's costs apart.

Linux alone: a child's time is known to the parent that buried it, and shared memory to its sharers, only there.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import redis
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.acceptance.service import until
from tests.ports import free_port
from tests.servers import own_postgres, valkey

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE_SECONDS = 120.0
WAITED_SECONDS = 0.1  # a file that has been there for so long has been sent, and waits for a worker
SANDBOX = "apps.processing.sandbox"


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """What these have spent, with the children they have buried. A live child must be among them to count."""
    spent = 0.0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            spent += times.user + times.system + times.children_user + times.children_system
    return spent


def memory_bytes(processes: Sequence[psutil.Process]) -> int:
    """What these take; what several share counts once among them all."""
    return sum(int(process.memory_full_info().pss) for process in processes)


@dataclass
class Life:
    """What the feed said of one file, in seconds of the wall clock."""

    kind: str = ""
    status: str = ""
    name: str = ""
    uploaded_at: float = 0.0
    claimed_at: float = 0.0
    done_at: float = 0.0


@dataclass
class Stand:
    """The running parts, and what is known of the files."""

    data: Path
    database: str
    redis_url: str
    environment: dict[str, str]
    stack: contextlib.ExitStack
    port: int = field(default_factory=free_port)
    live_port: int = field(default_factory=free_port)
    running: dict[str, psutil.Popen] = field(default_factory=dict)
    lives: dict[str, Life] = field(default_factory=dict)
    events: int = 0

    # --- parts -----------------------------------------------------------------------------------------------

    def start(self, name: str, *words: str, **environment: str) -> None:
        """Start a part by its own command: `start("web", "--migrate")`."""
        log = (self.data.parent / f"{name}.log").open("wb")
        process = psutil.Popen(
            [sys.executable, "manage.py", name, *words],
            cwd=ROOT,
            env={**self.environment, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        log.close()
        self.running[name] = process
        self.stack.callback(self.stop, name)

    def stop(self, name: str) -> None:
        """Stop a part, if it runs."""
        process = self.running.pop(name, None)
        if process is not None and process.poll() is None:
            process.terminate()
            process.wait(40)

    def said(self, name: str) -> str:
        """The last of what a part has said."""
        return (self.data.parent / f"{name}.log").read_text()[-3000:]

    def answers(self, name: str, port: int) -> None:
        """Return when the part answers on its port."""

        def look() -> bool:
            if self.running[name].poll() is not None:
                raise SystemExit(f"{name} has ended:\n{self.said(name)}")
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                return True
            return False

        until(look, 60, f"{name} answers")

    def serve(self) -> None:
        """Have `web`."""
        self.start("web", "--migrate", f"--port={self.port}")
        self.answers("web", self.port)

    def work(self, processes: int) -> None:
        """Have a worker with so many processes, ready."""
        self.start("worker", FILEWIRE_WORKER_PROCESSES=str(processes))
        until(lambda: self.redis().zcard("filewire:workers"), 60, "a worker says that it is there")
        until(lambda: len(self.sandboxes()) == processes, 60, "the sandboxes are there")

    # --- what they spend -------------------------------------------------------------------------------------

    def tree(self, name: str) -> list[psutil.Process]:
        """All processes of a part."""
        process = psutil.Process(self.running[name].pid)
        return [process, *process.children(recursive=True)]

    def celery(self) -> list[psutil.Process]:
        """The worker's processes but the dispatcher's."""
        return [each for each in self.tree("worker") if not _says(each, "manage.py dispatcher")]

    def sandboxes(self) -> list[psutil.Process]:
        """The sandboxes: those that fork a child for each file."""
        found = [each for each in self.tree("worker") if _says(each, SANDBOX)]
        inner = {each.pid for each in found}
        return [each for each in found if each.ppid() not in inner]

    def database_processes(self) -> list[psutil.Process]:
        """The postmaster and its processes."""
        with self.connected() as connection:
            backend = psutil.Process(int(self.query("SELECT pg_backend_pid()", connection)[0][0]))
            postmaster = backend.parent()
            assert postmaster is not None
            return [postmaster, *postmaster.children()]

    def idle_rate(self, spent: Callable[[], float], seconds: float = 3.0) -> float:
        """Cores that are taken while nothing is asked."""
        before = spent()
        time.sleep(seconds)
        return (spent() - before) / seconds

    # --- database and Redis ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def connected(self) -> Iterator[Any]:
        """A connection to the database."""
        with contextlib.closing(psycopg2.connect(self.database)) as connection:
            connection.autocommit = True
            yield connection

    def query(self, statement: str, connection: Any = None, parameters: Any = None) -> list[tuple[Any, ...]]:
        """The rows of one statement; none where it has none."""
        if connection is None:
            with self.connected() as own:
                return self.query(statement, own, parameters)
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall()) if cursor.description else []

    def backend_bytes(self) -> tuple[float, str]:
        """What one connection of `web` takes of PostgreSQL's memory alone, and of how many that is the mean."""
        pids = self.query("SELECT pid FROM pg_stat_activity WHERE client_port IS NOT NULL AND pid <> pg_backend_pid()")
        sizes = [psutil.Process(pid).memory_full_info().uss for (pid,) in pids]
        return sum(sizes) / len(sizes), f"unique set size, the mean of {len(sizes)} backends"

    def key_of(self, file_id: str) -> str:
        """Where the file lies in the storage."""
        return str(self.query("SELECT file FROM files_file WHERE id = %s", None, [file_id])[0][0])

    def wal_bytes(self) -> int:
        """How much write-ahead log there has ever been."""
        return int(self.query("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")[0][0])

    def redis(self) -> "redis.Redis":
        """A client."""
        return redis.Redis.from_url(self.redis_url)

    def redis_spent(self) -> tuple[float, int]:
        """Core-seconds, and commands."""
        with self.redis() as client:
            info = client.info()
        return info["used_cpu_sys"] + info["used_cpu_user"], info["total_commands_processed"]

    # --- the files' lives ------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Hear the feed from now on, in a thread."""
        over, heard = threading.Event(), threading.Event()

        def hear() -> None:
            with connect(f"ws://127.0.0.1:{self.port}/ws/files/", open_timeout=20, compression=None) as feed:
                while not over.is_set():
                    try:
                        frame = json.loads(feed.recv(timeout=0.2))
                    except TimeoutError:
                        continue
                    except ConnectionClosed:
                        return
                    heard.set()
                    self._take(frame)

        thread = threading.Thread(target=hear, daemon=True)
        thread.start()
        heard.wait(20)
        self.stack.callback(thread.join, 10)
        self.stack.callback(over.set)

    def _take(self, frame: dict[str, Any]) -> None:
        if not frame["type"].startswith("file."):
            return
        self.events += 1
        life = self.lives.setdefault(frame["subject"], Life())
        at, document = _moment(frame["time"]), frame["data"]
        life.kind, life.name = document["kind"], document["name"]
        life.uploaded_at = _moment(document["uploaded_at"])
        if frame["type"] == "file.processing":
            life.claimed_at = at
        elif frame["type"] in ("file.processed", "file.failed"):
            life.done_at, life.status = at, document["status"]

    def ended(self, ids: Sequence[str]) -> list[Life]:
        """The lives of these files, once all of them are over. Fails when nothing ends any more."""
        news, left = time.monotonic(), len(ids) + 1
        while True:
            going = sum(file_id not in self.lives or not self.lives[file_id].done_at for file_id in ids)
            if not going:
                return [self.lives[file_id] for file_id in ids]
            if going < left:
                news, left = time.monotonic(), going
            if time.monotonic() - news > PATIENCE_SECONDS:
                raise SystemExit(f"{going} files do not end:\n{self.said('worker')}")
            time.sleep(0.01)


def gaps(lives: Sequence[Life]) -> list[float]:
    """Seconds from the end of a file to the claim that follows it, where that file had been waiting meanwhile.

    With several workers an end and a claim may be of different ones; each claim follows one end, so the sum is right.
    """
    claims = deque(sorted(lives, key=lambda life: life.claimed_at))
    found = []
    for done_at in sorted(life.done_at for life in lives):
        while claims and (
            claims[0].claimed_at <= done_at or claims[0].uploaded_at > claims[0].claimed_at - WAITED_SECONDS
        ):
            claims.popleft()
        if claims and claims[0].uploaded_at < done_at - WAITED_SECONDS:
            found.append(claims.popleft().claimed_at - done_at)
    return found


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _says(process: psutil.Process, words: str) -> bool:
    with contextlib.suppress(psutil.Error):
        return words in " ".join(process.cmdline())
    return False


@contextlib.contextmanager
def stand() -> Iterator[Stand]:
    """An empty stand: PostgreSQL (fsync on) and Valkey run, nothing else does yet."""
    if sys.platform != "linux":
        raise SystemExit("costs are measured on Linux alone")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="filewire-stand-")))
        server = stack.enter_context(own_postgres(durable=True))
        broker = stack.enter_context(valkey())
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("FILEWIRE_", "REDIS_", "DATABASE_"))}
        data = folder / "data"
        data.mkdir()
        environment = {
            **kept,
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "DATABASE_URL": server.url,
            "REDIS_URL": broker.url,
            "FILEWIRE_DATA_DIR": str(data),
            "SECRET_KEY": "of no use",
            "MALLOC_MMAP_THRESHOLD_": "33554432",
            "MALLOC_TRIM_THRESHOLD_": "67108864",
        }
        found = Stand(data=data, database=server.url, redis_url=broker.url, environment=environment, stack=stack)
        yield found
