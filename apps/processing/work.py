"""What is done with one file: told by its bytes, then given to the processor of its kind.

Knows neither Django nor the database: it is called in a child that has nothing but the file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from . import plugins, processors
from .contract import Job, Outcome, ProcessingFailed, Settle, Task
from .detect import HEAD_BYTES, Detected, detect
from .mismatch import mismatch


def work(task: Task, found: Callable[[Detected], None], report: Callable[[int], None], settle: Settle) -> Outcome:
    """What was learnt and made of the file. `found` is told its type first, `report` the percentage done so far, and
    `settle` what stands should the next step take too much.

    Raises ProcessingFailed, and what the storage does.
    """
    detected, process = _choose(task.path, task.name)
    found(detected)
    contradiction = mismatch(task.declared_content_type, task.name, detected.front or detected.content_type)

    def whole(outcome: Outcome) -> Outcome:
        if contradiction is None:
            return outcome
        return Outcome(result={**outcome.result, "type_mismatch": contradiction}, derived=outcome.derived)

    def settle_whole(verdict: Outcome | ProcessingFailed, seconds: float) -> None:
        settle(whole(verdict) if isinstance(verdict, Outcome) else verdict, seconds)

    job = Job(
        path=task.path,
        size=task.size,
        name=task.name,
        content_type=detected.content_type,
        kind=detected.kind,
        sha256=task.sha256,
        workdir=task.workdir,
        report=report,
        settle=settle_whole,
    )
    return whole(process(job))


def prepare() -> None:
    """Import all that any file may need, so that no child has to."""
    plugins.load()
    processors.load()


def _choose(path: Path, name: str) -> tuple[Detected, processors.Processor]:
    """What the file is, and the function that processes such files."""
    added = plugins.load()
    if added:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        for kind, plugin in added.items():
            if plugin.recognises(head):
                return Detected(content_type=plugin.CONTENT_TYPE, kind=kind), plugin.process
    detected = detect(path, name)
    return detected, processors.processor_for(detected)
