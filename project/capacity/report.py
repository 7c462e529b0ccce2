"""A plan in words and tables, for a terminal, and as a document for `--json`."""

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from project.capacity.model import Part, Plan
from project.capacity.notation import said, said_bytes, said_seconds

DAYS_OF_MONTH = 30
LEAST_SHARE = 0.005  # of all cores, that is worth a word
LINE_COLUMNS = 110


def document(plan: Plan) -> dict[str, Any]:
    """The plan as JSON has it; what has no bound is null."""
    found: dict[str, Any] = _bounded(asdict(plan))
    found["first_to_break"] = _bounded(asdict(plan.first))
    return found


def _bounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _bounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_bounded(item) for item in value]
    return None if isinstance(value, float) and math.isinf(value) else value


def text(plan: Plan) -> str:
    """The plan for a reader."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    demand, deployment = plan.demand, plan.deployment
    mix = ", ".join(f"{kind} {share:.0%}" for kind, share in demand.mix.items())
    yield f"{said(demand.uploads)} uploads/s: {mix}."
    yield f"{_counted(demand.readers, 'reader')} of {_counted(demand.feeds, 'feed')}; a second:"
    yield (
        f"{said(demand.polls)} unchanged polls, {said(demand.lists)} lists, {said(demand.downloads)} downloads. "
        f"Costs of {plan.date}, {plan.machine}."
    )
    yield ""
    rows = [_row(part) for part in plan.parts]
    yield from _table(("part", "needed", "busy", "full at", "cores", "memory", "how it is seen"), rows)
    first = plan.first
    yield ""
    yield (
        f"First to break, when what can be multiplied is: {first.name}, at {said(first.full_at)} uploads/s "
        f"({said(first.full_at / demand.uploads)} times this)."
    )
    multiplied = ", ".join(f"{name} {count}" for name, count in plan.nodes.items())
    yield f"Machines of {deployment.node_cores} cores: {multiplied}; database and Redis beside them."
    yield ""
    rows = [
        (
            name,
            f"{kind.share:.0%}",
            said_bytes(kind.mean_bytes) + (" *" if kind.beyond_samples else ""),
            said_seconds(kind.service_seconds),
            said(kind.core_seconds),
        )
        for name, kind in plan.kinds.items()
    ]
    yield from _table(("kind", "share", "size", "in a worker", "cores"), rows)
    if any(kind.beyond_samples for kind in plan.kinds.values()):
        yield "* larger than any sample that was measured"
    waits = plan.waits
    percentiles = ", ".join(f"{name} {said_seconds(value)}" for name, value in waits.percentile_seconds.items())
    yield ""
    yield (
        f"Waiting for one of {said(waits.workers)} workers at {waits.utilisation:.0%} "
        f"(service {said_seconds(waits.service_seconds)}, its scv {waits.service_scv:.2g}):"
    )
    yield f"{waits.waiting_probability:.1%} of all wait; mean {said_seconds(waits.mean_seconds)}, {percentiles}."
    yield ""
    yield from _listed("Database connections", plan.connections, said)
    yield from _listed(f"Redis: {said(plan.redis_commands)} commands/s", plan.redis_memory, said_bytes)
    yield from _listed("Network a second", plan.network_bytes, said_bytes)
    yield from _listed("Growth a day", plan.growth_bytes_a_day, said_bytes)
    a_month = {name: found * DAYS_OF_MONTH for name, found in plan.growth_bytes_a_day.items()}
    yield from _listed(f"Growth in {DAYS_OF_MONTH} days", a_month, said_bytes)
    if plan.kept_bytes is not None:
        yield from _listed(f"Kept after {said(demand.retention_days or 0)} days", plan.kept_bytes, said_bytes)
    shares = {name: share for name, share in plan.drivers.items() if share >= LEAST_SHARE}
    yield from _listed("Cores go to", shares, "{:.0%}".format)


def _row(part: Part) -> tuple[str, ...]:
    return (
        part.name,
        _counted(part.needed, part.unit),
        f"{part.utilisation:.0%}",
        f"{said(part.full_at)}/s" if math.isfinite(part.full_at) else "-",
        said(part.core_seconds) if part.core_seconds else "",
        said_bytes(part.memory_bytes) if part.memory_bytes else "",
        part.seen_by,
    )


def _counted(count: int, one: str) -> str:
    many = f"{one}es" if one.endswith("s") else f"{one}s"
    return f"{said(count)} {one if count == 1 else many}"


def _listed(what: str, found: Mapping[str, Any], said_as: Any) -> Iterator[str]:
    """A sentence of names and values, in as many lines as it needs; what is nothing is not said where something is."""
    items = ", ".join(f"{name} {said_as(value)}" for name, value in found.items() if value) or "nothing"
    yield from textwrap.wrap(f"{what}: {items}.", LINE_COLUMNS, subsequent_indent="  ", break_long_words=False)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns under each other; the words are left, the numbers right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        cells = [
            cell.ljust(width) if column in (0, len(head) - 1) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
