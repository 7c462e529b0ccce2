"""From a 201 to the `file.processed` frame: trivial files, one after another, by WebSocket; idle, and under uploads.

Web and live on core 0; the worker with as many processes as it has by default, and its dispatcher, on core 1.
"""

import asyncio
import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from tests.load.arrivals import Pool, quantile, request_of
from tests.load.bench import TRIVIAL, Bench
from tests.load.processes import OTHER_CORE, ROOT, SERVER_CORE, Meter, pinned
from tests.load.report import CPU, OURS, Spec
from tests.load.serving import Server, await_answer
from tests.load.sockets import listen
from tests.load.uploads import FORM, checked, text, warm
from tests.load.wrk import form, script
from tests.ports import free_port

SPEC = Spec(
    columns=(
        ("p50", "p50 ms", 1),
        ("p99", "p99 ms", 1),
        ("slowest", "slowest ms", 1),
        ("probes", "files timed", 0),
        ("load", "uploads/s beside", 0),
        ("late", "their generator late, p99 ms", 1),
        *CPU,
    ),
    by="p50",
    less_is_better=True,
)
PATIENCE_SECONDS = 120.0
AT_ONCE = 16
ENOUGH = 100
PAUSE_SECONDS = 0.05  # between one file's frame and the next file: what its end still costs is not the next one's time


def run(bench: Bench) -> None:
    """Idle, at half of what is finished a second, at half of what is accepted a second; round after round."""
    accepted = bench.capacity or capacity(bench)
    for number in range(bench.few_rounds):
        with bench.ours(dispatcher=False) as server, live(server) as port, server.beside("worker"):
            warm(server)
            finished = asyncio.run(finishing(server, max(32, bench.options.probes)))
            loads = [("idle", 0.0), ("at half of what is finished a second", finished / 2)]
            # The last: what comes in is more than the worker finishes, so files wait ever longer.
            loads.append(("at half of what is accepted a second, which is more than is finished", accepted / 2))
            for title, rate in loads:
                bench.say(f"latency, round {number + 1}: {title} ({rate:.0f} uploads/s)")
                keep(bench, server, port, title, rate)
                if title != loads[-1][0]:
                    drained(server)
    bench.results.remark(
        "Latency: “at half of what is accepted” ends after the seconds of a round, however few files were timed by "
        "then; while more comes in than is finished, the time grows with how long that has lasted."
    )


def keep(bench: Bench, server: Server, port: int, title: str, rate: float) -> None:
    """Time files under one load."""
    last = title.startswith("at half of what is accepted")
    seconds = float(bench.options.seconds) if last else PATIENCE_SECONDS
    with Meter(server.tree) as meter, uploading(bench, server, rate) as beside:
        times = asyncio.run(probe(server, port, bench.options.probes, seconds))
    figures = {
        "p50": 1000 * quantile(times, 0.5),
        "slowest": 1000 * max(times),
        "probes": len(times),
        **beside,
        **meter.figures,
    }
    if len(times) >= ENOUGH:  # of fewer it is the slowest
        figures["p99"] = 1000 * quantile(times, 0.99)
    bench.results.add("latency", f"201 to frame, {title}", OURS, figures, spec=SPEC)
    shares = [(1000 * value, (place + 1) / len(times)) for place, value in enumerate(sorted(times))]
    bench.results.curve("from 201 to the frame: ms → share of files", title, shares)


def capacity(bench: Bench) -> float:
    """Uploads of 10 KiB a second that web accepts, where the part that measures them has not run."""
    with bench.ours() as server:
        warm(server)
        content = text(10_240)
        lua = script(bench.materials, form(content, "a.txt"), content_type=FORM)
        found = checked(server, lua, AT_ONCE, bench.options.seconds, len(content))
    bench.capacity = found["rate"]
    return bench.capacity


@contextlib.contextmanager
def live(server: Server) -> Iterator[int]:
    """`manage.py live` beside the web process: its port."""
    port = free_port()
    with server.beside("live", f"--port={port}", core=SERVER_CORE) as tree:
        await_answer(f"http://127.0.0.1:{port}/", tree.process, server.work / "live.log")
        yield port


def trivial(server: Server) -> bytes:
    """The upload as it goes over the wire."""
    return request_of("127.0.0.1", server.port, form(TRIVIAL, "a.txt"), FORM)


async def finishing(server: Server, count: int) -> float:
    """Files a second that are uploaded and processed, when some are uploaded as quickly as can be."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(pool: Pool) -> None:
        async with gate:
            status, _ = await pool.ask()
            assert status == 201, status

    await until(lambda: undone(server) == 0)
    before = server.rows()
    async with Pool("127.0.0.1", server.port, trivial(server)) as pool:
        await asyncio.gather(*(one(pool) for _ in range(count)))
    await until(lambda: undone(server) == 0)
    ((seconds,),) = server.ask(
        "SELECT extract(epoch FROM max(processed_at) - min(uploaded_at)) FROM"
        " (SELECT processed_at, uploaded_at FROM files_file ORDER BY id OFFSET %s) AS late",
        before,
    )
    return count / float(seconds)


def undone(server: Server) -> int:
    """How many files are not processed. Raises SystemExit where one has failed."""
    counts = dict(server.ask("SELECT status, count(*) FROM files_file GROUP BY status"))
    if counts.get("failed"):
        raise SystemExit(f"{server.name}: {counts['failed']} files failed")
    return int(counts.get("queued", 0) + counts.get("processing", 0))


async def until(condition: Callable[[], bool]) -> None:
    """Return once it is true. Raises SystemExit when that takes too long."""
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > ends_at:
            raise SystemExit("what was uploaded was not processed in time")
        await asyncio.sleep(0.1)


def drained(server: Server) -> None:
    """Return once nothing waits."""
    asyncio.run(until(lambda: undone(server) == 0))


async def probe(server: Server, port: int, count: int, seconds: float) -> list[float]:
    """The time of each of so many files, one after another, or of as many as end in so many seconds."""
    frames: dict[str, float] = {}
    came = asyncio.Event()

    def hear(_: int, payload: bytes, at: float) -> None:
        event = json.loads(payload)
        if event["type"] == "file.failed":
            raise SystemExit(f"{server.name}: a trivial file failed")
        if event["type"] == "file.processed":
            frames[event["subject"]] = at
            came.set()

    (listener,) = await listen(port, "/ws/files/", 1, hear)
    times: list[float] = []
    began = time.monotonic()
    async with Pool("127.0.0.1", server.port, trivial(server)) as pool:
        while len(times) < count and (not times or time.monotonic() - began < seconds):
            status, head = await pool.ask()
            answered = time.monotonic()
            place = re.search(rb"location: /files/([0-9a-f-]{36})/", head)
            if status != 201 or place is None:
                raise SystemExit(f"{server.name}: an upload was answered {status}")
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (at := frames.pop(place[1].decode(), None)) is None:
                    came.clear()
                    await came.wait()
            times.append(max(0.0, at - answered))
            await asyncio.sleep(PAUSE_SECONDS)
    listener.drop()
    return times


@contextlib.contextmanager
def uploading(bench: Bench, server: Server, rate: float) -> Iterator[dict[str, float]]:
    """Other clients upload trivial files at this rate for as long as the block; what they did, once it is over."""
    if not rate:
        yield {"load": 0.0}
        return
    beside: dict[str, float] = {}
    body = bench.materials / "beside.body"
    body.write_bytes(form(TRIVIAL, "beside.txt"))
    told = bench.materials / "beside.json"
    before = server.rows()
    command = [
        sys.executable, "-m", "tests.load.arrivals", f"127.0.0.1:{server.port}", str(body), str(told), "--type", FORM,
        "--rate", str(rate), "--until-stopped",
    ]  # fmt: skip
    process = subprocess.Popen(pinned(OTHER_CORE, command), cwd=ROOT, stdin=subprocess.PIPE)
    try:
        yield beside
    finally:
        process.communicate(timeout=120)
    if process.returncode:
        raise SystemExit(f"{server.name}: the generator of the uploads beside failed")
    found = json.loads(told.read_text())
    answers = found["answers"]
    if set(answers) != {"201"} or server.rows() - before < answers["201"]:
        raise SystemExit(f"{server.name}: the uploads beside were answered {answers}")
    beside |= {"load": answers["201"] / found["seconds"], "late": 1000 * found["late_p99"]}
