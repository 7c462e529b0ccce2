"""Random parts die while several hundred files come in; at the end the invariants hold. The seed is printed.

FILEWIRE_FAULT_SEED repeats a run's choices, and FILEWIRE_FAULT_SECONDS says how long parts die (40).
"""

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable

import httpx
import psutil

from tests import samples
from tests.acceptance.service import Service, until
from tests.faults.harness import (
    QUICK,
    Witness,
    celery_main,
    drill,
    drilled,
    is_stopped,
    leftovers,
    pool,
    sandboxes,
    verify,
    working,
)
from tests.servers import Valkey, valkey

UPLOADERS = 4
LEAST_FILES = 300


def some_of(find: Callable[[Service], list[psutil.Process]]) -> Callable[[Service, random.Random], psutil.Process]:
    return lambda running, chance: chance.choice(find(running))


PARTS: dict[str, Callable[[Service, random.Random], psutil.Process]] = {
    "web": lambda running, _: running.named("manage.py web"),
    "dispatcher": lambda running, _: running.named("manage.py dispatcher"),
    "worker": lambda running, _: running.named("manage.py worker"),
    "celery": lambda running, _: celery_main(running),
    "a process of celery's": some_of(pool),
    "a sandbox": some_of(sandboxes),
    "a child": some_of(working),
}


def contents(chance: random.Random) -> bytes:
    """A file of some sort: text, a picture, or a drill that lasts, fails or kills."""
    drills = ("sleep 0.3", "sleep 1", "sleep 2", "fail", "exit 3", "no")
    sort = chance.choice(("text", "text", "text", "picture", "drill"))
    if sort == "text":
        return b"%d\n" % chance.getrandbits(64)
    return samples.jpeg() if sort == "picture" else drill(chance.choice(drills))


def upload_on(running: Service, chance: random.Random, over: threading.Event, ids: list[str]) -> None:
    """Upload until it is over; keep the ids of what was acknowledged."""
    while not over.is_set():
        content = contents(chance)
        with contextlib.suppress(httpx.TransportError):
            answer = httpx.post(f"{running.url}/upload/", files={"file": ("a", content)}, timeout=30)
            if answer.status_code == 201:
                ids.append(answer.json()["id"])
            else:
                assert answer.status_code in (503, 507), answer.text
        over.wait(chance.uniform(0, 0.5))


def harm(running: Service, broker: Valkey, chance: random.Random) -> str:
    """Do something to a part; what it was."""
    name = chance.choice([*PARTS, "valkey"])
    if name == "valkey":
        broker.kill()
        broker.start()
        return "killed valkey"
    try:
        victim = PARTS[name](running, chance)
        how = chance.choice(("SIGKILL", "SIGKILL", "SIGTERM", "SIGSTOP"))
        victim.send_signal(getattr(signal, how))
        if how == "SIGSTOP":
            time.sleep(chance.uniform(0.1, 2))  # how long it stands still
            victim.send_signal(signal.SIGCONT)
    except (psutil.Error, StopIteration, IndexError, ProcessLookupError):
        return f"{name} was not there"
    return f"{how} {name}"


def test_whatever_dies_every_acknowledged_file_ends_once():
    """Every file that got its 201 is terminal, in the record and in the feed, once an attempt; nothing is left over."""
    seed = int(os.environ.get("FILEWIRE_FAULT_SEED") or random.SystemRandom().getrandbits(32))
    print(f"FILEWIRE_FAULT_SEED={seed}")
    chance = random.Random(seed)
    done: list[str] = []
    with valkey() as broker, drilled(REDIS_URL=broker.url, **QUICK) as running, Witness(running) as witness:
        over, ids = threading.Event(), []
        uploaders = [
            threading.Thread(target=upload_on, args=(running, random.Random(chance.getrandbits(64)), over, ids))
            for _ in range(UPLOADERS)
        ]
        for thread in uploaders:
            thread.start()
        ends_at = time.monotonic() + float(os.environ.get("FILEWIRE_FAULT_SECONDS", "40"))
        try:
            while time.monotonic() < ends_at or len(ids) < LEAST_FILES:
                over.wait(chance.uniform(0.5, 2))
                done.append(harm(running, broker, chance))
        finally:
            over.set()
            for thread in uploaders:
                thread.join(60)
        print(f"{len(ids)} files; " + ", ".join(done))
        until(running.is_ready, 60, "ready again")
        witness.await_ends(ids, 120)
        found = verify(running, witness, ids)
        until(lambda: not leftovers(running), 30, "nothing is left over")
        until(lambda: not any(is_stopped(one) for one in running.processes()), 20, "nobody is stopped")
        codes = {(file["error"] or {}).get("code") for file in found.values()}
        assert codes <= {None, "drill_failed", "worker_lost"}
        assert len(ids) >= LEAST_FILES
