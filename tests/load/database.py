"""Statements on a database, each on a connection of its own."""

import contextlib
from typing import Any

import psycopg2


def execute(database: str, statement: str, *parameters: object) -> None:
    """One statement, committed."""
    with contextlib.closing(psycopg2.connect(database)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)


def ask(database: str, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    """The rows of a query."""
    with contextlib.closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall()
