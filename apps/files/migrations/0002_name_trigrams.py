"""An index for `?name=`, where PostgreSQL has pg_trgm: a part of a name is found without reading every row."""

from django.db import migrations

AVAILABLE = "SELECT 1 FROM pg_available_extensions WHERE name = 'pg_trgm'"
# As Django writes `icontains`: UPPER(name::text) LIKE UPPER('%part%').
INDEX = "CREATE INDEX file_name_trigrams ON files_file USING gin (UPPER(name::text) gin_trgm_ops)"


def create(apps, schema_editor):
    if schema_editor.connection.vendor != "postgresql":
        return
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(AVAILABLE)
        if cursor.fetchone():
            cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
            cursor.execute(INDEX)


def drop(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP INDEX IF EXISTS file_name_trigrams")


class Migration(migrations.Migration):
    dependencies = [("files", "0001_initial")]
    operations = [migrations.RunPython(create, drop)]
