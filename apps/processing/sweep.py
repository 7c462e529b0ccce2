"""Putting right what dead processes left behind, in the dispatcher that leads; each step in one batch, by index or by a
walk that goes on where it stopped.

Every step may be done many times over, and by two at once: what it finds is changed by conditional updates alone. None
looks at anything younger than a delay that the living need for it.
"""

import contextlib
import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from celery import Celery
from django.conf import settings
from django.utils import timezone
from kombu.exceptions import ChannelError

from apps.events import publish
from apps.files import home, idempotency, lifecycle, storage
from apps.files.context import about
from apps.files.errors import BytesMissing, FileBusy, FileMissing
from apps.files.faults import is_database_away
from apps.files.models import File

logger = logging.getLogger(__name__)

QUEUE = "filewire"
BATCH_FILES = 128
BATCH_SHARDS = 64
AUDIT_FILES = 2048  # at one sweep, but for a shard begun: some tens of milliseconds
INCOMING_GRACE_SECONDS = 60.0


class Sweeper:
    """Sweeps once at each call; `send` sends queued files to the broker."""

    def __init__(self, app: Celery, send: Callable[[Sequence[File]], int]) -> None:
        self._app = app
        self._send = send
        self._shards: Iterator[Path] = iter(())
        self._looked_at: uuid.UUID | None = None
        self._at_home = True

    def sweep(self) -> None:
        """Every step once, whatever the ones before it met. Raises the first that one met."""
        steps: tuple[Callable[[], None], ...] = (
            self._publish_late,
            self._take_from_the_dead,
            self._send_again,
            self._forget,
            self._audit,
        )
        met: Exception | None = None
        for step in steps:
            try:
                step()
            except Exception as error:  # bytes that cannot be looked at are no reason to leave files with the dead
                met = met or error
        if met is not None:
            raise met

    def _publish_late(self) -> None:
        for file in lifecycle.unpublished(settings.FILEWIRE_REPUBLISH_SECONDS, BATCH_FILES):
            with _alone(file):
                if not publish.pending(file):
                    return
                lifecycle.published(file)

    def _take_from_the_dead(self) -> None:
        for file in lifecycle.expired(BATCH_FILES):
            with _alone(file):
                logger.warning("attempt %d lost its worker", file.attempt)
                if lifecycle.lose(file) and publish.pending(file):
                    lifecycle.published(file)

    def _send_again(self) -> None:
        """Send again what was sent, not claimed, and cannot be in the queue any more: lost with the broker's data.

        The queue is first in, first out: where it is not empty, what was sent well before something that is being
        worked on is lost.
        """
        then = timezone.now() if not self._queued() else lifecycle.newest_claimed()
        if then is None:
            return
        then = min(then, timezone.now()) - timedelta(seconds=settings.FILEWIRE_REDISPATCH_SECONDS)
        files = lifecycle.dispatched_before(then, BATCH_FILES)
        if files:
            logger.warning("%d messages were lost with the broker's data; they are sent again", len(files))
            self._send(files)

    def _queued(self) -> int:
        """How many messages wait in the broker's queue."""
        with self._app.connection_for_write() as broker, broker.channel() as channel:
            try:
                return int(channel.queue_declare(QUEUE, passive=True).message_count)
            except ChannelError:  # Redis keeps no empty list, so kombu finds no queue
                return 0

    def _forget(self) -> None:
        storage.sweep_incoming(settings.FILEWIRE_UPLOAD_TOTAL_SECONDS + INCOMING_GRACE_SECONDS)
        idempotency.forget_expired(BATCH_FILES)

    # --- bytes without a row, rows without bytes -------------------------------------------------------------

    def _audit(self) -> None:
        """Go on with both walks, if the storage and the database are each other's."""
        try:
            at_home = home.settle()
            if at_home:
                self._remove_orphans()
                self._find_missing()
        except OSError as error:
            logger.warning("the storage cannot be looked through: %s", error)
            return
        if not at_home and self._at_home:
            logger.error(
                "the storage is not this database's (not mounted, or one of the two was replaced): "
                "bytes without a row and rows without bytes are left alone"
            )
        self._at_home = at_home

    def _remove_orphans(self) -> None:
        """Remove bytes that no row knows, and what attempts derived that are over. Raises OSError."""
        looked_at = 0
        for _ in range(BATCH_SHARDS):
            shard = next(self._shards, None)
            if shard is None:
                self._shards = storage.shards()  # from the youngest again, at the next sweep
                return
            found = storage.found_in(shard, settings.FILEWIRE_ORPHAN_SECONDS)
            looked_at += len(found)
            old = [item for item in found if item.age_seconds > settings.FILEWIRE_ORPHAN_SECONDS]
            known = lifecycle.derived_by({item.file_id for item in old}) if old else {}
            for item in old:
                if _is_orphan(item, known.get(item.file_id)):
                    logger.warning("bytes without a row are removed", extra={"file_id": str(item.file_id)})
                    storage.remove_found(item)
            storage.remove_empty(shard, settings.FILEWIRE_ORPHAN_SECONDS)
            if looked_at >= AUDIT_FILES:
                return

    def _find_missing(self) -> None:
        """Give files whose bytes are gone a new attempt, which will say so to everyone. Raises OSError."""
        files = lifecycle.done_after(self._looked_at, settings.FILEWIRE_ORPHAN_SECONDS, BATCH_FILES)
        self._looked_at = files[-1].id if files else None
        for file in files:
            if storage.has_bytes(str(file.file.name)) or (file.error or {}).get("code") == BytesMissing.code:
                continue
            with _alone(file), contextlib.suppress(FileBusy, FileMissing):  # someone else was quicker
                logger.error("a row without bytes")
                lifecycle.requeue(file.id)


@contextlib.contextmanager
def _alone(file: File) -> Iterator[None]:
    """Around what is done for one file, whose trouble is not the next one's. Raises what is away."""
    with about(file=file.id, request=file.request_id):
        try:
            yield
        except Exception as error:
            if is_database_away(error):
                raise
            logger.exception("this file cannot be put right")


def _is_orphan(item: storage.Found, wanted_from: int | None) -> bool:
    """Whether nobody will ever look at it again, given the attempt from which derived files of its id may be wanted."""
    if wanted_from is None:  # there is no row
        return True
    return item.attempt is not None and item.attempt < wanted_from
