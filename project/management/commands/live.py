"""`manage.py live`: one process of WebSockets alone, by daphne."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand

from project import environment as env
from project.descriptors import allow_many


class Command(BaseCommand):
    """Serves `/ws/`, and `/healthz`, and refuses every request with a body."""

    help = "Serve WebSockets alone in one process. Everything comes from the environment."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The address."""
        parser.add_argument("--host", default=env.text("HOST", "127.0.0.1"))
        parser.add_argument("--port", type=int, default=env.integer("PORT", 8001))

    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        """Serve until SIGTERM."""
        from asgi.live import serve  # Twisted's reactor is installed by this import

        allow_many()
        serve(host, port)
