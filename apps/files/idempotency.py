"""Idempotency keys: the first request under a key holds it, and its answer is every later request's answer."""

import uuid
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.files.models import IdempotencyKey

LEASE_SECONDS = 15.0


def reserve(key: str) -> uuid.UUID | None:
    """The holder's token when the key is free or has expired, and now ours; None when someone else has it.

    It is ours for a short while, which `renew` prolongs: the key of a process that died is soon free again.
    """
    now = timezone.now()
    holder = uuid.uuid4()
    until = now + timedelta(seconds=LEASE_SECONDS)
    try:
        with transaction.atomic():
            IdempotencyKey.objects.create(key=key, holder=holder, expires_at=until)
    except IntegrityError:
        taken_over = IdempotencyKey.objects.filter(key=key, expires_at__lte=now).update(
            holder=holder, fingerprint="", response=None, location="", expires_at=until
        )
        return holder if taken_over else None
    return holder


def renew(key: str, holder: uuid.UUID) -> None:
    """Hold a key for a while longer, if it is still ours and not answered."""
    until = timezone.now() + timedelta(seconds=LEASE_SECONDS)
    IdempotencyKey.objects.filter(key=key, holder=holder, response__isnull=True).update(expires_at=until)


def release(key: str, holder: uuid.UUID) -> None:
    """Free a key whose upload came to nothing."""
    IdempotencyKey.objects.filter(key=key, holder=holder, response__isnull=True).delete()


def look(key: str) -> IdempotencyKey | None:
    """The key as it stands, or None when it is free."""
    found = IdempotencyKey.objects.filter(key=key).first()
    return found if found is not None and found.is_live(timezone.now()) else None


def forget_expired(limit: int) -> int:
    """Remove keys that have expired; how many there were."""
    expired = IdempotencyKey.objects.filter(expires_at__lte=timezone.now())
    keys = list(expired.values_list("key", flat=True)[:limit])
    if keys:
        expired.filter(key__in=keys).delete()  # but for those that someone has taken over since
    return len(keys)
