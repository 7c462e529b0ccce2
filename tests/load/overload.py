"""Back-pressure: uploads arrive at twice the rate that is taken, whether or not earlier ones were answered.

Each answer must be 201 or 503 with Retry-After, and each 201 a row. How long accepted ones took, what the memory of the
web process grew by, and how soon an upload is answered as quickly as before, are figures.
"""

import http.client
import json
import subprocess
import sys
import time

from tests.load.arrivals import quantile
from tests.load.bench import Bench
from tests.load.processes import MIB, OTHER_CORE, ROOT, Meter, pinned, sampled
from tests.load.report import OURS, Spec
from tests.load.serving import Server
from tests.load.uploads import FORM, checked, text, warm
from tests.load.wrk import form, script

SPEC = Spec(
    columns=(
        ("offered", "offered/s", 0),
        ("accepted", "201/s", 0),
        ("refused", "503/s", 0),
        ("p50", "201: p50 ms", 1),
        ("p99", "p99 ms", 1),
        ("refused_p99", "503: p99 ms", 1),
        ("grown_mib", "RSS grew by MiB", 1),
        ("before", "one upload before, ms", 1),
        ("recovered", "as quick again after s", 2),
        ("late", "generator late, p99 ms", 1),
        ("cpu", "web's CPU %", 0),
        ("generator", "generator's CPU %", 0),
    ),
    by="accepted",
)
TIMES = 2.0
RECOVERY_SECONDS = 2.0
CONNECTIONS = 32


def run(bench: Bench) -> None:
    """Round after round, each on a new server."""
    limit = bench.options.max_uploads
    for number in range(bench.few_rounds):
        with bench.ours(FILEWIRE_MAX_UPLOADS=str(limit)) as server:
            warm(server)
            content = text(10_240)
            body = form(content, "a.txt")
            lua = script(bench.materials, body, content_type=FORM)
            rate = checked(server, lua, CONNECTIONS, bench.options.seconds, len(content))["rate"]
            bench.say(f"overload, round {number + 1}: {TIMES:g} times {rate:.0f} uploads/s")
            figures = one(bench, server, body, TIMES * rate)
        title = f"uploads of 10 KiB at {TIMES:g} times what is taken, FILEWIRE_MAX_UPLOADS={limit}"
        bench.results.add("overload", title, OURS, figures, spec=SPEC)
        if figures["recovered"] > RECOVERY_SECONDS:
            bench.results.remark(f"**Overload: not as quick as before within {RECOVERY_SECONDS:g} s.**")


def one(bench: Bench, server: Server, body: bytes, rate: float) -> dict[str, float]:
    """The load, and the time after it. Raises SystemExit for any other answer, and where rows are not as the 201s."""
    seconds = bench.options.overload_seconds
    kept = bench.materials / "overload.body"
    kept.write_bytes(body)
    told = bench.materials / "overload.json"
    usual = sorted(one_upload(server, body) for _ in range(20))
    before, rss = server.rows(), server.tree.rss()
    command = [
        sys.executable, "-m", "tests.load.arrivals", f"127.0.0.1:{server.port}", str(kept), str(told), "--type", FORM,
        "--rate", str(rate), "--seconds", str(seconds),
    ]  # fmt: skip
    with Meter(server.tree) as meter, sampled(0.25, lambda: (server.tree.rss() / MIB,)) as memory:
        done = subprocess.run(pinned(OTHER_CORE, command), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the generator failed: {done.stderr[-2000:]}")
    recovered = recovery(server, body, usual)
    found = json.loads(told.read_text())
    answers, accepted = found["answers"], [took for _, took in found["accepted"]]
    if found["wrong"] or not accepted:
        raise SystemExit(f"{server.name} under overload: {answers}, {found['wrong']}")
    uploads_after = round(recovered["uploads"])
    if server.rows() - before - uploads_after != answers["201"]:
        raise SystemExit(f"{server.name}: {answers} but {server.rows() - before - uploads_after} new rows")
    curves(bench, found, memory, seconds)
    return {
        "offered": sum(answers.values()) / seconds,
        "accepted": len(accepted) / found["seconds"],
        "refused": answers.get("503", 0) / found["seconds"],
        "p50": 1000 * quantile(accepted, 0.5),
        "p99": 1000 * quantile(accepted, 0.99),
        "refused_p99": 1000 * quantile([took for _, took in found["refused"]], 0.99),
        "grown_mib": max(0.0, max(each[1] for each in memory) - rss / MIB),
        "before": 1000 * usual[len(usual) // 2],
        "recovered": recovered["seconds"],
        "late": 1000 * found["late_p99"],
        **meter.figures,
    }


def recovery(server: Server, body: bytes, usual: list[float]) -> dict[str, float]:
    """How long until three uploads, one after another, take no longer than the slowest of the usual ones did."""
    began, uploads, quick = time.monotonic(), 0, 0
    while quick < 3 and time.monotonic() - began < 5 * RECOVERY_SECONDS:
        quick = quick + 1 if one_upload(server, body) <= usual[-1] else 0
        uploads += 1
    return {"seconds": time.monotonic() - began, "uploads": uploads}


def one_upload(server: Server, body: bytes) -> float:
    """One upload by a connection of its own: how long its answer took. Raises SystemExit where it is not 201."""
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    began = time.monotonic()
    client.request("POST", "/upload/", body, {"Content-Type": FORM})
    status = client.getresponse().status
    took = time.monotonic() - began
    client.close()
    if status != 201:
        raise SystemExit(f"{server.name}: an upload alone was answered {status}")
    return took


def curves(bench: Bench, found: dict, memory: list[tuple[float, ...]], seconds: int) -> None:
    """The load second by second."""
    title = "answers under overload: second → a second"
    for name in ("accepted", "refused"):
        points = [
            (float(second), float(sum(second <= due < second + 1 for due, _ in found[name])))
            for second in range(seconds)
        ]
        bench.results.curve(title, "201" if name == "accepted" else "503", points)
    slow = [
        (float(second), 1000 * quantile([took for due, took in found["accepted"] if second <= due < second + 1], 0.99))
        for second in range(seconds)
    ]
    bench.results.curve("overload, how long: second → ms, MiB", "p99 of 201, ms", slow)
    bench.results.curve("overload, how long: second → ms, MiB", "RSS of web, MiB", memory)
