"""Whatever is wrong with a file, its child ends in time, with a result that is one or a code that is known."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema
import pytest

from apps.processing import kinds
from apps.processing.confinement import Limits
from apps.processing.contract import ProcessingFailed, Task
from apps.processing.isolation import Isolation
from tests import samples
from tests.unit.processing import compounds, real
from tests.unit.processing.mutants import mutant
from tests.unit.processing.test_isolation import Listening

MIB = 1024 * 1024
LIMITS = Limits(seconds=20, cpu_seconds=20, memory_bytes=1024 * MIB, output_bytes=64 * MIB)
MUTANTS = 12
REAL: dict[str, Callable[[], bytes]] = {
    "real docx": real.docx, "real pptx": real.pptx, "real odt": real.odt, "real epub": real.epub,
    "real xlsx": real.xlsx, "real xlsb": real.xlsb, "real pdf": real.pdf,
    "real flac": real.sound, "real mp4": real.film,
    "real mp3": lambda: real.sound("mp3", "libmp3lame"), "real ogg": lambda: real.sound("ogg", "libopus", 48000),
    "real webm": lambda: real.sound("webm", "libopus", 48000), "real m4a": lambda: real.sound("mp4", "aac"),
    "real mkv": lambda: real.film("matroska", "libx264"), "real avi": lambda: real.film("avi", "mpeg4"),
    "real 7z": lambda: real.seven({"a": b"x", "b": b"y" * 300}), "real rar 4": lambda: real.rar4({"a": 1, "b/c": 5}),
    "real doc": lambda: compounds.word("one", b"two"), "real ppt": lambda: compounds.slides("one", b"two"),
    "real msg": compounds.message,
    "real rar 5": lambda: real.rar5({"a": 1, "b/c": 5}),
}  # fmt: skip
EVERY = {sample.__name__: sample for sample in samples.EXPECTED} | REAL


@pytest.fixture(scope="module")
def isolation() -> Iterator[Isolation]:
    """The worker's own."""
    found = Isolation()
    yield found
    found.stop()


def check(isolation: Isolation, content: bytes, directory: Path) -> str:
    """Have it worked on; what came of it, once that is as it must be."""
    path, workdir = directory / "blob", directory / "work"
    path.write_bytes(content)
    workdir.mkdir(exist_ok=True)
    listening = Listening(5.0)
    task = Task(path=path, size=len(content), name="upload", sha256="0" * 64, workdir=workdir)
    try:
        outcome = isolation.process(task, LIMITS, listening)
    except ProcessingFailed as failure:
        return failure.code
    (found,) = listening.types
    result = json.loads(json.dumps(outcome.result))
    schema = {"anyOf": [kinds.schemas()[found.kind], kinds.schemas()["other"]]}
    jsonschema.validate(result, schema)
    assert len(json.dumps(result)) < 256 * 1024
    assert all(item.path.stat().st_size for item in outcome.derived)
    return "processed"


@pytest.mark.parametrize("name", EVERY)
def test_a_file_that_is_almost_one_hurts_only_itself(isolation, name, tmp_path):
    """Cut off, turned over, doubled: never an error that nobody foresaw, never a child that dies or does not end."""
    chance = random.Random(f"{name}")
    content = EVERY[name]()
    check(isolation, content, tmp_path)
    for _ in range(MUTANTS):
        check(isolation, mutant(content, chance), tmp_path)
