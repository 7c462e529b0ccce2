"""The roll of forked processes: who falls silent is found, who ends is struck off."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from project import pulse
from project.pulse import Roll
from tests.unit.events.feeding import until_now


@pytest.fixture
def roll(monkeypatch) -> Iterator[tuple[Roll, list[int]]]:
    """A roll, and two forked processes that answer on it."""
    monkeypatch.setattr(pulse, "BEAT_SECONDS", 0.01)
    roll, children = Roll(), []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            roll.answer_from_thread()
            time.sleep(60)
            os._exit(1)
        children.append(pid)
    yield roll, children
    for pid in children:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            continue


def looks(roll: Roll, times: int) -> list[int]:
    """Look so many times, with time to answer in between; who was silent for five at the end."""
    found: list[int] = []
    for _ in range(times):
        time.sleep(0.05)  # what is looked for is that nothing happens meanwhile
        found = roll.silent(5)
    return found


WATCHED = """
import time
from project import pulse
pulse.BEAT_SECONDS = 0.02
pulse.watch(0.2)
for _ in range(50):
    pulse.beat()
    time.sleep(0.01)
print("still there", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("supervised", [False, True])
def test_where_nobody_watches_a_process_that_hangs_ends_itself(supervised):
    """Not while it shows signs of life, and not where a supervisor counts them."""
    _, writing = os.pipe()
    environment = {**os.environ, pulse.VARIABLE: str(writing) if supervised else ""}
    command = [sys.executable, "-c", WATCHED]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, pass_fds=[writing]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"still there\n"
        if supervised:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1)
            process.kill()
        assert process.wait(10) == -signal.SIGKILL


def test_one_that_stands_still_is_found(roll):
    """And only that one; going on, it is there again."""
    roll, (stopped, other) = roll
    until_now(lambda: {stopped, other} <= set(roll._heard) or roll.silent(10**6))
    os.kill(stopped, signal.SIGSTOP)
    assert looks(roll, 8) == [stopped]
    os.kill(stopped, signal.SIGCONT)
    assert looks(roll, 8) == []


def test_one_that_has_ended_is_struck_off(roll):
    """It is no one's to kill, and its number may be given to another."""
    roll, (ended, other) = roll
    until_now(lambda: {ended, other} <= set(roll._heard) or roll.silent(10**6))
    os.kill(ended, signal.SIGKILL)
    assert looks(roll, 8) == []
    assert set(roll._heard) == {other}
    os.waitpid(ended, 0)  # nothing was taken from whoever waits for it
    roll.strike(other)
    assert other not in roll._heard
