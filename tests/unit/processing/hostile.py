"""What files could make a processor do: each function is the work of one child, chosen by the task's name."""

import ctypes
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from apps.processing.contract import Derived, Outcome, ProcessingFailed
from apps.processing.processors.document import pdf
from apps.processing.work import work as real_work

SECRET = Path(__file__)


def work(task, found, report, settle) -> Outcome:
    """Do what the task's name says."""
    if task.name.startswith("settle"):
        return globals()[f"do_{task.name}"](task, settle)
    return globals()[f"do_{task.name}"](task, found, report)


def hurried(task, found, report, settle) -> Outcome:
    """The real work, where a step of PDFium may take as many seconds as the file is called."""
    pdf.STEP_SECONDS = float(task.name)
    return real_work(task, found, report, settle)


def do_well(task, found, report) -> Outcome:
    report(50)
    made = task.workdir / "made.txt"
    made.write_bytes(task.path.read_bytes().upper())
    return Outcome(result={"size": task.size}, derived=(Derived(name="made", path=made, content_type="text/plain"),))


def do_wait(task, found, report) -> Outcome:
    """Until someone lays `go` into the directory."""
    report(1)
    while not (task.workdir / "go").exists():
        time.sleep(0.005)
    return Outcome(result={})


def do_pid(task, found, report) -> Outcome:
    return Outcome(result={"pid": os.getpid(), "group": os.getpgrp(), "environment": sorted(os.environ)})


def do_refuse(task, found, report) -> Outcome:
    raise ProcessingFailed("image_broken", "It is " + "very " * 1000 + "broken.")


def do_stumble(task, found, report) -> Outcome:
    raise ValueError("nobody foresaw this")


def do_exit(task, found, report) -> Outcome:
    os._exit(3)


def do_crash(task, found, report) -> Outcome:
    ctypes.string_at(0)
    raise AssertionError


def do_die(task, found, report) -> Outcome:
    """As the kernel does when the machine's memory is over: not a limit of ours."""
    report(1)
    time.sleep(3600)
    raise AssertionError


def do_sleep(task, found, report) -> Outcome:
    time.sleep(3600)
    raise AssertionError


def do_stop(task, found, report) -> Outcome:
    signal.raise_signal(signal.SIGSTOP)
    raise AssertionError


def do_spin(task, found, report) -> Outcome:
    while True:
        pass


def do_grow(task, found, report) -> Outcome:
    kept = []
    while True:
        kept.append(bytearray(10 * 1024 * 1024))


def do_abort(task, found, report) -> Outcome:
    """As a C++ library does that gets no memory."""
    kept = bytearray(200 * 1024 * 1024)
    kept[::4096] = b"x" * len(kept[::4096])
    os.abort()


def do_fill(task, found, report) -> Outcome:
    with (task.workdir / "large").open("wb") as file:
        while True:
            file.write(bytes(1024 * 1024))


def do_hoard(task, found, report) -> Outcome:
    kept = []
    while True:
        kept.append(task.path.open("rb"))


def do_call(task, found, report) -> Outcome:
    socket.create_connection(("127.0.0.1", int(task.sha256)))
    raise AssertionError("it has called")


def do_look(task, found, report) -> Outcome:
    (Path(task.sha256)).read_bytes()
    raise AssertionError("it has seen")


def do_write(task, found, report) -> Outcome:
    Path(task.sha256).write_text("it was here")
    raise AssertionError("it has written")


def do_run(task, found, report) -> Outcome:
    subprocess.run(["/bin/true"], check=True)
    raise AssertionError("it has run")


def do_kill(task, found, report) -> Outcome:
    os.kill(int(task.sha256), signal.SIGKILL)
    raise AssertionError("it has killed")


def do_loosen(task, found, report) -> Outcome:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    raise AssertionError("it has loosened its limits")


def do_shout(task, found, report) -> Outcome:
    while True:
        report(1)


def do_linger(task, found, report) -> Outcome:
    """Leave a process behind that holds everything open."""
    left = os.fork()
    if left == 0:
        time.sleep(3600)
    return Outcome(result={"left": left})


def do_overstay(task, found, report) -> Outcome:
    """Say the last word, and stay."""
    os.write(_voice(), b'{"done": {"result": {"pid": %d}, "derived": []}}\n' % os.getpid())
    time.sleep(3600)
    raise AssertionError


def do_run_out(task, found, report) -> Outcome:
    """Say what stands, with a file, say that memory is over, and swap the file while the words are believed."""
    made = task.workdir / "so_far.txt"
    made.write_text("words")
    settled = b'{"settled": {"done": {"result": {}, "derived": [{"name": "so_far", "path": "so_far.txt", '
    settled += b'"content_type": "text/plain"}]}}, "seconds": 30}\n'
    os.write(_voice(), settled + b'{"limit": "memory_limit"}\n')
    time.sleep(0.2)
    made.write_text("other words")
    time.sleep(3600)
    raise AssertionError


def do_swap(task, found, report) -> Outcome:
    """Make a file, say so, and have a directory there at the end."""
    made = task.workdir / "made"
    made.write_text("made")
    said = b'{"done": {"result": {}, "derived": [{"name": "made", "path": "made", "content_type": "text/plain"}]}}\n'
    os.write(_voice(), said)
    time.sleep(0.2)
    made.unlink()
    made.mkdir()
    os._exit(0)


def do_dig(task, found, report) -> Outcome:
    """A result deeper than it can be written."""
    os.write(_voice(), b'{"done": {"result": {"a": %s1%s}, "derived": []}}\n' % (b"[" * 300, b"]" * 300))
    time.sleep(3600)
    raise AssertionError


def do_leave(task, found, report) -> Outcome:
    """Its group, so as not to be killed with it."""
    os.setpgid(0, os.getpgid(os.getppid()))
    raise AssertionError("it has left")


def do_stutter(task, found, report) -> Outcome:
    raise ProcessingFailed("image_broken", "half a \ud83d letter, and \0 nothing")


def do_link(task, found, report) -> Outcome:
    made = task.workdir / "link"
    made.symlink_to(SECRET)
    return Outcome(result={}, derived=(Derived(name="made", path=made, content_type="text/plain"),))


def do_point(task, found, report) -> Outcome:
    return Outcome(result={}, derived=(Derived(name="made", path=task.path, content_type="text/plain"),))


def do_lie(task, found, report) -> Outcome:
    os.write(_voice(), b'{"done": "everything"}\n')
    raise AssertionError


def do_exaggerate(task, found, report) -> Outcome:
    """Numbers that no database keeps."""
    os.write(_voice(), b'{"done": {"result": {"%s": 1e999}, "derived": []}}\n')
    raise AssertionError


def do_count_on(task, found, report) -> Outcome:
    """An integer that JSON has, and orjson does not write."""
    return Outcome(result={"count": 10**30})


def do_babble(task, found, report) -> Outcome:
    os.write(_voice(), b"\xff\xfe not JSON\n")
    raise AssertionError


def do_twice(task, found, report) -> Outcome:
    os.write(_voice(), b'{"failed": {"code": "image_broken", "detail": ""}}\n' * 2)
    os._exit(0)


def _voice() -> int:
    """The descriptor that the child speaks on: the only socket it has."""
    for descriptor in range(3, 64):
        try:
            with socket.socket(fileno=os.dup(descriptor)):
                return descriptor
        except OSError:
            continue
    raise AssertionError("there is no voice")


def _settled(task, words: str) -> Outcome:
    made = task.workdir / "so_far.txt"
    made.write_text(words)
    return Outcome(result={"words": words}, derived=(Derived(name="so_far", path=made, content_type="text/plain"),))


def do_settle(task, settle) -> Outcome:
    """And overstay, be it after a second word, or end by the memory that it takes."""
    settle(ProcessingFailed("document_too_large"), 30)
    match task.sha256:
        case "overstay":
            settle(_settled(task, "some"), 0.2)
            time.sleep(3600)
        case "overstay without an outcome":
            settle(ProcessingFailed("document_too_large"), 0.2)
            time.sleep(3600)
        case "grow" | "abort" | "spin" | "refuse" | "stumble" | "die" as how:
            settle(_settled(task, "some"), 30)
            return globals()[f"do_{how}"](task, None, lambda percent: None)
        case "end":
            settle(_settled(task, "some"), 0.2)
            return _settled(task, "all")
        case "lose":
            settle(outcome := _settled(task, "some"), 0.2)
            outcome.derived[0].path.unlink()
            time.sleep(3600)
        case seconds:
            settle(_settled(task, "some"), float(seconds))
    raise AssertionError
