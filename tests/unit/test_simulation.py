"""The simulation against the queues whose answer is known."""

import math
import random
import statistics

import pytest

from project.capacity.queueing import Queue
from tests.load.simulate import NEAR, Measured, Sent, compared
from tests.load.simulation import Arrival, Shape, bursts, formula, poisson, run
from tests.load.stand import Life, gaps

FILES = 60_000
BATCHES = 30


def batch_error(values):
    """The standard error of the mean of values that depend on their neighbours: by the means of batches."""
    size = len(values) // BATCHES
    means = [statistics.fmean(values[start : start + size]) for start in range(0, BATCHES * size, size)]
    return statistics.stdev(means) / math.sqrt(BATCHES)


@pytest.mark.parametrize(("workers", "utilisation"), [(1, 0.6), (2, 0.7), (5, 0.7)])
def test_exponential_times_wait_as_erlang_says(workers, utilisation):
    """M/M/c: the mean wait, the share that waits and the 95th percentile are the formula's.

    The tolerance of the mean is four standard errors, estimated from the run itself by batch means: with thirty batches
    a correct simulation is outside with fewer than one seed in a thousand. The error itself is bounded, so that a queue
    with a worker too many, or with constant service, is outside.
    """
    chance = random.Random(7)
    arrivals = list(poisson(workers * utilisation, FILES, chance, lambda: chance.expovariate(1.0)))
    course = run(arrivals, Shape(workers=workers))
    waits = course.waits()[FILES // 20 :]  # the queue begins empty
    queue = Queue(servers=workers, arrivals_per_second=workers * utilisation, service_seconds=1)
    error = batch_error(waits)
    assert error < 0.07 * queue.mean_wait_seconds
    assert abs(statistics.fmean(waits) - queue.mean_wait_seconds) < 4 * error
    assert sum(wait > 0 for wait in waits) / len(waits) == pytest.approx(queue.waiting_probability, abs=0.03)
    assert sorted(waits)[int(0.95 * len(waits))] == pytest.approx(queue.wait_seconds(0.95), rel=0.12)
    assert course.worked_seconds / workers / course.seconds == pytest.approx(utilisation, rel=0.03)


def test_constant_times_wait_half_as_long():
    """M/D/1: half of M/M/1, by Pollaczek and Khinchine; and `formula` sees it in the arrivals."""
    chance = random.Random(8)
    arrivals = list(poisson(0.8, FILES, chance, lambda: 1.0))
    waits = run(arrivals, Shape(workers=1)).waits()
    assert abs(statistics.fmean(waits) - 2.0) < 4 * batch_error(waits)
    assert formula(arrivals, Shape(workers=1)).mean_wait_seconds == pytest.approx(2.0, rel=0.1)


def test_bursts_wait_longer_at_the_same_rate():
    """The same files at the same mean rate, eight at once: they wait for each other at least."""
    chance = random.Random(9)
    smooth = run(list(poisson(4, 8000, chance, lambda: 0.1)), Shape(workers=1)).waits()
    rough = run(list(bursts(4, 8000, 8, chance, lambda: 0.1)), Shape(workers=1)).waits()
    assert statistics.fmean(rough) > 0.35  # of eight, the mean one has three and a half before it
    assert statistics.fmean(smooth) < 0.1


def test_one_file_passes_every_step():
    """Alone, a file takes the sum of its steps, and its worker is away a little longer."""
    shape = Shape(
        workers=1,
        web_seconds=0.01,
        passing_seconds=0.02,
        message_seconds=0.03,
        between_seconds=0.5,
    )
    course = run([Arrival(at=1.0, seconds=2.0), Arrival(at=1.0, seconds=2.0)], shape)
    first, second = course.passages
    assert first.uploaded_at == pytest.approx(1.01)
    assert first.claimed_at == pytest.approx(1.06)
    assert first.done_at == pytest.approx(3.06)
    assert second.claimed_at == pytest.approx(3.56)
    assert course.throughput == pytest.approx(2 / 4.56)
    assert course.worked_seconds == pytest.approx(5.0)


def test_a_dispatcher_that_is_too_slow_is_what_files_wait_for():
    """However many workers there are, one dispatcher sends one file after the other."""
    arrivals = [Arrival(at=0.0, seconds=0.01) for _ in range(100)]
    one = run(arrivals, Shape(workers=100, message_seconds=0.1))
    four = run(arrivals, Shape(workers=100, message_seconds=0.1, dispatchers=4))
    assert one.seconds == pytest.approx(10.01)
    assert four.seconds == pytest.approx(2.51)


def test_the_same_seed_is_the_same_course():
    """A run can be run again."""

    def course():
        chance = random.Random(3)
        return run(list(poisson(2, 500, chance, lambda: chance.expovariate(3))), Shape(workers=1)).waits()

    assert course() == course()


# --- what holds it to the real service -----------------------------------------------------------------------


def as_measured(arrivals, shape, slower=1.0):
    """The course of a simulation as a run of the real service would tell it, its waits so much longer."""
    course = run(arrivals, shape)
    sent = []
    for number, passage in enumerate(course.passages):
        wait = (passage.claimed_at - passage.uploaded_at) * slower
        claimed_at = passage.uploaded_at + wait
        life = Life(
            uploaded_at=passage.uploaded_at,
            claimed_at=claimed_at,
            done_at=claimed_at + passage.done_at - passage.claimed_at,
        )
        sent.append(Sent(title=f"sort {number % 3}", sent_at=passage.sent_at, life=life))
    return Measured(label="a run", sent=sent, shape=shape)


def test_a_simulation_that_differs_by_more_than_a_quarter_fails():
    """What the simulation itself has made holds; waits half as long again do not."""
    chance = random.Random(11)
    durations = [0.05, 0.1, 0.3]
    arrivals = [
        Arrival(at=arrival.at, seconds=durations[number % 3] * chance.uniform(0.9, 1.1))
        for number, arrival in enumerate(poisson(4.5, 400, chance, float))
    ]
    shape = Shape(workers=1, web_seconds=0.002, passing_seconds=0.01, message_seconds=0.001, between_seconds=0.004)
    lines, holds = compared([as_measured(arrivals, shape)], random.Random(1))
    assert holds
    assert sum(line.startswith("| a run | 400 |") for line in lines) == 4
    _, holds = compared([as_measured(arrivals, shape, slower=1.5)], random.Random(1))
    assert not holds


def test_a_file_gets_the_durations_of_its_sort_from_about_its_time():
    """Of each file's sort the nearest, its own among them; never another sort's."""
    sent = [
        Sent(title="ab"[number % 2], sent_at=number, life=Life(claimed_at=0.0, done_at=float(number)))
        for number in range(40)
    ]
    likely = Measured(label="", sent=sent, shape=Shape(workers=1)).likely()
    for number, near in enumerate(likely):
        assert float(number) in near
        assert len(near) == NEAR
        assert all(value % 2 == number % 2 and abs(value - number) <= 2 * NEAR for value in near)


def test_a_gap_counts_only_where_a_file_was_waiting():
    """From an outcome to the next claim, when that file had long been there; an idle worker is no gap."""
    first = Life(uploaded_at=0.0, claimed_at=0.1, done_at=1.0)
    waiting = Life(uploaded_at=0.2, claimed_at=1.02, done_at=2.0)
    late = Life(uploaded_at=5.0, claimed_at=5.01, done_at=6.0)
    assert gaps([first, waiting, late]) == [pytest.approx(0.02)]


def test_each_claim_follows_one_end():
    """Two workers that end almost at once: each has its own next claim, and the gaps add up."""
    chance = random.Random(13)
    arrivals = [Arrival(at=0.0, seconds=chance.uniform(0.2, 0.4)) for _ in range(50)]
    course = run(arrivals, Shape(workers=2, between_seconds=0.03))
    lives = [Life(uploaded_at=-1.0, claimed_at=each.claimed_at, done_at=each.done_at) for each in course.passages]
    found = gaps(lives)
    assert len(found) == 48  # of fifty, but the first of each worker
    assert statistics.fmean(found) == pytest.approx(0.03)
