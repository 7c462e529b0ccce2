"""The unit costs: what one upload, one poll, one frame, one file of a kind takes, as measured.

All of them are in one file, `costs.json`: each figure with its value, unit and source, under the machine and the date
of the run that measured them all (`python -m tests.load.costs`). A core-second is a second of one core of that machine.
"""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

PATH: Final = Path(__file__).with_name("costs.json")
MIB: Final = 1024 * 1024

CORE_SECONDS: Final = "core-seconds"
BYTES: Final = "bytes"


class BadCosts(ValueError):
    """The file of measured costs is not what it should be."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One measured file: how long a worker was at it each time, and what it left behind."""

    name: str
    bytes: int
    core_seconds: float
    seconds: tuple[float, ...]  # from claim to outcome, each time
    derived_bytes: int
    row_bytes: int
    peak_bytes: int


@dataclass(frozen=True, kw_only=True)
class Line:
    """A cost that grows with the size: something for each file, and something for each MiB of it."""

    fixed: float
    per_mib: float

    def at(self, size_bytes: float) -> float:
        """The cost of a file of this size."""
        return self.fixed + self.per_mib * size_bytes / MIB


def fit(sizes: Sequence[float], costs: Sequence[float]) -> Line:
    """The line nearest to these measurements, by relative least squares; neither part of it is negative.

    Relative, because a cheap file's cost matters as much as a dear one's: the cheap ones are many.
    """
    if not costs or min(costs) < 0 or len(sizes) != len(costs):
        raise ValueError("a line needs costs, none of them negative, and a size for each")
    weights = [1 / max(cost, 1e-9) ** 2 for cost in costs]
    x = [size / MIB for size in sizes]
    total = sum(weights)
    mean_x = sum(w * a for w, a in zip(weights, x, strict=True)) / total
    mean_y = sum(w * b for w, b in zip(weights, costs, strict=True)) / total
    spread = sum(w * (a - mean_x) ** 2 for w, a in zip(weights, x, strict=True))
    if not spread:
        return Line(fixed=mean_y, per_mib=0.0)
    slope = sum(w * (a - mean_x) * (b - mean_y) for w, a, b in zip(weights, x, costs, strict=True)) / spread
    if slope < 0:
        return Line(fixed=mean_y, per_mib=0.0)
    if mean_y < slope * mean_x:
        square = sum(w * a * a for w, a in zip(weights, x, strict=True))
        return Line(fixed=0.0, per_mib=sum(w * a * b for w, a, b in zip(weights, x, costs, strict=True)) / square)
    return Line(fixed=mean_y - slope * mean_x, per_mib=slope)


@dataclass(frozen=True, kw_only=True)
class KindCosts:
    """What the files of one kind cost, from the samples that were measured."""

    samples: tuple[Sample, ...]

    @property
    def mean_bytes(self) -> float:
        """The size of the mean sample."""
        return statistics.fmean(sample.bytes for sample in self.samples)

    @property
    def most_bytes(self) -> int:
        """The size of the largest sample: beyond it the line is drawn on, not measured."""
        return max(sample.bytes for sample in self.samples)

    @property
    def core_seconds(self) -> Line:
        """Of the worker, its sandbox and the child, by size."""
        return fit([each.bytes for each in self.samples], [each.core_seconds for each in self.samples])

    @property
    def seconds(self) -> Line:
        """From claim to outcome, by size."""
        return fit([each.bytes for each in self.samples], [statistics.fmean(each.seconds) for each in self.samples])

    @property
    def observed_seconds(self) -> tuple[float, ...]:
        """Every single time, of every sample."""
        return tuple(seconds for sample in self.samples for seconds in sample.seconds)

    @property
    def scv(self) -> float:
        """The squared coefficient of variation of the times: files of a kind are taken to differ as the samples do."""
        times = self.observed_seconds
        return statistics.pvariance(times) / statistics.fmean(times) ** 2

    @property
    def derived_bytes(self) -> float:
        """What is made of a file and kept, on the mean."""
        return statistics.fmean(sample.derived_bytes for sample in self.samples)

    @property
    def row_bytes(self) -> float:
        """The row's own bytes, its result among them, on the mean."""
        return statistics.fmean(sample.row_bytes for sample in self.samples)

    @property
    def peak_bytes(self) -> int:
        """The memory of the child that needed most."""
        return max(sample.peak_bytes for sample in self.samples)


def _figure(unit: str) -> Any:
    return field(metadata={"unit": unit})


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Every measured figure. `sources` has a sentence for each; `kinds` what a worker spends on each kind."""

    machine: str
    date: str
    sources: Mapping[str, str]
    kinds: Mapping[str, KindCosts]

    web_upload: float = _figure(CORE_SECONDS)
    web_upload_mib: float = _figure(f"{CORE_SECONDS} per MiB")
    web_download: float = _figure(CORE_SECONDS)
    web_download_mib: float = _figure(f"{CORE_SECONDS} per MiB")
    web_list: float = _figure(CORE_SECONDS)
    web_poll: float = _figure(CORE_SECONDS)
    web_process_bytes: float = _figure(BYTES)
    list_bytes: float = _figure(BYTES)
    live_event: float = _figure(f"{CORE_SECONDS} per event and process")
    live_frame: float = _figure(f"{CORE_SECONDS} per frame and socket")
    live_process_bytes: float = _figure(BYTES)
    live_socket_bytes: float = _figure(BYTES)
    frame_bytes: float = _figure(BYTES)
    dispatcher_messages_per_second: float = _figure("messages/s")
    dispatcher_message: float = _figure(CORE_SECONDS)
    dispatcher_process_bytes: float = _figure(BYTES)
    worker_between_files: float = _figure("seconds")
    worker_process_bytes: float = _figure(BYTES)
    worker_parent_bytes: float = _figure(BYTES)
    database_upload: float = _figure(CORE_SECONDS)
    database_file: float = _figure(CORE_SECONDS)
    database_list: float = _figure(CORE_SECONDS)
    database_poll: float = _figure(CORE_SECONDS)
    database_row_beside_bytes: float = _figure(BYTES)
    database_connection_bytes: float = _figure(BYTES)
    wal_upload_bytes: float = _figure(BYTES)
    wal_file_bytes: float = _figure(BYTES)
    redis_file: float = _figure(CORE_SECONDS)
    redis_file_commands: float = _figure("commands")
    redis_idle_commands: float = _figure("commands/s")
    redis_event_bytes: float = _figure(BYTES)
    redis_file_bytes: float = _figure(BYTES)
    redis_message_bytes: float = _figure(BYTES)
    redis_process_bytes: float = _figure(BYTES)
    file_events: float = _figure("events")


def figures() -> dict[str, str]:
    """Every figure's name, and its unit."""
    return {each.name: each.metadata["unit"] for each in _figure_fields()}


def _figure_fields() -> list[Field[Any]]:
    return [each for each in fields(Costs) if "unit" in each.metadata]


def load(path: Path = PATH) -> Costs:
    """The costs in this file. Raises BadCosts, in words, when it cannot be read or a figure is missing or is none."""
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BadCosts(f"{path.name} cannot be read: {error}") from error
    try:
        return parse(document)
    except (KeyError, TypeError, AttributeError) as error:
        raise BadCosts(f"{path.name} is not a file of costs: {error!r}") from error


def parse(document: Mapping[str, Any]) -> Costs:
    """The costs in this document. Raises BadCosts, KeyError and TypeError."""
    known, given = figures(), document["figures"]
    missing, unknown = set(known) - set(given), set(given) - set(known)
    if missing or unknown:
        raise BadCosts(f"figures missing: {sorted(missing)}, unknown: {sorted(unknown)}")
    values = {}
    for name, unit in known.items():
        if given[name]["unit"] != unit:
            raise BadCosts(f"{name} must be in {unit}, not in {given[name]['unit']}")
        values[name] = _positive(given[name]["value"], name)
    kinds = {}
    for kind, found in document["kinds"].items():
        samples = tuple(Sample(**{**each, "seconds": tuple(each["seconds"])}) for each in found["samples"])
        if not samples or not all(sample.seconds for sample in samples):
            raise BadCosts(f"{kind} has no samples")
        for sample in samples:
            for seconds in (*sample.seconds, sample.core_seconds):
                _positive(seconds, f"{kind}: {sample.name}")
        kinds[kind] = KindCosts(samples=samples)
    return Costs(
        machine=str(document["machine"]),
        date=str(document["date"]),
        sources={name: str(found["source"]) for name, found in given.items()},
        kinds=kinds,
        **values,
    )


def _positive(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise BadCosts(f"{name} must be a number, not {value!r}")
    return float(value)
