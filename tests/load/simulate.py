"""`make simulate`: the real service beside its simulation, then the simulation where no real one can be had.

The real processes run on this machine under an open load: files are sent at moments drawn beforehand, however long
the service takes. The simulation gets the same moments, the same files in the same order, and the durations that were
measured in that run; it is run many times over, each file with a duration of its sort from about that time. The exit
status is 1 when mean wait, mean response or throughput differ by more than a quarter.

Then a thousand workers: minutes of their load, simulated in seconds, beside the formula of `project.capacity`.
`--write` puts the tables into docs/capacity.md.
"""

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tests.load import material, quoted
from tests.load.costs import ids_of, machine, paced, send
from tests.load.sender import Connection
from tests.load.simulation import Arrival, Course, Shape, bursts, formula, percentile, poisson, run
from tests.load.stand import Life, Stand, gaps, stand

MIX = {"photo-2mp.jpg": 3, "letter.docx": 3, "letter-2.pdf": 1, "note-2kib.txt": 2, "table-100.csv": 2, "icon.png": 1}
TOLERANCE = 0.25
REPLICATIONS = 40
NEAR = 5  # files of a sort, whose durations one of them may have in a replication
ALONE = 24  # files that are sent one after the other, to see what passing takes
MESSAGES = 400  # that wait for the dispatcher, to see its pace
SATURATING = 60  # files that are sent at once, to see what a file takes of a worker that never rests
BURST = 8
MANY = 1000
MANY_FILES = 200_000
WARM = 0.2  # of the files of the long runs, left out of the figures: the queue begins empty


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A file of a real run: what it was, when it was sent, and what became of it."""

    title: str
    sent_at: float
    life: Life


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A real run: its files in the order of sending, and what the simulation needs to know beside."""

    label: str
    sent: Sequence[Sent]
    shape: Shape

    def durations(self) -> dict[str, list[float]]:
        """From claim to outcome, by sort."""
        found: dict[str, list[float]] = {}
        for each in self.sent:
            found.setdefault(each.title, []).append(each.life.done_at - each.life.claimed_at)
        return found

    def likely(self) -> list[list[float]]:
        """For each file the durations of its own and the nearest ones of its sort, in the order of sending.

        Near, because a machine is slower at one time than at another, and what follows each other then is alike.
        """
        by_title = self.durations()
        at: dict[str, int] = dict.fromkeys(by_title, 0)
        found = []
        for each in self.sent:
            place, durations = at[each.title], by_title[each.title]
            start = max(0, min(place - NEAR // 2, len(durations) - NEAR))
            found.append(durations[start : start + NEAR])
            at[each.title] = place + 1
        return found

    def figures(self) -> dict[str, float]:
        """Mean wait, mean response, throughput."""
        last = max(each.life.done_at for each in self.sent)
        return {
            "mean wait ms": 1000 * statistics.fmean(each.life.claimed_at - each.life.uploaded_at for each in self.sent),
            "mean response ms": 1000 * statistics.fmean(each.life.done_at - each.sent_at for each in self.sent),
            "throughput /s": len(self.sent) / (last - self.sent[0].sent_at),
            "p95 wait ms": 1000
            * percentile([each.life.claimed_at - each.life.uploaded_at for each in self.sent], 0.95),
        }

    @property
    def utilisation(self) -> float:
        """How busy the workers were."""
        busy = sum(each.life.done_at - each.life.claimed_at + self.shape.between_seconds for each in self.sent)
        return busy / self.shape.workers / (max(each.life.done_at for each in self.sent) - self.sent[0].sent_at)


HELD = ("mean wait ms", "mean response ms", "throughput /s")


def main() -> None:
    """Measure, simulate, compare; the exit status says whether the simulation holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=45.0, help="of each real run")
    parser.add_argument("--utilisation", type=float, default=0.65, help="at which the real workers are to run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/capacity.md")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    runs: list[Measured] = []
    with stand() as running:
        running.serve()
        send(running, "warm.txt", b"for the dispatcher", MESSAGES)
        pace = paced(running)
        running.listen()
        for workers in (1, 2):
            running.work(workers)
            shape, occupied = calibrated(running, workers, pace.seconds / pace.sent, chance)
            rate = options.utilisation * workers / occupied
            count = max(30, round(rate * options.seconds))
            plans = {"Poisson": poisson(rate, count, chance, float)}
            if workers == 2:
                plans[f"bursts of {BURST}"] = bursts(rate, count, BURST, chance, float)
            for name, plan in plans.items():
                label = f"{name}, {workers} worker{'s' * (workers > 1)}"
                print(f"{label}: {count} files at {rate:.1f}/s", flush=True)
                runs.append(open_loop(running, label, [each.at for each in plan], shape, chance))
            running.stop("worker")
    lines, holds = compared(runs, chance)
    lines += ["", *thousand(runs[0], chance)]
    text = "\n".join(lines) + "\n"
    print("\n" + text)
    if options.write:
        page = quoted.ROOT / "docs" / "capacity.md"
        page.write_text(quoted.replaced(page.read_text(), "simulation", text))
    sys.exit(0 if holds else 1)


# --- the real service ----------------------------------------------------------------------------------------


def calibrated(running: Stand, workers: int, message: float, chance: random.Random) -> tuple[Shape, float]:
    """What passing takes where nobody waits, and how long a worker is occupied by a file of the mix."""
    titles = drawn(chance, ALONE)
    alone: list[tuple[float, Life]] = []
    for title in titles:
        file, sent_at = material.made(title), time.time()
        (life,) = running.ended(ids_of(send(running, file.name, file.content, 1)))
        alone.append((sent_at, life))
    ids: list[str] = []
    for title in drawn(chance, SATURATING):
        file = material.made(title)
        ids += ids_of(send(running, file.name, file.content, 1))
    crowd = running.ended(ids)
    between = statistics.fmean(gaps(crowd))
    passing = statistics.fmean(life.claimed_at - life.uploaded_at for _, life in alone)
    shape = Shape(
        workers=workers,
        web_seconds=statistics.fmean(life.uploaded_at - sent_at for sent_at, life in alone),
        passing_seconds=max(0.0, passing - message),
        message_seconds=message,
        between_seconds=between,
    )
    return shape, statistics.fmean(life.done_at - life.claimed_at for life in crowd) + between


def drawn(chance: random.Random, count: int) -> list[str]:
    """So many titles of the mix."""
    return chance.choices(list(MIX), weights=list(MIX.values()), k=count)


def open_loop(running: Stand, label: str, moments: Sequence[float], shape: Shape, chance: random.Random) -> Measured:
    """A real run: each file is sent at its moment."""
    titles = drawn(chance, len(moments))
    for title in MIX:
        material.made(title)

    async def sending() -> list[tuple[str, float, str]]:
        kept: list[Connection] = []
        began, began_at = time.monotonic() + 0.5, time.time() + 0.5

        async def one(title: str, moment: float) -> tuple[str, float, str]:
            await asyncio.sleep(max(0.0, began + moment - time.monotonic()))
            connection = kept.pop() if kept else Connection(running.port)
            file = material.made(title)
            document = await connection.upload(file.name, file.content)
            kept.append(connection)
            return title, began_at + moment, document["id"]

        try:
            return list(await asyncio.gather(*(one(*each) for each in zip(titles, moments, strict=True))))
        finally:
            for connection in kept:
                connection.close()

    sent = asyncio.run(sending())
    lives = running.ended([file_id for _, _, file_id in sent])
    return Measured(
        label=label,
        shape=replace(shape, between_seconds=statistics.fmean(gaps(lives) or [shape.between_seconds])),
        sent=[Sent(title=title, sent_at=at, life=life) for (title, at, _), life in zip(sent, lives, strict=True)],
    )


# --- beside its simulation -----------------------------------------------------------------------------------


def simulated(measured: Measured, chance: random.Random) -> dict[str, float]:
    """The same figures of the simulation: the mean over its replications."""
    first, likely = measured.sent[0].sent_at, measured.likely()
    courses: list[Course] = []
    for _ in range(REPLICATIONS):
        arrivals = [
            Arrival(at=each.sent_at - first, seconds=chance.choice(near))
            for each, near in zip(measured.sent, likely, strict=True)
        ]
        courses.append(run(arrivals, measured.shape))
    return {
        "mean wait ms": 1000 * statistics.fmean(statistics.fmean(course.waits()) for course in courses),
        "mean response ms": 1000 * statistics.fmean(statistics.fmean(course.responses()) for course in courses),
        "throughput /s": statistics.fmean(course.throughput for course in courses),
        "p95 wait ms": 1000 * statistics.fmean(percentile(course.waits(), 0.95) for course in courses),
    }


def compared(runs: Sequence[Measured], chance: random.Random) -> tuple[list[str], bool]:
    """The table of real and simulated figures, and whether those that must agree do."""
    lines = [
        f"{datetime.now(UTC).date().isoformat()}, {machine()}; the workers' processes beside everything else.",
        "",
        "| load | files | workers busy | figure | measured | simulated | difference |",
        "|---|---|---|---|---|---|---|",
    ]
    holds = True
    for measured in runs:
        real, told = measured.figures(), simulated(measured, chance)
        for name, value in real.items():
            difference = told[name] / value - 1
            holds &= name not in HELD or abs(difference) <= TOLERANCE
            lines.append(
                f"| {measured.label} | {len(measured.sent)} | {measured.utilisation:.0%} | {name} "
                f"| {value:.1f} | {told[name]:.1f} | {difference:+.0%} |"
            )
    return lines, holds


def thousand(measured: Measured, chance: random.Random) -> list[str]:
    """A thousand workers under the same mix, with as many dispatchers as it takes, and with one."""
    durations = measured.durations()
    titles = list(MIX)
    weights = [MIX[title] for title in titles]

    def service() -> float:
        return chance.choice(durations[chance.choices(titles, weights)[0]])

    mean = statistics.fmean(service() for _ in range(10_000)) + measured.shape.between_seconds
    lines = [
        f"{MANY} workers, {MANY_FILES:,} files a run:",
        "",
        "| files/s | dispatchers | workers busy | wait p50, p95, p99 ms: simulated | by the formula | simulated in s |",
        "|---|---|---|---|---|---|",
    ]
    for utilisation, dispatchers in ((0.7, 0), (0.95, 0), (0.98, 0), (0.7, 1)):
        rate = utilisation * MANY / mean
        enough = max(1, round(rate * measured.shape.message_seconds / 0.6 + 0.5))
        shape = replace(measured.shape, workers=MANY, web_seconds=0.0, dispatchers=dispatchers or enough)
        began = time.monotonic()
        arrivals = list(poisson(rate, MANY_FILES, chance, service))
        course = run(arrivals, shape)
        took = time.monotonic() - began
        lines.append(_line(rate, shape, course, arrivals, took))
    return lines


def _line(rate: float, shape: Shape, course: Course, arrivals: Sequence[Arrival], took: float) -> str:
    queue = formula(arrivals, shape)
    waits = course.waits()[int(WARM * len(arrivals)) :]
    share: Callable[[float], float] = lambda which: percentile(waits, which)  # noqa: E731
    told = ", ".join(f"{1000 * share(which):.0f}" for which in (0.5, 0.95, 0.99))
    passing = shape.passing_seconds + shape.message_seconds
    by_formula = ", ".join(f"{1000 * (passing + queue.wait_seconds(which)):.0f}" for which in (0.5, 0.95, 0.99))
    busy = course.worked_seconds / shape.workers / course.seconds
    return f"| {rate:.0f} | {shape.dispatchers} | {busy:.0%} | {told} | {by_formula} | {took:.0f} |"


if __name__ == "__main__":
    main()
