"""New rows by one statement and one round trip.

`bulk_create` asks each of 27 fields of each row for its value, and puts a transaction around its one statement: three
round trips. That was a fifth of what an upload costs. Here the statement's text has what all new rows have alike, the
model's defaults, and a row brings the rest. A test holds such a row to one that Django saves.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from django.db import DEFAULT_DB_ALIAS, connection, models
from django.db.backends.base.base import BaseDatabaseWrapper

from apps.files import storage
from apps.files.models import File

Ready = Callable[[Any, BaseDatabaseWrapper], Any]

# What a new row brings; every other column has its default.
BROUGHT = (
    "id", "file", "name", "size", "content_type", "declared_content_type", "kind", "sha256", "uploaded_at",
    "request_id", "pending", "changed_at", "due_at",
)  # fmt: skip


def insert(files: Sequence[File]) -> None:
    """Insert the rows of these new files, all or none. Raises the database's errors."""
    statement, row, ready = _prepared(connection.vendor)
    parameters = [prepare(file, connection) for file in files for prepare in ready]
    with connection.cursor() as cursor:
        cursor.execute(statement + ", ".join([row] * len(files)), parameters)
    for file in files:
        file._state.adding = False
        file._state.db = DEFAULT_DB_ALIAS


@functools.cache
def _prepared(vendor: str) -> tuple[str, str, tuple[Ready, ...]]:
    """The statement up to its rows, one row of it, and how each of the values that a row brings is got ready."""
    fields = File._meta.concrete_fields
    quoted = connection.ops.quote_name
    columns = ", ".join(quoted(str(field.column)) for field in fields)
    row = ", ".join("%s" if field.name in BROUGHT else _literal(field.get_default()) for field in fields)
    statement = f"INSERT INTO {quoted(File._meta.db_table)} ({columns}) VALUES "  # noqa: S608 - names of the model's own
    return statement, f"({row})", tuple(_ready(field) for field in fields if field.name in BROUGHT)


def _literal(default: Any) -> str:
    """A default as SQL has it."""
    if default is None:
        return "NULL"
    if isinstance(default, bool):
        return str(default).upper()
    if isinstance(default, int):
        return str(default)
    text = default if isinstance(default, str) else orjson.dumps(default).decode()
    return "'" + text.replace("'", "''").replace("%", "%%") + "'"


def _ready(field: "models.Field[Any, Any]") -> Ready:
    """How the field's value goes to the database."""
    name = field.attname
    if name == "file":
        return lambda file, _: storage.key_of(file.id)  # reading `file.file` would make an object of Django's
    if isinstance(field, models.JSONField):
        return lambda file, _: orjson.dumps(getattr(file, name)).decode()
    if isinstance(field, models.CharField | models.IntegerField):
        return lambda file, _: getattr(file, name)
    return lambda file, database: field.get_db_prep_save(getattr(file, name), database)
