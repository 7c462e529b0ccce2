"""The secret key, kept beside the data."""

import subprocess
import sys

from project.secret import kept_secret


def test_a_secret_is_made_once(tmp_path):
    """The second call reads what the first one made; nobody else may read it, and nothing else is left."""
    path = tmp_path / "own" / "secret_key"
    first = kept_secret(path)
    assert len(first) >= 50
    assert kept_secret(path) == first
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_processes_that_start_at_once_agree(tmp_path):
    """However many make it at the same moment, all end with one key."""
    command = [
        sys.executable, "-c",
        "import sys, pathlib; from project.secret import kept_secret; print(kept_secret(pathlib.Path(sys.argv[1])))",
        str(tmp_path / "secret_key"),
    ]  # fmt: skip
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    keys = {process.communicate(timeout=30)[0].strip() for process in running}
    assert len(keys) == 1
    assert len(keys.pop()) >= 50
