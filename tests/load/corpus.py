"""`make corpus DIR=…`: every file of a folder through a running service, and a table of what became of them.

Talks to FILEWIRE_URL (http://127.0.0.1:8000), or to a service of its own where nobody answers there. The end of each
file is heard by the feed. The exit status is 1 when a file did not end, or ended in an error nobody foresaw.
"""

import argparse
import contextlib
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.acceptance.service import service

UPLOADS_AT_ONCE = 4
LOOK_SECONDS = 0.02
PATIENCE_SECONDS = 120.0  # without any news
BAR_COLUMNS = 40
TERMINAL = ("file.processed", "file.failed")
OURS = ("processing_error", "worker_lost")


@dataclass
class Run:
    """What is known so far."""

    uploaded: dict[str, str] = field(default_factory=dict)  # id → path in the folder
    refused: Counter[str] = field(default_factory=Counter)
    began_at: dict[str, float] = field(default_factory=dict)
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    news_at: float = field(default_factory=time.monotonic)
    over: threading.Event = field(default_factory=threading.Event)
    peak_bytes: int = 0


def follow(url: str, run: Run, cursor: str) -> None:
    """Hear the feed until the run is over, across whatever breaks it."""
    while not run.over.is_set():
        with (
            contextlib.suppress(OSError, ConnectionClosed, TimeoutError),
            connect(f"{url.replace('http', 'ws', 1)}/ws/files/?after={cursor}", open_timeout=10) as socket,
        ):
            while not run.over.is_set():
                try:
                    frame = json.loads(socket.recv(timeout=0.5))
                except TimeoutError:
                    continue
                cursor = frame["id"]
                hear(run, frame)


def hear(run: Run, frame: dict[str, Any]) -> None:
    """Take one frame of the feed in."""
    file_id = frame.get("subject", "")
    run.news_at = time.monotonic()
    if frame["type"] == "file.processing":
        run.began_at[file_id] = time.monotonic()
    elif frame["type"] in TERMINAL:
        run.ended[file_id] = frame["data"]
        run.seconds[file_id] = time.monotonic() - run.began_at.get(file_id, time.monotonic())


def watch_memory(run: Run) -> None:
    """Sample how much the children that open the files have had, at their highest (Linux tells that itself)."""
    while not run.over.wait(LOOK_SECONDS):
        for process in psutil.process_iter(["pid", "cmdline"]):
            if "apps.processing.sandbox" in (process.info["cmdline"] or []):
                with contextlib.suppress(OSError, ValueError, psutil.Error):
                    run.peak_bytes = max(run.peak_bytes, _highest(process))


def _highest(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        return int(process.memory_info().rss)
    words = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:")).split()
    return int(words[1]) * 1024


def upload(client: httpx.Client, folder: Path, path: Path, run: Run) -> None:
    """Send one file."""
    with path.open("rb") as stream:
        answer = client.post("/upload/", files={"file": (path.name, stream)})
    name = str(path.relative_to(folder))
    if answer.status_code == 201:
        run.uploaded[answer.json()["id"]] = name
    else:
        problem = answer.json()
        run.refused[f"{answer.status_code} {problem['code']}"] += 1


def show(run: Run, total: int) -> None:
    """The bar, where someone looks."""
    ended = sum(file_id in run.ended for file_id in list(run.uploaded)) + run.refused.total()
    if sys.stderr.isatty():
        full = BAR_COLUMNS * ended // max(1, total)
        sys.stderr.write(f"\r[{'#' * full}{'.' * (BAR_COLUMNS - full)}] {ended}/{total}")
        sys.stderr.flush()


def table(run: Run, total: int) -> tuple[str, bool]:
    """What became of the files, and whether all of it is as it should be."""
    rows: dict[tuple[str, str], Counter[str]] = {}
    going = [name for file_id, name in run.uploaded.items() if file_id not in run.ended]
    wrong: list[str] = []
    for file_id, name in run.uploaded.items():
        document = run.ended.get(file_id)
        if document is None:
            continue
        counts = rows.setdefault((document["kind"], document["content_type"]), Counter())
        code = (document["error"] or {}).get("code", "")
        counts[code or "processed"] += 1
        if code in OURS:
            wrong.append(f"{name}: {code}")
    lines = [f"{'kind':<10} {'type':<72} {'processed':>9}  failed"]
    for (kind, content_type), counts in sorted(rows.items()):
        failed = ", ".join(f"{code} {count}" for code, count in sorted(counts.items()) if code != "processed")
        lines.append(f"{kind:<10} {content_type:<72} {counts['processed']:>9}  {failed}")
    for code, count in sorted(run.refused.items()):
        lines.append(f"refused at the door: {code}: {count}")
    slowest = sorted(((seconds, file_id) for file_id, seconds in run.seconds.items()), reverse=True)[:5]
    lines += [f"slowest: {seconds:.2f} s  {run.uploaded.get(file_id, '?')}" for seconds, file_id in slowest]
    lines += [f"still going: {name}" for name in going] + [f"nobody foresaw: {line}" for line in wrong]
    processed = sum(counts["processed"] for counts in rows.values())
    failed_count = len(run.uploaded) - len(going) - processed
    memory = f"highest memory of a child {run.peak_bytes / 2**20:.0f} MiB"
    refused = run.refused.total()
    lines.append(
        f"{total} files: {processed} processed, {failed_count} failed, {refused} refused, {len(going)} going; {memory}"
    )
    return "\n".join(lines), not going and not wrong


@contextlib.contextmanager
def running(url: str) -> Iterator[str]:
    """The service at this address, or one of our own."""
    try:
        httpx.get(f"{url}/healthz", timeout=2).raise_for_status()
    except httpx.HTTPError:
        print(f"nobody answers at {url}: a service is started for this run", file=sys.stderr)
        with service(DATABASE_URL="") as own:
            yield own.url
    else:
        yield url


def send_all(url: str, folder: Path, paths: Sequence[Path]) -> Run:
    """Upload all, and wait for the end of each, or for news that do not come."""
    run = Run()
    cursor = httpx.get(f"{url}/files/events/", timeout=10).json()["cursor"]
    threads = [
        threading.Thread(target=follow, args=(url, run, cursor), daemon=True),
        threading.Thread(target=watch_memory, args=(run,), daemon=True),
    ]
    for thread in threads:
        thread.start()
    with httpx.Client(base_url=url, timeout=300) as client, ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
        sending = [pool.submit(upload, client, folder, path, run) for path in paths]
        while not all(future.done() for future in sending) or any(i not in run.ended for i in list(run.uploaded)):
            show(run, len(paths))
            if time.monotonic() - run.news_at > PATIENCE_SECONDS:
                break
            time.sleep(0.1)
        for future in sending:
            future.result()
    show(run, len(paths))
    sys.stderr.write("\n" if sys.stderr.isatty() else "")
    run.over.set()
    for thread in threads:
        thread.join()
    return run


def main() -> int:
    """Read the arguments, run, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve()
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    if not paths:
        print(f"there is no file in {folder}")
        return 2
    with running(os.environ.get("FILEWIRE_URL", "http://127.0.0.1:8000")) as url:
        run = send_all(url, folder, paths)
    text, right = table(run, len(paths))
    print(text)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
