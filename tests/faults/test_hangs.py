"""Processes stand still, as one that is stuck does: they are found, and the work goes on without them."""

import contextlib
import http.client
from collections.abc import Callable

import httpx
import psutil
import pytest

from tests.acceptance.service import Service, until
from tests.faults.harness import (
    QUICK,
    Witness,
    busy,
    celery_main,
    drilled,
    has_ended,
    is_stopped,
    leftovers,
    one_working,
    pool,
    verify,
    worker_of,
)

HUNG: dict[str, Callable[[Service], psutil.Process]] = {
    "the child": one_working,
    "its sandbox": lambda running: one_working(running).parent(),
    "Celery's process": lambda running: worker_of(one_working(running)),
    "Celery's first process": celery_main,
    "the worker's supervisor": lambda running: running.named("manage.py worker"),
    "the dispatcher": lambda running: running.named("manage.py dispatcher"),
    "web": lambda running: running.named("manage.py web"),
}


@pytest.mark.parametrize("victim", HUNG)
def test_whatever_hangs_the_files_end(victim: str):
    """SIGSTOP in the middle of the work: the file, and those that come after, end; of what hung, and of all that it had
    started, no process is left over."""
    with drilled(**QUICK, FILEWIRE_PROCESSING_SECONDS="6") as running, Witness(running) as witness:
        file_id = busy(running, witness, 2)
        hung = HUNG[victim](running)
        old = [hung, *hung.children(recursive=True)]  # those that lose their parent are found by no one later
        hung.suspend()
        until(lambda: is_stopped(hung) or has_ended(hung), 10, "it stands still")
        until(lambda: not is_stopped(hung), 120, f"{victim} is ended")
        until(running.is_ready, 60, "ready again")
        ids = [file_id] + [running.upload(b"after %d\n" % number)["id"] for number in range(6)]
        witness.await_ends(ids, 90)
        found = verify(running, witness, ids)
        until(lambda: leftovers(running) == [], 20, "nothing is left over")
        assert [process for process in running.processes() if is_stopped(process)] == []
        until(lambda: all(has_ended(process) for process in old), 30, "nobody of the old generation is left")
    if victim in ("the child", "its sandbox"):
        assert found[file_id]["error"]["code"] == "processing_timeout"
    else:
        assert found[file_id]["status"] == "processed"


def test_web_that_hangs_in_an_upload_breaks_it_off():
    """SIGSTOP while bytes arrive: the client hears that it failed, there is no file, and what was acknowledged ends."""
    with drilled(**QUICK) as running, Witness(running) as witness:
        before = running.upload(b"acknowledged\n")["id"]
        stored = set(running.stored())
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)) as client:
            client.putrequest("POST", "/upload/?filename=half.bin")
            client.putheader("Content-Length", "50000000")
            client.endheaders(b"x" * 2_000_000)
            until(lambda: set(running.stored()) - stored, 20, "bytes have arrived")
            running.named("manage.py web").suspend()
            with pytest.raises((ConnectionError, http.client.HTTPException)):
                client.getresponse()
        until(running.is_ready, 60, "ready again")
        after = running.upload(b"after\n")["id"]
        witness.await_ends([before, after], 60)
        verify(running, witness, [before, after])
        listed = {file["id"] for file in httpx.get(f"{running.url}/files/", timeout=30).json()["results"]}
        assert listed == {before, after}


def test_processes_that_hang_with_nothing_to_do_are_found():
    """SIGSTOP of all of Celery's processes while they wait: no task's time limit would ever end them."""
    with drilled(**QUICK) as running, Witness(running) as witness:
        before = running.upload(b"before\n")["id"]
        witness.await_ends([before], 60)
        old = until(lambda: pool(running), 20, "there are processes")
        for process in old:
            process.suspend()
        ids = [before] + [running.upload(b"after %d\n" % number)["id"] for number in range(3)]
        witness.await_ends(ids, 60)
        verify(running, witness, ids)
        until(lambda: all(has_ended(process) for process in old), 30, "nobody of the old generation is left")
