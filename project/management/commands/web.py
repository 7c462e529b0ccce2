"""`manage.py web`: one process of HTTP, and of WebSockets too where no `live` runs beside it."""

import argparse
import logging
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand

from project import environment as env
from project.descriptors import allow_many
from project.migration import migrate_alone

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    """Serves HTTP by uvicorn: the body is handed on as it arrives, under back-pressure."""

    help = "Serve HTTP (and WebSocket) in one process. Everything comes from the environment."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The address, and whether to migrate first."""
        parser.add_argument("--host", default=env.text("HOST", "127.0.0.1"))
        parser.add_argument("--port", type=int, default=env.integer("PORT", 8000))
        parser.add_argument("--migrate", action="store_true", help="bring the database up to date first")

    def handle(self, *args: Any, host: str, port: int, migrate: bool, **options: Any) -> None:
        """Serve until SIGTERM; then finish what is under way, for a few seconds."""
        call_command("check", verbosity=0)
        if migrate:
            migrate_alone()
        from asgi.server import serve  # after the migration: it imports the whole application

        logger.info("listening on http://%s:%d", host, port)
        allow_many()
        serve(host, port)
