"""One attempt, from claim to record: claim, have the file worked on in isolation, record, publish."""

import contextlib
import dataclasses
import logging
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from django.conf import settings
from django.utils import timezone

from apps.events import publish
from apps.files import home, lifecycle, storage
from apps.files.context import about
from apps.files.errors import BytesMissing, DatabaseAway, StorageAway
from apps.files.faults import as_transient
from apps.files.models import File
from apps.files.threads import connected
from apps.processing.acceptance import is_accepted
from apps.processing.confinement import Limits
from apps.processing.contract import Outcome, ProcessingFailed, Task
from apps.processing.detect import Detected
from apps.processing.isolation import ChildLost, FileGone, Isolation

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.25  # between two reports of progress that are passed on
RECORD_PAUSE_SECONDS = 0.2
NOTE_SECONDS = 0.03  # what is told and not noted is looked at by whoever lists it, and told again by the sweep

Record = Callable[..., bool]

isolation = Isolation()


class ClaimLost(Exception):
    """Someone else has the file: deleted, or taken from us because our lease ended."""


def attempt(file_id: uuid.UUID, number: int) -> None:
    """Work on this attempt, if it is still waiting; returns quietly when it is not, or when the database is away."""
    try:
        file = _claimed(file_id, number)
    except DatabaseAway:
        # The row waits as it is: its message is sent again, or the claim that did reach it ends with its lease.
        logger.warning("attempt %d cannot be claimed: the database is away", number, extra={"file_id": str(file_id)})
        return
    if file is None:
        logger.info("attempt %d is not waiting any more", number, extra={"file_id": str(file_id)})
        return
    with about(file=file.id, request=file.request_id):
        began = time.monotonic()
        ours = _work(file)
        if ours:
            _publish(file)
            logger.info("attempt %d is %s after %.3f s", number, file.status, time.monotonic() - began)
        else:
            logger.info("attempt %d was taken from us; its outcome is dropped", number)
            storage.discard_derived(str(file.file.name), number)
        isolation.rest()


def _claimed(file_id: uuid.UUID, number: int) -> File | None:
    """The claimed file, or None. Raises DatabaseAway when it is away twice: a kept connection may just be lost."""
    try:
        with connected():
            return lifecycle.claim(file_id, number)
    except DatabaseAway:
        with connected():
            return lifecycle.claim(file_id, number)


def _work(file: File) -> bool:
    """Process a claimed file and record how it ended; False when the claim was lost.

    Raises DatabaseAway when the outcome cannot be recorded: it may have been, so nothing is thrown away, and if it was
    not, the lease ends and the next attempt begins.
    """
    lease = Lease(file=file, type={"content_type": file.content_type, "kind": file.kind})
    try:
        outcome, derived = _process(file, lease)
    except ClaimLost:
        return False
    except Exception as error:
        storage.discard_derived(str(file.file.name), file.attempt)
        record = _record_of(file, error, lease.type)
    except BaseException:
        # The worker was told to stop, and its time is over: another one is to have the file at once.
        storage.discard_derived(str(file.file.name), file.attempt)
        with contextlib.suppress(DatabaseAway), connected():  # it is had when the lease ends, then
            if lifecycle.put_back(file):
                logger.info("the worker stops: the file is put back")
                _publish(file)
        raise
    else:
        record = partial(lifecycle.complete, **lease.type, result=dict(outcome.result), derived=derived)
    return _recorded(file, record)


def _record_of(file: File, error: Exception, found: dict[str, Any]) -> Record:
    """How to record what kept the file from being processed: for good, or until the next attempt."""
    if isinstance(error, ProcessingFailed):
        return partial(lifecycle.fail, code=error.code, detail=error.detail, **found)
    if isinstance(error, ChildLost):
        logger.warning("attempt %d: the child that worked on the file died", file.attempt)
        return lifecycle.lose
    if isinstance(error, FileGone):
        if _storage_is_ours():
            logger.error("attempt %d: the file's bytes are gone", file.attempt)
            return partial(lifecycle.fail, code="bytes_missing", detail=BytesMissing().detail)
        error = StorageAway()
    transient = as_transient(error)
    if transient is not None:
        logger.warning("attempt %d: %s", file.attempt, transient.detail, exc_info=error)
        return partial(lifecycle.retry, code=transient.code, detail=transient.detail)
    logger.error("attempt %d: an error nobody foresaw", file.attempt, exc_info=error)
    return partial(lifecycle.fail, code="processing_error", detail="The file could not be processed.", **found)


def _storage_is_ours() -> bool:
    """Whether what is missing from the storage is gone, and not the storage itself."""
    try:
        with connected():
            return home.belongs()
    except (OSError, DatabaseAway):
        return False


def _recorded(file: File, record: Record) -> bool:
    """Record how the attempt ended, for as long as the lease may last; False when the claim was lost.

    Raises DatabaseAway. A try whose answer was lost may have been carried out: the next one finds the row so.
    """
    now = timezone.now()
    ends_at = time.monotonic() + settings.FILEWIRE_LEASE_SECONDS
    unsure = False
    while True:
        try:
            with connected():
                return record(file, now=now) or (unsure and lifecycle.stands(file, now))
        except DatabaseAway:
            if time.monotonic() > ends_at:
                raise
            unsure = True
            time.sleep(RECORD_PAUSE_SECONDS)


def _process(file: File, lease: "Lease") -> tuple[Outcome, dict[str, dict[str, Any]]]:
    """What a child made of the file, and what of it is kept. Raises ClaimLost, and whatever the file or we met."""
    key = str(file.file.name)
    storage.discard_derived_before(key, file.attempt)  # what earlier attempts made is nobody's any more
    workdir = storage.workdir(key, file.attempt)
    outcome = isolation.process(
        Task(
            path=storage.path_of(key),
            size=file.size,
            name=file.name,
            sha256=file.sha256,
            workdir=workdir,
            declared_content_type=file.declared_content_type,
        ),
        Limits(
            seconds=settings.FILEWIRE_PROCESSING_SECONDS,
            cpu_seconds=settings.FILEWIRE_PROCESSING_CPU_SECONDS,
            memory_bytes=settings.FILEWIRE_PROCESSING_MEMORY_BYTES,
            output_bytes=settings.FILEWIRE_PROCESSING_OUTPUT_BYTES,
        ),
        lease,
    )
    if lease.lost:
        raise ClaimLost
    storage.keep_only(workdir, {item.path.name for item in outcome.derived})
    derived = {
        item.name: {"attempt": file.attempt, "file": item.path.name, "content_type": item.content_type}
        for item in outcome.derived
    }
    return outcome, derived


def _publish(file: File) -> None:
    """Tell the feed, and note it; what cannot be told now is told by the sweep."""
    if _tell(file):
        _note(file)


def _tell(file: File) -> bool:
    """Whether the feed was told, so that the row's next change need not carry it along."""
    told = publish.pending(file)
    if told:
        file.pending = None
    return told


def _note(file: File) -> None:
    try:
        with connected():
            lifecycle.published(file)
    except DatabaseAway:
        logger.warning("it is told, and cannot be noted: the database is away")


@dataclasses.dataclass
class Lease:
    """Our hold on a file while a child works on it: renewed as time goes by, and by progress."""

    file: File
    # What the child found the file to be; until then, what the upload's first bytes looked like.
    type: dict[str, Any]
    lost: bool = False
    # A file that is done before the first report is due has none.
    reported_at: float = dataclasses.field(default_factory=time.monotonic)
    percent: int = 0
    unnoted: bool = False  # the feed was told of the claim; of a file that is done soon its outcome notes that too

    @property
    def beat_seconds(self) -> float:
        """How often to renew: two beats may be missed. The first comes soon where there is something to note."""
        return NOTE_SECONDS if self.unnoted else float(settings.FILEWIRE_LEASE_SECONDS) / 3

    def begun(self) -> None:
        """Tell of the claim while the child is at work already; what cannot be told goes out with the outcome."""
        try:
            self.unnoted = _tell(self.file)
        except Exception:
            logger.exception("the claim cannot be told")

    def found(self, detected: Detected) -> None:
        """Note what the file is, for whatever is recorded of it. Raises ProcessingFailed when such are not taken."""
        self.type = {"content_type": detected.content_type, "kind": detected.kind}
        if not is_accepted(detected, settings.FILEWIRE_ACCEPT, settings.FILEWIRE_REJECT):
            raise ProcessingFailed("type_not_accepted", f"Files of type {detected.content_type} are not accepted here.")

    def renew(self) -> None:
        """Hold the file for another lease. Raises ClaimLost, which ends the child."""
        if self.unnoted:  # it was claimed a moment ago
            self._note()
        else:
            self._hold(partial(lifecycle.renew, self.file))

    def report(self, percent: int) -> None:
        """Pass progress on, a few times a second at most. Raises ClaimLost."""
        now = time.monotonic()
        if percent <= self.percent or now - self.reported_at < PROGRESS_SECONDS:
            return
        self.reported_at, self.percent = now, percent
        if not self._hold(partial(lifecycle.progress, self.file, percent)):
            return
        self._note()
        if self.file.pending:  # the feed was away; what happened first is told first
            _publish(self.file)
        if not self.file.pending:
            publish.progress(self.file)

    def _note(self) -> None:
        if self.unnoted:
            self.unnoted = False
            _note(self.file)

    def _hold(self, update: Callable[[], bool]) -> bool:
        """Whether the row was updated; not when the database is away, which may pass before the lease does."""
        try:
            with connected():
                self.lost = not update()
        except DatabaseAway:
            logger.warning("the lease could not be renewed: the database is away")
            return False
        if self.lost:
            raise ClaimLost
        return True
