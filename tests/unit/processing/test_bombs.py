"""F15: pictures that would be too large end at once, by their true name, and cost no memory."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from apps.processing.contract import ProcessingFailed, Task
from apps.processing.isolation import Isolation
from tests import samples
from tests.unit.processing.test_isolation import Listening
from tests.unit.processing.test_robust import LIMITS, MIB

BOMBS = {
    "png": (samples.bomb_png, 0),  # 50,000 x 50,000 pixels of one bit
    "gif": (samples.bomb_gif, 0),  # ten thousand frames
    "tiff": (samples.bomb_tiff, 200 * MIB),  # 60,000 x 60,000 pixels, and 200 MiB of them are there
}


@pytest.fixture(scope="module")
def isolation() -> Iterator[Isolation]:
    """The worker's own."""
    found = Isolation()
    yield found
    found.stop()


class Peak:
    """The most memory that a process of the sandbox has resident within the block, in bytes."""

    def __init__(self) -> None:
        self.bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        us = psutil.Process(os.getpid())
        while not self._over.wait(0.002):
            for process in us.children(recursive=True):
                try:
                    if "apps.processing.sandbox" in process.cmdline():
                        self.bytes = max(self.bytes, process.memory_info().rss)
                except psutil.Error:
                    continue


@pytest.mark.parametrize("kind", BOMBS)
def test_f15_a_picture_that_would_be_too_large_ends_at_once(isolation, tmp_path, kind):
    """`image_too_large`, in about a second on a machine that does other things too, within 300 MiB."""
    sample, length = BOMBS[kind]
    path = tmp_path / "blob"
    path.write_bytes(sample())
    if length:
        os.truncate(path, length)
    task = Task(path=path, size=path.stat().st_size, name="upload", sha256="0" * 64, workdir=Path(tmp_path / "work"))
    task.workdir.mkdir()
    began = time.monotonic()
    with Peak() as peak, pytest.raises(ProcessingFailed) as failure:
        isolation.process(task, LIMITS, Listening(5.0))
    assert failure.value.code == "image_too_large"
    assert time.monotonic() - began < 5
    assert 0 < peak.bytes < 300 * MIB
