"""`python -m tests`: every test, on PostgreSQL (or DATABASE_URL) and then on SQLite, with the coverage of both.

Arguments go to pytest, and then there is one run, on PostgreSQL, and no coverage: `python -m tests -k upload`.
FILEWIRE_TEST_DATABASE=sqlite makes that run one on SQLite.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.servers import postgres, valkey

ROOT = Path(__file__).resolve().parent.parent


def run(environment: dict[str, str], arguments: list[str], *, covered: bool) -> int:
    """One run of pytest; its exit status."""
    module = ["-m", "coverage", "run", "-m", "pytest"] if covered else ["-m", "pytest"]
    with tempfile.TemporaryDirectory(prefix="filewire-tests-") as data:
        command = [sys.executable, *module, *arguments]
        env = {**os.environ, **environment, "FILEWIRE_DATA_DIR": data}
        return subprocess.run(command, cwd=ROOT, env=env, check=False).returncode


def main() -> int:
    """Start the servers, run the tests, report."""
    arguments = sys.argv[1:]
    with contextlib.ExitStack() as stack:
        shared = {"REDIS_URL": stack.enter_context(valkey()).url}
        databases = {"SQLite": ""}
        if os.environ.get("FILEWIRE_TEST_DATABASE") != "sqlite":
            given = os.environ.get("DATABASE_URL")
            databases = {"PostgreSQL": given or stack.enter_context(postgres())} | databases
        if arguments:
            name, url = next(iter(databases.items()))
            return run({**shared, "DATABASE_URL": url}, arguments, covered=False)
        subprocess.run([sys.executable, "-m", "coverage", "erase"], cwd=ROOT, check=True)
        failed = 0
        for name, url in databases.items():
            print(f"\n=== on {name}", flush=True)
            failed |= run({**shared, "DATABASE_URL": url}, [], covered=True)
    for step in (["combine", "--quiet"], ["report"]):
        failed |= subprocess.run([sys.executable, "-m", "coverage", *step], cwd=ROOT, check=False).returncode
    return failed


if __name__ == "__main__":
    sys.exit(main())
