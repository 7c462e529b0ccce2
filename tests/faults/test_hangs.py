"""Processes stand still, as one that is stuck does: they are found, and the work goes on without them."""

from collections.abc import Callable

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
    """SIGSTOP in the middle of the work: the file, and those that come after, end; no stopped process is left over."""
    with drilled(**QUICK, FILEWIRE_PROCESSING_SECONDS="6") as running, Witness(running) as witness:
        file_id = busy(running, witness, 2)
        hung = HUNG[victim](running)
        hung.suspend()
        until(lambda: is_stopped(hung) or has_ended(hung), 10, "it stands still")
        until(lambda: not is_stopped(hung), 120, f"{victim} is ended")
        until(running.is_ready, 60, "ready again")
        ids = [file_id] + [running.upload(b"after %d\n" % number)["id"] for number in range(6)]
        witness.await_ends(ids, 90)
        found = verify(running, witness, ids)
        until(lambda: leftovers(running) == [], 20, "nothing is left over")
        assert [process for process in running.processes() if is_stopped(process)] == []
    if victim in ("the child", "its sandbox"):
        assert found[file_id]["error"]["code"] == "processing_timeout"
    else:
        assert found[file_id]["status"] == "processed"
