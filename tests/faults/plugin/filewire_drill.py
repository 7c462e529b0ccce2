"""A kind of file that does what its second line says: the fault suite's way to work that lasts, or kills its worker.

filewire drill
sleep 10
"""

import os
import signal
import time

from apps.processing.contract import Derived, Job, Outcome, ProcessingFailed

CONTENT_TYPE = "application/x-filewire-drill"
MAGIC = b"filewire drill\n"


def recognises(head: bytes) -> bool:
    """Whether the file begins with our line."""
    return head.startswith(MAGIC)


def process(job: Job) -> Outcome:
    """Do what the file says, and leave one derived file behind."""
    word, _, argument = job.path.read_bytes()[len(MAGIC) :].decode().strip().partition(" ")
    if word == "sleep":
        _sleep(job, float(argument))
    elif word == "die":
        signal.raise_signal(signal.SIGKILL)
    elif word == "exit":
        os._exit(int(argument))
    elif word == "fail":
        raise ProcessingFailed("drill_failed", "It was told to fail.")
    elif word == "grow":
        kept = []
        while True:
            kept.append(bytearray(16 * 1024 * 1024))
    made = job.workdir / "made.txt"
    made.write_text(word)
    return Outcome(result={"did": word}, derived=(Derived(name="made", path=made, content_type="text/plain"),))


def _sleep(job: Job, seconds: float) -> None:
    began = time.monotonic()
    while (done := time.monotonic() - began) < seconds:
        job.report(int(100 * done / seconds))
        time.sleep(0.05)
