"""One attempt, from claim to record: claim, detect, process, record, publish."""

import dataclasses
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import connection

from apps.events import publish
from apps.files import lifecycle, storage
from apps.files.context import about
from apps.files.faults import as_transient
from apps.files.models import File
from apps.processing import detect
from apps.processing.contract import Job, Outcome, ProcessingFailed
from apps.processing.processors import processor_for

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.25  # between two reports of progress that are passed on


class ClaimLost(Exception):
    """Someone else has the file: deleted, or taken from us because our lease ended."""


def attempt(file_id: uuid.UUID, number: int) -> None:
    """Work on this attempt, if it is still waiting; returns quietly when it is not."""
    file = lifecycle.claim(file_id, number)
    if file is None:
        logger.info("attempt %d is not waiting any more", number, extra={"file_id": str(file_id)})
        return
    with about(file=file.id, request=file.request_id):
        began = time.monotonic()
        _publish(file)
        ours = _work(file)
        if not ours:
            logger.info("attempt %d was taken from us; its outcome is dropped", number)
            storage.discard_derived(str(file.file.name), number)
            return
        _publish(file)
        logger.info("attempt %d is %s after %.3f s", number, file.status, time.monotonic() - began)


def _work(file: File) -> bool:
    """Process a claimed file and record how it ended; False when the claim was lost.

    Raises what the database does when the outcome cannot be recorded: it may have been, so nothing is thrown away, and
    if it was not, the lease ends and the next attempt begins.
    """
    found = {"content_type": file.content_type, "kind": file.kind}
    try:
        with _lease(file) as lease:
            outcome, derived = _process(file, lease, found)
    except ClaimLost:
        return False
    except Exception as error:
        storage.discard_derived(str(file.file.name), file.attempt)
        return _record_fault(file, error, found)
    return lifecycle.complete(file, **found, result=dict(outcome.result), derived=derived)


def _record_fault(file: File, error: Exception, found: dict[str, str]) -> bool:
    """Record what kept the file from being processed: for good, or until the next attempt."""
    if isinstance(error, ProcessingFailed):
        return lifecycle.fail(file, code=error.code, detail=error.detail, **found)
    if isinstance(error, SoftTimeLimitExceeded):
        limit = settings.FILEWIRE_PROCESSING_SECONDS
        detail = f"Processing took longer than {limit:g} seconds."
        return lifecycle.fail(file, code="processing_timeout", detail=detail, **found)
    transient = as_transient(error)
    if transient is not None:
        logger.warning("attempt %d: %s", file.attempt, transient.detail, exc_info=error)
        return lifecycle.retry(file, code=transient.code, detail=transient.detail)
    logger.error("attempt %d: an error nobody foresaw", file.attempt, exc_info=error)
    return lifecycle.fail(file, code="processing_error", detail="The file could not be processed.", **found)


def _process(file: File, lease: "Lease", found: dict[str, str]) -> tuple[Outcome, dict[str, dict[str, Any]]]:
    key = str(file.file.name)
    storage.discard_derived(key)  # what earlier attempts made is nobody's any more
    path = storage.path_of(key)
    detected = detect.detect(path)
    found.update(content_type=detected.content_type, kind=detected.kind)
    workdir = storage.workdir(key, file.attempt)
    job = Job(
        path=path,
        size=file.size,
        name=file.name,
        content_type=detected.content_type,
        kind=detected.kind,
        sha256=file.sha256,
        workdir=workdir,
        report=lease.report,
    )
    outcome = processor_for(detected)(job)
    storage.keep_only(workdir, {item.path.name for item in outcome.derived})
    derived = {
        item.name: {"attempt": file.attempt, "file": item.path.name, "content_type": item.content_type}
        for item in outcome.derived
    }
    return outcome, derived


def _publish(file: File) -> None:
    if publish.pending(file):
        lifecycle.published(file)
        file.pending = None


@dataclasses.dataclass
class Lease:
    """Our hold on a file while its processor runs: progress renews it, and so does a heartbeat beside it."""

    file: File
    lost: bool = False
    # A file that is done before the first report is due has none.
    reported_at: float = dataclasses.field(default_factory=time.monotonic)
    percent: int = 0

    def report(self, percent: int) -> None:
        """Pass progress on, a few times a second at most. Raises ClaimLost."""
        if self.lost:
            raise ClaimLost
        now = time.monotonic()
        if percent <= self.percent or now - self.reported_at < PROGRESS_SECONDS:
            return
        self.reported_at, self.percent = now, percent
        if not lifecycle.progress(self.file, percent):
            raise ClaimLost
        if self.file.pending:  # the feed was away; what happened first is told first
            _publish(self.file)
        if not self.file.pending:
            publish.progress(self.file)


@contextmanager
def _lease(file: File) -> Iterator[Lease]:
    """The hold on a claimed file, renewed from a thread of its own until the block ends. Raises ClaimLost."""
    lease = Lease(file=file)
    done = threading.Event()

    def beat() -> None:
        try:
            while not done.wait(settings.FILEWIRE_LEASE_SECONDS / 3):
                try:
                    lease.lost = not lifecycle.renew(file)
                except Exception as error:
                    logger.warning("the lease could not be renewed: %s", type(error).__name__)
                    connection.close()
        finally:
            connection.close()

    thread = threading.Thread(target=beat, name="lease", daemon=True)
    thread.start()
    try:
        yield lease
        if lease.lost:
            raise ClaimLost
    finally:
        done.set()
        thread.join()
