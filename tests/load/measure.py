"""`make bench`: what this service takes, on this machine, beside its peers, in one run.

Real PostgreSQL (fsync on) and Valkey; the server pinned to core 0, everything else to core 1; files in memory, but for
large ones and with fsync; contenders in turn, round by round; medians of rounds. Every round is checked: a fast error
is a failed run. Absolute figures belong to the machine; the ratio of two that were measured in the same run travels.
"""

import argparse
import contextlib
import importlib
import json
import os
import shutil
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from project.descriptors import allow_many
from tests.load import plots, report
from tests.load.bench import OURS_EVERY, STEADY, Bench
from tests.load.contenders import NGINX
from tests.load.processes import OTHER_CORE, ROOT
from tests.servers import own_postgres

PARTS = ("uploads", "large", "lists", "latency", "fanout", "worker", "overload")
KEPT = ROOT / "var" / "bench"
MEMORY = Path("/dev/shm")
MEMORY_BYTES = 4 * 1024**3  # a few seconds' uploads of everybody
NEED_WRK = {"uploads", "lists", "latency", "worker", "overload"}
QUICK = {
    "rounds": 1,
    "most_rounds": 1,
    "warm_seconds": 1,
    "seconds": 1,
    "connections": [4],
    "rows": [1000],
    "sockets": [20],
    "events": 2,
    "large_mib": [4],
    "probes": 10,
    "files": 1,
    "overload_seconds": 2,
}


def loads_of(path: str) -> list[dict[str, Any]]:
    """What an earlier run measured. Raises ValueError where the file is not such a run's."""
    loads: list[dict[str, Any]] = json.loads(Path(path).read_text())["loads"]
    return loads


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", default=list(PARTS), choices=PARTS, help="parts to run")
    add("--peers", nargs="*", default=[], help="peers whose names contain one of these words; `none` for none")
    add("--rounds", type=int, default=8, help="of what has no ratio, or takes a minute each, three")
    add("--most-rounds", type=int, default=32, help="of uploads and lists, while a ratio is not known to 4 %%")
    add("--warm-seconds", type=int, default=90, help="of load at most until a server is no quicker by it")
    add("--seconds", type=int, default=1, help="of one load of one contender in one round")
    add("--connections", type=int, nargs="+", default=[1, 16, 64], help="of the small uploads")
    add("--rows", type=int, nargs="+", default=[100_000, 1_000_000], help="sizes of the list")
    add("--large-mib", type=int, nargs="+", default=[256, 1024], help="sizes of the large upload")
    add("--sockets", type=int, nargs="+", default=[1000, 5000])
    add("--events", type=int, default=5, help="sent to all sockets, one after another, in each round")
    add("--probes", type=int, default=200, help="files whose way from 201 to the frame is timed, in each round")
    add("--files", type=int, default=8, help="of each kind and size for the worker, in each round")
    add("--max-uploads", type=int, default=64, help="FILEWIRE_MAX_UPLOADS of the overload")
    add("--overload-seconds", type=int, default=20)
    add("--fsync", choices=("off", "on", "both"), default="both", help="whether everyone makes files durable first")
    add("--folder", type=Path, help="a folder on the disk, for fsync and large uploads")
    add("--quick", action="store_true", help="tiny numbers, one round: whether it works, not how fast")
    add("--output", type=Path, default=KEPT / "tables.md", help="a file for the tables, which are printed too")
    add("--json", type=Path, help="a file for every round's figures")
    add("--compare", type=loads_of, metavar="FILE", help="the `--json` of an earlier run, whose ratios are compared")
    add("--plots", type=Path, help="a folder for the plots")
    add("--write-docs", action="store_true", help="put the tables into docs/load.md, and the plots beside them")
    options = parser.parse_args(words)
    if options.quick:
        for name, value in QUICK.items():
            if getattr(options, name) == parser.get_default(name):
                setattr(options, name, value)
    options.only = [part for part in PARTS if part in options.only]
    options.plots = options.plots or (ROOT / "docs" / "load" if options.write_docs else KEPT)
    return options


def main(words: list[str] | None = None) -> int:
    """Measure, print and write; 1 when a part failed."""
    options = arguments(words)
    if NEED_WRK & set(options.only) and not shutil.which("wrk"):
        raise SystemExit("wrk is needed: apt-get install wrk")
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {OTHER_CORE})  # the databases too; the servers are pinned to core 0
    allow_many()
    began, failures = time.monotonic(), 0
    with contextlib.ExitStack() as stack:
        bench = prepared(options, stack)
        for part in options.only:
            try:
                importlib.import_module(f"tests.load.{part}").run(bench)
            except (SystemExit, Exception) as error:  # the others are measured and shown all the same
                traceback.print_exception(error)
                bench.results.remark(f"**{part} failed: {str(error).partition(chr(10))[0]}**")
                failures += 1
    write(bench, time.monotonic() - began, docs=options.write_docs and not failures)
    return 1 if failures else 0


def prepared(options: argparse.Namespace, stack: contextlib.ExitStack) -> Bench:
    """A run with its folder and its PostgreSQL."""
    disk = stack.enter_context(tempfile.TemporaryDirectory(prefix="filewire-bench-", dir=options.folder))
    there = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES
    memory = MEMORY if there else options.folder
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="filewire-bench-", dir=memory))
    server = stack.enter_context(own_postgres(durable=True))
    server.execute("ALTER SYSTEM SET max_connections = 500")  # all have theirs open at once, some one a request
    server.stop()
    server.start()
    bench = Bench(options, Path(folder), Path(disk), server.url)
    if memory != MEMORY:
        bench.results.remark("No file system in memory: all files lie on the disk.")
    if not NGINX:
        bench.results.remark("nginx is not installed: its limit is not measured (Debian: `nginx-light`).")
    if not shutil.which("node"):
        bench.results.remark("Node is not installed: its peer is not measured.")
    if (os.cpu_count() or 1) < 2:
        bench.results.remark("One core: nothing is pinned, and the generator takes from the server.")
    return bench


def write(bench: Bench, seconds: float, *, docs: bool) -> None:
    """The tables and the plots."""
    options = bench.options
    how = (
        "The server on core 0, all else (generator, PostgreSQL with fsync on, Valkey, Filewire's dispatcher) on core "
        f"{OTHER_CORE}; files in memory, but for large ones and with fsync. "
        f"Medians of {options.rounds} round{'s' * (options.rounds > 1)} of {options.seconds} s, of what has no ratio "
        f"or takes a minute each of {bench.few_rounds}; contenders in turn, Filewire again after every {OURS_EVERY}, "
        "and the mean of those. Small uploads and lists once load makes nobody quicker; they and large uploads until "
        f"each ratio's standard error is {STEADY:.0%}, at most {options.most_rounds} rounds. Ratios are the geometric "
        "means of those of rounds. "
        f"The run took {seconds / 60:.1f} minutes."
    )
    if options.quick:
        how += " **A smoke run: the figures mean nothing.**"
    pictures = plots.draw(bench.results, options.plots)
    if options.compare:
        bench.results.remarks += report.agreement(bench.results, options.compare)
    text = report.markdown(bench.results, how)
    print(text)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text)
    if options.json:
        found = [
            {"part": load.part, "load": load.title, "size": load.size, "rounds": load.rounds}
            for load in bench.results.loads.values()
        ]
        kept = {"loads": found, "curves": bench.results.curves, "remarks": bench.results.remarks}
        options.json.write_text(json.dumps(kept, indent=1))
    if docs:
        shown = "\n".join(f"![{path.stem}](load/{path.name})" for path in pictures)
        report.write_between_markers(ROOT / "docs" / "load.md", f"{text}\n{shown}\n" if shown else text)


if __name__ == "__main__":
    raise SystemExit(main())
