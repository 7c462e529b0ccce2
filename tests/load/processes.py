"""Processes under load: where they are pinned, and what they take of cores, memory and disk. Linux tells (`/proc`)."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent.parent
SERVER_CORE, OTHER_CORE = 0, 1
MIB = 1024 * 1024


def pinned(core: int, command: Sequence[str]) -> list[str]:
    """The command on one core, where there is a choice."""
    choice = (os.cpu_count() or 1) > 1 and shutil.which("taskset")
    return ["taskset", "-c", str(core), *command] if choice else list(command)


@contextlib.contextmanager
def running(
    command: Sequence[str], environment: dict[str, str], log: Path, *, stdin: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The command, for as long as the block; what it says goes to the log. With a stdin, its stdout is a pipe too."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=stdin,
            stdout=subprocess.PIPE if stdin is not None else output,
            stderr=output,
        )
        try:
            yield process
        finally:
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()


class Tree:
    """A process with all it started."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.root = psutil.Process(process.pid)

    def each(self) -> list[psutil.Process]:
        """The processes there are now."""
        return [self.root, *self.root.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """What they have spent so far, those that have ended included."""
        return sum(sum(times) for times in self._ask(lambda one: one.cpu_times()[:4]))

    def rss(self) -> int:
        """The memory they have now, in bytes."""
        return sum(self._ask(lambda one: one.memory_info().rss))

    def forget_peak(self) -> None:
        """Let the kernel begin anew with their highest memory."""
        for process in self.each():
            with contextlib.suppress(OSError):
                Path(f"/proc/{process.pid}/clear_refs").write_text("5")

    def peak_rss(self) -> int:
        """The highest memory of each since then, added up."""
        return sum(self._ask(lambda one: 1024 * _number(f"/proc/{one.pid}/status", "VmHWM:")))

    def written(self) -> int:
        """The bytes that they have had written to a disk."""
        return sum(self._ask(lambda one: _number(f"/proc/{one.pid}/io", "write_bytes:")))

    def _ask(self, question: Callable[[psutil.Process], object]) -> list:
        found = []
        for process in self.each():
            with contextlib.suppress(psutil.Error, OSError):
                found.append(question(process))
        return found


def _number(path: str, word: str) -> int:
    return next(int(line.split()[1]) for line in Path(path).read_text().splitlines() if line.startswith(word))


class Meter:
    """What a server, whoever generates its load, and both cores spent in a block, in per cent of a core.

    The generator is this process with the programs that it waited for.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.figures: dict[str, float] = {}

    def __enter__(self) -> "Meter":
        self._before = self._look()
        return self

    def __exit__(self, *error: object) -> None:
        after = self._look()
        spent = {name: value - self._before[name] for name, value in after.items()}
        elapsed = max(spent.pop("time"), 1e-6)
        self.figures = {name: 100 * value / elapsed for name, value in spent.items()}

    def _look(self) -> dict[str, float]:
        own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        cores = psutil.cpu_times(percpu=True)
        busy = [sum(core) - core.idle - core.iowait - core.guest - core.guest_nice for core in cores]
        return {
            "time": time.monotonic(),
            "cpu": self._tree.cpu_seconds(),
            "generator": sum(one.ru_utime + one.ru_stime for one in own),
            "core0": busy[SERVER_CORE],
            "core1": busy[OTHER_CORE] if len(busy) > 1 else busy[0],
        }


@contextlib.contextmanager
def sampled(seconds: float, look: Callable[[], tuple[float, ...]]) -> Iterator[list[tuple[float, ...]]]:
    """What `look` finds, with the second since the block began, this often for as long as the block."""
    found: list[tuple[float, ...]] = []
    over = threading.Event()
    began = time.monotonic()

    def run() -> None:
        while True:
            at = time.monotonic() - began
            found.append((at, *look()))
            if over.wait(max(0.0, at + seconds - (time.monotonic() - began))):
                return

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
