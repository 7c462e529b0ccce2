"""A contender, running: with a database, a Redis and a folder of its own, pinned to core 0; and what it has kept."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from tests.load import database
from tests.load.contenders import SINK_LIMIT, Contender
from tests.load.processes import OTHER_CORE, SERVER_CORE, Tree, pinned, running
from tests.load.report import OURS
from tests.ports import free_port
from tests.servers import valkey


@dataclass(frozen=True)
class Kept:
    """What a server has kept and sent so far; without a database it has neither rows nor messages, which is None."""

    rows: int | None
    files: int
    size: int
    messages: int | None = None

    def are_sent(self, before: "Kept") -> bool:
        """Whether a task was sent for each file that came since; of whom no tasks are counted, that is not asked."""
        sent = None if self.messages is None else self.messages - (before.messages or 0)
        return sent is None or sent >= self.files - before.files


class Server:
    """One program under load."""

    def __init__(self, contender: Contender, environment: dict[str, str], work: Path, tree: Tree) -> None:
        self.contender, self.name, self.environment, self.work = contender, contender.name, environment, work
        self.port = int(environment["PORT"])
        self.url = f"http://127.0.0.1:{self.port}"
        self.database = environment["DATABASE_URL"]
        self.data = Path(environment["DATA"])
        self.blobs = self.data / "files" / "blobs" if self.name == OURS else self.data
        self.tree = tree
        self.others: list[Tree] = []  # what else of it runs, beside the process that is measured
        self._seeded = 0
        self._whole: set[str] = set()  # files that are not looked at again
        self._whole_bytes = 0

    def kept(self) -> Kept:
        """Rows, files and bytes."""
        if self.name == SINK_LIMIT:
            told = self.get("/")
            return Kept(None, told["requests"], told["bytes"])
        found = self.newest()
        sizes = [path.stat().st_size for path in found if path.exists()]
        return Kept(self.rows(), len(self._whole) + len(sizes), self._whole_bytes + sum(sizes), self.messages())

    def newest(self) -> list[Path]:
        """The files that came since the server was last at rest."""
        return [Path(path) for path in self._paths() if path not in self._whole]

    def rest(self) -> None:
        """Nobody uploads: what is there is whole, and counted as it is from now on."""
        found = self.newest()
        self._whole_bytes += sum(path.stat().st_size for path in found)
        self._whole.update(map(str, found))

    def rows(self) -> int | None:
        """How many uploads the database has."""
        table = self.contender.table
        return None if table is None else int(self.ask(f"SELECT count(*) FROM {table}")[0][0])

    def messages(self) -> int | None:
        """How many tasks wait in its queue, where somebody sends them and nobody takes them."""
        if self.contender.table is None or (self.name == OURS and not self.others):
            return None
        with redis.Redis.from_url(self.environment["REDIS_URL"]) as client:
            celery = client.llen("filewire" if self.name == OURS else "celery")
            return int(celery + client.zcard("arq:queue") + client.llen("bull:files:wait"))

    def stored(self) -> list[Path]:
        """Every upload in the storage."""
        return [Path(path) for path in self._paths()]

    def _paths(self) -> list[str]:
        """The same as words: of a hundred thousand a `Path` each would take a second at every look."""
        walk = os.walk(self.blobs)
        return [f"{folder}/{name}" for folder, _, names in walk if not folder.endswith(".d") for name in names]

    def ask(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Rows of its database."""
        return database.ask(self.database, statement, *parameters)

    def get(self, path: str, **headers: str) -> Any:
        """A JSON answer of 200."""
        with self.open(path, **headers) as response:
            return json.load(response)

    def open(self, path: str, method: str = "GET", **headers: str) -> Any:
        """An answer; 4xx and 5xx raise."""
        request = urllib.request.Request(f"{self.url}{path}", method=method, headers=headers)
        return urllib.request.urlopen(request, timeout=60)

    def seed(self, rows: int) -> None:
        """Fill the list with finished files until it has so many."""
        database.execute(self.database, self.contender.seed.format(table=self.contender.table), self._seeded + 1, rows)
        database.execute(self.database, f"VACUUM ANALYZE {self.contender.table}")
        self._seeded = rows

    def forget_uploads(self) -> None:
        """Remove the rows that were not seeded."""
        column = "status <> 'queued'" if self.name == OURS else "processed"
        database.execute(self.database, f"DELETE FROM {self.contender.table} WHERE NOT ({column})")

    def empty(self) -> None:
        """Forget every upload, bytes and rows."""
        for path in self.stored():
            path.unlink()
        self._whole, self._whole_bytes = set(), 0
        if self.contender.table is not None:
            database.execute(self.database, f"TRUNCATE {self.contender.table} CASCADE")

    @contextlib.contextmanager
    def beside(self, *command: str, core: int = OTHER_CORE, **environment: str) -> Iterator[Tree]:
        """Another process of this service: `live`, `worker`, `dispatcher`."""
        log = self.work / f"{command[0]}.log"
        told = {**self.environment, **environment}
        with running(pinned(core, [sys.executable, "manage.py", *command]), told, log) as process:
            yield Tree(process)

    def logs(self) -> str:
        """The last of what its processes said."""
        return "\n".join(f"{path.name}:\n{path.read_text()[-2000:]}" for path in sorted(self.work.glob("*.log")))


@contextlib.contextmanager
def serving(
    contender: Contender,
    folder: Path,
    url: str,
    *,
    fsync: bool = False,
    core: int = SERVER_CORE,
    dispatcher: bool = True,
    **environment: str,
) -> Iterator[Server]:
    """The contender, answering, with a database, a Redis and a folder of its own; all of that goes with it."""
    name = re.sub(r"\W+", "_", contender.name.lower())
    own = re.sub(r"/[^/]*$", f"/{name}", url)
    work = folder / name
    data = work / "data"
    data.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        broker = stack.enter_context(valkey())
        database.execute(url, f"CREATE DATABASE {name}")
        stack.callback(database.execute, url, f"DROP DATABASE {name} WITH (FORCE)")
        port = free_port()
        told = {
            "DATABASE_URL": own,
            "REDIS_URL": broker.url,
            "FILEWIRE_DATA_DIR": str(data),
            "DATA": str(data),
            "PORT": str(port),
            "SECRET_KEY": "of no use",
            "FSYNC": "on" if fsync else "off",
            "FILEWIRE_FSYNC": "on" if fsync else "off",
            "MALLOC_MMAP_THRESHOLD_": "33554432",
            "MALLOC_TRIM_THRESHOLD_": "67108864",
            **contender.environment,
            **environment,
        }
        if contender.name == OURS:
            told["DJANGO_SETTINGS_MODULE"] = "project.settings"
        if contender.prepare is not None:
            contender.prepare(told, own)
        log = work / "server.log"
        process = stack.enter_context(running(pinned(core, contender.command(port)), told, log))
        await_answer(f"http://127.0.0.1:{port}{contender.probe}", process, log)
        server = Server(contender, told, work, Tree(process))
        if contender.name == OURS and dispatcher:
            # As deployed: a dispatcher sends what comes in. Its cost is not the web core's.
            server.others.append(stack.enter_context(server.beside("dispatcher")))
        yield server


def await_answer(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the server answers, whatever it is."""
    ends_at = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).read()
        except urllib.error.HTTPError:
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > ends_at:
                raise SystemExit(f"no answer from {url}:\n{log.read_text()[-3000:]}") from None
            time.sleep(0.05)
        else:
            return
