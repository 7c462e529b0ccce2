"""Which files this service takes, by kind and type: `FILEWIRE_ACCEPT` and `FILEWIRE_REJECT`.

Words are a kind (`image`), a type (`application/pdf`) or all types of a family (`image/*`). A file is taken when no
word rejects it and, where there are words that accept, one of them does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from apps.processing import office, plugins
from apps.processing.containers import OLE
from apps.processing.contract import KINDS
from apps.processing.detect import UNKNOWN, Detected

UNDECIDED = frozenset({UNKNOWN, "application/zip", OLE})
TYPE = re.compile(r"[a-z0-9.+-]+/(\*|[a-z0-9.+-]+)")


def is_accepted(found: Detected, accept: Iterable[str], reject: Iterable[str]) -> bool:
    """Whether a file of this kind and type is taken."""
    accepting = list(accept)
    return not _named(found, reject) and (not accepting or _named(found, accepting))


def is_refused_at_the_door(found: Detected, accept: Iterable[str], reject: Iterable[str]) -> bool:
    """Whether the first bytes are enough to refuse the file: not where only the whole of it tells what it is.

    A container's first bytes do not say what is in it, film may turn out to be sound, and a plugin's kinds are told by
    the sandbox alone.
    """
    accepting, rejecting = list(accept), list(reject)
    undecided = (
        found.content_type in UNDECIDED
        or not set(plugins.kinds()[len(KINDS) :]).isdisjoint(accepting)
        # Which of its family an office package is may stand at its end.
        or (found.content_type in office.ENDINGS and not office.ENDINGS.keys().isdisjoint((*accepting, *rejecting)))
    )
    possible = (found, found.perhaps) if found.perhaps else (found,)
    return not undecided and not any(is_accepted(each, accepting, rejecting) for each in possible)


def _named(found: Detected, words: Iterable[str]) -> bool:
    family = found.content_type.partition("/")[0]
    return any(word in (found.kind, found.content_type, f"{family}/*") for word in words)


def strangers(words: Iterable[str], kinds: Iterable[str]) -> list[str]:
    """The words that name neither a kind nor a type."""
    known = set(kinds)
    return [word for word in words if word not in known and not TYPE.fullmatch(word)]
