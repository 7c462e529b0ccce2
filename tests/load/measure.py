"""`make bench`: uploads and lists a second, by wrk, for this service and for its peers, interleaved in one run.

Real PostgreSQL (fsync on) and Valkey; the server pinned to one core, everything else to another; medians of rounds.
Every round is checked: answers are counted by status, and rows and files must be as many as the 201s. Absolute
figures belong to the machine; the ratio of two that were measured in the same run travels.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from tests.load.contenders import OURS, Server, contenders, pinned, serving
from tests.servers import own_postgres, valkey

Results = dict[str, dict[str, list[dict[str, float]]]]

BOUNDARY = "a-boundary-of-the-load"
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "multipart/form-data; boundary={boundary}"
wrk.body = io.open("{body}", "rb"):read("*a")
local counts = {{}}
local threads = {{}}
function setup(thread) table.insert(threads, thread) end
function init() created, other = 0, 0 end
function response(status) if status == 201 then created = created + 1 else other = other + 1 end end
function done(summary, latency)
  local a, b = 0, 0
  for _, thread in ipairs(threads) do a = a + thread:get("created"); b = b + thread:get("other") end
  io.write(string.format('{{"created":%d,"other":%d}}\\n', a, b))
end
"""


def wrk(url: str, connections: int, seconds: int, script: Path | None = None, tag: str = "") -> dict[str, float]:
    """One run of wrk: requests a second, p50 and p99 in ms, and the counts of its script."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "30s"]
    if script is not None:
        command += ["-s", str(script)]
    if tag:
        command += ["-H", f"If-None-Match: {tag}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = subprocess.run(pinned(1, [*command, url]), capture_output=True, text=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1])
    found = {"rate": rate, "wrk_cpu": 100 * spent / seconds}
    for quantile in ("50", "99"):
        number, unit = re.search(rf"{quantile}%\s+([\d.]+)(us|ms|s|m)", output).groups()
        found[f"p{quantile}"] = float(number) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60000}[unit]
    counts = re.search(r'\{"created".*\}', output)
    if counts:
        found |= json.loads(counts[0])
    elif "Non-2xx" in output and not tag:
        raise SystemExit(f"{url} answered errors:\n{output}")
    return found


def measured(
    server: Server, url: str, connections: int, seconds: int, script: Path | None = None, tag: str = ""
) -> dict[str, float]:
    """A run of wrk, and how much of a core the server took meanwhile."""
    before = server.cpu_seconds()
    found = wrk(url, connections, seconds, script, tag)
    return {**found, "cpu": 100 * (server.cpu_seconds() - before) / seconds}


def upload(server: Server, connections: int, seconds: int, script: Path) -> dict[str, float]:
    """A round of uploads, checked against the database and the storage."""
    rows, files = server.rows(), server.files()
    found = measured(server, f"{server.url}/upload/", connections, seconds, script)
    time.sleep(0.5)  # what wrk cut off at its end is still being written
    added = server.rows() - rows
    # wrk counts no answer that arrives after its time; the server has done that work.
    if found["other"] or not found["created"] <= added <= found["created"] + connections:
        raise SystemExit(f"{server.name}: {found} but {added} new rows")
    if server.files() - files != added:
        raise SystemExit(f"{server.name}: {added} new rows but {server.files() - files} new files")
    return found


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--fsync", action="store_true", help="have everyone make a file durable before its answer")
    parser.add_argument("--folder", type=Path, help="where the files go: a disk, for --fsync")
    parser.add_argument("--only", nargs="*", default=[], help="peers whose names contain one of these words")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is needed: apt-get install wrk")
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})  # the databases too; the servers are pinned to core 0
    with contextlib.ExitStack() as stack:
        results = run(options, stack)
    report(results, options)


def run(options: argparse.Namespace, stack: contextlib.ExitStack) -> Results:
    """Every contender under each kind of load, in turn, round after round."""
    work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="filewire-bench-", dir=options.folder)))
    server = stack.enter_context(own_postgres(durable=True))
    server.execute("ALTER SYSTEM SET max_connections = 500")  # all have theirs open at once, some one a request
    server.stop()
    server.start()
    broker = stack.enter_context(valkey())
    body = work / "body"
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
    line = b"the quick brown fox jumps over the lazy dog\n"
    body.write_bytes(part.encode() + (line * 240)[:10240] + f"\r\n--{BOUNDARY}--\r\n".encode())
    script = work / "upload.lua"
    script.write_text(SCRIPT.format(boundary=BOUNDARY, body=body))
    servers = [
        stack.enter_context(serving(contender, work, server.url, f"{broker.url[:-1]}{number}", fsync=options.fsync))
        for number, contender in enumerate(contenders(options.only))
    ]
    results: Results = {}
    for _ in range(options.rounds):
        for connections in (1, 16, 64):
            for server in servers:
                found = upload(server, connections, options.seconds, script)
                key = f"upload of 10 KiB, {connections} connection{'s' * (connections > 1)}"
                results.setdefault(key, {}).setdefault(server.name, []).append(found)
    for server in servers:
        server.seed(options.rows)
    for _ in range(options.rounds):
        for server in servers:
            key = f"list of 50 over {options.rows:,} rows, 16 connections"
            found = measured(server, f"{server.url}/files/", 16, options.seconds)
            results.setdefault(key, {}).setdefault(server.name, []).append(found)
            if server.name == OURS:
                found = measured(server, f"{server.url}/files/", 16, options.seconds, tag=server.entity_tag())
                results.setdefault("the same, unchanged", {}).setdefault(server.name, []).append(found)
    return results


def report(results: Results, options: argparse.Namespace) -> None:
    """The tables, in Markdown."""
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    fsync = "on" if options.fsync else "off"
    print(f"medians of {options.rounds} interleaved rounds of {options.seconds} s; fsync of the files {fsync}")
    for load, found in results.items():
        print(f"\n**{load}**\n")
        print("| | req/s | p50 ms | p99 ms | its core % | wrk's core % | Filewire is times that (spread) |")
        print("|---|---|---|---|---|---|---|")
        for name, rounds in found.items():
            figures = " | ".join(
                f"{statistics.median(each[key] for each in rounds):.{digits}f}"
                for key, digits in (("rate", 0), ("p50", 1), ("p99", 1), ("cpu", 0), ("wrk_cpu", 0))
            )
            ratios = sorted(a["rate"] / b["rate"] for a, b in zip(found[OURS], rounds, strict=True))
            times = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})" if name != OURS else ""
            print(f"| {name} | {figures} | {times} |")


if __name__ == "__main__":
    main()
