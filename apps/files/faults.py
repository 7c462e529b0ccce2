"""Foreign errors, translated where they enter: which of them may pass on a retry, and what they are called."""

from django.db import DatabaseError, InterfaceError, OperationalError

from apps.files.errors import DatabaseAway, FilewireError
from apps.files.storage import as_storage_error


class OutOfMemory(FilewireError):
    """The worker ran out of memory."""

    status = 503
    code = "memory_limit"
    transient = True


def is_database_away(error: BaseException) -> bool:
    """Whether the database is at fault, and not what it was asked; its answer may have been lost on the way.

    A bare DatabaseError is psycopg2's word for a connection that broke while it waited for an answer.
    """
    return isinstance(error, OperationalError | InterfaceError) or type(error) is DatabaseError


def as_transient(error: BaseException) -> FilewireError | None:
    """The error as one of ours when a retry may pass; None when it will not."""
    if isinstance(error, FilewireError):
        return error if error.transient else None
    if is_database_away(error):
        return DatabaseAway()
    if isinstance(error, MemoryError):
        return OutOfMemory()
    if isinstance(error, OSError):
        return as_storage_error(error)
    return None
