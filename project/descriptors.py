"""How many files and sockets a process may have open."""

import contextlib
import resource

WANTED = 65_536


def allow_many() -> None:
    """Raise this process's soft limit as far as its hard one lets it, to `WANTED` at most.

    Systems give 1,024. An upload on its way takes two, its connection and its file; a WebSocket one.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    with contextlib.suppress(OSError, ValueError):  # macOS has a lower one of the kernel's own: then it stays as it is
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
