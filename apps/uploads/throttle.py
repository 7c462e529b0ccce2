"""How many uploads a client may make: DRF's throttle, its counts in this process, so that it never waits."""

from django.conf import settings
from django.core.cache.backends.locmem import LocMemCache
from rest_framework.throttling import AnonRateThrottle


class UploadThrottle(AnonRateThrottle):
    """`FILEWIRE_UPLOAD_RATE` uploads a client (its address), a web process; no limit where it is empty."""

    scope = "upload"
    cache = LocMemCache("uploads", {"max_entries": 10_000})

    def get_rate(self) -> str | None:
        """The setting, such as "100/min"."""
        rate: str | None = settings.FILEWIRE_UPLOAD_RATE
        return rate
