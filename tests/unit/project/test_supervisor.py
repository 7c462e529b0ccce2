"""Children under a supervisor: real, tiny ones."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from project import pulse, supervisor
from project.pulse import Pulse
from project.supervisor import Child, Supervisor
from tests.unit.events.feeding import until_now

QUIET = "import time\ntime.sleep(3600)"
BEATING = "import time\nfrom project import pulse\nwhile True:\n pulse.beat(); time.sleep(0.02)"
FROM_A_THREAD = (
    "import time\nfrom project import pulse\npulse.BEAT_SECONDS = 0.02\npulse.beat_from_thread()\ntime.sleep(3600)"
)
BEATING_ELSEWHERE = (  # as on a system whose kernel does not tell of a parent's death
    "import sys, time\nfrom project import pulse\nsys.platform = sys.argv[1]\n"
    "while True:\n pulse.beat(); time.sleep(0.02)"
)
DEAF_ORPHAN = (
    "import signal, sys, time\nfrom project import pulse\npulse.ORPHAN_SECONDS = 0.3\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\npulse.beat_from_thread()\n"
    "import subprocess\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3600)'])\ntime.sleep(3600)"
)
SLOW_TO_STOP = (
    "import signal, sys, time\nfrom project import pulse\n"
    "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1.5), sys.exit()))\nprint('slow', flush=True)\n"
    "while True:\n time.sleep(0.02)"
)
STUBBORN = (
    "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\ntime.sleep(3600)"
)
WITH_CHILD = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3600)'])\n"
    "print(child.pid, flush=True)\ntime.sleep(3600)"
)


def child(code: str, **fields) -> Child:
    """A child that runs this Python."""
    return Child("drill", [sys.executable, "-c", code], grace_seconds=fields.pop("grace_seconds", 5), **fields)


@pytest.fixture(autouse=True)
def quick(monkeypatch, settings) -> None:
    """Ticks and limits of a test."""
    monkeypatch.setattr(supervisor, "TICK_SECONDS", 0.05)
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_SECONDS", 0.05)
    settings.FILEWIRE_HANG_SECONDS = 0.5


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """What the supervisor and its children have said."""
    lines: list[str] = []
    monkeypatch.setattr(supervisor, "say", lambda name, line: lines.append(line))
    return lines


@contextmanager
def supervised(*children: Child) -> Iterator[Supervisor]:
    """A supervisor that runs, in a thread, so that its signal handlers are not the tests'."""
    running = Supervisor(list(children))
    original = signal.signal
    thread = threading.Thread(target=running.run)
    supervisor.signal.signal = lambda *_: None
    try:
        thread.start()
        until_now(lambda: all(one.process for one in children))
        yield running
    finally:
        running.stop()
        thread.join(20)
        supervisor.signal.signal = original
    assert not any(one.is_running() for one in children)


def pid_of(one: Child) -> int:
    assert one.process is not None
    return one.process.pid


def test_a_child_that_dies_is_started_again(said):
    """After a short pause, and it says with what status it ended."""
    one = child(QUIET, pause_seconds=0.05)
    with supervised(one):
        first = pid_of(one)
        os.kill(first, signal.SIGKILL)
        until_now(lambda: pid_of(one) != first and one.is_running())
    assert any("ended with status -9" in line for line in said)


@pytest.mark.parametrize("code", [BEATING, FROM_A_THREAD])
def test_a_child_that_hangs_is_killed_and_started_again(said, code):
    """One that shows signs of life is left alone; one that stops doing so, as a stopped process does, is not."""
    one = child(code, pulsing=True, pause_seconds=0.05)
    with supervised(one):
        first = pid_of(one)
        until_now(lambda: one.pulse and one.pulse.began)
        assert pid_of(one) == first
        os.kill(first, signal.SIGSTOP)
        until_now(lambda: pid_of(one) != first and one.is_running())
        until_now(lambda: one.pulse and one.pulse.began)
    assert said.count("shows no sign of life and is killed") == 1


def test_a_child_that_never_shows_life_is_given_longer(said, monkeypatch):
    """It imports, it migrates; but not for ever."""
    monkeypatch.setattr(supervisor, "UNBORN_SECONDS", 1.5)
    one = child(QUIET, pulsing=True, pause_seconds=0.05)
    with supervised(one):
        first = pid_of(one)
        until_now(lambda: one.pulse and one.pulse.silent_ticks * 0.05 > 0.6)
        assert pid_of(one) == first
        until_now(lambda: pid_of(one) != first and one.is_running())


def test_a_child_without_a_pulse_is_never_taken_for_hung(said):
    """Valkey shows none."""
    one = child(QUIET)
    with supervised(one):
        first = pid_of(one)
        other = child(BEATING, pulsing=True)
        with supervised(other):
            until_now(lambda: other.pulse and other.pulse.began)
        assert pid_of(one) == first


def test_what_a_dead_child_started_does_not_outlive_it(said):
    """Its process group goes with it, before it is started again."""
    one = child(WITH_CHILD, pause_seconds=0.05)
    with supervised(one):
        until_now(lambda: said)
        orphan = psutil.Process(int(said[0]))
        os.kill(pid_of(one), signal.SIGKILL)
        psutil.wait_procs([orphan], timeout=10)
        assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE


def test_a_child_that_does_not_stop_is_killed(said):
    """After its grace."""
    one = child(STUBBORN, grace_seconds=0.3)
    with supervised(one):
        until_now(lambda: "deaf" in said)
    assert any("did not stop within 0.3 s" in line for line in said)


def test_who_waits_for_a_child_to_stop_shows_life(said, monkeypatch):
    """A supervisor under another one may take as long as its children's grace; it is not taken for hung."""
    watched = Pulse()
    monkeypatch.setenv(pulse.VARIABLE, str(watched.writing))
    one = child(SLOW_TO_STOP)
    one.start()
    silent = 0
    try:
        until_now(lambda: "slow" in said)
        stopping = threading.Thread(target=one.stop)
        stopping.start()
        while stopping.is_alive():
            stopping.join(0.2)
            watched.tick()
            silent = max(silent, watched.silent_ticks)
    finally:
        one.stop()
        watched.handed_over()
        watched.close()
    assert silent <= 2
    assert not any("did not stop" in line for line in said)


@pytest.mark.parametrize(("platform", "ends"), [("darwin", True), ("linux", False)])
def test_the_death_of_a_supervisor_is_told_by_the_pipe_where_the_kernel_does_not(platform: str, ends: bool):
    """Outside Linux a child that nobody listens to is told to stop; on Linux it would be told twice."""
    watched = Pulse()
    command = [sys.executable, "-c", BEATING_ELSEWHERE, platform]
    environment = {**os.environ, pulse.VARIABLE: str(watched.writing)}
    with subprocess.Popen(command, env=environment, pass_fds=[watched.writing]) as beating:
        try:
            watched.handed_over()
            until_now(lambda: (watched.tick(), watched.began)[1])
            watched.close()
            if ends:
                assert beating.wait(10) == -signal.SIGTERM
            else:
                with pytest.raises(subprocess.TimeoutExpired):
                    beating.wait(0.5)
        finally:
            beating.kill()


def test_an_orphan_that_does_not_stop_is_killed_with_all_it_started():
    """Nobody is left to do it but itself."""
    watched = Pulse()
    environment = {**os.environ, pulse.VARIABLE: str(watched.writing)}
    command = [sys.executable, "-c", DEAF_ORPHAN]
    with subprocess.Popen(command, env=environment, pass_fds=[watched.writing], start_new_session=True) as deaf:
        try:
            watched.handed_over()
            until_now(psutil.Process(deaf.pid).children)
            (started,) = psutil.Process(deaf.pid).children()
            watched.close()
            assert deaf.wait(10) == -signal.SIGKILL
            psutil.wait_procs([started], timeout=10)
            assert not started.is_running() or started.status() == psutil.STATUS_ZOMBIE
        finally:
            deaf.kill()


def test_children_are_kept_while_another_is_awaited(said):
    """One that dies before all are ready is started again: what is awaited may need it."""
    ready = threading.Event()
    first, second = child(QUIET, pause_seconds=0.05), child(QUIET, ready=ready.is_set)
    with supervised(first, second):
        pid = pid_of(first)
        os.kill(pid, signal.SIGKILL)
        until_now(lambda: pid_of(first) != pid and first.is_running())
        assert not ready.is_set()


def test_a_pause_of_everything_is_no_hang(said):
    """What counts are the supervisor's own ticks: where it was paused too, nobody was silent."""
    one = child(BEATING, pulsing=True)
    one.start()
    try:
        until_now(lambda: not one.hangs() and one.pulse.began)
        os.kill(pid_of(one), signal.SIGSTOP)
        for _ in range(9):  # not yet the half second of ticks, whatever the clock says
            assert not one.hangs()
        os.kill(pid_of(one), signal.SIGCONT)
        until_now(lambda: not one.hangs() and one.pulse.silent_ticks == 0)
    finally:
        one.stop()
