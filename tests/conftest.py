"""Fixtures that every layer of the tests shares."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.db import connections as django_connections

from apps.events import connections
from apps.files import storage

logging.getLogger("httpx").setLevel(logging.WARNING)


@pytest.fixture(autouse=True)
def data_directory(tmp_path: Path, settings) -> Path:
    """Every test has its own, empty storage."""
    settings.FILEWIRE_DATA_DIR = tmp_path / "data"
    storage.prepare()
    return settings.FILEWIRE_DATA_DIR


@pytest.fixture
def feed() -> Iterator[None]:
    """An empty feed and an empty queue, in the tests' Valkey."""
    client = connections.sync_client()
    client.flushdb()
    yield
    client.flushdb()


@pytest.fixture
async def shared_clients(feed) -> AsyncIterator[None]:
    """What a server opens for its event loop, closed again."""
    from channels.layers import channel_layers

    from apps.events.hub import close_hub
    from apps.files import threads
    from apps.processing import wake
    from apps.uploads.commit import close_committer

    channel_layers.backends = {}
    yield
    await close_committer()
    await close_hub()
    wake.close()
    for layer in list(channel_layers.backends.values()):
        await layer.flush()
    channel_layers.backends = {}
    await connections.close_async()
    await asyncio.to_thread(threads.close)
    await sync_to_async(django_connections.close_all)()  # what a test itself asked the database


@pytest.fixture
def stored() -> "Stored":
    """A look at what lies in the storage."""
    return Stored()


class Stored:
    """The storage as the file system has it."""

    def files(self) -> list[Path]:
        """Every file, those on their way included."""
        root = Path(django_settings.FILEWIRE_DATA_DIR) / "files"
        return sorted(path for path in root.rglob("*") if path.is_file() and path.name != storage.MARK)
