"""Processes are killed, stopped and told to go, at the worst moment: what got its 201 ends, and ends once."""

import contextlib
import http.client
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

import httpx
import psutil
import pytest

from tests.acceptance.service import Service, until
from tests.faults.harness import (
    QUICK,
    TERMINAL,
    Witness,
    busy,
    celery_main,
    drill,
    drilled,
    has_ended,
    is_stopped,
    leftovers,
    one_working,
    pool,
    sandboxes,
    verify,
    worker_of,
    working,
)


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    """A service with short delays."""
    with drilled(**QUICK) as found:
        yield found


def celery_group(running: Service) -> None:
    """Kill Celery and all in its process group."""
    os.killpg(celery_main(running).pid, signal.SIGKILL)


VICTIMS: dict[str, Callable[[Service], None]] = {
    "the child": lambda running: one_working(running).kill(),
    "its sandbox": lambda running: one_working(running).parent().kill(),
    "Celery's process": lambda running: worker_of(one_working(running)).kill(),
    "Celery's first process": lambda running: celery_main(running).kill(),
    "Celery's whole group": celery_group,
    "the worker's supervisor": lambda running: running.named("manage.py worker").kill(),
    "the dispatcher": lambda running: running.named("manage.py dispatcher").kill(),
    "web": lambda running: running.named("manage.py web").kill(),
}


@pytest.mark.parametrize("victim", VICTIMS)
def test_f02_whatever_is_killed_the_file_ends_once(running: Service, victim: str):
    """SIGKILL in the middle of the work: the file ends `processed`, each attempt has one terminal event at most, and
    nothing of a dead attempt is left."""
    with Witness(running) as witness:
        file_id = busy(running, witness, 3)
        VICTIMS[victim](running)
        witness.await_ends([file_id], 60)
        until(running.is_ready, 60, "ready again")
        file = verify(running, witness, [file_id])[file_id]
    assert file["status"] == "processed"
    # Celery is told to stop when its supervisor dies, and may finish within its grace what it has begun.
    attempts = {"the dispatcher": {1}, "web": {1}, "the worker's supervisor": {1, 2}}
    assert file["attempt"] in attempts.get(victim, {2})
    assert file["derived"]
    assert leftovers(running) == []


def test_f02_a_group_killed_in_a_ten_second_task_with_default_delays():
    """SIGKILL of the worker's whole process group: terminal within 40 s, attempt 2, one terminal event."""
    with drilled() as running, Witness(running) as witness:
        file_id = busy(running, witness, 10)
        began = time.monotonic()
        celery_group(running)
        end = witness.await_event(file_id, *TERMINAL, seconds=40)
        took = time.monotonic() - began
        verify(running, witness, [file_id])
    assert end["data"]["attempt"] == 2
    assert len([frame for frame in witness.of(file_id) if frame["type"] in TERMINAL]) == 1
    print(f"terminal after {took:.1f} s")


def test_f03_a_poison_file_ends_and_others_go_on(running: Service):
    """A file that kills whoever works on it is `worker_lost` after three attempts; files beside it are processed."""
    with Witness(running) as witness:
        poison = running.upload(drill("die"))["id"]
        others = [running.upload(b"harmless %d\n" % number)["id"] for number in range(20)]
        witness.await_ends([poison, *others], 60)
        found = verify(running, witness, [poison, *others])
    assert (found[poison]["status"], found[poison]["attempt"]) == ("failed", 3)
    assert found[poison]["error"]["code"] == "worker_lost"
    assert {found[file_id]["status"] for file_id in others} == {"processed"}
    assert {found[file_id]["attempt"] for file_id in others} == {1}


def test_a_worker_that_is_told_to_stop_puts_its_file_back():
    """SIGTERM of the worker in a long task: the next attempt begins long before a lease would have ended."""
    with drilled(FILEWIRE_LEASE_SECONDS="120") as running, Witness(running) as witness:
        file_id = busy(running, witness, 12)
        running.named("manage.py worker").terminate()
        began = time.monotonic()
        witness.await_event(file_id, "file.queued", seconds=30, attempt=2)
        put_back_after = time.monotonic() - began
        witness.await_ends([file_id], 60)
        file = verify(running, witness, [file_id])[file_id]
        assert (file["status"], file["attempt"]) == ("processed", 2)
        assert any("the file is put back" in line for line in running.output)
        assert leftovers(running) == []
    print(f"put back after {put_back_after:.1f} s")


@pytest.mark.parametrize("watched", [True, False])
def test_no_process_of_a_dead_celery_is_left(running: Service, watched: bool):
    """With Celery's first process its workers, their sandboxes and their children go, within seconds; on Linux even
    while their supervisor stands still."""
    if not watched and sys.platform != "linux":
        pytest.skip("elsewhere it is the supervisor that kills them")
    with Witness(running) as witness:
        file_id = busy(running, witness, 2)
        old = [celery_main(running), *celery_main(running).children(recursive=True)]
        assert len(old) >= 1 + 2 * len(sandboxes(running))
        supervisor = running.named("manage.py worker")
        if not watched:
            supervisor.suspend()
        old[0].kill()
        until(lambda: all(has_ended(process) for process in old), 10, "they are gone")
        assert watched or is_stopped(supervisor)  # it had no part in it
        with contextlib.suppress(psutil.NoSuchProcess):
            supervisor.resume()
        witness.await_ends([file_id], 60)


def test_web_killed_in_an_upload_leaves_nothing(running: Service):
    """SIGKILL while bytes arrive: no row, and the bytes are swept once an upload cannot last any longer."""
    before = set(running.stored())
    client = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    client.putrequest("POST", "/upload/?filename=half.bin")
    client.putheader("Content-Length", "50000000")
    client.endheaders(b"x" * 2_000_000)
    until(lambda: set(running.stored()) - before, 20, "bytes have arrived")
    count = len(httpx.get(f"{running.url}/files/?page_size=200").json()["results"])
    running.named("manage.py web").kill()
    client.close()
    until(running.is_ready, 60, "ready again")
    assert len(httpx.get(f"{running.url}/files/?page_size=200").json()["results"]) == count
    (half,) = set(running.stored()) - before
    os.utime(half, (1, 1))  # as if it had lain there for longer than an upload may last
    until(lambda: not half.exists(), 20, "it is swept")


def test_web_killed_between_commit_and_dispatch_loses_nothing(running: Service):
    """With the dispatcher and Celery stopped an upload is acknowledged and web is killed: the file is processed without
    another request."""
    with Witness(running) as witness:
        stopped = [running.named("manage.py dispatcher"), celery_main(running)]
        for process in stopped:
            process.suspend()
        file_id = running.upload(b"between\n")["id"]
        running.named("manage.py web").kill()
        for process in stopped:
            process.resume()
        witness.await_ends([file_id], 60)
        assert verify(running, witness, [file_id])[file_id]["status"] == "processed"


def test_a_retry_under_the_same_key_across_a_kill_is_one_file(running: Service):
    """A client that sends again, with the same Idempotency-Key, whatever it did not hear of: one file."""
    key = f"across-{time.monotonic_ns()}"
    answers: list[httpx.Response] = []
    ends_at = time.monotonic() + 60
    killed = False
    while len(answers) < 2:
        assert time.monotonic() < ends_at
        with contextlib.suppress(httpx.TransportError):
            answer = httpx.post(
                f"{running.url}/upload/",
                files={"file": ("same.txt", b"the same\n" * 200_000)},
                headers={"Idempotency-Key": key},
                timeout=30,
            )
            if answer.status_code == 201:
                answers.append(answer)
        if not killed:
            killed = True
            running.named("manage.py web").kill()
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["Idempotency-Replayed"] == "true"
    names = [file["id"] for file in httpx.get(f"{running.url}/files/?name=same.txt").json()["results"]]
    assert names == [answers[0].json()["id"]]


def test_f30_without_a_worker_the_backlog_is_honest():
    """Files wait as `queued`, and `readyz` says that no worker answers, and for how long files have waited."""
    with drilled(**{**QUICK, "FILEWIRE_HANG_SECONDS": "120"}) as running, Witness(running) as witness:
        stopped = [celery_main(running), *pool(running)]
        for process in stopped:
            process.suspend()
        supervisor = running.named("manage.py worker")
        supervisor.suspend()
        try:
            file_id = running.upload(b"patience\n")["id"]
            found = until(lambda: _ready(running) if _ready(running)["checks"]["worker"] != "ok" else None, 30)
            assert found["checks"]["worker"] == "no worker answers"
            assert found["queue"]["queued"] >= 1
            assert running.file(file_id)["status"] == "queued"
            age = found["queue"]["oldest_seconds"]
            until(lambda: _ready(running)["queue"]["oldest_seconds"] > age, 20, "its age grows")
        finally:
            for process in (supervisor, *stopped):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()
        witness.await_ends([file_id], 90)
        until(running.is_ready, 60, "ready again")


def _ready(running: Service) -> dict:
    answer: dict = httpx.get(f"{running.url}/readyz", timeout=20).json()
    return answer


def test_reprocess_and_delete_race_with_work(running: Service):
    """Reprocess while processing is 409; delete while processing leaves nothing, `file.deleted` is the last word."""
    with Witness(running) as witness:
        file_id = busy(running, witness, 30)
        url = f"{running.url}/files/{file_id}/"
        refused = httpx.post(f"{url}reprocess/")
        assert (refused.status_code, refused.json()["code"]) == (409, "file_busy")
        assert httpx.delete(url).status_code == 204
        assert httpx.get(url).status_code == 404
        witness.await_event(file_id, "file.deleted")
        until(lambda: not working(running), 20, "the child is ended")
        until(
            lambda: not any(file_id.replace("-", "") in str(path) for path in running.stored()), 20, "nothing is left"
        )
        after = running.upload(b"next\n")["id"]
        witness.await_ends([after])
        events = [frame["type"] for frame in witness.of(file_id)]
    assert events.count("file.deleted") == 1
    assert events[-1] == "file.deleted"
    assert not set(events) & set(TERMINAL)
