"""Django's admin shows the files and has them processed again."""

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.test import Client

from apps.files import ids, lifecycle, storage
from apps.files.models import File, Status

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(db) -> Client:
    """Someone who may do everything, signed in."""
    client = Client()
    client.force_login(User.objects.create_superuser("operator", password="only-for-tests"))
    return client


def recorded(name: str, status: str) -> File:
    """A file in the record, its bytes with it."""
    moment = datetime.now(UTC)
    file = lifecycle.new_file(
        id=ids.new_id(moment), name=name, size=3, content_type="text/plain", kind="text", sha256="0" * 64,
        uploaded_at=moment,
    )  # fmt: skip
    storage.put(file.file.name, b"abc")
    lifecycle.receive([file], {})
    processed = status == Status.PROCESSED
    error = {"code": "x", "detail": "y"} if status == Status.FAILED else None
    File.objects.filter(id=file.id).update(status=status, processed=processed, error=error, derived={"thumbnail": {}})
    return file


def test_the_list_shows_status_filters_and_links(operator: Client):
    """Every file is listed with its status and links to its bytes, and the filters narrow the list."""
    done, broken = recorded("done.txt", Status.PROCESSED), recorded("broken.txt", Status.FAILED)
    page = operator.get("/admin/files/file/").content.decode()
    assert "done.txt" in page
    assert f"/files/{done.id}/content/" in page
    assert f"/files/{broken.id}/derived/thumbnail/" in page
    narrowed = operator.get("/admin/files/file/?status=failed").content.decode()
    assert "broken.txt" in narrowed
    assert "done.txt" not in narrowed


def test_the_action_processes_files_again(operator: Client):
    """Finished files are queued as a new attempt; one that is queued already is named and left alone."""
    done, waiting = recorded("done.txt", Status.PROCESSED), recorded("waiting.txt", Status.QUEUED)
    chosen = {"action": "reprocess", "_selected_action": [str(done.id), str(waiting.id)]}
    page = operator.post("/admin/files/file/", chosen, follow=True).content.decode()
    assert "1 queued again" in page
    assert "aiting.txt: The file is queued or being processed." in page  # Django capitalizes messages
    done.refresh_from_db()
    assert (done.status, done.attempt) == (Status.QUEUED, 2)


def test_the_action_deletes_files_with_their_bytes(operator: Client, stored):
    """A deleted file is out of sight, and its bytes are gone."""
    file = recorded("gone.txt", Status.PROCESSED)
    assert stored.files()
    operator.post("/admin/files/file/", {"action": "delete_with_bytes", "_selected_action": [str(file.id)]})
    assert not File.objects.exists()
    assert stored.files() == []


def test_nothing_is_added_changed_or_deleted_by_hand(operator: Client):
    """The admin offers no form that would go around the lifecycle."""
    file = recorded("a.txt", Status.PROCESSED)
    assert operator.get("/admin/files/file/add/").status_code == 403
    assert operator.post(f"/admin/files/file/{file.id}/change/", {"name": "b"}).status_code == 403
    assert operator.post(f"/admin/files/file/{file.id}/delete/", {"post": "yes"}).status_code == 403
