"""How many files a process may have open."""

import resource

import pytest

from project.descriptors import WANTED, allow_many


@pytest.fixture
def few() -> int:
    """A soft limit as systems give it; the hard one."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_is_raised(few):
    """As far as the hard one allows, which stays."""
    allow_many()
    most = WANTED if few == resource.RLIM_INFINITY else min(few, WANTED)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, few)
    allow_many()  # and it is no error where there is nothing to do
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, few)


def test_a_kernel_that_does_not_allow_it_is_no_error(few, monkeypatch):
    """It stays as it was."""

    def refuse(*limits: object) -> None:
        raise ValueError

    monkeypatch.setattr(resource, "setrlimit", refuse)
    allow_many()
    monkeypatch.undo()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (1024, few)
