"""What a child may not do, what becomes of one that tries, and that the next file is served all the same."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import orjson
import psutil
import pytest

from apps.processing import confinement, isolation
from apps.processing.confinement import Limits
from apps.processing.contract import Outcome, ProcessingFailed, Task
from apps.processing.detect import Detected
from apps.processing.isolation import ChildLost, FileGone, Isolation, Untrustworthy
from tests import samples

MIB = 1024 * 1024
LIMITS = Limits(seconds=20, cpu_seconds=10, memory_bytes=512 * MIB, output_bytes=4 * MIB)
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="this part of the confinement is Linux's")


class Listening:
    """A listener that remembers."""

    def __init__(self, beat_seconds: float = 0.05) -> None:
        self.beat_seconds = beat_seconds
        self.types: list[Detected] = []
        self.percents: list[int] = []
        self.beats = 0
        self.began = 0
        self.fault: Exception | None = None
        self.reported = threading.Event()

    def begun(self) -> None:
        self.began += 1

    def found(self, detected: Detected) -> None:
        self.types.append(detected)

    def report(self, percent: int) -> None:
        self.percents.append(percent)
        self.reported.set()

    def renew(self) -> None:
        self.beats += 1
        if self.fault is not None:
            raise self.fault


@pytest.fixture(scope="module")
def hostile() -> Iterator[Isolation]:
    """A sandbox whose children do what the task's name says."""
    isolation = Isolation("tests.unit.processing.hostile:work")
    yield isolation
    isolation.stop()


@pytest.fixture
def listening() -> Listening:
    """A listener of the test's own."""
    return Listening()


@pytest.fixture
def task(tmp_path: Path):
    """Makes tasks: a small file, and a directory to write into."""

    def make(name: str, argument: object = "", content: bytes = b"hello\n") -> Task:
        path, workdir = tmp_path / "blob", tmp_path / "blob.d"
        path.write_bytes(content)
        workdir.mkdir(exist_ok=True)
        return Task(path=path, size=len(content), name=name, sha256=str(argument), workdir=workdir)

    return make


@pytest.fixture(autouse=True)
def goes_on(hostile: Isolation, task) -> Iterator[None]:
    """After each test the sandbox serves the next file, has no child left, and is still the first one, or another."""
    yield
    outcome = hostile.process(task("well"), LIMITS, Listening())
    assert outcome.result == {"size": 6}
    assert psutil.Process(hostile.start()._process.pid).children() == []


def test_a_child_works_and_is_believed(hostile, task, listening, tmp_path):
    """Its progress, its result and what it made come back."""
    outcome = hostile.process(task("well"), LIMITS, listening)
    assert isinstance(outcome, Outcome)
    assert [(item.name, item.path.read_bytes()) for item in outcome.derived] == [("made", b"HELLO\n")]
    assert listening.percents == [50]


def test_the_real_work_tells_the_type_first(task, listening):
    """The service's own entry detects, says so, and processes."""
    isolation = Isolation()
    try:
        outcome = isolation.process(task("a.png", content=samples.jpeg()), LIMITS, listening)
        assert listening.types == [Detected(content_type="image/jpeg", kind="image")]
        assert {item.name for item in outcome.derived} >= {"thumbnail"}
        with pytest.raises(ProcessingFailed) as failure:
            isolation.process(task("a.png", content=samples.bomb_png()), LIMITS, listening)
        assert failure.value.code == "image_too_large"
    finally:
        isolation.stop()


def test_every_file_has_a_child_of_its_own(hostile, task, listening, monkeypatch):
    """A child serves one file, in a process group of its own, and knows nothing of our environment."""
    monkeypatch.setenv("SECRET_KEY", "not to be told")
    found = [hostile.process(task("pid"), LIMITS, listening).result for _ in range(3)]
    assert len({result["pid"] for result in found}) == 3
    assert all(result["group"] == result["pid"] != os.getpgrp() for result in found)
    assert not {"SECRET_KEY", "DATABASE_URL", "REDIS_URL"} & set(found[0]["environment"])


def children(isolation: Isolation) -> list[int]:
    """The process ids of the sandbox's children that live."""
    found = psutil.Process(isolation.start()._process.pid).children()
    return [each.pid for each in found if each.status() != psutil.STATUS_ZOMBIE]


def until(condition, seconds: float = 10.0) -> None:
    """Return once it is true."""
    ends_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends_at
        time.sleep(0.005)


def test_the_next_child_is_at_hand(hostile, task, listening):
    """It is forked while nothing is to be done, serves the next file, and is one at most."""
    hostile.process(task("pid"), LIMITS, listening)
    hostile.rest()
    hostile.rest()
    until(lambda: children(hostile))
    (ahead,) = children(hostile)
    assert hostile.process(task("pid"), LIMITS, listening).result["pid"] == ahead
    assert children(hostile) == []


def test_a_child_that_dies_before_its_file_is_not_missed(hostile, task, listening):
    """The kernel may take it when memory is over: the file gets another."""
    hostile.rest()
    until(lambda: children(hostile))
    (ahead,) = children(hostile)
    os.kill(ahead, signal.SIGKILL)
    until(lambda: not children(hostile))
    assert hostile.process(task("pid"), LIMITS, listening).result["pid"] != ahead


@pytest.mark.parametrize("hung", ["the child", "its sandbox"])
def test_what_hangs_before_it_has_the_file_is_lost(hostile, task, listening, monkeypatch, hung):
    """It cannot be the file's fault: nobody waits as long as a file may take, and another attempt is made."""
    hostile.process(task("pid"), LIMITS, listening)  # a sandbox that still imports may take longer
    monkeypatch.setattr(isolation, "BEGIN_SECONDS", 0.5)
    hostile.rest()
    until(lambda: children(hostile))
    sandbox = hostile.start()._process.pid
    os.kill(sandbox if hung == "its sandbox" else children(hostile)[0], signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(ChildLost):
        hostile.process(task("well"), LIMITS, listening)
    assert time.monotonic() - began < 10


def test_a_last_word_without_files_is_enough(hostile, task, listening):
    """Nobody waits for the child's end, and it comes at once."""
    began = time.monotonic()
    stayed = hostile.process(task("overstay"), LIMITS, listening).result["pid"]
    assert time.monotonic() - began < 5
    hostile.rest()
    until(lambda: not psutil.pid_exists(stayed))
    assert listening.began == 1


def test_what_the_listener_raises_at_the_beginning_ends_the_child(hostile, task, listening, monkeypatch):
    """It goes through, and the child is gone."""

    def begun() -> None:
        raise LookupError("the claim is lost")

    monkeypatch.setattr(listening, "begun", begun)
    with pytest.raises(LookupError):
        hostile.process(task("sleep"), LIMITS, listening)
    assert children(hostile) == []


def test_a_fault_of_the_file_is_its_failure(hostile, task, listening):
    """The code is the processor's, the detail is bounded."""
    with pytest.raises(ProcessingFailed) as failure:
        hostile.process(task("refuse"), LIMITS, listening)
    assert failure.value.code == "image_broken"
    assert len(failure.value.detail) == 500


@pytest.mark.parametrize("name", ["exit", "crash"])
def test_a_child_that_dies_is_lost(hostile, task, listening, name):
    """Whatever ended it: it may be another's fault, so that another attempt is made."""
    with pytest.raises(ChildLost):
        hostile.process(task(name), LIMITS, listening)


def test_a_child_that_is_killed_is_lost(hostile, task, listening):
    """As the kernel kills when the machine's memory is over."""

    def kill() -> None:
        assert listening.reported.wait(20)
        for child in psutil.Process(hostile.start()._process.pid).children():
            child.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(ChildLost):
        hostile.process(task("die"), LIMITS, listening)
    killer.join()


def test_a_lost_sandbox_is_a_lost_child(hostile, task, listening):
    """Its child goes with it, and the next file gets another sandbox."""

    def kill() -> None:
        assert listening.reported.wait(20)
        sandbox = psutil.Process(hostile.start()._process.pid)
        children = sandbox.children()
        sandbox.kill()
        psutil.wait_procs(children, timeout=10)
        gone.extend(child for child in children if not child.is_running())

    gone: list[psutil.Process] = []
    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(ChildLost):
        hostile.process(task("die"), LIMITS, listening)
    killer.join()
    assert len(gone) == 1


def test_an_error_nobody_foresaw_brings_its_traceback(hostile, task, listening):
    """For the log."""
    with pytest.raises(RuntimeError, match="ValueError: nobody foresaw this"):
        hostile.process(task("stumble"), LIMITS, listening)


@pytest.mark.parametrize("name", ["sleep", "stop", "spin"])
def test_time_is_bounded(hostile, task, listening, name):
    """One that sleeps, one that was stopped, and one that works for ever are ended by the clock."""
    limits = Limits(seconds=0.5, cpu_seconds=10, memory_bytes=512 * MIB, output_bytes=MIB)
    began = time.monotonic()
    with pytest.raises(ProcessingFailed) as failure:
        hostile.process(task(name), limits, listening)
    assert failure.value.code == "processing_timeout"
    assert "0.5 seconds" in failure.value.detail
    assert time.monotonic() - began < 5
    assert listening.beats >= 3


def test_cpu_time_is_bounded(hostile, task, listening):
    """One second of it, where the wall clock would allow twenty."""
    limits = Limits(seconds=20, cpu_seconds=1, memory_bytes=512 * MIB, output_bytes=MIB)
    with pytest.raises(ProcessingFailed) as failure:
        hostile.process(task("spin"), limits, listening)
    assert failure.value.code == "processing_timeout"


@linux_only
@pytest.mark.parametrize("name", ["grow", "abort"])
def test_memory_is_bounded(hostile, task, listening, name):
    """Python says so itself; a library that aborts is told by what it had taken."""
    limits = Limits(seconds=20, cpu_seconds=10, memory_bytes=320 * MIB, output_bytes=MIB)
    with pytest.raises(ProcessingFailed) as failure:
        hostile.process(task(name), limits, listening)
    assert failure.value.code == "memory_limit"


def test_a_step_that_overstays_leaves_what_was_settled_for(hostile, task, listening):
    """The last word of it, with its files, long before the time of the whole is over; a failure is one, too."""
    began = time.monotonic()
    outcome = hostile.process(task("settle", "overstay"), LIMITS, listening)
    assert outcome.result == {"words": "some"}
    assert [item.path.read_text() for item in outcome.derived] == ["some"]
    with pytest.raises(ProcessingFailed) as failure:
        hostile.process(task("settle", "overstay without an outcome"), LIMITS, listening)
    assert failure.value.code == "document_too_large"
    assert time.monotonic() - began < 10


@linux_only
@pytest.mark.parametrize("how", ["grow", "abort", "spin"])
def test_a_step_that_takes_too_much_leaves_what_was_settled_for(hostile, task, listening, how):
    """Memory, whether Python or a library says so, and the CPU's time."""
    limits = Limits(seconds=20, cpu_seconds=1, memory_bytes=320 * MIB, output_bytes=MIB)
    assert hostile.process(task("settle", how), limits, listening).result == {"words": "some"}


def test_what_was_settled_for_is_not_heard_of_when_there_is_a_last_word(hostile, task, listening):
    """An outcome, a refusal, an error of ours."""
    assert hostile.process(task("settle", "end"), LIMITS, listening).result == {"words": "all"}
    with pytest.raises(ProcessingFailed, match="image_broken"):
        hostile.process(task("settle", "refuse"), LIMITS, listening)
    with pytest.raises(RuntimeError, match="nobody foresaw this"):
        hostile.process(task("settle", "stumble"), LIMITS, listening)


@pytest.mark.parametrize("how", ["lose", "0", "-1", "nan", "inf", "1e9"])
def test_what_is_settled_for_is_checked_as_all_else(hostile, task, listening, how):
    """A file that is not there any more when it is to count, and times that are none."""
    with pytest.raises(Untrustworthy):
        hostile.process(task("settle", how), LIMITS, listening)


@pytest.mark.parametrize(("name", "code"), [("fill", "output_limit"), ("hoard", "open_files_limit")])
def test_output_and_open_files_are_bounded(hostile, task, listening, name, code):
    """What a child writes, and how many files it opens."""
    with pytest.raises(ProcessingFailed) as failure:
        hostile.process(task(name), LIMITS, listening)
    assert failure.value.code == code


@linux_only
def test_a_child_has_no_network(hostile, task, listening):
    """It cannot call even this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        with pytest.raises(RuntimeError, match="PermissionError"):
            hostile.process(task("call", server.getsockname()[1]), LIMITS, listening)
        with pytest.raises(TimeoutError):
            server.accept()


@linux_only
def test_a_child_sees_no_other_file(hostile, task, listening, tmp_path):
    """Not the next file, not the secret key, not what its processes' memory holds."""
    other = tmp_path / "other"
    other.write_text("someone else's")
    for path in (other, Path("/etc/passwd"), Path("/proc/self/environ"), Path.home()):
        with pytest.raises(RuntimeError, match="PermissionError"):
            hostile.process(task("look", path), LIMITS, listening)


@linux_only
def test_a_child_writes_nowhere_else(hostile, task, listening, tmp_path):
    """Not beside its directory, not over its own file, not into the temporary directory."""
    for path in (tmp_path / "beside", Path("/tmp/filewire-was-here"), Path("/usr/lib/python3-was-here")):
        with pytest.raises(RuntimeError, match="PermissionError"):
            hostile.process(task("write", path), LIMITS, listening)
        assert not path.exists()
    with pytest.raises(PermissionError):  # its own bytes: the storage's fault, as far as anyone can tell
        hostile.process(task("write", tmp_path / "blob"), LIMITS, listening)


@linux_only
@pytest.mark.parametrize("name", ["run", "kill", "loosen", "leave"])
def test_a_child_starts_and_ends_nobody(hostile, task, listening, name):
    """No other program, no signal to us, no higher limit."""
    with pytest.raises(RuntimeError, match=r"PermissionError|not permitted|ValueError"):
        hostile.process(task(name, os.getpid()), LIMITS, listening)


@linux_only
def test_a_kernel_that_has_landlock_and_refuses_it_gets_no_file_opened():
    """It may lack memory for it: then there is no child, and not one that reads what it likes."""
    libc = Mock()
    libc.syscall.side_effect = [3, -1]  # the version, then no rules
    with pytest.raises(RuntimeError, match="Landlock"):
        confinement._ruleset(libc, confinement.Trees([]))


def test_what_a_child_leaves_behind_is_ended(hostile, task, listening):
    """A process that it forked goes with it."""
    left = hostile.process(task("linger"), LIMITS, listening).result["left"]
    ends_at = time.monotonic() + 10
    while psutil.pid_exists(left) and psutil.Process(left).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < ends_at


def test_a_child_cannot_give_out_anothers_file(hostile, task, listening):
    """A link in place of a file is not taken, where it can be made at all."""
    with pytest.raises((Untrustworthy, RuntimeError), match=r"PermissionError|a file that is none"):
        hostile.process(task("link"), LIMITS, listening)


@pytest.mark.parametrize("name", ["shout", "lie", "babble", "exaggerate", "dig", "swap", "twice", "point"])
def test_a_child_is_not_believed_blindly(hostile, task, listening, name):
    """Too much, no JSON, a second last word, a file that is not where it may be: not taken."""
    with pytest.raises(Untrustworthy):
        hostile.process(task(name), LIMITS, listening)


def test_what_was_settled_for_is_looked_at_when_nobody_can_change_it(hostile, task, listening):
    """A child that says that its memory is over, and lives, is ended first."""
    outcome = hostile.process(task("run_out"), LIMITS, listening)
    assert outcome.derived[0].path.read_text() == "words"
    assert children(hostile) == []


def test_words_that_no_database_takes_are_told_without_them(hostile, task, listening):
    """NUL, and half a letter."""
    with pytest.raises(ProcessingFailed) as failure:
        hostile.process(task("stutter"), LIMITS, listening)
    assert failure.value.detail == "half a ? letter, and  nothing"


def test_what_is_believed_can_be_sent(hostile, task, listening):
    """A number of more than 64 bits is what it is to most readers of JSON."""
    assert orjson.dumps(hostile.process(task("count_on"), LIMITS, listening).result) == b'{"count":1e+30}'


def test_bytes_that_are_gone_are_told_from_a_storage_that_is_away(hostile, task, listening):
    """The file itself missing is one thing, its directory missing another."""
    gone = task("well")
    gone.path.unlink()
    with pytest.raises(FileGone):
        hostile.process(gone, LIMITS, listening)
    homeless = task("well")
    homeless.workdir.rmdir()
    with pytest.raises(OSError, match="No such file") as fault:
        hostile.process(homeless, LIMITS, listening)
    assert not isinstance(fault.value, FileGone)


def test_a_listener_that_has_lost_its_claim_ends_the_child(hostile, task, listening):
    """What it raises goes through, at once, and the child is gone."""
    listening.fault = LookupError("the claim is lost")
    began = time.monotonic()
    with pytest.raises(LookupError):
        hostile.process(task("sleep"), LIMITS, listening)
    assert time.monotonic() - began < 2


def test_a_stopped_sandbox_does_not_stop_us(hostile, task, listening):
    """One that hangs is ended with its child, and the next file gets another."""
    limits = Limits(seconds=-4.5, cpu_seconds=10, memory_bytes=512 * MIB, output_bytes=MIB)
    os.kill(hostile.start()._process.pid, signal.SIGSTOP)
    with pytest.raises(ChildLost):  # its child never had the file
        hostile.process(task("sleep"), limits, listening)
