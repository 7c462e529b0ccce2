"""One service for all tests that leave it as they found it."""

from collections.abc import Iterator

import pytest

from tests.acceptance.service import Service, service


@pytest.fixture(scope="session")
def running() -> Iterator[Service]:
    """`manage.py serve` with its own Valkey."""
    with service() as found:
        yield found
