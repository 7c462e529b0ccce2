"""The sandbox: a small program of its own that forks a child for each file, and kills it when its time is over.

`isolation` starts it (`python -m apps.processing.sandbox`) beside each of Celery's processes. It has no database, no
secret and no thread, so that a fork is quick and safe and a child has nothing to give away; it has imported the
processors, so that a child need not. One child works on one file and is never used again.

It is told of a file by one JSON line on its socket, with the descriptor of a second socket beside it, which becomes
the child's. The child writes JSON lines to that one: `begun`, `found`, `progress`, `settled` (what stands should its
next step take too long, or too much memory), and at last `done`, `failed`, `fault` or `error`. When the child has
ended, its parent writes how: `{"status", "reason", "peak_bytes"}`. Anything said to the sandbox meanwhile, and the end
of its socket, means that nobody wants the child any more. Between two files `ahead` has it fork the next one's child,
which a file then need not wait for.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import mmap
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from apps.processing import confinement
from apps.processing.confinement import Limits
from apps.processing.contract import Outcome, ProcessingFailed, Settle, Task
from apps.processing.detect import Detected

Work = Callable[[Task, Callable[[Detected], None], Callable[[int], None], Settle], Outcome]

REQUEST_BYTES: Final = 64 * 1024
NICE: Final = 5  # a stranger's file yields to those who take files in and keep the record
AHEAD: Final = b"ahead\n"
STOP: Final = b"stop\n"
TRACE_CHARACTERS: Final = 8000
LINGER_SECONDS: Final = 0.001
BALLAST_BYTES: Final = 4 * 1024 * 1024  # given up when memory is over, so that this can still be said
# Faults of the storage under the file, which may pass; every other OSError is the processor's own.
STORAGE_FAULTS: Final = frozenset({errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE})
LIMITS_MET: Final = {
    errno.EFBIG: "output_limit",
    errno.EMFILE: "open_files_limit",
    errno.ENOMEM: "memory_limit",
}


def main(descriptor: int, entry: str) -> None:
    """Serve on this socket until it is closed at its other end."""
    confinement.die_with_parent(os.getppid())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for those who keep the record; they end us
    module, _, name = entry.partition(":")
    entered = import_module(module)
    work: Work = getattr(entered, name)
    if prepare := getattr(entered, "prepare", None):
        prepare()
    readable = confinement.Trees(_libraries(module))
    if missing := confinement.missing():
        print(f"this system cannot keep a child from {missing}: see docs/guarantees.md", file=sys.stderr, flush=True)
    wake = _wake_at_ends()
    with socket.socket(fileno=descriptor) as control:
        nursery = _Nursery(control, wake, work, readable)
        gc.collect()
        gc.freeze()  # what is there now is never collected, so that children share its pages
        nursery.fork_ahead()
        while (request := _receive(control)) is not None:
            line, theirs = request
            if theirs is not None:
                answer = _serve(control, wake, line, theirs, nursery)
                control.sendall(json.dumps(answer).encode() + b"\n")
            elif line.endswith(AHEAD):
                nursery.fork_ahead()
        nursery.close()


def _wake_at_ends() -> int:
    """A descriptor that can be read when a child has ended."""
    wake, waking = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(waking, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    return wake


def _libraries(module: str) -> list[Path]:
    """What a child may read besides its file: Python, its packages, the system's libraries, and our own code."""
    root = Path.cwd()  # its data may lie in it: only the packages of our own code are read
    code = [root / "apps", root / module.partition(".")[0]]
    code += [Path(entry) for entry in sys.path if entry and Path(entry) != root]
    python = {Path(sys.prefix), Path(sys.base_prefix), Path(os.__file__).parent}
    system = [Path("/usr"), Path("/lib"), Path("/lib64"), Path("/etc/ld.so.cache"), Path("/etc/localtime")]
    devices = [Path("/dev/urandom"), Path("/dev/null"), Path("/dev/zero"), Path("/sys/devices/system/cpu")]
    every = {path.resolve() for path in (*python, *code, *system, *devices) if path.exists()}
    return sorted(path for path in every if not any(parent in every for parent in path.parents))


def _receive(control: socket.socket) -> tuple[bytes, int | None] | None:
    """The last line that was said, and the descriptor of a child's socket where it is an order; None at the end."""
    data, descriptors, _, _ = socket.recv_fds(control, REQUEST_BYTES, 1)
    while data and not data.endswith(b"\n"):
        more = control.recv(REQUEST_BYTES)
        if not more:
            return None
        data += more
    if not data:
        return None
    # A `stop` before it came too late for the file before.
    return data.splitlines(keepends=True)[-1], descriptors[0] if descriptors else None


class _Nursery:
    """Where children are forked, one ahead of its file where there is time for that."""

    def __init__(self, control: socket.socket, wake: int, work: Work, readable: confinement.Trees) -> None:
        self._control = control
        self._wake = wake
        self._work = work
        self._readable = readable
        self._ahead: tuple[int, socket.socket] | None = None

    def fork_ahead(self) -> None:
        """Have a child that waits for its order."""
        if self._ahead is None:
            with contextlib.suppress(OSError):  # there are too many processes just now; a file will ask again
                self._ahead = self._fork()

    def close(self) -> None:
        """End the child that waits, if there is one."""
        if self._ahead is not None:
            (pid, orders), self._ahead = self._ahead, None
            orders.close()
            _kill(pid)
            os.waitpid(pid, 0)

    def put_to_work(self, line: bytes, theirs: int) -> int:
        """The process id of the child that was given this order."""
        if self._ahead is not None:
            pid, orders = self._ahead
            with contextlib.suppress(OSError):
                hand_over(orders, line, theirs)
                self._ahead = None
                orders.close()
                return pid
            self.close()  # it is dead already: whoever lacked memory took the first to go
        pid, orders = self._fork()
        with orders, contextlib.suppress(OSError):  # how it ended is told in a moment
            hand_over(orders, line, theirs)
        return pid

    def _fork(self) -> tuple[int, socket.socket]:
        parent = os.getpid()
        orders, theirs = socket.socketpair()
        with theirs:
            try:
                pid = os.fork()
            except OSError:
                orders.close()
                raise
            if pid == 0:
                try:
                    for mine in (self._control, orders):
                        mine.close()
                    os.close(self._wake)
                    _child(parent, theirs, self._work, self._readable)
                finally:
                    os._exit(1)  # whatever it met, it never goes on as its parent
        with contextlib.suppress(OSError):  # the child does the same: whoever is first
            os.setpgid(pid, pid)
        return pid, orders


def hand_over(orders: socket.socket, line: bytes, theirs: int) -> None:
    """Send an order, with the descriptor of its child's socket. Raises OSError when nobody takes it."""
    sent = socket.send_fds(orders, [line], [theirs])
    if sent < len(line):  # whoever has it all may have closed already, and even nothing would be too much then
        orders.sendall(line[sent:])


def _serve(control: socket.socket, wake: int, line: bytes, theirs: int, nursery: _Nursery) -> dict[str, Any]:
    """Have a child do the work, and say how it ended."""
    limits = Limits(**json.loads(line)["limits"])
    ends_at = time.monotonic() + limits.seconds
    pid = nursery.put_to_work(line, theirs)
    os.close(theirs)
    reason = ""
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            break
        if reason:
            time.sleep(LINGER_SECONDS)  # it is killed, and as good as gone
        else:
            reason = _await_end(control, wake, ends_at)
            if reason:
                _kill(pid)
    _kill(pid)  # what it may have left behind in its group
    unit = 1 if sys.platform == "darwin" else 1024
    return {"status": status, "reason": reason, "peak_bytes": usage.ru_maxrss * unit}


def _await_end(control: socket.socket, wake: int, ends_at: float) -> str:
    """Nothing when a child has ended; otherwise why it must: `timeout` or `unwanted`."""
    sockets: list[Any] = [wake, control]
    ready, _, _ = select.select(sockets, [], [], max(0.0, ends_at - time.monotonic()))
    if wake in ready:
        with contextlib.suppress(BlockingIOError):
            os.read(wake, 4096)
        return ""
    return "unwanted" if ready else "timeout"


def _kill(pid: int) -> None:
    """Kill the child's group: all that it may have forked is in it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


# --- in the child --------------------------------------------------------------------------------------------


class _Voice:
    """The child's way to speak: one JSON line each."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def say(self, **said: Any) -> None:
        """Say it; nobody listening any more ends the child."""
        # Whatever a library said, half a letter too, is written: a trace is worth more than its spelling.
        data = json.dumps(said, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        while data:
            data = data[os.write(self._descriptor, data) :]


def _child(parent: int, orders: socket.socket, work: Work, readable: confinement.Trees) -> None:
    """Be ready, wait for the order, work on its file within the limits, say how it went, and end."""
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    os.close(signal.set_wakeup_fd(-1))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _be_quiet()
    confinement.die_with_parent(parent)
    confinement.be_first_to_go()
    os.nice(NICE)
    cage = confinement.Cage(readable)
    ballast = mmap.mmap(-1, BALLAST_BYTES)  # taken, and not touched
    with orders:
        request = _receive(orders)
    if request is None or request[1] is None:
        return
    asked, voice = json.loads(request[0]), _Voice(request[1])
    limits, order = Limits(**asked["limits"]), asked["task"]
    try:
        voice.say(begun=True)
        paths = {"path": Path(order["path"]), "workdir": Path(order["workdir"])}
        task = Task(**{**order, **paths})
        confinement.limit(limits)  # first: once confined, it cannot change its limits
        cage.shut(file=task.path, writable=task.workdir)
        outcome = work(
            task,
            lambda detected: voice.say(found=asdict(detected)),
            lambda percent: voice.say(progress=percent),
            lambda verdict, seconds: voice.say(settled=_worded(verdict), seconds=seconds),
        )
        voice.say(**_worded(outcome))
    except ProcessingFailed as failure:
        voice.say(**_worded(failure))
    except MemoryError:
        ballast.close()
        voice.say(limit="memory_limit")
    except OSError as error:
        _say_fault(voice, error, order)
    except BaseException:
        voice.say(error=traceback.format_exc()[-TRACE_CHARACTERS:])
    os._exit(0)


def _worded(verdict: Outcome | ProcessingFailed) -> dict[str, Any]:
    """What becomes of the file, as it is said."""
    if isinstance(verdict, ProcessingFailed):
        return {"failed": {"code": verdict.code, "detail": verdict.detail}}
    derived = [{**asdict(item), "path": item.path.name} for item in verdict.derived]
    return {"done": {"result": verdict.result, "derived": derived}}


def _be_quiet() -> None:
    """What libraries print goes nowhere: a stranger's file is not to write lines into our log."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _say_fault(voice: _Voice, error: OSError, order: dict[str, Any]) -> None:
    about_ours = isinstance(error.filename, str | os.PathLike) and str(error.filename).startswith(
        (order["path"], order["workdir"])
    )
    if error.errno in LIMITS_MET:
        voice.say(limit=LIMITS_MET[error.errno])
    elif error.errno in STORAGE_FAULTS or about_ours:
        voice.say(fault={"errno": error.errno, "missing": str(error.filename) == order["path"]})
    else:
        voice.say(error=traceback.format_exc()[-TRACE_CHARACTERS:])


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
