"""`python -m tests`: every test, on PostgreSQL (or DATABASE_URL) and on SQLite, with the coverage of both.

Arguments go to pytest, and then there is one run, on PostgreSQL, and no coverage: `python -m tests -k upload`.
FILEWIRE_TEST_DATABASE=sqlite makes that run one on SQLite.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from tests.servers import postgres, valkey

ROOT = Path(__file__).resolve().parent.parent
SECONDS = "tests/acceptance"
"""Tests of the running service: what they measure would be another's load."""


def run(environment: dict[str, str], arguments: list[str], *, covered: bool, output: IO[bytes] | None = None) -> int:
    """One run of pytest; its exit status. What it says goes to `output`, or to the terminal."""
    module = ["-m", "coverage", "run", "-m", "pytest"] if covered else ["-m", "pytest"]
    with tempfile.TemporaryDirectory(prefix="filewire-tests-") as data:
        command = [sys.executable, *module, *arguments]
        env = {**os.environ, **environment, "FILEWIRE_DATA_DIR": data}
        return subprocess.run(command, cwd=ROOT, env=env, check=False, stdout=output, stderr=output).returncode


def side_by_side(places: dict[str, dict[str, str]]) -> int:
    """All tests but those that measure seconds, on all databases at once; an exit status.

    The first one's output is shown as it comes, the others' when they are done.
    """
    (first, place), *others = places.items()
    some = [f"--ignore={SECONDS}"]
    with contextlib.ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor())
        outputs = [stack.enter_context(tempfile.TemporaryFile()) for _ in others]
        runs = [
            threads.submit(run, other, some, covered=True, output=output)
            for (_, other), output in zip(others, outputs, strict=True)
        ]
        print(f"\n=== on {first}, beside {' and '.join(name for name, _ in others) or 'nothing'}", flush=True)
        failed = run(place, some, covered=True)
        for (name, _), done, output in zip(others, runs, outputs, strict=True):
            failed |= done.result()
            output.seek(0)
            print(f"\n=== on {name}\n{output.read().decode(errors='replace')}", flush=True)
    return failed


def everything(places: dict[str, dict[str, str]]) -> int:
    """Every test on every database, and what of the code they ran; an exit status."""
    subprocess.run([sys.executable, "-m", "coverage", "erase"], cwd=ROOT, check=True)
    failed = side_by_side(places)
    for name, place in places.items():
        print(f"\n=== the service as a whole, on {name}", flush=True)
        failed |= run(place, [SECONDS], covered=True)
    for step in (["combine", "--quiet"], ["report"]):
        failed |= subprocess.run([sys.executable, "-m", "coverage", *step], cwd=ROOT, check=False).returncode
    return failed


def main() -> int:
    """Start the servers, run the tests, report."""
    arguments = sys.argv[1:]
    with contextlib.ExitStack() as stack:
        databases = {"SQLite": ""}
        if os.environ.get("FILEWIRE_TEST_DATABASE") != "sqlite":
            given = os.environ.get("DATABASE_URL")
            databases = {"PostgreSQL": given or stack.enter_context(postgres())} | databases
        places = {
            name: {"DATABASE_URL": url, "REDIS_URL": stack.enter_context(valkey()).url}
            for name, url in databases.items()
        }
        if arguments:
            return run(next(iter(places.values())), arguments, covered=False)
        return everything(places)


if __name__ == "__main__":
    sys.exit(main())
