"""What all parts of the measurement share: its options, its PostgreSQL, its folder, its results."""

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.load.contenders import EVERY, Contender, contenders
from tests.load.report import Results, mean
from tests.load.serving import Server, serving

TEXT_LINE = b"the quick brown fox jumps over the lazy dog\n"
TRIVIAL = b"A trivial file, for which next to nothing is to be done.\n"
OURS_EVERY = 3  # others this service is measured again: it is in every ratio


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
