"""Who is measured: this service as it ships, and what else one might pick, each a small and honest program.

Every one of them commits its row and sends its task before it answers. `serving` starts one with a database, a Redis
and a folder of its own, pinned to core 0.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg2

from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
PEERS = ROOT / "tests" / "load" / "peers"
PYTHON = str(Path(sys.prefix) / "peers" / "bin" / "python")  # where `make bench` puts it
OURS = "Filewire"
UVICORN = ("-m", "uvicorn", "--no-access-log", "--log-level=warning")

TABLE = """CREATE TABLE upload (id uuid PRIMARY KEY, file text NOT NULL, uploaded_at timestamptz NOT NULL,
    processed boolean NOT NULL); CREATE INDEX ON upload (uploaded_at DESC)"""
SEED = """INSERT INTO {table} (id, file, uploaded_at, processed)
    SELECT gen_random_uuid(), 'name-' || n || '.txt', now() - n * interval '1 second', true
    FROM generate_series(1, %s) AS n"""
OUR_SEED = """INSERT INTO files_file (id, file, name, size, content_type, declared_content_type, kind, sha256,
    uploaded_at, processed, status, progress, attempt, derived, request_id, version, changed_at, due_at, losses, faults)
    SELECT (lpad(to_hex((1.7e12 + n)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8' ||
      substr(md5(n::text), 4, 15))::uuid, 'x', 'name-' || n || '.txt', n, 'text/plain', '', 'text',
      repeat('0', 64), now(), true, 'processed', 100, 1, '{{}}', '', 3, now(), now(), 0, 0
    FROM generate_series(1, %s) AS n"""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A program and how it is started: its command for a port, and what its table is called."""

    name: str
    command: Callable[[int], Sequence[str]]
    table: str = "upload"
    seed: str = SEED
    environment: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[dict[str, str], str], None] | None = None


def _fast(name: str, **environment: str) -> Contender:
    return Contender(
        name=name,
        command=lambda port: [PYTHON, *UVICORN, f"--port={port}", "tests.load.peers.fast:application"],
        environment=environment,
        prepare=lambda environment, database: _execute(database, TABLE),
    )


def _make_plain(environment: dict[str, str], database: str) -> None:
    code = "from tests.load.peers.plain import create_table; create_table()"
    subprocess.run([PYTHON, "-c", code], cwd=ROOT, env={**os.environ, **environment}, check=True)


def _make_node(environment: dict[str, str], database: str) -> None:
    _execute(database, TABLE)
    if not (PEERS / "node" / "node_modules").is_dir():
        command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
        subprocess.run(command, cwd=PEERS / "node", check=True)


_PLAIN = "tests.load.peers.plain"
EVERY = (
    Contender(
        name=OURS,
        command=lambda port: [sys.executable, "manage.py", "web", "--migrate", f"--port={port}"],
        table="files_file",
        seed=OUR_SEED,
    ),
    Contender(
        name="Django + DRF + Celery, uvicorn",
        command=lambda port: [PYTHON, *UVICORN, f"--port={port}", f"{_PLAIN}:application"],
        table="plain_upload",
        prepare=_make_plain,
    ),
    Contender(
        name="Django + DRF + Celery, gunicorn",
        command=lambda port: [
            PYTHON, "-m", "gunicorn", "--workers=1", "--threads=8", "--log-level=warning", f"--bind=127.0.0.1:{port}",
            f"{_PLAIN}:wsgi",
        ],
        table="plain_upload",
        prepare=_make_plain,
    ),
    _fast("FastAPI + asyncpg + Celery", QUEUE="celery"),
    _fast("FastAPI + asyncpg + arq", QUEUE="arq"),
    _fast("FastAPI + asyncpg + arq, with our group commit", QUEUE="arq", COMMIT="group"),
    Contender(
        name="Node express + multer + BullMQ",
        command=lambda port: ["node", str(PEERS / "node" / "server.js")],
        prepare=_make_node,
    ),
)  # fmt: skip


def contenders(only: Sequence[str]) -> list[Contender]:
    """This service, and the peers whose names contain one of the words; all whose programs are there, without any."""
    found = [each for each in EVERY[1:] if not only or any(word.lower() in each.name.lower() for word in only)]
    if not shutil.which("node"):
        found = [each for each in found if "Node" not in each.name]
    return [EVERY[0], *found]


class Server:
    """One program under load."""

    def __init__(
        self, contender: Contender, url: str, data: Path, database: str, process: subprocess.Popen[bytes]
    ) -> None:
        self.name, self.url, self._data, self._database = contender.name, url, data, database
        self._table, self._seed = contender.table, contender.seed
        self._process = psutil.Process(process.pid)

    def rows(self) -> int:
        """How many uploads the database has."""
        with contextlib.closing(psycopg2.connect(self._database)) as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {self._table}")
            return int(cursor.fetchone()[0])

    def files(self) -> int:
        """How many uploads the storage has."""
        return sum(len(names) for folder, _, names in os.walk(self._data) if not folder.endswith(".d"))

    def cpu_seconds(self) -> float:
        """What the server has spent so far, with all it started."""
        spent = [each.cpu_times() for each in (self._process, *self._process.children(recursive=True))]
        return sum(times.user + times.system for times in spent)

    def entity_tag(self) -> str:
        """The list's validator."""
        with urllib.request.urlopen(f"{self.url}/files/", timeout=30) as response:
            return str(response.headers["ETag"])

    def seed(self, rows: int) -> None:
        """Fill the list with finished files, as large as a service grows."""
        _execute(self._database, self._seed.format(table=self._table), rows)
        _execute(self._database, f"VACUUM ANALYZE {self._table}")


def _execute(database: str, statement: str, *parameters: object) -> None:
    with contextlib.closing(psycopg2.connect(database)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)


def pinned(core: int, command: Sequence[str]) -> list[str]:
    """The command on one core, where there is a choice."""
    choice = (os.cpu_count() or 1) > 1 and shutil.which("taskset")
    return ["taskset", "-c", str(core), *command] if choice else list(command)


@contextlib.contextmanager
def serving(contender: Contender, work: Path, database: str, redis: str, *, fsync: bool) -> Iterator[Server]:
    """The contender, answering, with a database, a Redis and a folder of its own."""
    name = re.sub(r"\W+", "_", contender.name.lower())
    _execute(database, f"CREATE DATABASE {name}")
    port, data, own = free_port(), work / name, re.sub(r"/[^/]*$", f"/{name}", database)
    data.mkdir()
    environment = {
        "DATABASE_URL": own,
        "REDIS_URL": redis,
        "FILEWIRE_DATA_DIR": str(data),
        "DATA": str(data),
        "PORT": str(port),
        "SECRET_KEY": "of no use",
        "FSYNC": "on" if fsync else "off",
        "FILEWIRE_FSYNC": "on" if fsync else "off",
        "MALLOC_MMAP_THRESHOLD_": "33554432",
        "MALLOC_TRIM_THRESHOLD_": "67108864",
        **contender.environment,
    }
    if contender.name == OURS:
        environment["DJANGO_SETTINGS_MODULE"] = "project.settings"
    if contender.prepare is not None:
        contender.prepare(environment, own)
    with contextlib.ExitStack() as stack:
        url = f"http://127.0.0.1:{port}"
        log = work / f"{name}.log"
        process = stack.enter_context(_running(pinned(0, contender.command(port)), environment, log))
        _await_answer(f"{url}/files/", process, log)
        if contender.name == OURS:
            # As deployed: a dispatcher sends what comes in. Its cost is not the web core's.
            dispatcher = pinned(1, [sys.executable, "manage.py", "dispatcher"])
            stack.enter_context(_running(dispatcher, environment, work / "dispatcher.log"))
            data = data / "files" / "blobs"
        yield Server(contender, url, data, own, process)


@contextlib.contextmanager
def _running(command: Sequence[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def _await_answer(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    ends_at = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).read()
        except OSError:
            if process.poll() is not None or time.monotonic() > ends_at:
                raise SystemExit(f"no answer from {url}:\n{log.read_text()[-3000:]}") from None
            time.sleep(0.05)
        else:
            return
