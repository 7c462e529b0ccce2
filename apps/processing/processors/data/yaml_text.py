"""YAML, as a stream of events: nothing is built, no tag is followed, and aliases are weighed, not unfolded.

Source: YAML 1.2, chapter 3 (its serialization tree).
"""

from __future__ import annotations

import time
from typing import Final

import yaml

from ...contract import JSON, Job, ProcessingFailed
from .limits import DEPTH, EXPANDED, KEYS, NAME_CHARACTERS, WORK_SECONDS

MAX_BYTES: Final = 256 * 1024 * 1024
CHECKED_EVENTS: Final = 1000


class _Tree:
    """The weight of what is open: how many nodes it would have, were its aliases put in place."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(("documents", "objects", "arrays", "scalars", "anchors", "aliases", "tags"), 0)
        self.depth = 0
        self.top: str | None = None
        self.keys: list[str] = []
        self._open: list[tuple[str | None, int]] = []
        self._weights: dict[str, int] = {}
        self._is_key = False

    def take(self, event: yaml.Event) -> None:
        """The next event. Raises ProcessingFailed for what is nested too deep, or would unfold without end."""
        if isinstance(event, yaml.ScalarEvent):
            self.counts["scalars"] += 1
            self._node(event, "scalar")
            if event.anchor:
                self._weights.pop(event.anchor, None)
            self._add(1)
        elif isinstance(event, yaml.CollectionStartEvent):
            sort = "object" if isinstance(event, yaml.MappingStartEvent) else "array"
            self.counts[f"{sort}s"] += 1
            self._node(event, sort)
            self._open.append((event.anchor, 1))
            self.depth = max(self.depth, len(self._open))
            if self.depth > DEPTH:
                raise ProcessingFailed("data_too_deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, weight = self._open.pop()
            if anchor:
                self._weights[anchor] = weight
            self._add(weight)
        elif isinstance(event, yaml.AliasEvent):
            self.counts["aliases"] += 1
            self._key(None)
            self._add(self._weights.get(event.anchor or "", 1))
        elif isinstance(event, yaml.DocumentStartEvent):
            self.counts["documents"] += 1
            self._weights.clear()

    def _node(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, sort: str) -> None:
        if event.anchor:
            self.counts["anchors"] += 1
        if event.tag:
            self.counts["tags"] += 1
        if self.top is None:
            self.top = sort
        self._key(event.value if isinstance(event, yaml.ScalarEvent) else None)

    def _key(self, name: str | None) -> None:
        if len(self._open) == 1 and self.top == "object" and self.counts["documents"] == 1:
            self._is_key = not self._is_key
            if self._is_key and name is not None and len(self.keys) < KEYS:
                self.keys.append(name[:NAME_CHARACTERS])

    def _add(self, weight: int) -> None:
        if weight > EXPANDED:
            raise ProcessingFailed("data_bomb")
        if self._open:
            anchor, own = self._open[-1]
            self._open[-1] = (anchor, own + weight)
            if own + weight > EXPANDED:
                raise ProcessingFailed("data_bomb")


def survey(job: Job) -> dict[str, JSON]:
    """Whether it is YAML, or where it is none, and what it is made of. Raises ProcessingFailed."""
    if job.size > MAX_BYTES:
        raise ProcessingFailed("data_too_large")
    tree, fault, cut = _Tree(), None, False
    ends_at = time.monotonic() + WORK_SECONDS
    with job.path.open("rb") as file:
        try:
            for number, event in enumerate(yaml.parse(file, Loader=yaml.CSafeLoader)):
                tree.take(event)
                if number % CHECKED_EVENTS == 0:
                    job.report(min(99, 100 * file.tell() // max(1, job.size)))
                    if time.monotonic() > ends_at:
                        cut = True
                        break
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            message = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML")
            fault = {
                "line": mark.line + 1 if mark else 1,
                "column": mark.column + 1 if mark else 1,
                "message": message[:NAME_CHARACTERS],
            }
        except UnicodeDecodeError:
            fault = {"line": 1, "column": 1, "message": "The text is not in its encoding."}
    return {
        "format": "yaml",
        "valid": fault is None,
        "error": fault,
        "depth": tree.depth,
        "top_level": tree.top,
        "keys": list(tree.keys),
        "counts": dict(tree.counts),
        "truncated": cut,
    }
