"""What opens with the server and closes with it."""

import shutil

from apps.files import storage
from asgi.lifespan import lifespan


async def test_the_storage_is_made_at_the_start_and_all_is_closed_at_the_end(data_directory):
    """Startup and shutdown are each answered once; the directories are there in between."""
    shutil.rmtree(data_directory)
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message["type"])
        assert storage.incoming().is_dir()

    await lifespan({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
