"""What a worker with one process finishes, kind by kind, and what the service does when more comes in than that.

Kind by kind: all files are uploaded before the worker starts, and lie in the queue kind after kind; how long a kind
took is read from the rows. The worker is pinned to core 0, all else to core 1. At saturation web is on core 0 and the
worker on core 1.
"""

import asyncio
import datetime
import http.client
import json
import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.load import latency, material
from tests.load.bench import TRIVIAL, Bench
from tests.load.processes import OTHER_CORE, ROOT, SERVER_CORE, Meter, pinned, sampled
from tests.load.report import CPU, OURS, Spec
from tests.load.serving import Server
from tests.load.uploads import FORM, warm
from tests.load.wrk import form, measured, script
from tests.unit.processing import real

SPEC = Spec(
    columns=(
        ("rate", "files/s", 1),
        ("seconds", "s a file", 3),
        ("cpu", "its CPU %", 0),
        ("core0", "core 0 busy %", 0),
    ),
    by="rate",
)
WHOLE = Spec(
    columns=(
        ("accepted", "201/s while uploading", 0),
        ("rate", "files/s finished", 1),
        ("deepest", "most files waiting", 0),
        ("drained", "s until none waits", 1),
        *CPU,
    ),
    by="rate",
)
# A family, what counts its size, the name it is sent under, the kind it must turn out to be, its maker, and two sizes.
FAMILIES: tuple[tuple[str, str, str, str, Callable[[int], bytes], tuple[int, int]], ...] = (
    ("JPEG", "megapixels", "a.jpg", "image", material.jpeg, (3, 12)),
    ("text", "KiB", "a.txt", "text", lambda kib: material.prose(kib * 1024), (10, 1024)),
    ("CSV", "rows", "a.csv", "table", material.table, (1_000, 10_000)),
    ("JSON", "objects", "a.json", "data", lambda count: json.dumps(material.records(count)).encode(), (1_000, 10_000)),
    ("PDF", "pages", "a.pdf", "document", material.pdf, (1, 20)),
    ("DOCX", "paragraphs", "a.docx", "document", material.docx, (50, 2_000)),
    ("WAV", "seconds", "a.wav", "audio", lambda seconds: real.sound("wav", "pcm_s16le", seconds=seconds), (10, 60)),
    ("MP3", "seconds", "a.mp3", "audio", lambda seconds: real.sound("mp3", "libmp3lame", seconds=seconds), (10, 60)),
    ("MP4", "seconds", "a.mp4", "video", lambda seconds: real.film(seconds=seconds, width=640, height=360), (5, 20)),
    ("ZIP", "entries", "a.zip", "archive", material.notes, (100, 2_000)),
)
CONNECTIONS = 16
PATIENCE_SECONDS = 900.0
DRAFT = "Pillow `draft`, thumbnail of 512 px alone"
DRAFT_PROGRAM = """
import io, sys, time
from PIL import Image
content, count = open(sys.argv[1], "rb").read(), int(sys.argv[2])
for number in range(count + 1):
    if number == 1:
        began = time.monotonic()
    image = Image.open(io.BytesIO(content))
    image.draft("RGB", (512, 512))
    image.thumbnail((512, 512))
    image.save(io.BytesIO(), "WEBP", quality=80)
print((time.monotonic() - began) / count)
"""
ALONE = "Filewire's processor alone"
ALONE_PROGRAM = """
import pathlib, sys, tempfile, time
from apps.processing.contract import Job
from apps.processing.processors import image
path, count = pathlib.Path(sys.argv[1]), int(sys.argv[2])
image.prepare()
with tempfile.TemporaryDirectory() as folder:
    job = Job(
        path=path, size=path.stat().st_size, name=path.name, content_type="image/jpeg", kind="image", sha256="",
        workdir=pathlib.Path(folder), report=lambda percent: None,
    )
    for number in range(count + 1):
        if number == 1:
            began = time.monotonic()
        assert {derived.name for derived in image.process(job).derived} == {"thumbnail", "preview"}
print((time.monotonic() - began) / count)
"""


@dataclass(frozen=True)
class Material:
    """One file: what it is called in the tables, its family and size within it, and what it must turn out to be."""

    title: str
    family: str
    size: float
    name: str
    kind: str
    content: bytes


def materials_of(*, small: bool) -> list[Material]:
    """Every family at both sizes; where it should be quick, at the small one alone."""
    return [
        Material(f"{family}, {size:,} {unit}", family, size, name, kind, make(size))
        for family, unit, name, kind, make, sizes in FAMILIES
        for size in (sizes[:1] if small else sizes)
    ]


def run(bench: Bench) -> None:
    """Kind by kind, Pillow alone, and saturation; round after round."""
    materials = materials_of(small=bench.options.quick)
    image = [each for each in materials if each.kind == "image"][-1]
    for number in range(bench.options.rounds):
        every = number < bench.few_rounds
        bench.say(f"worker, round {number + 1}: {'kind by kind' if every else image.title}")
        kinds(bench, materials if every else [image])
        drafted(bench, image)
        if every:
            bench.say(f"worker, round {number + 1}: at saturation")
            saturated(bench)


def title(each: Material) -> str:
    """What it is called in the tables."""
    return f"one worker process, {each.title}"


def kinds(bench: Bench, materials: list[Material]) -> None:
    """Each kind's files a second, from the rows."""
    count = bench.options.files
    with bench.ours(core=OTHER_CORE, dispatcher=False) as server:
        groups = [("", [send(server, form(TRIVIAL, "a.txt")) for _ in range(count)])]  # to warm up
        for each in materials:
            body = form(each.content, each.name)
            groups.append((title(each), [send(server, body) for _ in range(count)]))
        with server.beside("worker", core=SERVER_CORE, FILEWIRE_WORKER_PROCESSES="1") as tree:
            began = time.time()
            with sampled(0.05, lambda: (tree.cpu_seconds(), core_busy())) as spent:
                await_all(server)
        moments = [(began + at, cpu, busy) for at, cpu, busy in spent]
        ended = dict(server.ask("SELECT id::text, processed_at FROM files_file"))
        told = {str(key): (status, kind) for key, status, kind in server.ask("SELECT id, status, kind FROM files_file")}
    before: datetime.datetime | None = None
    for (name, ids), each in zip(groups, [None, *materials], strict=True):
        last = max(ended[file_id] for file_id in ids)
        if each is not None:
            wrong = [told[file_id] for file_id in ids if told[file_id] != ("processed", each.kind)]
            if wrong or before is None:
                raise SystemExit(f"{OURS}: {each.title} became {wrong}")
            figures = figures_of(moments, before.timestamp(), last.timestamp(), count)
            bench.results.add("worker", name, OURS, figures, spec=SPEC, size=each.size, family=f"one {each.family}")
        before = last


def figures_of(moments: list[tuple[float, ...]], begin: float, end: float, count: int) -> dict[str, float]:
    """A kind's figures: what was spent is taken from the looks nearest to its first and its last moment."""
    elapsed = max(end - begin, 1e-6)
    places = [min(bisect_left([moment[0] for moment in moments], at), len(moments) - 1) for at in (begin, end)]
    first, last = moments[places[0]], moments[places[1]]
    between = max(last[0] - first[0], 1e-6)
    return {
        "rate": count / elapsed,
        "seconds": elapsed / count,
        "cpu": 100 * (last[1] - first[1]) / between,
        "core0": 100 * (last[2] - first[2]) / between,
    }


def core_busy() -> float:
    """The seconds for which the server's core has been busy since the machine started."""
    import psutil

    core = psutil.cpu_times(percpu=True)[SERVER_CORE]
    return sum(core) - core.idle - core.iowait - core.guest - core.guest_nice


def send(server: Server, body: bytes) -> str:
    """Upload it; the id."""
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    client.request("POST", "/upload/", body, {"Content-Type": FORM})
    answer = client.getresponse()
    document = json.load(answer)
    client.close()
    if answer.status != 201:
        raise SystemExit(f"{server.name}: an upload was answered {answer.status}: {document}")
    return str(document["id"])


def await_all(server: Server) -> None:
    """Return once every file is processed. Raises SystemExit where one has failed, or it takes too long."""
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while latency.undone(server):
        if time.monotonic() > ends_at:
            raise SystemExit(f"{server.name}: not all files were processed in {PATIENCE_SECONDS:g} s")
        time.sleep(0.25)


def drafted(bench: Bench, image: Material) -> None:
    """The same picture by Pillow alone, in a process of its own on the same core."""
    path: Path = bench.materials / image.name
    path.write_bytes(image.content)
    for who, program in ((ALONE, ALONE_PROGRAM), (DRAFT, DRAFT_PROGRAM)):
        command = [sys.executable, "-c", program, str(path), str(max(3, bench.options.files))]
        done = subprocess.run(pinned(SERVER_CORE, command), cwd=ROOT, capture_output=True, text=True, check=True)
        seconds = float(done.stdout)
        bench.results.add("worker", title(image), who, {"rate": 1 / seconds, "seconds": seconds}, spec=SPEC)
    bench.results.remark(
        "The worker's JPEG is uploaded, queued, claimed, opened in a child of its own, and gets a thumbnail, a preview "
        "of 1,024 px, a colour and a placeholder; the processor alone does the same with nothing around it; Pillow "
        "makes the thumbnail."
    )


def saturated(bench: Bench) -> None:
    """Trivial files from many connections for some seconds; how many wait, until none does."""
    with bench.ours(dispatcher=False) as server, server.beside("worker", FILEWIRE_WORKER_PROCESSES="1"):
        warm(server)
        asyncio.run(latency.until(lambda: latency.undone(server) == 0))
        lua = script(bench.materials, form(TRIVIAL, "a.txt"), content_type=FORM)
        began = time.monotonic()
        with sampled(0.25, lambda: (float(latency.undone(server)),)) as depth, Meter(server.tree) as meter:
            found = measured(server.tree, f"{server.url}/upload/", CONNECTIONS, bench.options.seconds, lua)
            await_all(server)
        drained = time.monotonic() - began - bench.options.seconds
        ((finished, seconds),) = server.ask(
            "SELECT count(*), extract(epoch FROM max(processed_at) - min(processed_at)) FROM"
            " (SELECT processed_at FROM files_file ORDER BY id OFFSET 1) AS late"
        )
    if found["other"] or finished < found["created"]:
        raise SystemExit(f"{OURS}: {found} but {finished} files were finished")
    figures = {
        "accepted": found["rate"],
        "rate": finished / max(float(seconds), 1e-6),
        "deepest": max(each[1] for each in depth),
        "drained": drained,
        **meter.figures,
    }
    bench.results.add("worker", "trivial files, more than one worker process finishes", OURS, figures, spec=WHOLE)
    bench.results.curve("queue at saturation: second → files that wait", OURS, depth)
