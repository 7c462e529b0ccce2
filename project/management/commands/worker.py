"""`manage.py worker`: one worker: a Celery worker with its processes, and the dispatcher beside it."""

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from project.supervisor import Child, Supervisor


class Command(BaseCommand):
    """Runs a Celery worker and a dispatcher; one that dies is started again."""

    help = "Process files in one worker. Everything comes from the environment."

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM; then the dispatcher stops at once, and the worker when its files are done or put back."""
        python = [sys.executable, "-m"]
        celery = Child(
            "celery",
            [
                *python,
                "celery",
                "--quiet",
                "--app=project.celery",
                "worker",
                f"--concurrency={settings.FILEWIRE_WORKER_PROCESSES}",
                "--pool=prefork",
                "-Ofair",
                f"--loglevel={settings.FILEWIRE_LOG_LEVEL}",
                "--without-gossip",
                "--without-mingle",
            ],
            # SIGTERM: finish what runs, for as long as worker_soft_shutdown_timeout allows, then put it back
            environment={"REMAP_SIGTERM": "SIGQUIT"},
            grace_seconds=12,
            pulsing=True,
        )
        dispatcher = Child("dispatcher", [sys.executable, "manage.py", "dispatcher"], grace_seconds=5, pulsing=True)
        Supervisor([celery, dispatcher]).run()
