"""Whose work a line of the log belongs to: the request and the file, carried by context variables."""

import contextlib
import contextvars
import logging
from collections.abc import Iterator

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="-")
file_id: contextvars.ContextVar[str] = contextvars.ContextVar("file_id", default="-")


class ContextFilter(logging.Filter):
    """Gives every record its `request_id` and `file_id`, unless it brought its own."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep every record, with the two fields set."""
        if not hasattr(record, "request_id"):
            record.request_id = request_id.get()
        if not hasattr(record, "file_id"):
            record.file_id = file_id.get()
        return True


@contextlib.contextmanager
def about(*, file: object, request: str) -> Iterator[None]:
    """Within the block, every line of the log carries this file's id and the id of the request that brought it."""
    tokens = file_id.set(str(file)), request_id.set(request or "-")
    try:
        yield
    finally:
        file_id.reset(tokens[0])
        request_id.reset(tokens[1])
