"""`make fuzz SECONDS=600 DIR=…`: mutants of the samples, and of a folder's files, each in a child of its own.

What a child does that it must not (die, overstay, say what no child says, raise what nobody foresaw) is counted, told,
and kept in the folder that is named at the end. Bounded by its time; the seed is printed.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.unit.processing.test_robust import EVERY, Isolation, check

LARGEST_BYTES = 2_000_000


def main() -> int:
    """Fuzz, report; 1 when something was found."""
    from tests.unit.processing.mutants import mutant

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    seed = int(os.environ.get("FILEWIRE_FUZZ_SEED") or random.SystemRandom().getrandbits(32))
    print(f"FILEWIRE_FUZZ_SEED={seed}", flush=True)
    chance = random.Random(seed)
    contents = {name: make() for name, make in EVERY.items()}
    if given.folder:
        paths = [path for path in sorted(given.folder.rglob("*")) if path.is_file()]
        contents |= {str(path): path.read_bytes() for path in paths if 0 < path.stat().st_size <= LARGEST_BYTES}
    kept = Path(tempfile.mkdtemp(prefix="filewire-fuzz-"))
    isolation, outcomes, slowest = Isolation(), Counter[str](), (0.0, "")
    ends_at, found = time.monotonic() + given.seconds, 0
    with tempfile.TemporaryDirectory() as directory:
        while time.monotonic() < ends_at:
            name = chance.choice(list(contents))
            content = contents[name]
            for _ in range(chance.choice((1, 1, 2, 4))):
                content = mutant(content, chance)
            began = time.monotonic()
            try:
                outcome = check(isolation, content, Path(directory))
            except Exception as error:
                outcome = f"FOUND {type(error).__name__}"
                found += 1
                (kept / f"{found:04}").write_bytes(content)
                print(f"{kept}/{found:04} from {name}: {type(error).__name__}: {str(error)[-600:]}", flush=True)
            outcomes[outcome] += 1
            slowest = max(slowest, (time.monotonic() - began, name))
    isolation.stop()
    for outcome, count in outcomes.most_common():
        print(f"{count:>8}  {outcome}")
    print(f"{outcomes.total()} files, slowest {slowest[0]:.2f} s ({slowest[1]}); {found} found, kept in {kept}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
