"""Small uploads: a text of 10 KiB and a JPEG of 100 KiB, at several numbers of connections; the text with fsync too.

Everybody is warmed up first. After every round, rows, files, bytes and the tasks that were sent are counted: they must
be as many as the 201s, one of the files must be what was uploaded, and any other answer fails the run. Of nobody a
worker runs meanwhile: what is measured is what it takes to accept a file.
"""

import contextlib
import io
import json
import math
import os
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from tests.load.bench import TEXT_LINE, Bench, Look
from tests.load.contenders import SINK_LIMIT
from tests.load.report import OURS, median
from tests.load.serving import Kept, Server
from tests.load.wrk import BOUNDARY, form, measured, script

FORM = f"multipart/form-data; boundary={BOUNDARY}"
KIB = 1024
SETTLE_SECONDS = 0.1  # between two looks at what is kept
ANSWERS_EACH = 4  # connections at least, in a round: fewer would tell where it ended, not how fast it was
LONGEST_SECONDS = 5


def text(size: int) -> bytes:
    """Prose of this size."""
    return (TEXT_LINE * (size // len(TEXT_LINE) + 1))[:size]


def photograph(size: int) -> bytes:
    """A JPEG of exactly this size: noise, at the quality that just fits, and a comment that fills the rest."""
    side = int((size * 2) ** 0.5)
    image = Image.effect_noise((side, side), 40).convert("RGB")
    for quality in range(95, 5, -5):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        content = buffer.getvalue()
        left = size - len(content)
        if left > 3:
            comments = b""
            while left:
                piece = left if left <= 60_000 else 60_000 if left - 60_000 > 3 else left - 4
                comments += b"\xff\xfe" + (piece - 2).to_bytes(2, "big") + bytes(piece - 4)
                left -= piece
            return content[:2] + comments + content[2:]
    raise AssertionError("no quality is low enough")


def files() -> list[tuple[str, str, bytes]]:
    """What is uploaded: what it is called in the tables, its name, its bytes."""
    return [
        ("10 KiB of text", "a.txt", text(10 * KIB)),
        ("a JPEG of 100 KiB", "a.jpg", photograph(100 * KIB)),
    ]


def run(bench: Bench) -> None:
    """Both files, every number of connections, every contender, in turn, round after round."""
    for durable in {"off": [False], "on": [True], "both": [False, True]}[bench.options.fsync]:
        chosen = bench.contenders(limits=True)
        if durable:
            chosen = [each for each in chosen if each.durable]
        with bench.all(chosen, fsync=durable, on_disk=durable) as servers:
            every = list(loads(bench, durable=durable))
            for server in servers:
                bench.say(f"uploads, warming up: {server.name}")
                warm(server)
                bench.warm_up(server, every[-1].look())
            bench.until_steady(servers, [each.look() for each in every])
    texts = [load for load in bench.results.of("uploads") if load.size == 10 * KIB and load.title.endswith("off")]
    bench.capacity = max((median(load.rounds[OURS], "rate") for load in texts), default=0.0)


def loads(bench: Bench, *, durable: bool) -> "Iterator[Uploads]":
    """What is uploaded, by how many connections.

    What fsync costs is a question of the disk: one small file, by several at once where there are any, shows it.
    """
    several = [connections for connections in bench.options.connections if connections > 1]
    for label, name, content in files()[: 1 if durable else None]:
        for connections in several if durable and several else bench.options.connections:
            yield Uploads(bench, label, name, content, connections=connections, durable=durable)


class Uploads:
    """One file, uploaded again and again by several connections."""

    def __init__(self, bench: Bench, label: str, name: str, content: bytes, *, connections: int, durable: bool) -> None:
        """`label` is what the file is called in the tables."""
        self.bench, self.label, self.name, self.content = bench, label, name, content
        self.connections, self.durable = connections, durable
        self._seconds: dict[str, int] = {}  # of a round of each server

    def look(self) -> Look:
        """This load, for the bench."""
        many = f"{self.connections} connection{'s' * (self.connections > 1)}, fsync {'on' if self.durable else 'off'}"
        return Look(
            part="uploads",
            title=f"upload of {self.label}, {many}",
            measure=self.measure,
            size=len(self.content),
            family=f"upload, {many}",
        )

    def measure(self, server: Server) -> dict[str, float]:
        """One round: longer of who is so slow that it would see each connection once or twice."""
        seconds = self._seconds.setdefault(server.name, self.bench.options.seconds)
        found = self.once(server, seconds)
        wanted = ANSWERS_EACH * self.connections
        if found["created"] < wanted and seconds < LONGEST_SECONDS:
            self._seconds[server.name] = min(LONGEST_SECONDS, math.ceil(seconds * wanted / found["created"]))
            found = self.once(server, self._seconds[server.name])
        return found

    def once(self, server: Server, seconds: int) -> dict[str, float]:
        """So many seconds of uploads, checked."""
        lua, sent = sender(self.bench.materials, server, self.name, self.content)
        found = checked(server, lua, self.connections, seconds, sent, self.content)
        if self.durable:
            server.rest()
        else:
            server.empty()  # what is in memory takes memory
        return found


def warm(server: Server) -> None:
    """One upload that is not counted: whatever is made at the first."""
    content = text(KIB)
    put = server.contender.put
    request = urllib.request.Request(
        f"{server.url}/{'first' if put else 'upload/'}",
        data=content if put else form(content, "first.txt"),
        headers={"Content-Type": "text/plain" if put else FORM},
        method="PUT" if put else "POST",
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 201, (server.name, answer.status)
        if server.contender.table is not None:
            assert json.load(answer)["id"], server.name


def sender(folder: Path, server: Server, name: str, content: bytes) -> tuple[Path, int]:
    """The script for wrk, and how many bytes the server keeps of each upload."""
    if server.contender.put:
        return script(folder, content, content_type="application/octet-stream", put=True), len(content)
    body = form(content, name)
    return script(folder, body, content_type=FORM), len(body if server.name == SINK_LIMIT else content)


def checked(
    server: Server, lua: Path, connections: int, seconds: int, kept_bytes: int, content: bytes = b""
) -> dict[str, float]:
    """A round of uploads, checked against database, storage and queue. Raises SystemExit where they differ."""
    before = server.kept()
    path = "/" if server.contender.put else "/upload/"
    found = measured(server.tree, f"{server.url}{path}", connections, seconds, lua)
    after = settled(server, before)
    added = after.files - before.files
    # wrk counts no answer that arrives after its time; the server has done that work.
    most = found["created"] + connections * (1 + found.get("again", 0))
    if found["other"] or not 0 < found["created"] <= added <= most:
        raise SystemExit(f"{server.name}: {found} but {added} new files")
    if after.rows is not None and after.rows - before.rows != added:
        raise SystemExit(f"{server.name}: {added} new files but {after.rows - before.rows} new rows")
    if not after.are_sent(before):
        raise SystemExit(f"{server.name}: {added} new files but {before.messages} tasks, then {after.messages}")
    if content and server.name != SINK_LIMIT:
        newest = max(server.newest(), key=lambda path: path.stat().st_mtime_ns)
        if newest.read_bytes() != content:
            raise SystemExit(f"{server.name}: a file is not what was uploaded")
    cut_off = (most - found["created"]) * kept_bytes if server.name == SINK_LIMIT else 0  # bodies that wrk did not end
    if not 0 <= after.size - before.size - added * kept_bytes <= cut_off:
        raise SystemExit(f"{server.name}: {added} files of {kept_bytes} bytes are {after.size - before.size} bytes")
    for lua_file in (lua, lua.with_suffix(".body")):
        with contextlib.suppress(OSError):
            os.remove(lua_file)
    return found


def settled(server: Server, before: Kept) -> Kept:
    """What is kept and sent, once what wrk cut off is too: bytes come before their row, and that before its task."""
    found = None
    ends_at = time.monotonic() + 20
    while True:
        time.sleep(SETTLE_SECONDS)
        last, found = found, server.kept()
        whole = found.rows is None or found.rows - before.rows == found.files - before.files
        if (last == found and whole and found.are_sent(before)) or time.monotonic() > ends_at:
            return found
