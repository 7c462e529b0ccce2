"""System checks of the work's settings."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core import checks

from apps.processing import plugins
from apps.processing.acceptance import strangers


@checks.register()
def accepted_types_are_types(app_configs: Sequence[Any] | None, **_: Any) -> list[checks.CheckMessage]:
    """A misspelt word in a list of what is not taken would take it all the same."""
    return [
        checks.Error(
            f"{name} has {word!r}, which is neither a kind nor a type",
            hint=f"Kinds are {', '.join(plugins.kinds())}; a type is like application/pdf or image/*.",
            id="filewire.E003",
        )
        for name in ("FILEWIRE_ACCEPT", "FILEWIRE_REJECT")
        for word in strangers(getattr(settings, name), plugins.kinds())
    ]
