"""Every change of a file's state, each one conditional update on status, attempt and version.

One row updated: the change is ours. None: someone else has the file, and we stop quietly. The event of a change is
written into the row by the same statement (`pending`), so that a change without its event cannot exist; whoever
publishes it says so afterwards (`published`). Nothing here talks to the broker or to the feed.
"""

import dataclasses
import logging
import random
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from apps.files import insertion, storage
from apps.files.document import document, moment
from apps.files.errors import FileBusy, FileMissing, KeyInFlight
from apps.files.models import File, IdempotencyKey, Status, new_file_id

logger = logging.getLogger(__name__)

RETRY_BASE_SECONDS = 1.0
RETRY_CAP_SECONDS = 60.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Held:
    """An idempotency key that this upload holds, and what a repeat will be answered."""

    key: str
    holder: uuid.UUID
    fingerprint: str
    response: str
    location: str


# --- the event of a change -----------------------------------------------------------------------------------


def _with_event(file: File, event: str, now: datetime) -> list[dict[str, Any]]:
    """The row's unpublished events and this one, of the file as it is in memory."""
    entry = {"seq": file.version, "type": f"file.{event}", "time": moment(now), "data": document(file)}
    return [*(file.pending or []), entry]


def newest_document(file: File) -> dict[str, Any]:
    """The document of the newest event that the file carries, made with that event."""
    entry: dict[str, Any] = (file.pending or [])[-1]
    data: dict[str, Any] = entry["data"]
    return data


def _advance(file: File, event: str, now: datetime, **changes: Any) -> bool:
    """Whether the row was still as it was read, and has the changes now; the file in memory has them either way."""
    fence = {"id": file.id, "version": file.version, "status": file.status, "attempt": file.attempt}
    as_read = dict(file.__dict__)
    for name, value in changes.items():
        setattr(file, name, value)
    file.version += 1
    file.changed_at = now
    file.pending = _with_event(file, event, now)
    try:
        updated = File.objects.filter(**fence).update(
            version=file.version, changed_at=now, pending=file.pending, **changes
        )
    except BaseException:
        file.__dict__.update(as_read)  # the next try must meet the fence as it was
        raise
    return updated == 1


# --- receive -------------------------------------------------------------------------------------------------


def new_file(**fields: Any) -> File:
    """A queued file that is not in the database yet, its first event with it."""
    now: datetime = fields["uploaded_at"]
    file_id = fields.pop("id", None) or new_file_id()
    file = File(**fields, id=file_id, file=storage.key_of(file_id), changed_at=now, due_at=now)
    file.pending = _with_event(file, "queued", now)
    return file


def receive(files: Sequence[File], held: Mapping[uuid.UUID, Held]) -> None:
    """Record new files, all or none, by one INSERT; `held` has the idempotency key, by file id, of those with one.

    Raises KeyInFlight when one of the keys is no longer held; nothing is recorded then.
    """
    if not held:
        insertion.insert(files)  # one statement is its own transaction
        return
    with transaction.atomic():
        insertion.insert(files)
        for answer in held.values():
            kept = IdempotencyKey.objects.filter(key=answer.key, holder=answer.holder, response__isnull=True).update(
                fingerprint=answer.fingerprint,
                response=answer.response,
                location=answer.location,
                expires_at=timezone.now() + timedelta(seconds=settings.FILEWIRE_IDEMPOTENCY_SECONDS),
            )
            if not kept:
                raise KeyInFlight


def recorded(ids: Iterable[uuid.UUID]) -> set[uuid.UUID]:
    """Which of these ids are in the database."""
    return set(File.everything.filter(id__in=list(ids)).values_list("id", flat=True))


def derived_by(ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, int]:
    """The first attempt whose derived files may be wanted, of each of these ids that is in the database, hidden or not.

    That of the row, or, where it has ended and left none, the next.
    """
    rows = File.everything.filter(id__in=list(ids)).values_list("id", "attempt", "status", "derived")
    return {
        file_id: attempt + (status == Status.FAILED or (status == Status.PROCESSED and not derived))
        for file_id, attempt, status, derived in rows
    }


def done_after(file_id: uuid.UUID | None, older_than_seconds: float, limit: int) -> list[File]:
    """Files that are done, and have been for so long, after this id and in the order of ids."""
    rows = File.objects.filter(status__in=(Status.PROCESSED, Status.FAILED))
    rows = rows.filter(changed_at__lt=timezone.now() - timedelta(seconds=older_than_seconds))
    if file_id is not None:
        rows = rows.filter(id__gt=file_id)
    return list(rows.order_by("id")[:limit])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backlog:
    """How many files wait (as far as they were counted), and for how long the one that should be next has (seconds)."""

    queued: int
    oldest_seconds: float | None


def backlog(most: int) -> Backlog:
    """What waits to be worked on; counted up to so many."""
    rows = File.objects.filter(status=Status.QUEUED)
    now = timezone.now()
    sent = rows.filter(dispatched_at__isnull=False).order_by("dispatched_at").values_list("dispatched_at", flat=True)
    unsent = (
        rows.filter(dispatched_at__isnull=True, due_at__lte=now).order_by("due_at").values_list("due_at", flat=True)
    )
    since = [moment for moment in (sent.first(), unsent.first()) if moment is not None]
    return Backlog(queued=rows[:most].count(), oldest_seconds=(now - min(since)).total_seconds() if since else None)


# --- dispatch ------------------------------------------------------------------------------------------------


def undispatched(limit: int) -> list[File]:
    """Queued files that were never sent to the broker and are due, oldest first."""
    rows = File.objects.filter(status=Status.QUEUED, dispatched_at__isnull=True)
    return list(rows.filter(due_at__lte=timezone.now()).order_by("due_at")[:limit])


def dispatched_before(then: datetime, limit: int) -> list[File]:
    """Queued files that were sent to the broker before this moment and not claimed since, oldest first."""
    rows = File.objects.filter(status=Status.QUEUED, dispatched_at__lt=then)
    return list(rows.order_by("dispatched_at", "id")[:limit])


def newest_claimed() -> datetime | None:
    """When the youngest of the messages that are being worked on was sent; None when nothing is worked on."""
    found: datetime | None = File.objects.filter(status=Status.PROCESSING).aggregate(newest=Max("dispatched_at"))[
        "newest"
    ]
    return found


def dispatched(files: Sequence[File]) -> None:
    """Note that these files' events are published and their attempts sent, unless they have changed since."""
    now = timezone.now()
    by_version: dict[int, list[uuid.UUID]] = {}
    for file in files:
        by_version.setdefault(file.version, []).append(file.id)
    for version, ids in by_version.items():
        File.objects.filter(id__in=ids, version=version, status=Status.QUEUED).update(dispatched_at=now, pending=None)


# --- the feed's outbox ---------------------------------------------------------------------------------------


def unpublished(older_than_seconds: float, limit: int) -> list[File]:
    """Files, the hidden ones included, with events that someone should have published by now; oldest first."""
    due = timezone.now() - timedelta(seconds=older_than_seconds)
    rows = File.everything.filter(pending__isnull=False, changed_at__lte=due)
    return list(rows.order_by("changed_at")[:limit])


def published(file: File) -> None:
    """Note that the file's events are published, unless it has new ones since."""
    File.everything.filter(id=file.id, version=file.version).update(pending=None)


# --- the work ------------------------------------------------------------------------------------------------


def _lease_end(now: datetime) -> datetime:
    return now + timedelta(seconds=settings.FILEWIRE_LEASE_SECONDS)


def claim(file_id: uuid.UUID, attempt: int) -> File | None:
    """The file, now `processing` and ours until its lease ends; None when this attempt is not waiting any more."""
    file = File.objects.filter(id=file_id).first()
    if file is None or file.status != Status.QUEUED or file.attempt != attempt:
        return None
    now = timezone.now()
    ours = _advance(
        file,
        "processing",
        now,
        status=Status.PROCESSING,
        progress=0,
        lease_expires_at=_lease_end(now),
        dispatched_at=file.dispatched_at or now,
    )
    return file if ours else None


def renew(file: File) -> bool:
    """Whether the claim still holds; if so it holds for another lease."""
    now = timezone.now()
    rows = File.objects.filter(id=file.id, attempt=file.attempt, status=Status.PROCESSING)
    return rows.update(lease_expires_at=_lease_end(now)) == 1


def progress(file: File, percent: int) -> bool:
    """Whether the claim still holds; if so the row shows this progress. Its event is the caller's, and may be lost."""
    file.progress = max(0, min(100, percent))
    rows = File.objects.filter(id=file.id, attempt=file.attempt, status=Status.PROCESSING)
    return rows.update(progress=file.progress, lease_expires_at=_lease_end(timezone.now())) == 1


def complete(
    file: File,
    *,
    content_type: str,
    kind: str,
    result: dict[str, Any],
    derived: dict[str, dict[str, Any]],
    now: datetime | None = None,
) -> bool:
    """Record the outcome of a claimed file; False when the claim was lost, and then nothing is recorded."""
    now = now or timezone.now()
    return _advance(
        file,
        "processed",
        now,
        status=Status.PROCESSED,
        processed=True,
        progress=100,
        processed_at=now,
        content_type=content_type,
        kind=kind,
        result=result,
        derived=derived,
        error=None,
        lease_expires_at=None,
    )


def fail(
    file: File,
    *,
    code: str,
    detail: str,
    content_type: str | None = None,
    kind: str | None = None,
    now: datetime | None = None,
) -> bool:
    """Record why a claimed file cannot be processed, and what it was found to be; False when the claim was lost."""
    now = now or timezone.now()
    return _advance(
        file,
        "failed",
        now,
        status=Status.FAILED,
        progress=0,
        processed_at=now,
        error={"code": code, "detail": detail},
        lease_expires_at=None,
        content_type=content_type or file.content_type,
        kind=kind or file.kind,
    )


def retry(file: File, *, code: str, detail: str, now: datetime | None = None) -> bool:
    """Queue a claimed file again because its surroundings failed it, or fail it after FILEWIRE_MAX_RETRIES times.

    False when the claim was lost.
    """
    faults = file.faults + 1
    if faults > settings.FILEWIRE_MAX_RETRIES:
        return fail(file, code=code, detail=detail, now=now)
    return _queue_again(
        file, now or timezone.now(), wait_seconds=_wait_seconds(faults), losses=file.losses, faults=faults
    )


def lose(file: File, *, now: datetime | None = None) -> bool:
    """Queue a claimed file again because its worker died, or fail it when FILEWIRE_MAX_ATTEMPTS of them have.

    False when the claim was lost.
    """
    losses = file.losses + 1
    if losses >= settings.FILEWIRE_MAX_ATTEMPTS:
        return fail(file, code="worker_lost", detail="The process that worked on the file died, each time.", now=now)
    return _queue_again(
        file, now or timezone.now(), wait_seconds=_wait_seconds(losses), losses=losses, faults=file.faults
    )


def put_back(file: File) -> bool:
    """Queue a claimed file again at once, because its worker was told to stop; False when the claim was lost."""
    return _queue_again(file, timezone.now(), wait_seconds=0, losses=file.losses, faults=file.faults)


def _wait_seconds(times: int) -> float:
    """How long to wait after so many faults: 1, 2, 4 … at most 60 seconds, of which a random half is left out.

    The half that stays keeps a fault of seconds from eating all retries; the random one keeps a thousand files that
    met the same fault from coming back together.
    """
    full = min(RETRY_CAP_SECONDS, RETRY_BASE_SECONDS * 2 ** (times - 1))
    return random.uniform(full / 2, full)  # noqa: S311 - jitter


def _queue_again(file: File, now: datetime, *, wait_seconds: float, losses: int, faults: int) -> bool:
    return _advance(
        file,
        "queued",
        now,
        status=Status.QUEUED,
        processed=False,
        progress=0,
        attempt=file.attempt + 1,
        processed_at=None,
        result=None,
        derived={},
        error=None,
        lease_expires_at=None,
        dispatched_at=None,
        due_at=now + timedelta(seconds=wait_seconds),
        losses=losses,
        faults=faults,
    )


def stands(file: File, now: datetime) -> bool:
    """Whether the change that was made to this file in memory, at this moment, is the row's newest."""
    row = File.everything.filter(id=file.id).values_list("version", "status", "changed_at").first()
    return row == (file.version, file.status, now)


def expired(limit: int) -> list[File]:
    """Files whose worker's lease has ended, longest first."""
    rows = File.objects.filter(status=Status.PROCESSING, lease_expires_at__lt=timezone.now())
    return list(rows.order_by("lease_expires_at")[:limit])


# --- the caller's wishes -------------------------------------------------------------------------------------


def requeue(file_id: uuid.UUID) -> File:
    """The file, queued for a new attempt. Raises FileMissing, or FileBusy while it is queued or processing."""
    file = File.objects.filter(id=file_id).first()
    if file is None:
        raise FileMissing
    if file.status not in (Status.PROCESSED, Status.FAILED):
        raise FileBusy
    if not _queue_again(file, timezone.now(), wait_seconds=0, losses=0, faults=0):
        raise FileBusy
    return file


def delete(file_id: uuid.UUID) -> None:
    """Remove the file from everyone's sight, then its bytes and what was derived from them. Raises FileMissing.

    The hidden row stays until its last event is published (`bury`).
    """
    while True:
        file = File.objects.filter(id=file_id).first()
        if file is None:
            raise FileMissing
        now = timezone.now()
        if _advance(file, "deleted", now, deleted_at=now):
            break
    erase(file)


def erase(file: File) -> None:
    """Remove a deleted file's bytes; what cannot be removed now is removed by the sweep."""
    try:
        storage.discard(str(file.file.name))
    except OSError:
        logger.exception("the bytes of a deleted file stay for the sweep", extra={"file_id": str(file.id)})


def deleted(limit: int) -> list[File]:
    """Hidden files whose rows are still there, longest first."""
    return list(File.everything.filter(deleted_at__isnull=False).order_by("deleted_at")[:limit])


def bury(file: File) -> None:
    """Remove the row of a deleted file whose last event is published, its bytes first. Raises OSError."""
    storage.discard(str(file.file.name))
    File.everything.filter(id=file.id, deleted_at__isnull=False, version=file.version).delete()
