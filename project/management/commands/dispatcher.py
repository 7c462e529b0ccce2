"""`manage.py dispatcher`: sends what waits to the broker. `worker` runs it; a second one stands by."""

import os
import signal
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand

from apps.processing.dispatch import Dispatcher
from project import pulse
from project.celery import app

NICE = 5  # beside it on a core, whoever answers a client goes first, and the database that an answer waits for


class Command(BaseCommand):
    """Runs the dispatcher until SIGTERM."""

    help = "Send queued files to the broker, publish late events, recover files of dead workers."

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until told to stop."""
        dispatcher = Dispatcher(app, beat=pulse.beat)

        def stop(signum: int, frame: FrameType | None) -> None:
            dispatcher.stop()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        os.nice(NICE)
        dispatcher.run()
