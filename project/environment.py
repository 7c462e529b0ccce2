"""Environment variables, read once, each with its type, unit and bound; a bad one stops the start in words."""

import os

from django.core.exceptions import ImproperlyConfigured

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off", ""})


def text(name: str, default: str = "") -> str:
    """The variable's text, or the default where it is absent or empty."""
    return os.environ.get(name, "").strip() or default


def integer(name: str, default: int, *, minimum: int = 0, maximum: int | None = None) -> int:
    """The variable as a whole number. Raises ImproperlyConfigured for anything else, or one outside the bounds."""
    raw = text(name)
    if not raw:
        return default
    try:
        value = int(raw)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {raw!r}") from None
    if value < minimum:
        raise ImproperlyConfigured(f"{name} must be at least {minimum}, not {value}")
    if maximum is not None and value > maximum:
        raise ImproperlyConfigured(f"{name} must be at most {maximum}, not {value}")
    return value


def seconds(name: str, default: float, *, minimum: float = 0.0) -> float:
    """The variable as seconds. Raises ImproperlyConfigured for anything else, or fewer than the minimum."""
    raw = text(name)
    if not raw:
        return default
    try:
        value = float(raw)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a number of seconds, not {raw!r}") from None
    if not minimum <= value < float("inf"):
        raise ImproperlyConfigured(f"{name} must be at least {minimum} seconds, not {raw}")
    return value


def switch(name: str, default: bool) -> bool:
    """The variable as on or off. Raises ImproperlyConfigured for a word that is neither."""
    raw = os.environ.get(name)
    if raw is None:
        return default
    word = raw.strip().lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise ImproperlyConfigured(f"{name} must be on or off, not {raw!r}")


def listing(name: str, default: list[str] | None = None) -> list[str]:
    """The variable's comma-separated words, without empty ones."""
    words = [word.strip() for word in text(name).split(",")]
    return [word for word in words if word] or (default or [])
