"""The commands of the README, run as they stand."""

import json
import re
import shutil
import subprocess

import pytest

from tests.acceptance.service import ROOT, Service

COMMANDS = [
    command
    for block in re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for command in block.strip().splitlines()
    if command.startswith("curl")
]


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_works(running: Service, command: str):
    """A command of the README answers what it is there to show."""
    assert "http://127.0.0.1:8000" in command
    found = subprocess.run(
        command.replace("http://127.0.0.1:8000", running.url).replace("curl", "curl -sS", 1),
        shell=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "event-stream" in command:
        assert found.returncode == 28  # --max-time ended it
        assert '"type":"hello"' in found.stdout
        return
    assert found.returncode == 0, found.stderr
    document = json.loads(found.stdout)
    if "/upload/" in command:
        assert document["name"] == "README.md"
        assert document["kind"] == "text"
    elif "/events/" in command:
        assert set(document) == {"events", "cursor", "resync"}
    else:
        assert set(document) == {"next", "previous", "results"}
