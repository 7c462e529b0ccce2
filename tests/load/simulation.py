"""The service as a discrete-event simulation: what its queues do at any size, in seconds of this machine.

Files arrive, are taken in by `web`, wait for the dispatcher, which sends what waits one by one, and then for one of the
workers, which each have one file at a time. Every duration is a measured one: the caller gives each file's own. What
is not simulated: retries, deaths, the database's and Redis' own queues (their time is part of the measured durations).
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy

from project.capacity.queueing import Queue


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A file that is sent: when, and how long a worker will be at it."""

    at: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What there is of the service, and what its steps take (seconds)."""

    workers: int
    webs: int = 1
    web_seconds: float = 0.0  # from the request to the moment that is `uploaded_at`
    passing_seconds: float = 0.0  # commit, wake and message: waits that nobody else waits behind
    dispatchers: int = 1
    message_seconds: float = 0.0  # of a dispatcher, for each file
    between_seconds: float = 0.0  # of a worker, from an outcome to its next claim


@dataclass(slots=True)
class Passage:
    """What became of a file (seconds of the simulated clock)."""

    sent_at: float
    uploaded_at: float = 0.0
    claimed_at: float = 0.0
    done_at: float = 0.0


@dataclass
class Course:
    """All files of a run, and how long workers and dispatchers were busy."""

    passages: list[Passage] = field(default_factory=list)
    worked_seconds: float = 0.0
    dispatched_seconds: float = 0.0

    def waits(self) -> list[float]:
        """From upload to claim, of each file in the order of sending."""
        return [each.claimed_at - each.uploaded_at for each in self.passages]

    def responses(self) -> list[float]:
        """From the request to the outcome."""
        return [each.done_at - each.sent_at for each in self.passages]

    @property
    def seconds(self) -> float:
        """From the first request to the last outcome."""
        return max(each.done_at for each in self.passages) - min(each.sent_at for each in self.passages)

    @property
    def throughput(self) -> float:
        """Outcomes a second."""
        return len(self.passages) / self.seconds


def poisson(rate: float, count: int, chance: random.Random, service: Callable[[], float]) -> Iterator[Arrival]:
    """Files that come independently of each other, so many a second on the mean."""
    at = 0.0
    for _ in range(count):
        at += chance.expovariate(rate)
        yield Arrival(at=at, seconds=service())


def bursts(
    rate: float, count: int, size: int, chance: random.Random, service: Callable[[], float]
) -> Iterator[Arrival]:
    """Files that come in bursts of so many at once, the bursts independently of each other; the same mean rate."""
    at = 0.0
    for number in range(count):
        if number % size == 0:
            at += chance.expovariate(rate / size)
        yield Arrival(at=at, seconds=service())


def run(arrivals: Sequence[Arrival], shape: Shape) -> Course:
    """The course of these files through this shape."""
    environment = simpy.Environment()
    webs = simpy.Resource(environment, shape.webs)
    workers = simpy.Resource(environment, shape.workers)
    dispatchers = simpy.Resource(environment, shape.dispatchers)
    course = Course()

    def life(arrival: Arrival, passage: Passage) -> Iterator[Any]:
        if shape.web_seconds:
            with webs.request() as turn:
                yield turn
                yield environment.timeout(shape.web_seconds)
        passage.uploaded_at = environment.now
        if shape.passing_seconds:
            yield environment.timeout(shape.passing_seconds)
        if shape.message_seconds:
            with dispatchers.request() as turn:
                yield turn
                yield environment.timeout(shape.message_seconds)
            course.dispatched_seconds += shape.message_seconds
        with workers.request() as turn:
            yield turn
            passage.claimed_at = environment.now
            yield environment.timeout(arrival.seconds)
            passage.done_at = environment.now
            if shape.between_seconds:
                yield environment.timeout(shape.between_seconds)
        course.worked_seconds += arrival.seconds + shape.between_seconds

    def source() -> Iterator[Any]:
        for arrival in arrivals:
            if arrival.at > environment.now:
                yield environment.timeout(arrival.at - environment.now)
            passage = Passage(sent_at=environment.now)
            course.passages.append(passage)
            environment.process(life(arrival, passage))

    environment.process(source())
    environment.run()
    return course


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def formula(arrivals: Sequence[Arrival], shape: Shape) -> Queue:
    """The workers' queue as the formula sees it: the same rate, mean and variability."""
    services = [each.seconds + shape.between_seconds for each in arrivals]
    mean = sum(services) / len(services)
    variance = sum((each - mean) ** 2 for each in services) / len(services)
    rate = (len(arrivals) - 1) / (arrivals[-1].at - arrivals[0].at)
    return Queue(servers=shape.workers, arrivals_per_second=rate, service_seconds=mean, service_scv=variance / mean**2)
