"""Sizes, mixes and numbers as people write them, read and written."""

import math
import re
from collections.abc import Mapping
from typing import Final

UNITS: Final = {
    "": 1.0,
    "b": 1.0,
    **{f"{prefix}ib": 1024.0**power for power, prefix in enumerate("kmgtp", 1)},
    **{f"{prefix}b": 1000.0**power for power, prefix in enumerate("kmgtp", 1)},
}
MIX_TOLERANCE: Final = 0.001
SECONDS_OF_DAY: Final = 86400
LEAST_SECONDS: Final = 0.0001  # that are worth telling apart
MOST_BYTES: Final = 1024.0**6  # of a size


class BadInput(ValueError):
    """What was given cannot be read, in words for whoever gave it."""


def number(text: str, name: str, *, minimum: float = 0.0, maximum: float = math.inf) -> float:
    """A finite number within the bounds. Raises BadInput."""
    try:
        value = float(text)
    except ValueError:
        raise BadInput(f"{name} must be a number, not {text!r}") from None
    if not math.isfinite(value):
        raise BadInput(f"{name} must be a finite number, not {text!r}")
    if not minimum <= value <= maximum:
        bounds = f"at least {minimum:g}" if maximum == math.inf else f"from {minimum:g} to {maximum:g}"
        raise BadInput(f"{name} must be {bounds}, not {text}")
    return value


def size(text: str, name: str) -> float:
    """A size in bytes, from one to an exbibyte: `2MiB`, `300 kB`, `4096`. Raises BadInput."""
    found = re.fullmatch(r"\s*([\d.]+)\s*([A-Za-z]*)\s*", text)
    if not found or found[2].lower() not in UNITS:
        raise BadInput(f"{name} must be a size such as 2MiB, 300kB or 4096, not {text!r}")
    value = number(found[1], name) * UNITS[found[2].lower()]
    if value < 1:
        raise BadInput(f"{name} must be at least 1 byte, not {text!r}")
    if value > MOST_BYTES:
        raise BadInput(f"{name} must be at most {MOST_BYTES / UNITS['pib']:g} PiB, not {text!r}")
    return value


def pairs(text: str, name: str) -> dict[str, str]:
    """`a=1,b=2` as a dictionary. Raises BadInput for what is none, and for a name that comes twice."""
    found: dict[str, str] = {}
    for item in text.split(","):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not key or not value:
            raise BadInput(f"{name} must be pairs such as image=0.5,text=0.5, not {item.strip()!r}")
        if key in found:
            raise BadInput(f"{name} names {key} twice")
        found[key] = value
    return found


def mix(text: str, name: str, kinds: Mapping[str, object]) -> dict[str, float]:
    """Shares by kind that add up to 1. Raises BadInput."""
    shares = {kind: number(value, f"{name} {kind}", maximum=1.0) for kind, value in pairs(text, name).items()}
    _refuse_unknown(shares, name, kinds)
    total = sum(shares.values())
    if abs(total - 1) > MIX_TOLERANCE:
        raise BadInput(f"{name} must add up to 1, not {total:g}")
    return {kind: share / total for kind, share in shares.items() if share}


def sizes(text: str, name: str, kinds: Mapping[str, object]) -> dict[str, float]:
    """One size for every kind (`2MiB`), or one for each that is named (`image=3MiB,text=20kB`). Raises BadInput."""
    if "=" not in text:
        return dict.fromkeys(kinds, size(text, name))
    found = {kind: size(value, f"{name} {kind}") for kind, value in pairs(text, name).items()}
    _refuse_unknown(found, name, kinds)
    return found


def _refuse_unknown(found: Mapping[str, object], name: str, kinds: Mapping[str, object]) -> None:
    for kind in found:
        if kind not in kinds:
            raise BadInput(f"{name} names {kind!r}; the kinds that were measured are {', '.join(sorted(kinds))}")


def said_bytes(value: float) -> str:
    """A size with three digits: `1.46 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1000:
            return f"{said(value)} {unit}"
        value /= 1024
    return f"{said(value)} PiB"


def said_seconds(value: float) -> str:
    """A time with three digits: `18.3 ms`, `4.2 s`, `without end`."""
    if math.isinf(value):
        return "without end"
    if 0 < value < LEAST_SECONDS:
        return f"less than {said(LEAST_SECONDS * 1000)} ms"
    if 0 < value < 1:
        return f"{said(value * 1000)} ms"
    return f"{said(value)} s"


def said(value: float) -> str:
    """A number with three digits that count, and thousands set apart."""
    if math.isinf(value):
        return "no limit"
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"
