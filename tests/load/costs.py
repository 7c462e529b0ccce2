"""`make costs`: measures what one of each thing costs on this machine, and writes `project/capacity/costs.json`.

The service's real processes run on a real PostgreSQL (fsync on) and Valkey. Each part's core-seconds are the
kernel's own count for its processes, less what they take while idle, over many of one thing: so it matters little
what else the machine does meanwhile, and how quick the client is. Times from claim to outcome, and the dispatcher's
rate, are wall-clock: measure on a quiet machine. Takes a few minutes. Then the documents' quoted output is made anew.

`--folder DIR` adds real files, up to 16 MiB each: their kinds are what the service says they are.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import re
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from project.capacity import costs as record
from tests.acceptance.service import until
from tests.load import material, quoted
from tests.load.contenders import OUR_SEED
from tests.load.sender import Connection, closed_loop
from tests.load.stand import Stand, cpu_seconds, gaps, memory_bytes, stand

CONNECTIONS = 16
UPLOADS = {10 * 1024: 1500, 1024 * 1024: 150, 8 * 1024 * 1024: 30}  # how many of each size
LISTED_ROWS = 100_000
REQUESTS = 2000
WARMING = 100
SOCKETS = (25, 250)
SHOWN = 150  # files whose frames are counted
REPEATS = 6  # of each sample
LEAST_SECONDS = 0.6  # of work on one sample: the kernel counts in hundredths
MOST_REPEATS = 40
MOST_FOLDER_BYTES = 16 * 1024 * 1024
REMEMBERED_KEYS = 20_000
MIB = 1024 * 1024


@dataclass
class Found:
    """The figures so far, and the samples of each kind."""

    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    kinds: dict[str, list[record.Sample]] = field(default_factory=dict)

    def note(self, name: str, value: float, source: str) -> None:
        """Keep a figure; what should be above nothing and was lost in the noise is nothing."""
        unit = record.figures()[name]
        rounded = float(f"{max(0.0, value):.4g}")
        self.figures[name] = {"value": rounded, "unit": unit, "source": source}
        print(f"  {name} = {rounded:g} {unit}", flush=True)


def main() -> None:
    """Measure everything, write the file, make the quotations anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=record.PATH)
    parser.add_argument("--folder", type=Path, help="real files to add to the samples")
    options = parser.parse_args()
    samples = material.every()
    if options.folder:
        samples += material.of_folder(options.folder, MOST_FOLDER_BYTES)
    found = Found()
    began = time.monotonic()
    with stand() as running:
        for name, stage in (
            ("uploads", lambda: uploads(running, found)),
            ("dispatch", lambda: dispatch(running, found)),
            ("lives", lambda: lives(running, found)),
            ("kinds", lambda: kinds(running, found, samples)),
            ("readers", lambda: readers(running, found)),
            ("lists", lambda: lists(running, found)),
            ("Redis at rest", lambda: redis_at_rest(running, found)),
        ):
            print(f"{name} ({time.monotonic() - began:.0f} s)", flush=True)
            stage()
        document = {
            "machine": machine(),
            "date": datetime.now(UTC).date().isoformat(),
            "versions": versions(running),
            "figures": dict(sorted(found.figures.items())),
            "kinds": {
                kind: {"samples": [asdict(sample) for sample in each]} for kind, each in sorted(found.kinds.items())
            },
        }
    record.parse(document)
    options.output.write_text(json.dumps(document, indent=1) + "\n")
    print(f"{options.output} is written, after {time.monotonic() - began:.0f} s")
    if options.output == record.PATH:
        quoted.refresh()


# --- who, where ----------------------------------------------------------------------------------------------


def machine() -> str:
    """The machine in words."""
    cpu = platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{os.cpu_count()} cores of {cpu}, {psutil.virtual_memory().total / 1024**3:.0f} GiB"


def versions(running: Stand) -> dict[str, str]:
    """What it ran on."""
    with running.redis() as client:
        info = client.info("server")
    return {
        "python": platform.python_version(),
        "postgresql": str(running.query("SHOW server_version")[0][0]),
        "valkey": str(info.get("valkey_version", info["redis_version"])),
    }


# --- the stages ----------------------------------------------------------------------------------------------


def uploads(running: Stand, found: Found) -> None:
    """What an upload of a size takes of `web` and the database: nobody dispatches or works meanwhile."""
    running.serve()
    send(running, "warm.txt", material.prose(10 * 1024), 200)
    idle = running.idle_rate(lambda: cpu_seconds(running.tree("web")))
    lines: list[tuple[int, float]] = []
    for size, count in UPLOADS.items():
        content, web, database = material.prose(size), running.tree("web"), running.database_processes()
        wal, spent, base, began = running.wal_bytes(), cpu_seconds(web), cpu_seconds(database), time.monotonic()
        send(running, "a.txt", content, count)
        took = time.monotonic() - began
        lines.append((size, (cpu_seconds(web) - spent - idle * took) / count))
        if size == min(UPLOADS):
            source = f"{count} uploads of 10 KiB over {CONNECTIONS} connections, each committed"
            found.note("database_upload", (cpu_seconds(database) - base) / count, f"PostgreSQL's processes: {source}")
            found.note("wal_upload_bytes", (running.wal_bytes() - wal) / count, f"pg_current_wal_insert_lsn: {source}")
    line = record.fit([size for size, _ in lines], [cost for _, cost in lines])
    told = ", ".join(f"{cost * 1000:.2f} ms at {size // 1024} KiB" for size, cost in lines)
    found.note("web_upload", line.fixed, f"fitted to forms over {CONNECTIONS} connections: {told}")
    found.note("web_upload_mib", line.per_mib, f"fitted to forms over {CONNECTIONS} connections: {told}")
    found.note("web_process_bytes", memory_bytes(running.tree("web")), "proportional set size after all of these")
    found.note("database_connection_bytes", *running.backend_bytes())


def dispatch(running: Stand, found: Found) -> None:
    """What the dispatcher sends a second when all of the uploads wait for it, and what each message takes."""
    pace = paced(running)
    source = f"{pace.sent} files that waited"
    found.note("dispatcher_messages_per_second", pace.sent / pace.seconds, f"wall clock, {source}")
    found.note("dispatcher_message", pace.core_seconds / pace.sent, source)
    found.note("dispatcher_process_bytes", pace.memory_bytes, "proportional set size")
    found.note("redis_message_bytes", pace.message_bytes, "MEMORY USAGE of the queue with these")


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How a dispatcher sent what waited."""

    sent: int
    seconds: float
    core_seconds: float
    memory_bytes: int
    message_bytes: float


def paced(running: Stand) -> Pace:
    """A dispatcher alone, sending all that waits; then what waits is forgotten, or a worker would be at it next."""
    waiting = running.query("SELECT count(*) FROM files_file WHERE dispatched_at IS NULL")[0][0]
    running.start("dispatcher")
    with running.redis() as client:
        until(lambda: client.llen("filewire") >= waiting / 10, 60, "the dispatcher sends")
        processes, first, began = running.tree("dispatcher"), client.llen("filewire"), time.monotonic()
        spent = cpu_seconds(processes)
        until(lambda: client.llen("filewire") >= waiting, 120, "all are sent")
        found = Pace(
            sent=waiting - first,
            seconds=time.monotonic() - began,
            core_seconds=cpu_seconds(processes) - spent,
            memory_bytes=memory_bytes(processes),
            message_bytes=client.memory_usage("filewire", samples=0) / waiting,
        )
        running.stop("dispatcher")
        running.query("TRUNCATE files_file")
        client.flushdb()
    return found


def lives(running: Stand, found: Found) -> None:
    """What a small file's life after its upload takes of database and Redis."""
    # As in a service that is not new: among so many rows the database goes by its indexes.
    running.query(OUR_SEED.format(table="files_file"), None, [1, LISTED_ROWS])
    running.query("VACUUM ANALYZE files_file")
    running.work(processes=1)
    running.listen()
    running.ended(ids_of(send(running, "warm.txt", b"warm", 50)))
    celery, parent = running.celery(), {each.pid for each in running.sandboxes()}
    pool = [each for each in celery if each.pid in parent or any(child.pid in parent for child in each.children())]
    found.note("worker_process_bytes", memory_bytes(pool), "proportional set size of a pool process and its sandbox")
    others = [each for each in celery if each.pid not in {one.pid for one in pool}]
    found.note(
        "worker_parent_bytes", memory_bytes(others), "proportional set size of the supervisor and Celery's parent"
    )

    def database() -> float:
        return cpu_seconds(running.database_processes())

    idle, idle_redis = running.idle_rate(database), running.redis_spent()
    time.sleep(5)
    resting = running.redis_spent()
    idle_rates = [(after - before) / 5 for before, after in zip(idle_redis, resting, strict=True)]
    found.note("redis_idle_commands", idle_rates[1], "web, one worker and its dispatcher, 5 s")
    count = 600
    wal, spent, before, began = running.wal_bytes(), database(), running.redis_spent(), time.monotonic()
    events = _appended(running)
    running.ended(ids_of(send(running, "a.txt", b"a small text", count)))
    time.sleep(1)
    took, after = time.monotonic() - began, running.redis_spent()
    source = f"{count} small texts from upload to outcome, one worker process"
    per_file = (database() - spent - idle * took) / count
    found.note("database_file", per_file - found.figures["database_upload"]["value"], f"{source}, less the upload's")
    whole = (running.wal_bytes() - wal) / count
    found.note("wal_file_bytes", whole - found.figures["wal_upload_bytes"]["value"], f"{source}, less the upload's")
    found.note("redis_file", (after[0] - before[0] - idle_rates[0] * took) / count, f"INFO: {source}")
    found.note("redis_file_commands", (after[1] - before[1] - idle_rates[1] * took) / count, f"INFO: {source}")
    found.note("file_events", (_appended(running) - events) / count, f"entries added to the stream: {source}")
    running.query("VACUUM ANALYZE files_file")
    total, rows, own = running.query(
        "SELECT pg_total_relation_size('files_file'), count(*), sum(pg_column_size(f.*)) FROM files_file AS f"
    )[0]
    found.note(
        "database_row_beside_bytes",
        (total - float(own)) / rows,
        f"pg_total_relation_size after a VACUUM, less the {rows} rows: indexes, pages, room of older versions",
    )


def kinds(running: Stand, found: Found, samples: Sequence[material.File]) -> None:
    """What each sample takes of a worker: its time again and again, then once more to see the child's memory."""
    all_lives = []
    idle = running.idle_rate(lambda: cpu_seconds(running.celery()))
    for file in samples:
        try:
            (first,) = running.ended(ids_of(send(running, file.name, file.content, 1)))
        except ExceptionGroup as error:  # a file of a folder that is not taken
            print(f"  {file.title}: {error.exceptions[0]}")
            continue
        if first.status != "processed":
            print(f"  {file.title}: {first.status}", file=sys.stderr)
            continue
        repeats = min(MOST_REPEATS, max(REPEATS, round(LEAST_SECONDS / max(0.001, first.done_at - first.claimed_at))))
        processes = running.celery()
        spent, began = cpu_seconds(processes), time.monotonic()
        ids = ids_of(send(running, file.name, file.content, repeats))
        ended = running.ended(ids)
        time.sleep(0.05)  # what the last one still costs after its outcome
        took = time.monotonic() - began
        core_seconds = (cpu_seconds(processes) - spent - idle * took) / repeats
        row = running.query(
            "SELECT avg(pg_column_size(f.*)) FROM files_file AS f WHERE id = ANY(%s::uuid[])", None, [ids]
        )
        with peak(running) as highest:
            running.ended(ids_of(send(running, file.name, file.content, 2)))
        all_lives += ended
        sample = record.Sample(
            name=file.title,
            bytes=len(file.content),
            core_seconds=round(max(0.0, core_seconds), 5),
            seconds=tuple(round(life.done_at - life.claimed_at, 5) for life in ended),
            derived_bytes=derived_bytes(running, ids[0]),
            row_bytes=round(row[0][0]),
            peak_bytes=highest[0],
        )
        found.kinds.setdefault(ended[0].kind, []).append(sample)
        print(
            f"  {ended[0].kind}: {file.title}: {core_seconds:.4f} core-seconds, "
            f"{statistics.fmean(sample.seconds):.4f} s, {highest[0] // MIB} MiB",
            flush=True,
        )
    between = gaps(all_lives)
    source = f"from an outcome to the next claim, the mean of {len(between)} times that a file was waiting"
    found.note("worker_between_files", statistics.fmean(between), source)


def readers(running: Stand, found: Found) -> None:
    """What sockets and frames take of `live`, by two numbers of sockets."""
    running.start("live", f"--port={running.live_port}")
    running.answers("live", running.live_port)
    points = [asyncio.run(_shown(running, sockets, found if sockets == max(SOCKETS) else None)) for sockets in SOCKETS]
    (few, low), (many, high) = points
    per_frame = (high - low) / (many - few)
    told = ", ".join(f"{cost * 1e6:.0f} µs an event at {sockets} sockets" for sockets, cost in points)
    found.note("live_frame", per_frame, told)
    found.note("live_event", low - per_frame * few, told)
    running.stop("live")


async def _shown(running: Stand, sockets: int, found: Found | None) -> tuple[int, float]:
    """How many sockets, and the core-seconds of `live` for an event that all of them are sent."""
    process = running.tree("live")
    alone = memory_bytes(process)
    received = sizes = 0
    wanted, complete = float("inf"), asyncio.Event()

    async def read(socket: Any) -> None:
        nonlocal received, sizes
        with contextlib.suppress(ConnectionClosed):
            async for frame in socket:
                received += 1
                sizes += len(frame)
                if received >= wanted:
                    complete.set()

    url = f"ws://127.0.0.1:{running.live_port}/ws/files/"
    opened = [await connect(url, compression=None, open_timeout=30) for _ in range(sockets)]
    tasks = [asyncio.create_task(read(socket)) for socket in opened]
    await asyncio.sleep(1.0)
    if found is not None:
        found.note("live_process_bytes", alone, "proportional set size before the sockets")
        found.note("live_socket_bytes", (memory_bytes(process) - alone) / sockets, f"{sockets} sockets of daphne's")
    idle = await asyncio.to_thread(running.idle_rate, lambda: cpu_seconds(process))  # its pings
    received = sizes = 0
    spent, began, before = cpu_seconds(process), time.monotonic(), _appended(running)
    sent = await closed_loop(running.port, 4, SHOWN, lambda connection: connection.upload("a.txt", b"to be shown"))
    await asyncio.to_thread(running.ended, ids_of(sent))
    events = _appended(running) - before
    wanted = events * sockets
    if received < wanted:
        async with asyncio.timeout(60):
            await complete.wait()
    cost = (cpu_seconds(process) - spent - idle * (time.monotonic() - began)) / events
    if found is not None:
        found.note("frame_bytes", sizes / received, f"{received} frames of small texts")
    for socket in opened:
        await socket.close()
    await asyncio.gather(*tasks)
    return sockets, cost


def lists(running: Stand, found: Found) -> None:
    """What a list, an unchanged list and a download take of `web` and the database, which has no other work then."""
    running.stop("worker")
    running.query("VACUUM ANALYZE files_file")
    (_, headers, page) = asyncio.run(_asked(running, "/files/"))
    tag = {"If-None-Match": headers["etag"]}
    found.note("list_bytes", len(page), "a list of 50")
    for name, of_database, path, given in (
        ("web_list", "database_list", "/files/", {}),
        ("web_poll", "database_poll", "/files/", tag),
    ):
        web, database = asked(running, path, given, REQUESTS)
        source = f"{REQUESTS} over 8 connections, {LISTED_ROWS:,} rows"
        found.note(name, web, source)
        found.note(of_database, database, source)
    costs = []
    for size in (10 * 1024, 8 * MIB):
        (document,) = send(running, "a.bin", os.urandom(size), 1)
        web, _ = asked(running, f"/files/{document['id']}/content/", {}, REQUESTS if size < MIB else 60)
        costs.append((size, web))
    line = record.fit([size for size, _ in costs], [cost for _, cost in costs])
    told = ", ".join(f"{cost * 1000:.2f} ms at {size // 1024} KiB" for size, cost in costs)
    found.note("web_download", line.fixed, f"fitted: {told}")
    found.note("web_download_mib", line.per_mib, f"fitted: {told}")


def redis_at_rest(running: Stand, found: Found) -> None:
    """What lies in Redis: an event of the stream, a file's place in the feed, and the server itself."""
    with running.redis() as client:
        length = client.xlen("filewire:feed")
        source = f"MEMORY USAGE of a stream of {length}"
        found.note("redis_event_bytes", client.memory_usage("filewire:feed", samples=0) / length, source)
        key = next(client.scan_iter("filewire:feed:file:*"))
        kept = client.dump(key)
        client.execute_command("FLUSHALL", "SYNC")
        before = client.info("memory")["used_memory"]
        for number in range(REMEMBERED_KEYS):  # one by one: a long pipeline would lie in the server's memory too
            client.restore(f"{key.decode()[:-8]}{number:08}", 7 * 86400 * 1000, kept)
        after = client.info("memory")["used_memory"]
        source = f"used_memory with {REMEMBERED_KEYS:,} copies of one, each with its time to live, less that without"
        found.note("redis_file_bytes", (after - before) / REMEMBERED_KEYS, source)
        found.note("redis_process_bytes", before, "used_memory of the empty server and its connections")


# --- what they share -----------------------------------------------------------------------------------------


def send(running: Stand, name: str, content: bytes, count: int) -> list[dict[str, Any]]:
    """The Files of so many uploads of this content."""
    connections = min(CONNECTIONS, count)
    return asyncio.run(
        closed_loop(running.port, connections, count, lambda connection: connection.upload(name, content))
    )


def ids_of(documents: Sequence[dict[str, Any]]) -> list[str]:
    """The files' ids."""
    return [document["id"] for document in documents]


async def _asked(running: Stand, path: str) -> tuple[int, dict[str, str], bytes]:
    connection = Connection(running.port)
    try:
        return await connection.ask("GET", path)
    finally:
        connection.close()


def asked(running: Stand, path: str, headers: dict[str, str], count: int) -> tuple[float, float]:
    """Core-seconds of `web`, and of the database, for one GET of this path."""

    async def get(connection: Connection) -> int:
        status, _, _ = await connection.ask("GET", path, headers)
        return status

    asyncio.run(closed_loop(running.port, 8, WARMING, get))  # every thread of `web` has its connection then
    web, database = running.tree("web"), running.database_processes()
    idle = running.idle_rate(lambda: cpu_seconds(web))
    spent, base, began = cpu_seconds(web), cpu_seconds(database), time.monotonic()
    statuses = set(asyncio.run(closed_loop(running.port, 8, count, get)))
    took = time.monotonic() - began
    if statuses != {304 if headers else 200}:
        raise SystemExit(f"{path} was answered {statuses}")
    return (cpu_seconds(web) - spent - idle * took) / count, (cpu_seconds(database) - base) / count


def derived_bytes(running: Stand, file_id: str) -> int:
    """What was made of a file."""
    folder = running.data / "files" / "blobs" / f"{running.key_of(file_id)}.d"
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextlib.contextmanager
def peak(running: Stand) -> Iterator[list[int]]:
    """The most memory that a child of the sandbox has had within the block: its resident set, shared pages too."""
    highest, over = [0], threading.Event()
    tasks = [Path(f"/proc/{each.pid}/task/{each.pid}/children") for each in running.sandboxes()]

    def look() -> None:
        while not over.wait(0.001):
            for pid in " ".join(path.read_text() for path in tasks).split():
                with contextlib.suppress(OSError):
                    words = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
                    highest[0] = max(highest[0], int(words[1]) * 1024 if words else 0)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield highest
    finally:
        over.set()
        thread.join()


def _appended(running: Stand) -> int:
    with running.redis() as client:
        return int(client.xinfo_stream("filewire:feed")["entries-added"])


if __name__ == "__main__":
    main()
