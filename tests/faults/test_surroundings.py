"""Redis, the database and the storage go away, hang, fill and come back: what got its 201 ends, once, by itself."""

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests import samples
from tests.acceptance.service import Service, until
from tests.faults.harness import QUICK, Witness, busy, drill, drilled, leftovers, verify
from tests.servers import Postgres, Valkey, own_postgres, valkey

MIB = 1024 * 1024
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root")


class Uploader:
    """Uploads small files one after the other until the block ends; what was acknowledged, and what was refused."""

    def __init__(self, running: Service) -> None:
        self._running = running
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)
        self.ids: list[str] = []
        self.refused: list[httpx.Response] = []
        self.slowest_seconds = 0.0

    def __enter__(self) -> "Uploader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(60)

    def _go_on(self) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            began = time.monotonic()
            with contextlib.suppress(httpx.TransportError):
                answer = httpx.post(
                    f"{self._running.url}/upload/", files={"file": (f"{number}.txt", b"%d\n" % number)}, timeout=40
                )
                if answer.status_code == 201:
                    self.ids.append(answer.json()["id"])
                    self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
                else:
                    self.refused.append(answer)
            self._over.wait(0.02)


def stop_and_start(server: Valkey) -> None:
    server.stop()
    time.sleep(1)  # how long it is away
    server.start()


def stop_wipe_start(server: Valkey) -> None:
    server.stop()
    server.wipe()
    server.start()


def kill_and_start(server: Valkey) -> None:
    server.kill()
    server.start()


def hang(server: Valkey) -> None:
    with server.hanging():
        time.sleep(4)  # how long it hangs: longer than any answer is waited for


@pytest.mark.parametrize("fault", [stop_and_start, stop_wipe_start, kill_and_start, hang])
def test_f01_redis_goes_and_comes_back(fault: Callable[[Valkey], None]):
    """While it is away uploads are answered 201 in less than 2 s; afterwards all that waited, and what was under way,
    is processed, without a request."""
    with valkey() as server, drilled(REDIS_URL=server.url, **QUICK) as running, Witness(running) as witness:
        before = running.upload(drill("sleep 3"))["id"]
        witness.await_event(before, "file.progress")
        with Uploader(running) as uploader:
            until(lambda: len(uploader.ids) >= 5, 20, "uploads go on")
            fault(server)
            count = len(uploader.ids)
            until(lambda: len(uploader.ids) >= count + 5, 20, "uploads go on")
        assert uploader.refused == []
        assert uploader.slowest_seconds < 2
        ids = [before, *uploader.ids]
        if fault is stop_wipe_start:  # the feed begins anew: what was told before is told by the record
            for file_id in ids:
                assert running.finished(file_id, 60)["status"] == "processed"
            assert witness.resyncs
        else:
            witness.await_ends(ids, 60)
            found = verify(running, witness, ids)
            assert {file["status"] for file in found.values()} == {"processed"}
        until(lambda: leftovers(running) == [], 30, "nothing is left over")


def test_a_blip_of_redis_does_not_make_others_wait_for_a_long_file():
    """Redis is killed and back at once while one file takes long: those that come after are done before it is."""
    with valkey() as server, drilled(REDIS_URL=server.url, **QUICK) as running, Witness(running) as witness:
        long = busy(running, witness, 40)
        kill_and_start(server)
        ids = [running.upload(b"after %d\n" % number)["id"] for number in range(3)]
        witness.await_ends(ids, 30)
        assert running.file(long)["status"] == "processing"
        witness.await_ends([long], 90)
        assert verify(running, witness, [long, *ids])[long]["attempt"] == 1


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    """A PostgreSQL that the tests stop and start."""
    with own_postgres() as server:
        yield server


def restart(server: Postgres) -> None:
    server.stop()
    time.sleep(1)  # how long it is away
    server.start()


def crash(server: Postgres) -> None:
    server.stop(signal.SIGQUIT)
    server.start()


def refuse(server: Postgres) -> None:
    """No new connection but ours, and the old ones cut; it listens all the same."""
    server.execute("ALTER ROLE filewire CONNECTION LIMIT 0")
    server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'filewire'")
    time.sleep(2)  # how long it refuses
    server.execute("ALTER ROLE filewire CONNECTION LIMIT -1")


def stand_still(server: Postgres) -> None:
    with server.hanging():
        time.sleep(2)  # how long it hangs


@pytest.mark.parametrize("fault", [restart, crash, refuse, stand_still])
def test_the_database_goes_and_comes_back(database: Postgres, fault: Callable[[Postgres], None]):
    """Uploads meanwhile are 503 with Retry-After and leave nothing, or 201 and end; the work under way ends, once."""
    name = f"faults_{time.monotonic_ns()}"
    with contextlib.suppress(Exception):
        database.execute("CREATE ROLE filewire LOGIN")
    database.execute(f"CREATE DATABASE {name} OWNER filewire")
    url = database.url.replace("postgres@", "filewire@").rsplit("/", 1)[0] + f"/{name}"
    with drilled(DATABASE_URL=url, **QUICK) as running, Witness(running) as witness:
        before = [running.upload(drill("sleep 4"))["id"] for _ in range(2)]
        for file_id in before:
            witness.await_event(file_id, "file.progress")
        with Uploader(running) as uploader:
            until(lambda: len(uploader.ids) >= 5, 20, "uploads go on")
            fault(database)
            count = len(uploader.ids)
            until(lambda: len(uploader.ids) >= count + 5, 30, "uploads go on")
        for answer in uploader.refused:
            assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
            assert int(answer.headers["Retry-After"]) > 0
        ids = [*before, *uploader.ids]
        witness.await_ends(ids, 90)
        found = verify(running, witness, ids)
        assert {file["status"] for file in found.values()} == {"processed"}
        until(lambda: leftovers(running) == [], 30, "nothing is left over")
        until(running.is_ready, 30, "ready")


def remount(path: Path, how: str) -> None:
    """Make the file system read-only (`ro`), or writable again (`rw`)."""
    subprocess.run(["mount", "-o", f"remount,{how}", str(path)], check=True)


@contextlib.contextmanager
def on_a_disk_of_its_own(megabytes: int) -> Iterator[tuple[Service, Path]]:
    """A service whose files lie on a small file system; its database and its Valkey do not."""
    with tempfile.TemporaryDirectory(prefix="filewire-disk-") as data:
        disk = Path(data) / "files"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(disk)], check=True)
        try:
            with drilled(**QUICK, FILEWIRE_DATA_DIR=data) as running:
                running.data = Path(data)
                yield running, disk
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)


@as_root
def test_f29_a_storage_that_is_read_only_for_five_seconds_costs_attempts_alone():
    """What is worked on meanwhile is tried again, with waits that grow, and is processed; uploads are 503 meanwhile."""
    with on_a_disk_of_its_own(64) as (running, disk), Witness(running) as witness:
        stopped = running.named("celery")
        stopped.suspend()  # so that the files wait until the storage cannot be written
        ids = [running.upload(samples.jpeg(), f"{number}.jpg")["id"] for number in range(6)]
        remount(disk, "ro")
        stopped.resume()
        began = time.monotonic()
        witness.await_event(ids[0], "file.queued", attempt=2)
        answer = httpx.post(f"{running.url}/upload/?filename=a.txt", content=b"x", timeout=20)
        assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        until(lambda: time.monotonic() - began > 5, 10, "five seconds")
        remount(disk, "rw")
        witness.await_ends(ids, 90)
        found = verify(running, witness, ids)
        assert {file["status"] for file in found.values()} == {"processed"}
        assert max(file["attempt"] for file in found.values()) <= 9
        until(lambda: leftovers(running) == [], 30, "nothing is left over")


@as_root
def test_a_full_disk_refuses_and_recovers():
    """507 with Retry-After and nothing half-kept; what the work cannot write is tried again, and all ends when there is
    room."""
    with on_a_disk_of_its_own(24) as (running, disk), Witness(running) as witness:
        picture = running.upload(samples.jpeg(), "first.jpg")["id"]
        witness.await_ends([picture])
        stopped = running.named("celery")
        stopped.suspend()
        waiting = running.upload(samples.jpeg(camera=True), "second.jpg")["id"]
        ballast = disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as stream:
            while True:
                stream.write(bytes(4096))
        with contextlib.suppress(OSError), (disk / "rest").open("wb", buffering=0) as stream:
            while True:
                stream.write(b"x")
        for size in (100_000, 8 * MIB):
            answer = httpx.post(f"{running.url}/upload/?filename=a.bin", content=b"x" * size, timeout=30)
            assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
            assert int(answer.headers["Retry-After"]) > 0
        stopped.resume()
        witness.await_event(waiting, "file.queued", attempt=2)
        ballast.unlink()
        (disk / "rest").unlink()
        witness.await_ends([waiting], 90)
        found = verify(running, witness, [picture, waiting])
        assert {file["status"] for file in found.values()} == {"processed"}
        after = running.upload(b"x" * (8 * MIB), "after.bin")["id"]
        witness.await_ends([after])
        until(lambda: leftovers(running) == [], 30, "nothing is left over")
