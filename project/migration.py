"""Bringing the database up to date when several processes start at once."""

from django.core.management import call_command
from django.db import connection

LOCK = 0x66696C6577697265  # "filewire"


def migrate_alone() -> None:
    """Run Django's migrations; on PostgreSQL one process at a time, the others wait and find nothing to do."""
    if connection.vendor != "postgresql":
        call_command("migrate", interactive=False, verbosity=0)
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        try:
            call_command("migrate", interactive=False, verbosity=0)
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
