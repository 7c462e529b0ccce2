"""The places for uploads that a process takes at once: so memory and waiting stay bounded whatever is sent.

Under overload the refusals are most of the work, so one costs little: it is given before the request is looked at, and
the log has one line for all that a second brings.
"""

import asyncio
import logging
from contextvars import Context

from django.conf import settings

logger = logging.getLogger(__name__)

SUMMARY_SECONDS = 1.0

_taken = 0
_refused = 0


def take() -> bool:
    """Take one of `FILEWIRE_MAX_UPLOADS`, to be given back by `leave`; False where there is none. On the loop."""
    global _taken, _refused
    if _taken < settings.FILEWIRE_MAX_UPLOADS:
        _taken += 1
        return True
    if not _refused:
        asyncio.get_running_loop().call_later(SUMMARY_SECONDS, _tell, context=Context())  # no request's own line
    _refused += 1
    return False


def leave() -> None:
    """Give a place back."""
    global _taken
    _taken -= 1


def _tell() -> None:
    global _refused
    logger.warning("busy: %d uploads refused within %g s, %d on their way", _refused, SUMMARY_SECONDS, _taken)
    _refused = 0
