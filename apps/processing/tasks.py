"""Celery's shells: ids and numbers in, one call."""

import uuid

from celery import shared_task

from apps.processing import dispatch, run


@shared_task(name=dispatch.TASK)
def process(file_id: str, attempt: int) -> None:
    """Work on this attempt of this file, if it is still waiting to be worked on."""
    run.attempt(uuid.UUID(file_id), attempt)
