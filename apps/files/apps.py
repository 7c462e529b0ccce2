"""Django's handle on the record."""

from django.apps import AppConfig


class FilesConfig(AppConfig):
    name = "apps.files"
    label = "files"
    verbose_name = "Files"

    def ready(self) -> None:
        """Register the system checks."""
        from apps.files import checks  # noqa: F401
