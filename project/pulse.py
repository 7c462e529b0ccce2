"""Signs of life: a child writes a byte a second to its supervisor, from where its life is; silence is a hang.

The supervisor hands the writing end of a pipe down by its number in `FILEWIRE_PULSE`. A process that was stopped, or
whose loop is stuck, falls silent; one that died is noticed without this.

It works the other way round, too: a pipe that nobody reads any more says that the supervisor has died. Who is left
without one has a little time to stop, and is killed if it has not: Celery, for one, may wait for ever in its shutdown
when its broker goes as well.
"""

import contextlib
import itertools
import logging
import mmap
import os
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable

VARIABLE = "FILEWIRE_PULSE"
ENTRY = struct.Struct("=qq")  # a process, and how often it has answered
BEAT_SECONDS = 1.0
ORPHAN_SECONDS = 20.0  # longer than any of ours takes to stop

logger = logging.getLogger(__name__)

_silent = 0  # beats since the last sign of life, for `watch`


def beat() -> None:
    """One sign of life; nothing where nobody watches, or where the watcher itself is stuck."""
    global _silent
    _silent = 0
    descriptor = os.environ.get(VARIABLE)
    if not descriptor:
        return
    try:
        os.write(int(descriptor), b".")
    except BlockingIOError:
        return  # the pipe is full: it will be read when the watcher goes on
    except BrokenPipeError:
        _end_as_orphan()


def _end_as_orphan() -> None:
    """Our supervisor has died: stop, and be killed with our whole group if that takes too long."""
    os.environ.pop(VARIABLE)  # once
    if sys.platform != "linux":  # there the kernel has said so (`supervisor`); a second time would hurry Celery
        os.kill(os.getpid(), signal.SIGTERM)
    end = threading.Timer(ORPHAN_SECONDS, os.killpg, (os.getpid(), signal.SIGKILL))  # a child leads its group
    end.daemon = True
    end.start()


def each_beat(action: Callable[[], None], name: str = "pulse") -> None:
    """Do it at each beat, in a thread of its own, for as long as this process is there."""

    def go_on() -> None:
        while True:
            action()
            time.sleep(BEAT_SECONDS)

    threading.Thread(target=go_on, name=name, daemon=True).start()


def watch(limit_seconds: float) -> None:
    """Where no supervisor watches, as in a container: end this process once it has been silent for so long.

    Whoever keeps the container starts it again: a process that hangs would only be called unhealthy there. Counted in
    this thread's own beats, so that one that was paused with the whole container is not blamed for it.
    """
    if os.environ.get(VARIABLE):
        return

    def look() -> None:
        global _silent
        _silent += 1
        if _silent * BEAT_SECONDS > limit_seconds:
            logger.critical("no sign of life for %g s: this process ends itself", limit_seconds)
            os.kill(os.getpid(), signal.SIGKILL)

    each_beat(look, "watch")


def beat_from_thread() -> None:
    """Signs of life from a thread of its own, for a main loop that is another's."""
    if os.environ.get(VARIABLE):
        each_beat(beat)


class Roll:
    """Signs of life of processes that are forked and kept by another's code: each has a place in memory they share.

    Made before they are forked. `answer_from_thread` is for them, `silent` for who keeps them.
    """

    PLACES = 256

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, self.PLACES * ENTRY.size)
        self._answers = itertools.count(1)
        self._heard: dict[int, tuple[int, int]] = {}  # by process: the last count, and for how many looks it has stood

    def answer(self) -> None:
        """This process is there."""
        pid = os.getpid()
        ENTRY.pack_into(self._memory, pid % self.PLACES * ENTRY.size, pid, next(self._answers))

    def answer_from_thread(self) -> None:
        """This process is there for as long as its threads run."""
        each_beat(self.answer)

    def strike(self, pid: int) -> None:
        """It is gone, or will be."""
        self._heard.pop(pid, None)
        if ENTRY.unpack_from(self._memory, pid % self.PLACES * ENTRY.size)[0] == pid:
            ENTRY.pack_into(self._memory, pid % self.PLACES * ENTRY.size, 0, 0)

    def silent(self, looks: int) -> list[int]:
        """Look once: our children that have been silent for so many looks. Counted in looks, as `Pulse` does."""
        found = []
        for place in range(self.PLACES):
            pid, count = ENTRY.unpack_from(self._memory, place * ENTRY.size)
            if not pid:
                continue
            if not _is_our_child(pid):
                self.strike(pid)
                continue
            last, stood = self._heard.get(pid, (-1, 0))
            self._heard[pid] = (count, stood + 1 if count == last else 0)
            if self._heard[pid][1] >= looks:
                found.append(pid)
        return found


def _is_our_child(pid: int) -> bool:
    """Whether it runs, or is stopped, and is ours; nothing is taken from whoever waits for it."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


class Pulse:
    """The supervisor's end: how long a child has been silent, in the supervisor's own ticks.

    Not by the clock: when a whole machine or container is paused and goes on, nobody has been silent.
    """

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self.writing, False)
        self.silent_ticks = 0
        self.began = False

    def handed_over(self) -> None:
        """The child has its end: close ours."""
        os.close(self.writing)

    def tick(self) -> None:
        """Look whether the child has shown a sign of life."""
        heard = b""
        with contextlib.suppress(BlockingIOError):
            heard = os.read(self._reading, 65536)
        self.silent_ticks = 0 if heard else self.silent_ticks + 1
        self.began = self.began or bool(heard)

    def close(self) -> None:
        """The child is over."""
        os.close(self._reading)
