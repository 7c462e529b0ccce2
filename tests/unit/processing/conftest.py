"""A job for the processors: bytes on a disk, an empty directory, a list of the reported percentages."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from apps.processing import detect
from apps.processing.contract import Job


@pytest.fixture
def reports() -> list[int]:
    return []


@pytest.fixture
def make_job(tmp_path: Path, reports: list[int]) -> Callable[..., Job]:
    """Puts bytes on disk and describes them as the worker does; `content_type` overrides detection."""

    def make(content: bytes, *, content_type: str | None = None, name: str = "upload.bin") -> Job:
        path = tmp_path / "upload"
        path.write_bytes(content)
        workdir = tmp_path / "work"
        workdir.mkdir(exist_ok=True)
        detected = detect.detect(path, name)
        return Job(
            path=path,
            size=len(content),
            name=name,
            content_type=content_type or detected.content_type,
            kind=detected.kind,
            sha256=hashlib.sha256(content).hexdigest(),
            workdir=workdir,
            report=reports.append,
        )

    return make
