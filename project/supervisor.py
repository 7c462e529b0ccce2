"""Child processes under one parent: started in order, started again when they die or hang, stopped in reverse order.

Their output comes out line by line under their names. They get a session of their own, so that a Ctrl-C reaches only
the parent, which stops them one after the other; and the kernel ends them if the parent is killed.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import IO

from django.conf import settings

from project import pulse
from project.pulse import Pulse

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 30.0  # a child that lived so long starts again without a longer pause
TICK_SECONDS = 0.2
UNBORN_SECONDS = 60.0  # until the first sign of life: imports, migrations
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with(parent: int) -> None:
    """In the child, before it runs: be sent SIGTERM when the parent dies, however it dies.

    By the kernel on Linux; elsewhere the broken pipe tells those that show signs of life (`pulse`).
    """
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)


@dataclass(eq=False)
class Child:
    """One child: what it is called, how it is run, how long it may take to stop, and how its life is told."""

    name: str
    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    grace_seconds: float = 10.0
    ready: Callable[[], bool] | None = None
    pulsing: bool = False  # whether it shows signs of life, and hangs when it shows none
    pulse: Pulse | None = None
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    due_at: float = 0.0
    pause_seconds: float = FIRST_PAUSE_SECONDS

    def start(self) -> None:
        """Run it."""
        self.started_at = time.monotonic()
        self.pulse = Pulse() if self.pulsing else None
        handed = [self.pulse.writing] if self.pulse else []
        watched = {pulse.VARIABLE: str(handed[0]) if handed else ""}
        self.process = subprocess.Popen(  # noqa: S603 - our own commands
            list(self.command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **watched, **self.environment},
            cwd=settings.BASE_DIR,
            start_new_session=True,
            preexec_fn=partial(_die_with, os.getpid()),
            pass_fds=handed,
        )
        if self.pulse:
            self.pulse.handed_over()
        threading.Thread(target=self._relay, args=(self.process.stdout,), daemon=True).start()

    def _relay(self, output: IO[bytes]) -> None:
        with output:
            for line in output:
                say(self.name, line.decode(errors="replace").rstrip("\n"))

    def hangs(self) -> bool:
        """Whether it has shown no sign of life for too long; to be asked once a tick."""
        if self.pulse is None:
            return False
        self.pulse.tick()
        limit = settings.FILEWIRE_HANG_SECONDS if self.pulse.began else UNBORN_SECONDS
        return self.pulse.silent_ticks * TICK_SECONDS > limit

    def end(self) -> None:
        """Kill what is left of it and of all it started."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: only zombies are left
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        if self.pulse is not None:
            self.pulse.close()
            self.pulse = None

    def is_running(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """Ask it to stop, wait for as long as it may take, then kill it and all it started."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            ends_at = time.monotonic() + self.grace_seconds
            while self.is_running() and time.monotonic() < ends_at:
                pulse.beat()  # who waits for a child to stop does not hang
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(TICK_SECONDS)
            if self.is_running():
                say(self.name, f"did not stop within {self.grace_seconds:g} s and is killed")
        self.end()


class Supervisor:
    """Keeps its children running until it is told to stop."""

    def __init__(self, children: Sequence[Child]) -> None:
        self._children = children
        self._started: list[Child] = []
        self._stopping = threading.Event()

    def stop(self, signum: int = 0, frame: FrameType | None = None) -> None:
        """Ask the run to end; a signal handler."""
        self._stopping.set()

    def run(self, when_ready: Callable[[], None] | None = None) -> None:
        """Start the children in order, each when the one before is ready; keep them running; stop them in reverse."""
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, self.stop)
        try:
            for child in self._children:
                if self._stopping.is_set():
                    return
                child.start()
                self._started.append(child)
                self._await_ready(child)
            if when_ready is not None and not self._stopping.is_set():
                when_ready()
            while not self._stopping.wait(TICK_SECONDS):
                self._keep_all()
        finally:
            for child in reversed(self._children):
                child.stop()

    def _await_ready(self, child: Child) -> None:
        while child.ready is not None and not self._stopping.is_set() and not child.ready():
            self._keep_all()  # what it waits for may be another child
            self._stopping.wait(TICK_SECONDS)

    def _keep_all(self) -> None:
        pulse.beat()
        for child in self._started:
            self._keep(child)

    def _keep(self, child: Child) -> None:
        if child.is_running():
            if not child.hangs():
                return
            say(child.name, "shows no sign of life and is killed")
            child.end()
        now = time.monotonic()
        if not child.due_at:
            child.end()  # what it started does not outlive it
            status = child.process.returncode if child.process is not None else None
            if now - child.started_at > STEADY_SECONDS:
                child.pause_seconds = FIRST_PAUSE_SECONDS
            say(child.name, f"ended with status {status}; it is started again in {child.pause_seconds:g} s")
            child.due_at = now + child.pause_seconds
            child.pause_seconds = min(LONGEST_PAUSE_SECONDS, child.pause_seconds * 2)
        elif now >= child.due_at:
            child.due_at = 0.0
            child.start()


_saying = threading.Lock()


def say(name: str, line: str) -> None:
    """One line of output under a name."""
    with _saying:
        sys.stdout.write(f"{name:<10} | {line}\n")
        sys.stdout.flush()
