"""The rows: File, and the idempotency keys under which files came."""

from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from apps.files import ids
from apps.files.fields import DocumentField
from apps.files.storage import BlobStorage


class Status(models.TextChoices):
    """The life of a file: queued → processing → processed or failed; `reprocess` leads back to queued."""

    QUEUED = "queued"
    PROCESSING = "processing"
    PROCESSED = "processed"
    FAILED = "failed"


class Kind(models.TextChoices):
    """What a file is, by its bytes."""

    IMAGE = "image"
    TEXT = "text"
    TABLE = "table"
    DATA = "data"
    DOCUMENT = "document"
    AUDIO = "audio"
    VIDEO = "video"
    ARCHIVE = "archive"
    OTHER = "other"


class VisibleFiles(models.Manager["File"]):
    """All files but those whose deletion is under way."""

    def get_queryset(self) -> models.QuerySet["File"]:
        """The files that a caller may see."""
        return super().get_queryset().filter(deleted_at__isnull=True)


def new_file_id() -> Any:
    """An id for a file that is recorded now."""
    return ids.new_id(timezone.now())


class File(models.Model):
    """One uploaded file: what clients see of it, and the outbox and fence that keep it from being lost or doubled."""

    id = models.UUIDField(primary_key=True, default=new_file_id, editable=False)
    file = models.FileField(storage=BlobStorage, max_length=128)
    name = models.CharField(max_length=255)
    size = models.BigIntegerField()
    content_type = models.CharField(max_length=127)
    declared_content_type = models.CharField(max_length=255, blank=True)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    sha256 = models.CharField(max_length=64)
    uploaded_at = models.DateTimeField(default=timezone.now)
    processed = models.BooleanField(default=False)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.QUEUED)
    progress = models.PositiveSmallIntegerField(default=0)
    attempt = models.PositiveIntegerField(default=1)
    processed_at = models.DateTimeField(null=True, blank=True)
    result = DocumentField(null=True, blank=True)
    derived = DocumentField(default=dict, blank=True)
    error = DocumentField(null=True, blank=True)

    # The request that brought the file, for the log lines of its whole life.
    request_id = models.CharField(max_length=64, blank=True, editable=False)
    # Grows by one with every transition: the fence of each conditional update, and the number of its event.
    version = models.PositiveIntegerField(default=1, editable=False)
    # The feed's outbox: events of this row that are not known to be published. Null when there are none.
    pending = DocumentField(null=True, blank=True, editable=False)
    changed_at = models.DateTimeField(default=timezone.now, editable=False)
    # The queue's outbox: when this attempt was last sent to the broker. Null until then.
    dispatched_at = models.DateTimeField(null=True, blank=True, editable=False)
    # When this attempt may be sent: at once, or after the wait before a retry.
    due_at = models.DateTimeField(default=timezone.now, editable=False)
    # While processing: when the worker's claim ends unless it renews it.
    lease_expires_at = models.DateTimeField(null=True, blank=True, editable=False)
    # How many attempts in a row ended with the death of their worker, or with a fault of the surroundings.
    # `reprocess` counts anew.
    losses = models.PositiveSmallIntegerField(default=0, editable=False)
    faults = models.PositiveSmallIntegerField(default=0, editable=False)
    # Set when deletion has begun: nobody sees the row, its bytes go, its last event goes out, then the row goes.
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects: models.Manager["File"] = VisibleFiles()
    everything: models.Manager["File"] = models.Manager()

    class Meta:
        ordering = ("-id",)
        base_manager_name = "everything"
        constraints = (
            models.CheckConstraint(
                name="file_processed_is_status",
                condition=Q(processed=True, status=Status.PROCESSED)
                | (Q(processed=False) & ~Q(status=Status.PROCESSED)),
            ),
            models.CheckConstraint(name="file_status_known", condition=Q(status__in=Status.values)),
            models.CheckConstraint(name="file_progress_percent", condition=Q(progress__lte=100)),
            models.CheckConstraint(name="file_attempt_from_one", condition=Q(attempt__gte=1)),
            models.CheckConstraint(
                name="file_error_iff_failed",
                condition=Q(status=Status.FAILED, error__isnull=False)
                | (~Q(status=Status.FAILED) & Q(error__isnull=True)),
            ),
        )
        indexes = (
            # the list's filters, each in the order of its cursor
            models.Index("status", F("id").desc(), name="file_status_id"),
            models.Index("processed", F("id").desc(), name="file_processed_id"),
            models.Index("kind", F("id").desc(), name="file_kind_id"),
            # the outboxes and the leases: as large as what is under way, not as the table
            models.Index(fields=["dispatched_at", "due_at"], name="file_queued", condition=Q(status=Status.QUEUED)),
            models.Index(fields=["changed_at"], name="file_pending", condition=Q(pending__isnull=False)),
            models.Index(fields=["lease_expires_at"], name="file_lease", condition=Q(status=Status.PROCESSING)),
            models.Index(fields=["deleted_at"], name="file_deleted", condition=Q(deleted_at__isnull=False)),
        )

    def __str__(self) -> str:
        return self.name


class IdempotencyKey(models.Model):
    """An Idempotency-Key: in flight while `response` is null, then the first answer, until it expires."""

    key = models.CharField(max_length=255, primary_key=True)
    # Who holds the key while it is in flight: only the holder may answer under it.
    holder = models.UUIDField()
    fingerprint = models.CharField(max_length=64, blank=True)
    response = models.TextField(null=True)  # noqa: DJ001 - null is "in flight", and no answer is empty
    location = models.CharField(max_length=200, blank=True)
    expires_at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=["expires_at"], name="idempotency_expiry"),)

    def __str__(self) -> str:
        return self.key

    def is_live(self, now: datetime) -> bool:
        """Whether the key still holds its place."""
        return self.expires_at > now


class StorageMark(models.Model):
    """The id that the storage carries too (`home`): at most one row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    value = models.UUIDField()
    # Whether the storage is known to have it.
    written = models.BooleanField(default=False)

    def __str__(self) -> str:
        return str(self.value)
