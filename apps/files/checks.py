"""System checks: a wrong configuration is said at start, in words."""

import re
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core import checks

from apps.files import storage

RATE = re.compile(r"[1-9][0-9]*/(s|sec|second|m|min|minute|h|hour|d|day)")


@checks.register()
def data_directory_is_writable(app_configs: Sequence[Any] | None, **_: Any) -> list[checks.CheckMessage]:
    """The directory for files exists, or can be made, and can be written."""
    try:
        storage.prepare()
        storage.probe()
    except OSError as error:
        return [
            checks.Error(
                f"FILEWIRE_DATA_DIR cannot be written: {error.strerror}",
                hint="Give the service's user a directory it may write.",
                id="filewire.E001",
            )
        ]
    return []


@checks.register()
def lease_is_shorter_than_the_work(app_configs: Sequence[Any] | None, **_: Any) -> list[checks.CheckMessage]:
    """A lease that outlives the time limit of the work would hide a dead worker for longer than any live one."""
    if settings.FILEWIRE_LEASE_SECONDS > settings.FILEWIRE_PROCESSING_SECONDS:
        return [
            checks.Warning(
                "FILEWIRE_LEASE_SECONDS is longer than FILEWIRE_PROCESSING_SECONDS",
                hint="A lease is renewed while its worker lives; 15 seconds is enough.",
                id="filewire.W001",
            )
        ]
    return []


@checks.register()
def upload_rate_is_a_rate(app_configs: Sequence[Any] | None, **_: Any) -> list[checks.CheckMessage]:
    """The throttle reads its rate at each upload: one that it cannot read would make every upload a 500."""
    rate = settings.FILEWIRE_UPLOAD_RATE
    if rate and not RATE.fullmatch(rate):
        return [
            checks.Error(
                f"FILEWIRE_UPLOAD_RATE is not a rate: {rate!r}",
                hint='Write a number and a period, such as "100/min"; leave it empty for no limit.',
                id="filewire.E002",
            )
        ]
    return []
