"""The example of a package that adds a kind keeps what docs/processors.md asks of a processor."""

import importlib.util
from types import ModuleType

import pytest

from apps.processing.contract import ProcessingFailed
from tests.acceptance.test_plugin import PLUGIN


@pytest.fixture
def points() -> ModuleType:
    """The example's module, as it is installed."""
    spec = importlib.util.spec_from_file_location("filewire_points", PLUGIN / "filewire_points.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_points_are_counted(make_job, points):
    """In the file that it recognises."""
    content = b"points\n1 2\n3 4\n"
    assert points.recognises(content)
    assert points.process(make_job(content)).result == {"points": 2}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"points\none two\n", "points_broken"),
        (b"points\n1 2\n\xff\xfe\n", "points_broken"),
        (b"points\n" + b"1 2\n" * 5_000_000, "points_too_large"),
    ],
)
def test_what_is_at_fault_is_said_by_a_code(make_job, points, content, code):
    """A line that is no point, bytes that are no text, more of them than anyone reads."""
    with pytest.raises(ProcessingFailed) as failure:
        points.process(make_job(content))
    assert failure.value.code == code
