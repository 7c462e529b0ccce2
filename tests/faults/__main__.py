"""`python -m tests.faults`: the whole suite, its files side by side, for they wait most of their time.

A file that fails is run once more, alone, and only then has it failed.

Arguments go to pytest. FILEWIRE_FAULT_FILES says how many files run at once (4).
"""

import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
LONGEST_FIRST = ("test_kills.py", "test_hangs.py", "test_surroundings.py", "test_many.py")


def run(path: Path) -> tuple[Path, int, float, str]:
    """One file in a process, and servers, of its own: its exit status, its seconds, its output."""
    began = time.monotonic()
    command = [sys.executable, "-m", "tests", "-q", "--durations=5", *sys.argv[1:], str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return path, done.returncode, time.monotonic() - began, done.stdout


def told(path: Path) -> tuple[Path, int]:
    """One file, run and reported: its exit status."""
    _, status, seconds, output = run(path)
    print(f"=== {path.name}: {'failed' if status else 'passed'} in {seconds:.0f} s\n{output}", flush=True)
    return path, status


def main() -> int:
    """Run them all; 1 when one failed."""
    paths = sorted(HERE.glob("test_*.py"))
    paths.sort(key=lambda path: LONGEST_FIRST.index(path.name) if path.name in LONGEST_FIRST else len(LONGEST_FIRST))
    seed = os.environ.setdefault("FILEWIRE_FAULT_SEED", str(random.SystemRandom().getrandbits(32)))
    print(f"FILEWIRE_FAULT_SEED={seed}", flush=True)  # pytest shows what a test prints only when it fails
    began, failed = time.monotonic(), 0
    with ThreadPoolExecutor(int(os.environ.get("FILEWIRE_FAULT_FILES", "4"))) as threads:
        outcomes = list(threads.map(told, paths))
    for path, status in outcomes:
        # Side by side they may starve each other; alone, a file that fails has failed.
        failed |= told(path)[1] if status else 0
    print(f"=== the fault suite took {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
