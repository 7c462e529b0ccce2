"""Signs of life: a child writes a byte a second to its supervisor, from where its life is; silence is a hang.

The supervisor hands the writing end of a pipe down by its number in `FILEWIRE_PULSE`. A process that was stopped, or
whose loop is stuck, falls silent; one that died is noticed without this.

It works the other way round, too: a pipe that nobody reads any more says that the supervisor has died. Who is left
without one has a little time to stop, and is killed if it has not: Celery, for one, may wait for ever in its shutdown
when its broker goes as well.
"""

import contextlib
import os
import signal
import sys
import threading
import time

VARIABLE = "FILEWIRE_PULSE"
BEAT_SECONDS = 1.0
ORPHAN_SECONDS = 20.0  # longer than any of ours takes to stop


def beat() -> None:
    """One sign of life; nothing where nobody watches, or where the watcher itself is stuck."""
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


def beat_from_thread() -> None:
    """Signs of life from a thread of its own, for a main loop that is another's."""

    def go_on() -> None:
        while True:
            beat()
            time.sleep(BEAT_SECONDS)

    if os.environ.get(VARIABLE):
        threading.Thread(target=go_on, name="pulse", daemon=True).start()


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
