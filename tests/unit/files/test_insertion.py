"""Rows that are inserted by a statement of our own are those that Django would have saved."""

import uuid

import pytest
from django.db import connection, models
from django.utils import timezone

from apps.files import insertion, lifecycle
from apps.files.models import File, Status, new_file_id

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = ["a.txt", 'it\'s 100 % \\ %s "so".txt', "\N{SNOWMAN}\N{GRINNING FACE}.txt", ""]


def new(name: str, **fields):
    """A new file as an upload makes it."""
    given = {
        "id": new_file_id(), "name": name, "size": 2**40, "content_type": "text/plain", "declared_content_type": name,
        "kind": "text", "sha256": "ab" * 32, "request_id": "r", "uploaded_at": timezone.now(), **fields,
    }  # fmt: skip
    return lifecycle.new_file(**given)


def columns(file_id: uuid.UUID, but: frozenset[str] = frozenset({"id", "file", "pending"})) -> dict[str, object]:
    """The row as the database has it, without what names the file itself."""
    row = File.everything.filter(id=file_id).values().get()
    assert row["file"].endswith(file_id.hex)
    assert row["pending"][0]["data"]["id"] == str(file_id)
    return {name: value for name, value in row.items() if name not in but}


@pytest.mark.parametrize("name", NAMES)
def test_a_row_is_as_django_saves_it(name):
    """Every column, whatever the text."""
    moment = timezone.now()
    saved, inserted = new(name, uploaded_at=moment), new(name, uploaded_at=moment)
    models.Model.save(saved, force_insert=True)
    insertion.insert([inserted])
    assert columns(inserted.id) == columns(saved.id)
    assert not inserted._state.adding
    assert inserted._state.db == "default"


def test_every_column_is_brought_or_has_its_default():
    """Nothing that a new file says is left out: what is not brought is what the model has without it."""
    file = new("a.txt")
    for field in File._meta.concrete_fields:
        if field.name not in insertion.BROUGHT:
            assert getattr(file, field.attname) == field.get_default(), field.name


def test_many_rows_go_in_by_one_statement(django_assert_num_queries):
    """All of them, without a transaction around it."""
    files = [new(f"{number}.txt") for number in range(128)]
    with django_assert_num_queries(1):
        insertion.insert(files)
    assert File.objects.filter(id__in=[file.id for file in files], status=Status.QUEUED).count() == 128


def test_one_bad_row_keeps_all_out():
    """They are recorded together or not at all."""
    files = [new("good.txt"), new("bad.txt", kind="x" * 17, size=2**63)]
    with pytest.raises(Exception, match=r"(?i)out of range|too large|too long"):
        insertion.insert(files)
    connection.close()
    assert not File.everything.exists()
