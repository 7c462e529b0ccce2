"""Having a file worked on by a child of the sandbox: what it costs is bounded, what it says is not believed blindly.

One `Isolation` a process of Celery's: it starts a sandbox when it first needs one, keeps it, and starts another when
that one is lost. The child may have been taken over by the file it reads, so each of its words is checked here.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import math
import os
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import orjson

from apps.processing import plugins
from apps.processing.confinement import Limits
from apps.processing.contract import FAILURE_CODES, Derived, Outcome, ProcessingFailed, Task, storable
from apps.processing.detect import Detected
from apps.processing.sandbox import AHEAD, STOP, hand_over

logger = logging.getLogger(__name__)

WORK: Final = "apps.processing.work:work"
ROOT: Final = Path(__file__).resolve().parent.parent.parent
SAID_BYTES: Final = 2 * 1024 * 1024  # of all a child may say
DETAIL_CHARACTERS: Final = 500
DERIVED_FILES: Final = 16
SETTLED_SECONDS: Final = 60.0  # that a step may be given
BEGIN_SECONDS: Final = 30.0  # for a child to say that it has its file; one that does not hangs, whatever the file is
GRACE_SECONDS: Final = 5.0  # for the sandbox to notice what its own clock tells it
STOP_SECONDS: Final = 2.0
NEAR: Final = 0.6  # a child that died by a signal with this much of its memory taken died of that
# What a sandbox gets of our environment: no secret, no address.
KEPT_VARIABLES: Final = re.compile(
    r"PATH|PYTHON[A-Z_]*|COVERAGE_[A-Z_]*|LANG|LC_[A-Z]+|TZ|LD_LIBRARY_PATH|MALLOC_[A-Z_]+"
)
ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
CONTENT_TYPE: Final = re.compile(r"[a-z0-9.+-]{1,63}/[a-z0-9.+-]{1,63}")
NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class ChildLost(Exception):
    """The process that worked on the file died."""


class Untrustworthy(Exception):
    """The child said what no processor says."""


class FileGone(Exception):
    """The file's bytes are not where they were put."""


class Listener(Protocol):
    """Who wants to know how the work goes. What its functions raise ends the work."""

    @property
    def beat_seconds(self) -> float:
        """How long until `renew` is called, and asked for again then, while the child works."""

    def begun(self) -> None:
        """A child has the file."""

    def found(self, detected: Detected) -> None:
        """What the file is."""

    def report(self, percent: int) -> None:
        """How much is done."""

    def renew(self) -> None:
        """Time has gone by."""


@dataclass(kw_only=True)
class Heard:
    """What a child has said so far."""

    outcome: Outcome | None = None
    done: dict[str, Any] = field(default_factory=dict)
    """Its words, since its files are looked at again when it is dead."""
    error: Exception | None = None
    settled: dict[str, Any] | None = None
    """What stands should it not come to an end of its own: its words, since its files are looked at when it is dead."""
    settled_at: float = math.inf
    begun: bool = False
    said_bytes: int = 0
    unread: bytearray = field(default_factory=bytearray)
    over: bool = False

    def suffices(self) -> bool:
        """Whether nothing that the child may do matters any more; its own end tells nothing, for it left no files."""
        if self.outcome is not None:
            return not self.outcome.derived
        return isinstance(self.error, ProcessingFailed)

    def stands(self) -> bool:
        """Whether it is the outcome while the child still lives, for no files belong to it that it could change."""
        return self.suffices() and self.settled is None


class Sandbox:
    """A running sandbox, and the socket to it."""

    def __init__(self, entry: str) -> None:
        kept = {name: value for name, value in os.environ.items() if KEPT_VARIABLES.fullmatch(name)}
        self.control, theirs = socket.socketpair()
        self._owes = False  # it has not told yet how its last child ended
        self.proven = False  # a child of it has begun: it is not busy with its own start any more
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "apps.processing.sandbox", str(theirs.fileno()), entry],
                stdin=subprocess.DEVNULL,
                stdout=2,
                env={**kept, **ONE_THREAD, "HOME": "/nonexistent"},
                cwd=ROOT,
                pass_fds=[theirs.fileno()],
            )

    def runs(self) -> bool:
        """Whether it is still there."""
        return self._process.poll() is None

    def order(self, task: Task, limits: Limits, theirs: socket.socket) -> None:
        """Have a child work on this file, and speak on this socket. Raises ChildLost."""
        order = {
            "task": {**asdict(task), "path": str(task.path), "workdir": str(task.workdir)},
            "limits": asdict(limits),
        }
        try:
            hand_over(self.control, json.dumps(order).encode() + b"\n", theirs.fileno())
        except OSError as error:
            raise ChildLost from error

    def ending(self) -> dict[str, Any]:
        """How the child ended. Raises ChildLost when the sandbox itself has."""
        data = b""
        while not data.endswith(b"\n"):
            try:
                more = self.control.recv(4096)
            except OSError as error:
                raise ChildLost from error
            if not more:
                raise ChildLost
            data += more
        ending: dict[str, Any] = json.loads(data)
        return ending

    def dismiss(self) -> None:
        """Have the child killed that nobody needs any more; `settle` waits until it is."""
        self._owes = True
        with contextlib.suppress(OSError):  # then it does not settle either
            self.control.sendall(STOP)

    def settle(self) -> bool:
        """Whether no child is left of what was before; False when the sandbox does not say so in time."""
        if self._owes:
            try:
                self.control.settimeout(STOP_SECONDS)
                self.ending()
                self.control.settimeout(None)
            except (OSError, ChildLost):
                return False
            self._owes = False
        return True

    def fork_ahead(self) -> None:
        """Have the next file's child at hand."""
        with contextlib.suppress(OSError):  # the next file finds out that it is gone
            self.control.sendall(AHEAD)

    def stop(self, *, at_once: bool = False) -> None:
        """End it, and the child that it may have."""
        self.control.close()
        if at_once:
            self._process.kill()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Isolation:
    """The sandbox of this process. `entry` names the function that a child calls."""

    def __init__(self, entry: str = WORK) -> None:
        self._entry = entry
        self._sandbox: Sandbox | None = None

    def start(self) -> Sandbox:
        """Have a sandbox without a child at work: called early, the first file need not wait for one."""
        if self._sandbox is None or not self._sandbox.runs():
            self.stop()
        elif not self._sandbox.settle():
            self.stop(at_once=True)
        if self._sandbox is None:
            self._sandbox = Sandbox(self._entry)
        return self._sandbox

    def rest(self) -> None:
        """Between two files: see the last child gone, and the next one made."""
        self.start().fork_ahead()

    def stop(self, *, at_once: bool = False) -> None:
        """End the sandbox, if there is one."""
        if self._sandbox is not None:
            self._sandbox.stop(at_once=at_once)
            self._sandbox = None

    def process(self, task: Task, limits: Limits, listener: Listener) -> Outcome:
        """What a child made of the file, within the limits.

        Raises ProcessingFailed for what is the file's fault, a limit among it; OSError, FileGone and ChildLost for
        what may pass; Untrustworthy and RuntimeError for what nobody foresaw. What the listener raises goes through.
        The child is gone by then, but where it said its last word and made no files: it may still be ending, until
        `rest`.
        """
        sandbox = self.start()
        heard = Heard()
        ours, theirs = socket.socketpair()
        with ours:
            ended: dict[str, Any] | None = None
            try:
                with theirs:
                    sandbox.order(task, limits, theirs)
                listener.begun()
                ended = _listen(sandbox, ours, heard, limits, task, listener)
            finally:
                if ended is None:
                    sandbox.dismiss()
                    if not heard.stands() and not sandbox.settle():
                        self.stop(at_once=True)
        return _conclusion(heard, ended, limits, task)


def _listen(
    sandbox: Sandbox, ours: socket.socket, heard: Heard, limits: Limits, task: Task, listener: Listener
) -> dict[str, Any] | None:
    """Take in what the child says until the sandbox tells how that ended; None when that matters no more: it has said
    what suffices, or overstays what it settled for.

    Raises ChildLost, and what it is told.
    """
    ends_at = time.monotonic() + limits.seconds + GRACE_SECONDS
    begins_at = time.monotonic() + BEGIN_SECONDS if sandbox.proven else math.inf
    beat_at = time.monotonic() + listener.beat_seconds
    while True:
        now = time.monotonic()
        if now >= ends_at:  # the sandbox is as silent as its child
            raise ProcessingFailed("processing_timeout") if heard.begun else ChildLost
        if now >= beat_at:
            listener.renew()
            beat_at = time.monotonic() + listener.beat_seconds
        due = min(ends_at, beat_at, heard.settled_at, begins_at)
        speaking = [sandbox.control] if heard.over else [ours, sandbox.control]
        ready, _, _ = select.select(speaking, [], [], max(0.0, due - now))
        if not ready and time.monotonic() >= heard.settled_at:  # and it has said nothing that we did not come to hear
            return None
        if not ready and time.monotonic() >= begins_at:
            raise ChildLost
        if ours in ready:
            for message in _messages(ours, heard):
                _take(message, heard, task, listener)
            if heard.begun:
                sandbox.proven, begins_at = True, math.inf
            if heard.suffices():
                return None
        elif ready:
            ours.setblocking(False)
            while not heard.over:  # what it had still said
                for message in _messages(ours, heard):
                    _take(message, heard, task, listener)
            return sandbox.ending()


def _messages(ours: socket.socket, heard: Heard) -> Iterator[dict[str, Any]]:
    """The whole lines that one read completes. Raises Untrustworthy when the child says too much, or no JSON."""
    try:
        data = ours.recv(65536)
    except (ConnectionResetError, BlockingIOError):
        data = b""
    if not data:
        heard.over = True
        return
    heard.said_bytes += len(data)
    if heard.said_bytes > SAID_BYTES:
        raise Untrustworthy("it said too much")
    heard.unread += data
    while (end := heard.unread.find(b"\n")) >= 0:
        line = bytes(heard.unread[:end])
        del heard.unread[: end + 1]
        try:
            message = orjson.loads(line)  # what is kept of it can be written again, by the same
        except ValueError as error:
            raise Untrustworthy("it spoke no JSON") from error
        if not isinstance(message, dict):
            raise Untrustworthy("it spoke no object")
        yield message


def _take(message: dict[str, Any], heard: Heard, task: Task, listener: Listener) -> None:
    """Take one message in. Raises Untrustworthy, and what the listener raises."""
    if heard.outcome is not None or heard.error is not None:
        raise Untrustworthy("it spoke after its last word")
    match message:
        case {"begun": True}:
            heard.begun = True
        case {"progress": int(percent)}:
            listener.report(max(0, min(100, percent)))
        case {"found": {"content_type": str(content_type), "kind": str(kind)}}:
            if kind not in plugins.kinds() or not CONTENT_TYPE.fullmatch(content_type):
                raise Untrustworthy("it found a type that is none")
            listener.found(Detected(content_type=content_type, kind=kind))
        case {"done": _} | {"failed": _}:
            verdict = _verdict(message, task.workdir)
            if isinstance(verdict, Outcome):
                heard.outcome, heard.done = verdict, message
            else:
                heard.error = verdict
        case {"settled": dict(settled), "seconds": int() | float() as seconds} if 0 < seconds <= SETTLED_SECONDS:
            _verdict(settled, task.workdir)
            heard.settled, heard.settled_at = settled, time.monotonic() + seconds
        case {"limit": str(code)} if code in FAILURE_CODES:
            heard.error = ProcessingFailed(code)
        case {"fault": {"errno": int(number), "missing": bool(missing)}}:
            gone = missing and number == errno.ENOENT
            heard.error = FileGone() if gone else OSError(number, os.strerror(number))
        case {"error": str(trace)}:
            heard.error = RuntimeError(f"in the child: {trace}")
        case _:
            raise Untrustworthy("it said what no child says")


def _verdict(message: dict[str, Any], workdir: Path) -> Outcome | ProcessingFailed:
    """What becomes of the file by these words. Raises Untrustworthy."""
    match message:
        case {"done": {"result": dict(result), "derived": list(derived)}}:
            if len(derived) > DERIVED_FILES:
                raise Untrustworthy("it made too many files")
            made = tuple(_derived(item, workdir) for item in derived)
            try:
                return Outcome(result=result, derived=made)
            except TypeError as error:
                raise Untrustworthy("its result is no result") from error
        case {"failed": {"code": str(code), "detail": str(detail)}} if plugins.is_failure_code(code):
            return ProcessingFailed(code, str(storable(detail[:DETAIL_CHARACTERS])))
    raise Untrustworthy("it said what no child says")


def _derived(item: Any, workdir: Path) -> Derived:
    """A derived file that really is one, and lies where it must. Raises Untrustworthy."""
    match item:
        case {"name": str(name), "path": str(file), "content_type": str(content_type)}:
            if NAME.fullmatch(name) and FILE_NAME.fullmatch(file) and CONTENT_TYPE.fullmatch(content_type):
                path = workdir / file
                with contextlib.suppress(OSError):
                    status = path.lstat()
                    # Not a link to someone else's file, of either sort.
                    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                        return Derived(name=name, path=path, content_type=content_type)
    raise Untrustworthy("it made a file that is none")


def _conclusion(heard: Heard, ended: dict[str, Any] | None, limits: Limits, task: Task) -> Outcome:
    """The outcome, or the error that stands for how the child ended; what it settled for where time or memory did."""
    try:
        return _own_end(heard, ended, limits, task)
    except ProcessingFailed as failure:
        if heard.settled is None or failure.code not in ("processing_timeout", "memory_limit"):
            raise
    verdict = _verdict(heard.settled, task.workdir)
    if isinstance(verdict, ProcessingFailed):
        raise verdict
    return verdict


def _own_end(heard: Heard, ended: dict[str, Any] | None, limits: Limits, task: Task) -> Outcome:
    """The outcome that it came to, or the error that stands for how it ended."""
    if heard.outcome is not None and heard.outcome.derived:
        _verdict(heard.done, task.workdir)
    if ended is None:
        if heard.outcome is not None:
            return heard.outcome
        raise heard.error or ProcessingFailed("processing_timeout")
    if not heard.begun:
        raise ChildLost
    status = int(ended["status"])
    signalled = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if ended["reason"] == "timeout" or signalled == signal.SIGXCPU:
        raise ProcessingFailed("processing_timeout", f"Processing took longer than {limits.seconds:g} seconds.")
    if heard.error is not None:
        raise heard.error
    if heard.outcome is not None and not signalled:
        return heard.outcome
    name = signal.Signals(signalled).name if signalled else f"status {status}"
    logger.warning("the child ended with %s at %d MiB", name, ended["peak_bytes"] >> 20)
    # In a step it had settled for, a library aborts for memory that it asked for and never got: no peak shows it.
    if signalled != signal.SIGKILL and (heard.settled or ended["peak_bytes"] > NEAR * limits.memory_bytes):
        raise ProcessingFailed("memory_limit")
    raise ChildLost
