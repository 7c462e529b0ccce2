"""`manage.py web`: one process of HTTP, and of WebSockets too where no `live` runs beside it."""

import argparse
import logging
from typing import Any

import uvicorn
from django.core.management import call_command
from django.core.management.base import BaseCommand

from project import environment as env
from project.migration import migrate_alone

logger = logging.getLogger(__name__)

WEBSOCKET_MESSAGE_BYTES = 64 * 1024  # what a client may send in one frame; it has little to say
WEBSOCKET_PING_SECONDS = 20.0
GRACE_SECONDS = 10


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
        logger.info("listening on http://%s:%d", host, port)
        uvicorn.run(
            "asgi.application:application",
            host=host,
            port=port,
            loop="uvloop",
            http="httptools",
            ws="websockets-sansio",
            ws_max_size=WEBSOCKET_MESSAGE_BYTES,
            ws_ping_interval=WEBSOCKET_PING_SECONDS,
            ws_ping_timeout=WEBSOCKET_PING_SECONDS,
            ws_per_message_deflate=False,  # 1,000 sockets would each keep a compressor's memory
            lifespan="on",
            access_log=False,
            server_header=False,
            proxy_headers=True,
            forwarded_allow_ips=env.text("FORWARDED_ALLOW_IPS", "127.0.0.1"),
            timeout_keep_alive=75,  # longer than a proxy keeps its idle connections to us
            timeout_graceful_shutdown=GRACE_SECONDS,
            backlog=2048,
            log_config=None,
        )
