"""What was measured, kept by round, and its tables in Markdown: medians, ratios with their spread, growth of cost."""

import dataclasses
import math
import os
import platform
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OURS = "Filewire"
NEAR = 0.25  # how far apart the same ratio of two runs may be
BEGIN, END = "<!-- tables of `make bench` begin -->", "<!-- tables of `make bench` end -->"
CPU = (
    ("cpu", "its CPU %", 0),
    ("generator", "generator's CPU %", 0),
    ("core0", "core 0 busy %", 0),
    ("core1", "core 1 busy %", 0),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """A table's columns (key, heading, digits), and the one that a ratio is made of; of a time, less is better."""

    columns: tuple[tuple[str, str, int], ...]
    by: str
    less_is_better: bool = False


RATE = Spec(columns=(("rate", "req/s", 0), ("p50", "p50 ms", 1), ("p99", "p99 ms", 1), *CPU), by="rate")


@dataclasses.dataclass(kw_only=True)
class Load:
    """One kind of load, and what each round of each contender under it gave."""

    part: str
    title: str
    spec: Spec
    size: float | None = None
    family: str = ""
    rounds: dict[str, list[dict[str, float]]] = dataclasses.field(default_factory=dict)


class Results:
    """Every load that was measured, in the order in which they came, the curves for plots, and remarks."""

    def __init__(self) -> None:
        self.loads: dict[tuple[str, str], Load] = {}
        self.curves: dict[str, dict[str, list[tuple[float, ...]]]] = {}
        self.remarks: list[str] = []

    def add(
        self,
        part: str,
        title: str,
        who: str,
        figures: dict[str, float],
        *,
        spec: Spec = RATE,
        size: float | None = None,
        family: str = "",
    ) -> None:
        """Keep one round. Loads of one family that differ in size get the growth of their cost shown."""
        made = Load(part=part, title=title, spec=spec, size=size, family=family)
        self.loads.setdefault((part, title), made).rounds.setdefault(who, []).append(figures)

    def curve(self, plot: str, who: str, points: list[tuple[float, ...]]) -> None:
        """Keep a curve; that of the last round stays."""
        self.curves.setdefault(plot, {})[who] = points

    def remark(self, text: str) -> None:
        """Say something once, below the tables."""
        if text not in self.remarks:
            self.remarks.append(text)

    def of(self, part: str) -> list[Load]:
        """A part's loads."""
        return [load for load in self.loads.values() if load.part == part]

    def parts(self) -> list[str]:
        """The parts that have something to show."""
        return list(dict.fromkeys(load.part for load in self.loads.values()))


def median(rounds: list[dict[str, float]], key: str) -> float:
    """The median of one figure over the rounds that have it; NaN where none has."""
    found = [each[key] for each in rounds if key in each]
    return statistics.median(found) if found else math.nan


def mean(found: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each figure that all of these have."""
    common = [key for key in found[0] if all(key in each for each in found)]
    return {key: statistics.fmean(each[key] for each in found) for key in common}


def shown(value: float, digits: int) -> str:
    """A figure in a cell; nothing where there is none."""
    return "" if math.isnan(value) else f"{value:,.{digits}f}"


def times_better(load: Load, who: str) -> list[float]:
    """How many times better this service is than that, round by round, from the least to the greatest."""
    base = next((name for name in load.rounds if name.startswith(OURS)), None)
    if base is None or who == base:
        return []
    key = load.spec.by
    here, there = by_round(load.rounds[base]), by_round(load.rounds.get(who, []))
    pairs = [(here[number][key], there[number][key]) for number in here.keys() & there.keys()]
    return sorted(b / a if load.spec.less_is_better else a / b for a, b in pairs if a and b)


def by_round(rounds: list[dict[str, float]]) -> dict[float, dict[str, float]]:
    """What was found, by the number of its round: after the first rounds not everybody takes part in each."""
    return {figures.get("round", place): figures for place, figures in enumerate(rounds)}


def uncertainty(load: Load, who: str) -> float:
    """The standard error of how many times better this service is, as a share of it; infinite of fewer than two."""
    times = times_better(load, who)
    if len(times) < 2:
        return math.inf
    return statistics.stdev(math.log(each) for each in times) / math.sqrt(len(times))


def ratio(load: Load, who: str) -> str:
    """The same for the table: the mean, of ratios, so that twice and half are equally far; and the spread."""
    times = times_better(load, who)
    return f"{statistics.geometric_mean(times):.2f} ({times[0]:.2f} to {times[-1]:.2f})" if times else ""


def agreement(results: Results, earlier: list[dict[str, Any]]) -> list[str]:
    """Every ratio of two that an earlier run (`loads` of its JSON) had too, where they are more than NEAR apart."""
    before = {(each["part"], each["load"]): each["rounds"] for each in earlier}
    compared, apart = 0, []
    for load in results.loads.values():
        then = dataclasses.replace(load, rounds=before.get((load.part, load.title), {}))
        for who in load.rounds:
            now, was = times_better(load, who), times_better(then, who)
            if now and was:
                compared += 1
                here, there = statistics.geometric_mean(now), statistics.geometric_mean(was)
                if max(here, there) / min(here, there) > 1 + NEAR:
                    apart.append(f"{load.title}, {who}: {there:.2f}, then {here:.2f}")
    said = f"{compared - len(apart)} of {compared} ratios are within {NEAR:.0%} of an earlier run's"
    return [f"{said}{'; not: ' if apart else '.'}{'; '.join(apart)}"] if compared else []


def table(load: Load) -> Iterator[str]:
    """One load's table."""
    ratios = len(load.rounds) > 1
    headings = [heading for _, heading, _ in load.spec.columns]
    yield f"**{load.title}**"
    yield ""
    yield "| | " + " | ".join([*headings, *([f"{OURS} is times that (spread)"] if ratios else [])]) + " |"
    yield "|---" * (len(headings) + 1 + ratios) + "|"
    for who, rounds in load.rounds.items():
        cells = [shown(median(rounds, key), digits) for key, _, digits in load.spec.columns]
        yield f"| {who} | " + " | ".join([*cells, *([ratio(load, who)] if ratios else [])]) + " |"
    yield ""


def exponent(small: Load, large: Load, who: str) -> float:
    """The power of the size by which the cost grows: 0 is none, 1 is as the size."""
    key = small.spec.by
    a, b = median(small.rounds[who], key), median(large.rounds[who], key)
    if not a > 0 or not b > 0:
        return math.nan
    cost = b / a if small.spec.less_is_better else a / b
    return math.log(cost) / math.log(large.size / small.size)


def growth(loads: list[Load]) -> Iterator[str]:
    """The table of how cost grows with size, of all families with two sizes."""
    families: dict[str, list[Load]] = {}
    for load in loads:
        if load.family and load.size:
            families.setdefault(load.family, []).append(load)
    rows = []
    for family, members in families.items():
        members.sort(key=lambda load: load.size)
        small, large = members[0], members[-1]
        if small.size == large.size:
            continue
        for who in small.rounds:
            if who in large.rounds:
                power = shown(exponent(small, large, who), 2)
                rows.append(f"| {family} | {who} | {small.size:,.0f} to {large.size:,.0f} | {power} |")
    if rows:
        yield "**Growth of cost**: seconds each one takes grow as size to this power (0: not at all, 1: as the size)"
        yield ""
        yield "| | | size | power |"
        yield "|---|---|---|---|"
        yield from rows
        yield ""


def machine() -> str:
    """What it ran on."""
    model = platform.processor() or platform.machine()
    with Path("/proc/cpuinfo").open() as lines:
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, load average at the end {load}"


def markdown(results: Results, how: str) -> str:
    """All tables."""
    lines = [machine() + ".", how, ""]
    for part in results.parts():
        lines += [f"### {part.capitalize()}", ""]
        for load in results.of(part):
            lines += table(load)
        lines += growth(results.of(part))
    lines += [f"- {remark}" for remark in results.remarks]
    return "\n".join(lines).rstrip() + "\n"


def write_between_markers(path: Path, text: str) -> None:
    """Put the text in its place in a document."""
    page = path.read_text()
    if BEGIN not in page or END not in page:
        raise SystemExit(f"{path} has no place for tables: {BEGIN} … {END}")
    pattern = re.compile(re.escape(BEGIN) + ".*" + re.escape(END), re.DOTALL)
    path.write_text(pattern.sub(lambda _: f"{BEGIN}\n\n{text}\n{END}", page))
