"""Django's handle on the work."""

from django.apps import AppConfig


class ProcessingConfig(AppConfig):
    name = "apps.processing"
    label = "processing"
    verbose_name = "Processing"

    def ready(self) -> None:
        """Register the system checks."""
        from apps.processing import checks  # noqa: F401
