"""One large upload, as a raw body and as a form: seconds, what the server's memory grew by, what it wrote to disk.

What is stored is read again: it must be the same bytes. Then it is removed, so that the disk holds one at a time.
"""

import contextlib
import functools
import hashlib
import os
import socket
import time
import urllib.error
from collections.abc import Callable
from pathlib import Path

from tests.load.bench import Bench, Look
from tests.load.contenders import NGINX_LIMIT, SINK_LIMIT
from tests.load.processes import MIB, Meter
from tests.load.report import CPU, OURS, Spec
from tests.load.serving import Server
from tests.load.wrk import BOUNDARY, form

SPEC = Spec(
    columns=(
        ("seconds", "seconds", 2),
        ("mib_a_second", "MiB/s", 0),
        ("grown_mib", "peak RSS grew by MiB", 1),
        ("peak_mib", "peak RSS MiB", 0),
        ("written", "written to disk / size", 2),
        *CPU,
    ),
    by="seconds",
    less_is_better=True,
)
LEFT_OUT = ("Celery, gunicorn", "FastAPI + asyncpg + Celery", "group commit")  # they take bodies as others do
PATIENCE_SECONDS = 600
RAW, FORM = "raw body", "multipart"
WAYS: dict[str, Callable[[Server], bool]] = {
    RAW: lambda server: server.contender.raw,
    FORM: lambda server: server.contender.form,
}


def run(bench: Bench) -> None:
    """Every size, every contender, each way of sending that it takes, in turn, round after round."""
    chosen = bench.contenders(limits=True)
    if not bench.options.peers:
        chosen = [each for each in chosen if not any(words in each.name for words in LEFT_OUT)]
    block = os.urandom(MIB)
    with bench.all(chosen, on_disk=True) as servers:
        bench.say("large, warming up")
        for way in WAYS:
            first = look(way, 1, block)
            for server in first.of(servers):
                first.measure(server)

        def after(number: int) -> None:
            for mib in bench.options.large_mib:
                keep_limit(bench, mib, number)

        bench.until_steady(
            servers, [look(way, mib, block) for mib in sorted(bench.options.large_mib) for way in WAYS], after
        )
    bench.results.remark(
        "Large uploads: “written to disk” is `write_bytes` of `/proc/PID/io`; a file system in memory shows 0 there."
    )


def look(way: str, mib: int, block: bytes) -> Look:
    """An upload of so many MiB, sent in this way."""
    wanted = digest_of(block, mib)
    return Look(
        part="large",
        title=title_of(way, mib),
        measure=lambda server: one(server, way, block, mib, wanted),
        spec=SPEC,
        size=mib,
        family=f"MiB of {way}",
        takes=WAYS[way],
    )


def title_of(way: str, mib: int) -> str:
    """What it is called in the tables."""
    return f"one upload of {mib:,} MiB, {way}"


def keep_limit(bench: Bench, mib: int, number: int) -> None:
    """Show nginx, which takes no forms, as a limit of those too, where it took part in this round."""
    loads = bench.results.loads
    for figures in loads["large", title_of(RAW, mib)].rounds.get(NGINX_LIMIT, [])[-1:]:
        if figures["round"] == number:
            form_load = loads["large", title_of(FORM, mib)]
            form_load.rounds.setdefault(f"{NGINX_LIMIT} (a raw body)", []).append(figures)


@functools.cache
def digest_of(block: bytes, count: int) -> bytes:
    """The SHA-256 of so many of these blocks."""
    digest = hashlib.sha256()
    for _ in range(count):
        digest.update(block)
    return digest.digest()


def one(server: Server, way: str, block: bytes, mib: int, wanted: bytes) -> dict[str, float]:
    """One upload, checked. Raises SystemExit where what is stored is something else."""
    size, put = mib * MIB, server.contender.put
    before = set(server.stored()) if server.name != SINK_LIMIT else set()
    drained = server.get("/")["bytes"] if server.name == SINK_LIMIT else 0
    head, tail, target = b"", b"", "/upload/?filename=large.bin"
    content_type = "application/octet-stream"
    if way == FORM:
        head, tail = form(b"|", "large.bin").split(b"|")
        target, content_type = "/upload/", f"multipart/form-data; boundary={BOUNDARY}"
    if put:
        target = f"/large/{time.monotonic_ns()}.bin"
    length = len(head) + size + len(tail)
    server.tree.forget_peak()
    rss, written = server.tree.rss(), server.tree.written()
    with Meter(server.tree) as meter:
        began = time.monotonic()
        status = send(server.port, "PUT" if put else "POST", target, content_type, length, head, block, mib, tail)
        seconds = time.monotonic() - began
    peak = server.tree.peak_rss()
    if status != 201:
        raise SystemExit(f"{server.name}: {way} of {mib} MiB was answered {status}")
    figures = {
        "seconds": seconds,
        "mib_a_second": mib / seconds,
        "grown_mib": max(0, peak - rss) / MIB,
        "peak_mib": peak / MIB,
        **meter.figures,
    }
    if server.name == SINK_LIMIT:
        if server.get("/")["bytes"] - drained != length:
            raise SystemExit(f"{server.name}: not all of {length} bytes were drained")
        return {**figures, "written": 0.0}
    (path,) = [path for path in server.stored() if path not in before]
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256")
    if found.digest() != wanted:
        raise SystemExit(f"{server.name}: {way} of {mib} MiB was stored as something else")
    figures["written"] = (server.tree.written() - written) / size
    forget(server, path)
    return figures


def send(
    port: int,
    method: str,
    target: str,
    content_type: str,
    length: int,
    head: bytes,
    block: bytes,
    mib: int,
    tail: bytes,
) -> int:
    """Send the request by one socket, as fast as it is taken; the answer's status."""
    request = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {content_type}\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client:
        client.sendall(f"{request}Content-Length: {length}\r\nConnection: close\r\n\r\n".encode() + head)
        for _ in range(mib):
            client.sendall(block)
        client.sendall(tail)
        answer = b""
        while b"\r\n" not in answer and (chunk := client.recv(65536)):
            answer += chunk
    return int(answer[9:12] or 0)


def forget(server: Server, path: Path) -> None:
    """Remove the upload: by the API where there is one, else its file."""
    if server.name == OURS:
        ((file_id,),) = server.ask("SELECT id FROM files_file ORDER BY id DESC LIMIT 1")
        with contextlib.suppress(urllib.error.HTTPError), server.open(f"/files/{file_id}/", "DELETE"):
            pass
        ends_at = time.monotonic() + 30
        while path.exists():
            if time.monotonic() > ends_at:
                raise SystemExit(f"{server.name}: a deleted file's bytes are still there")
            time.sleep(0.05)
    else:
        path.unlink()
