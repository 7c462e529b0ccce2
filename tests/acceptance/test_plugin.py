"""A package that adds a kind: installed into an environment of its own, and used by a running worker."""

import re
import subprocess
import sys
import venv
from pathlib import Path

import httpx

from tests.acceptance.service import ROOT, Service, database

PLUGIN = ROOT / "tests" / "plugin"


def test_a_package_adds_a_kind(tmp_path: Path, monkeypatch):
    """Its files are known, processed and filtered for; what it refuses fails with its code; others are as before."""
    place = tmp_path / "environment"
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    # The service's own packages are seen from there, as they are from a virtual environment on top of another.
    found = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (Path(found.stdout.strip()) / "service.pth").write_text("\n".join(ours) + "\n")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", str(PLUGIN)], check=True, cwd=tmp_path)
    monkeypatch.setattr(sys, "executable", str(python))
    with database() as url:
        running = Service(tmp_path / "data", {"DATABASE_URL": url})
        try:
            running.start()
            good = running.finished(running.upload(b"points\n1 2\n3 4\n", "a.points")["id"])
            assert (good["kind"], good["content_type"], good["status"]) == ("points", "model/x-points", "processed")
            assert good["result"] == {"points": 2}
            bad = running.finished(running.upload(b"points\none two\n", "b.points")["id"])
            assert (bad["status"], bad["error"]["code"]) == ("failed", "points_broken")
            latin = running.finished(running.upload(b"points\n1 2\n\xe9\n", "c.points")["id"])
            assert (latin["status"], latin["error"]["code"]) == ("failed", "points_broken")
            assert running.finished(running.upload(b"only words\n")["id"])["kind"] == "text"
            listed = httpx.get(f"{running.url}/files/", params={"kind": "points"}).json()["results"]
            assert {file["id"] for file in listed} == {good["id"], bad["id"], latin["id"]}
        finally:
            if running.process is not None and running.process.poll() is None:
                running.stop()


def test_the_page_shows_the_plugin_as_it_is():
    """docs/processors.md has the whole module."""
    page = (ROOT / "docs" / "processors.md").read_text()
    assert (PLUGIN / "filewire_points.py").read_text() in re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert 'points = "filewire_points"' in (PLUGIN / "pyproject.toml").read_text()
