"""`make load`: uploads and lists a second, by wrk, for this service and for plain DRF, interleaved in one run.

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
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psycopg2

from tests.ports import free_port
from tests.servers import postgres, valkey

ROOT = Path(__file__).resolve().parent.parent.parent
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


class Server:
    """One program under load."""

    def __init__(self, name: str, url: str, data: Path, table: str, database: str) -> None:
        self.name, self.url, self.data, self.table, self.database = name, url, data, table, database

    def rows(self) -> int:
        """How many uploads the database has."""
        with contextlib.closing(psycopg2.connect(self.database)) as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {self.table}")
            return int(cursor.fetchone()[0])

    def files(self) -> int:
        """How many uploads the storage has."""
        return sum(len(names) for folder, _, names in os.walk(self.data) if not folder.endswith(".d"))


def pinned(core: int, command: list[str]) -> list[str]:
    """The command on one core, where there is a choice."""
    return ["taskset", "-c", str(core), *command] if (os.cpu_count() or 1) > 1 and shutil.which("taskset") else command


@contextlib.contextmanager
def process(command: list[str], environment: dict[str, str], url: str, log: Path) -> Iterator[None]:
    """A server process, answering before the block begins."""
    with log.open("wb") as output:
        running = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            ends_at = time.monotonic() + 30
            while True:
                try:
                    urllib.request.urlopen(url, timeout=5).read()
                except OSError:
                    if running.poll() is not None or time.monotonic() > ends_at:
                        raise SystemExit(f"{command} did not start:\n{log.read_text()[-3000:]}") from None
                    time.sleep(0.05)
                else:
                    break
            yield
        finally:
            running.terminate()
            running.wait(30)


def wrk(url: str, connections: int, seconds: int, script: Path | None = None) -> dict[str, float]:
    """One run of wrk: requests a second, p50 and p99 in ms, and the counts of its script."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "30s"]
    if script is not None:
        command += ["-s", str(script)]
    output = subprocess.run(pinned(1, [*command, url]), capture_output=True, text=True, check=True).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1])
    found = {"rate": rate}
    for quantile in ("50", "99"):
        number, unit = re.search(rf"{quantile}%\s+([\d.]+)(us|ms|s|m)", output).groups()
        found[f"p{quantile}"] = float(number) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60000}[unit]
    counts = re.search(r'\{"created".*\}', output)
    if counts:
        found |= json.loads(counts[0])
    elif "Non-2xx" in output:
        raise SystemExit(f"{url} answered errors:\n{output}")
    return found


def upload(server: Server, connections: int, seconds: int, script: Path) -> dict[str, float]:
    """A round of uploads, checked against the database and the storage."""
    rows, files = server.rows(), server.files()
    found = wrk(f"{server.url}/upload/", connections, seconds, script)
    time.sleep(0.5)  # what wrk cut off at its end is still being written
    added = server.rows() - rows
    # wrk counts no answer that arrives after its time; the server has done that work.
    if found["other"] or not found["created"] <= added <= found["created"] + connections:
        raise SystemExit(f"{server.name}: {found} but {added} new rows")
    if server.files() - files != added:
        raise SystemExit(f"{server.name}: {added} new rows but {server.files() - files} new files")
    return found


def seed(server: Server, rows: int) -> None:
    """Fill the list with finished files, as large as a service grows."""
    with contextlib.closing(psycopg2.connect(server.database)) as connection, connection.cursor() as cursor:
        if server.name == "filewire":
            cursor.execute(
                """INSERT INTO files_file (id, file, name, size, content_type, declared_content_type, kind, sha256,
                     uploaded_at, processed, status, progress, attempt, derived, request_id, version, changed_at,
                     due_at, losses, faults)
                   SELECT (lpad(to_hex((1.7e12 + n)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8' ||
                     substr(md5(n::text), 4, 15))::uuid, 'x', 'name-' || n || '.txt', n, 'text/plain', '', 'text',
                     repeat('0', 64), now(), true, 'processed', 100, 1, '{}', '', 3, now(), now(), 0, 0
                   FROM generate_series(1, %s) AS n""",
                [rows],
            )
        else:
            cursor.execute(
                """INSERT INTO plain_upload (id, file, uploaded_at, processed)
                   SELECT gen_random_uuid(), 'name-' || n || '.txt', now() - n * interval '1 second', true
                   FROM generate_series(1, %s) AS n""",
                [rows],
            )
        connection.commit()
        connection.autocommit = True
        cursor.execute(f"VACUUM ANALYZE {server.table}")


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=100_000)
    options = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is needed: apt-get install wrk")
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})  # the databases too; the servers are pinned to core 0
    with contextlib.ExitStack() as stack:
        results = run(options, stack)
    report(results, options)


def run(options: argparse.Namespace, stack: contextlib.ExitStack) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Both servers under each kind of load, in turn, round after round."""
    work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="filewire-load-")))
    server = stack.enter_context(postgres(durable=True))
    broker = stack.enter_context(valkey())
    with contextlib.closing(psycopg2.connect(server)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE filewire")
            cursor.execute("CREATE DATABASE plain")
    body = work / "body"
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
    line = b"the quick brown fox jumps over the lazy dog\n"
    body.write_bytes(part.encode() + (line * 240)[:10240] + f"\r\n--{BOUNDARY}--\r\n".encode())
    script = work / "upload.lua"
    script.write_text(SCRIPT.format(boundary=BOUNDARY, body=body))
    servers = []
    for name, table in (("filewire", "files_file"), ("plain", "plain_upload")):
        data, port, url = work / name, free_port(), re.sub(r"/[^/]*$", f"/{name}", server)
        data.mkdir()
        environment = {
            "DATABASE_URL": url,
            "REDIS_URL": f"{broker.url[:-1]}{len(servers)}",
            "FILEWIRE_DATA_DIR": str(data),
            "DATA": str(data),
            "SECRET_KEY": "load",
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "MALLOC_MMAP_THRESHOLD_": "33554432",
            "MALLOC_TRIM_THRESHOLD_": "67108864",
        }
        if name == "filewire":
            command = [sys.executable, "manage.py", "web", "--migrate", f"--port={port}"]
        else:
            code = "from tests.load.peers.plain import create_table; create_table()"
            subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **environment}, check=True)
            uvicorn = ["-m", "uvicorn", "--no-access-log", f"--port={port}", "tests.load.peers.plain:application"]
            command = [sys.executable, *uvicorn]
        address_of = f"http://127.0.0.1:{port}"
        stack.enter_context(process(pinned(0, command), environment, f"{address_of}/files/", work / f"{name}.log"))
        if name == "filewire":
            # As deployed: a dispatcher sends what comes in. Its cost is not the web core's.
            dispatcher = subprocess.Popen(
                pinned(1, [sys.executable, "manage.py", "dispatcher"]),
                cwd=ROOT,
                env={**os.environ, **environment},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(lambda running=dispatcher: (running.terminate(), running.wait(20)))
        servers.append(Server(name, address_of, data / "files" / "blobs" if name == "filewire" else data, table, url))
    results: dict[str, dict[str, list[dict[str, float]]]] = {}
    for _ in range(options.rounds):
        for connections in (1, 16, 64):
            for server in servers:
                found = upload(server, connections, options.seconds, script)
                key = f"upload of 10 KiB, {connections} connections"
                results.setdefault(key, {}).setdefault(server.name, []).append(found)
    for server in servers:
        seed(server, options.rows)
    for _ in range(options.rounds):
        for server in servers:
            found = wrk(f"{server.url}/files/", 16, options.seconds)
            key = f"list of 50 over {options.rows:,} rows, 16 connections"
            results.setdefault(key, {}).setdefault(server.name, []).append(found)
    return results


def report(results: dict[str, dict[str, list[dict[str, float]]]], options: argparse.Namespace) -> None:
    """The table, in Markdown."""
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"medians of {options.rounds} interleaved rounds of {options.seconds} s\n")
    print("| load | Filewire req/s | p50 ms | p99 ms | plain DRF req/s | ratio (its spread) |")
    print("|---|---|---|---|---|---|")
    for load, found in results.items():
        ours, plain = found["filewire"], found["plain"]
        ratios = sorted(a["rate"] / b["rate"] for a, b in zip(ours, plain, strict=True))
        print(
            f"| {load} | {statistics.median(r['rate'] for r in ours):.0f}"
            f" | {statistics.median(r['p50'] for r in ours):.1f} | {statistics.median(r['p99'] for r in ours):.1f}"
            f" | {statistics.median(r['rate'] for r in plain):.0f}"
            f" | {statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f}) |"
        )


if __name__ == "__main__":
    main()
