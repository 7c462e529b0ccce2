"""What all parts of the measurement share: its options, its PostgreSQL, its folder, its results."""

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.load.contenders import EVERY, Contender, contenders
from tests.load.report import RATE, Results, Spec, mean, uncertainty
from tests.load.serving import Server, serving

TEXT_LINE = b"the quick brown fox jumps over the lazy dog\n"
TRIVIAL = b"A trivial file, for which next to nothing is to be done.\n"
OURS_EVERY = 3  # others this service is measured again: it is in every ratio
STEADY = 0.04  # the standard error, as a share, from which on a ratio is known: two runs are then 6 % apart (sd)

NO_QUICKER, QUICKER = 8, 0.03  # a server is warm when so many rounds were no quicker than the best before, by a share


@dataclass(frozen=True, kw_only=True)
class Look:
    """One kind of load: how a server is measured under it, and what that is called in the tables."""

    part: str
    title: str
    measure: Callable[[Server], dict[str, float]]
    spec: Spec = RATE
    size: float | None = None
    family: str = ""
    takes: Callable[[Server], bool] = lambda server: True  # who can be measured so: this service can

    def of(self, servers: Sequence[Server]) -> list[Server]:
        """Those of them that can be."""
        return [server for server in servers if self.takes(server)]


class Bench:
    """One run."""

    def __init__(self, options: argparse.Namespace, folder: Path, disk: Path, database: str) -> None:
        """`folder` is in memory where there is such a place; `disk` is on the disk that was asked for."""
        self.options, self.folder, self.disk, self.database = options, folder, disk, database
        self.began = time.monotonic()
        self.results = Results()
        self.capacity: float = 0.0  # uploads a second, as the part that measured it left it
        self.few_rounds = min(options.rounds, 3)  # of what has no ratio, or takes a minute each
        self.materials = folder / "materials"
        self.materials.mkdir()

    @contextlib.contextmanager
    def ours(self, **how: Any) -> Iterator[Server]:
        """This service."""
        with serving(EVERY[0], self.folder, self.database, **how) as server, explained(server):
            yield server

    @contextlib.contextmanager
    def all(self, chosen: Sequence[Contender], *, on_disk: bool = False, **how: Any) -> Iterator[list[Server]]:
        """This service and these peers, all running, so that they are measured in turn."""
        folder = self.disk if on_disk else self.folder
        with contextlib.ExitStack() as stack:
            servers = []
            for contender in chosen:
                server = stack.enter_context(serving(contender, folder, self.database, **how))
                stack.enter_context(explained(server))
                servers.append(server)
            yield servers

    @staticmethod
    def in_turn(
        servers: Sequence[Server], measure: Callable[[Server], dict[str, float]]
    ) -> list[tuple[Server, dict[str, float]]]:
        """Each server with what was found of it: of this service, the first, the mean of several times in between."""
        ours, others = servers[0], servers[1:]
        own = [measure(ours)]
        found = []
        for place, other in enumerate(others, 1):
            found.append((other, measure(other)))
            if place % OURS_EVERY == 0 and place < len(others):
                own.append(measure(ours))
        return [(ours, mean(own)), *found]

    def until_steady(
        self, servers: Sequence[Server], looks: Sequence[Look], after: Callable[[int], None] = lambda number: None
    ) -> None:
        """Measure all servers under every load, round after round, then again whoever's ratio is not known yet.

        `after` is called with the number of each round that is over.
        """
        number, chosen = 0, [look.of(servers) for look in looks]
        while any(chosen):
            for look, some in zip(looks, chosen, strict=True):
                if some:
                    self.say(f"{look.part}, round {number + 1}: {look.title}, {len(some)} of {len(servers)}")
                    for server, figures in self.in_turn(some, look.measure):
                        self.keep(look, server, {**figures, "round": number})
            after(number)
            number += 1
            if number >= self.options.rounds:
                chosen = [self.unsteady(look, servers) if number < self.options.most_rounds else [] for look in looks]

    def warm_up(self, server: Server, look: Look) -> None:
        """Have the server under load until that makes it no quicker: V8 goes on compiling for a minute."""
        best, since, ends_at = 0.0, 0, time.monotonic() + self.options.warm_seconds
        while since < NO_QUICKER and time.monotonic() < ends_at:
            rate = look.measure(server)["rate"]
            since = 0 if rate > best * (1 + QUICKER) else since + 1
            best = max(best, rate)

    def unsteady(self, look: Look, servers: Sequence[Server]) -> list[Server]:
        """Those whose ratio is not known well enough under this load, after this service; nobody where all are."""
        load = self.results.loads[look.part, look.title]
        ours, *others = look.of(servers)
        unknown = [server for server in others if uncertainty(load, server.name) > STEADY]
        return [ours, *unknown] if unknown else []

    def keep(self, look: Look, server: Server, figures: dict[str, float]) -> None:
        """Keep what was found of a server under a load."""
        self.results.add(
            look.part, look.title, server.name, figures, spec=look.spec, size=look.size, family=look.family
        )

    def contenders(self, *, limits: bool = False) -> list[Contender]:
        """Who takes part."""
        return contenders(self.options.peers, limits=limits)

    def say(self, text: str) -> None:
        """Progress, where someone looks."""
        print(f"[{time.monotonic() - self.began:6.1f} s] {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def explained(server: Server) -> Iterator[None]:
    """What the server's processes said, when the block fails."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, SystemExit) or server.name in str(error):
            print(f"{server.name}: {error}\n{server.logs()}", file=sys.stderr)
        raise
