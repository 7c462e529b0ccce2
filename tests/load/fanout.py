"""One event to thousands of sockets: the time until the last has it, and the memory that a socket takes.

`manage.py live` (daphne) beside the plain channels_redis PubSub layer with a minimal consumer, under daphne too. The
server is a new process each round, so that its memory is that of these sockets.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.load.arrivals import quantile
from tests.load.bench import Bench
from tests.load.processes import OTHER_CORE, SERVER_CORE, Meter, Tree, pinned, running
from tests.load.report import CPU, OURS, Spec
from tests.load.serving import Server, await_answer
from tests.load.sockets import Listener, listen
from tests.ports import free_port

SPEC = Spec(
    columns=(
        ("last", "ms to the last", 1),
        ("p50", "ms to half of them", 1),
        ("socket_kib", "KiB of the server a socket", 1),
        ("opened", "sockets opened a second", 0),
        ("again", "opened again", 0),
        *CPU,
    ),
    by="last",
    less_is_better=True,
)
PEER = "channels_redis PubSub, minimal consumer, daphne"
SUBJECT = b'"subject":"'
SETTLE_SECONDS = 1.0
PATIENCE_SECONDS = 60.0


def run(bench: Bench) -> None:
    """Both servers, every number of sockets, in turn, round after round."""
    with bench.ours() as server:
        for number in range(bench.few_rounds):
            for who in (OURS, PEER):
                for count in sorted(bench.options.sockets):
                    bench.say(f"fanout, round {number + 1}: {count:,} sockets: {who}")
                    with live(server, who) as (port, tree), announcing(server, who) as announcer:
                        path = "/ws/files/" if who == OURS else "/"
                        figures, curve = asyncio.run(measured(bench, port, path, count, tree, announcer))
                    keep(bench, who, count, figures, curve)


def keep(bench: Bench, who: str, count: int, figures: dict[str, float], curve: list[tuple[float, ...]]) -> None:
    """Keep what was found."""
    title = f"one event to {count:,} sockets"
    bench.results.add("fanout", title, who, figures, spec=SPEC, size=count, family="fan-out")
    bench.results.curve(f"fan-out to {count} sockets: ms → sockets that have it", who, curve)


@contextlib.contextmanager
def live(server: Server, who: str) -> Iterator[tuple[int, Tree]]:
    """A WebSocket server: its port, and its process."""
    port = free_port()
    command = [sys.executable, "manage.py", "live", f"--port={port}"]
    environment = dict(server.environment)
    if who == PEER:
        command = [sys.executable, "-m", "daphne", "-v", "0", "-p", str(port), "tests.load.peers.group:application"]
        environment.pop("DJANGO_SETTINGS_MODULE")
    log = server.work / "live.log"
    with running(pinned(SERVER_CORE, command), environment, log) as process:
        await_answer(f"http://127.0.0.1:{port}/", process, log)
        yield port, Tree(process)


@contextlib.contextmanager
def announcing(server: Server, who: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that publishes an event for each line it is given."""
    command = [sys.executable, "-m", "tests.load.announcer", "ours" if who == OURS else "group"]
    log: Path = server.work / "announcer.log"
    with running(pinned(OTHER_CORE, command), server.environment, log, stdin=subprocess.PIPE) as process:
        if not process.stdout.readline():
            raise SystemExit(f"the announcer did not start:\n{log.read_text()[-2000:]}")
        yield process


class Ears:
    """What all the sockets have heard."""

    def __init__(self) -> None:
        self.heard: dict[str, list[float]] = {}
        self.sockets: dict[str, Counter[int]] = {}

    def hear(self, number: int, payload: bytes, at: float) -> None:
        """A frame of one socket."""
        place = payload.find(SUBJECT) + len(SUBJECT)
        if place >= len(SUBJECT):
            file_id = payload[place : place + 36].decode()
            self.heard.setdefault(file_id, []).append(at)
            self.sockets.setdefault(file_id, Counter())[number] += 1


async def measured(
    bench: Bench, port: int, path: str, count: int, tree: Tree, announcer: subprocess.Popen[bytes]
) -> tuple[dict[str, float], list[tuple[float, ...]]]:
    """Open the sockets, publish some events one after another, wait for each to be everywhere."""
    ears = Ears()
    first: list[Listener] = await listen(port, path, 1, ears.hear)  # whatever is made for the first
    await asyncio.sleep(SETTLE_SECONDS)
    before, began = tree.rss(), time.monotonic()
    failed: list[str] = []
    listeners = first + await listen(port, path, count - 1, lambda at, *frame: ears.hear(at + 1, *frame), failed)
    if failed:
        bench.say(f"opened again: {Counter(failed)}")
    opened = (count - 1) / (time.monotonic() - began)
    try:
        await asyncio.sleep(SETTLE_SECONDS)
        memory = tree.rss() - before
        last, half, delays = [], [], []
        with Meter(tree) as meter:
            for number in range(bench.options.events + 1):
                delays = await one_event(ears, announcer, count)
                if number:  # the first warms up
                    last.append(delays[-1])
                    half.append(delays[len(delays) // 2])
        if any(listener.lost for listener in listeners):
            raise SystemExit("a socket was closed")
    finally:
        for listener in listeners:
            listener.drop()
    figures = {
        "last": 1000 * quantile(last, 0.5),
        "p50": 1000 * quantile(half, 0.5),
        "socket_kib": memory / 1024 / max(1, count - 1),
        "opened": opened,
        "again": len(failed),
        **meter.figures,
    }
    step = max(1, count // 200)
    return figures, [(1000 * delay, place + 1) for place, delay in enumerate(delays)][::step]


async def one_event(ears: Ears, announcer: subprocess.Popen[bytes], count: int) -> list[float]:
    """Publish one, and wait until every socket has had it, once; after how many seconds each had."""
    announcer.stdin.write(b"\n")
    announcer.stdin.flush()
    told = json.loads(await asyncio.to_thread(announcer.stdout.readline))
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while len(ears.heard.get(told["id"], ())) < count:
        if time.monotonic() > ends_at:
            raise SystemExit(f"{len(ears.heard.get(told['id'], ()))} of {count} sockets had the event")
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    if set(ears.sockets[told["id"]].values()) != {1}:
        raise SystemExit("a socket had an event twice")
    return sorted(at - told["at"] for at in ears.heard[told["id"]])
