"""The record's small parts: errors, faults, context, checks, storage, documents."""

import errno
import logging
import pickle
import uuid
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from django.core import checks as django_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import InterfaceError, OperationalError

from apps.files import context, document, errors, faults, storage
from apps.files.models import File

SOME_ID = uuid.UUID("01932b5e-0000-7000-8000-0000000000ab")


# --- errors and faults ---------------------------------------------------------------------------------------


def test_an_error_survives_a_queue():
    """Celery pickles what a task raises: class and words come out again."""
    error = pickle.loads(pickle.dumps(errors.FileTooLarge("Words.")))
    assert type(error) is errors.FileTooLarge
    assert error.detail == str(error) == "Words."


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.Busy(), errors.Busy),
        (errors.EmptyFile(), None),
        (OperationalError("gone"), errors.DatabaseAway),
        (InterfaceError("closed"), errors.DatabaseAway),
        (MemoryError(), faults.OutOfMemory),
        (OSError(errno.ENOSPC, "full"), errors.StorageFull),
        (OSError(errno.EDQUOT, "quota"), errors.StorageFull),
        (OSError(errno.EMFILE, "too many open files"), errors.Busy),
        (OSError(errno.EROFS, "read-only"), errors.StorageAway),
        (ValueError("a bug"), None),
    ],
)
def test_foreign_errors_are_translated(error, expected):
    """What may pass on a retry becomes one of ours; the rest is no such thing."""
    found = faults.as_transient(error)
    assert found is None if expected is None else type(found) is expected
    assert found is None or found.transient


# --- context -------------------------------------------------------------------------------------------------


def record() -> logging.LogRecord:
    """A line of the log."""
    return logging.LogRecord("x", logging.INFO, "x.py", 1, "words", (), None)


def test_every_line_of_the_log_says_whose_it_is():
    """Outside any work a dash; within it the ids; a record that brought its own keeps them."""
    keep = context.ContextFilter()
    outside = record()
    assert keep.filter(outside)
    assert (outside.request_id, outside.file_id) == ("-", "-")
    with context.about(file=SOME_ID, request=""):
        inside = record()
        keep.filter(inside)
        assert (inside.request_id, inside.file_id) == ("-", str(SOME_ID))
        own = record()
        own.request_id, own.file_id = "r", "f"
        keep.filter(own)
        assert (own.request_id, own.file_id) == ("r", "f")
    assert context.file_id.get() == "-"


# --- checks --------------------------------------------------------------------------------------------------


def identifiers() -> set[str]:
    """Of the messages that the system checks give."""
    return {message.id for message in django_checks.run_checks() if (message.id or "").startswith("filewire.")}


def test_a_right_configuration_has_nothing_to_say():
    """The checks are silent, and leave nothing in the storage."""
    assert identifiers() == set()


def test_a_data_directory_that_cannot_be_written_stops_the_start(settings, tmp_path):
    """A file in the directory's place is an error with a hint."""
    settings.FILEWIRE_DATA_DIR = tmp_path / "file" / "data"
    (tmp_path / "file").write_bytes(b"")
    assert identifiers() == {"filewire.E001"}
    with pytest.raises(SystemCheckError, match="FILEWIRE_DATA_DIR cannot be written"):
        call_command("check")


def test_a_lease_longer_than_the_work_is_warned_of(settings):
    """It would hide a dead worker."""
    settings.FILEWIRE_LEASE_SECONDS = settings.FILEWIRE_PROCESSING_SECONDS + 1
    assert identifiers() == {"filewire.W001"}


@pytest.mark.parametrize("rate", ["", None, "10/min", "1/s", "5/day"])
def test_a_rate_that_is_one_is_taken(settings, rate):
    """The setting is read as DRF reads it."""
    settings.FILEWIRE_UPLOAD_RATE = rate
    assert identifiers() == set()


@pytest.mark.parametrize("rate", ["10", "many/min", "10/fortnight", "10/", "/min", "0/min"])
def test_a_rate_that_is_none_stops_the_start(settings, rate):
    """Else every upload would be a 500, or none would pass."""
    settings.FILEWIRE_UPLOAD_RATE = rate
    assert identifiers() == {"filewire.E002"}


def test_a_type_that_is_none_stops_the_start(settings):
    """A misspelt word among what is not taken would take it."""
    settings.FILEWIRE_REJECT = ["image", "application/pdf", "documents"]
    assert identifiers() == {"filewire.E003"}


# --- storage -------------------------------------------------------------------------------------------------


def test_f18_a_key_is_the_ids_alone():
    """Nothing that a client sent is part of a path."""
    key = storage.key_of(SOME_ID)
    assert key == f"01932b5/ab/{SOME_ID.hex}"
    assert storage.path_of(key).is_relative_to(storage.blobs())
    assert storage.derived_path(key, 2, "thumbnail.webp") == Path(f"{storage.path_of(key)}.d/2/thumbnail.webp")


def test_bytes_and_incoming_files_become_a_keys_bytes(stored):
    """Both kinds of payload end under their key, and nothing else is left."""
    one, other = storage.key_of(uuid.uuid4()), storage.key_of(uuid.uuid4())
    made = storage.put(one, b"small")
    descriptor, path = storage.open_incoming()
    with open(descriptor, "wb") as stream:
        stream.write(b"large")
    entered = {one: made, other: storage.put(other, path)}
    assert storage.make_durable(entered) == {}
    assert storage.path_of(one).read_bytes() == b"small"
    assert storage.path_of(other).read_bytes() == b"large"
    assert len(stored.files()) == 2
    assert storage.path_of(one).stat().st_mode & 0o777 == 0o640
    storage.discard(one)
    storage.discard(other)
    storage.discard(other)
    assert stored.files() == []


def test_a_key_is_never_written_twice(stored):
    """A second file under the same key is an error, and the first one's bytes stay."""
    key = storage.key_of(SOME_ID)
    storage.put(key, b"first")
    with pytest.raises(FileExistsError):
        storage.put(key, b"second")
    assert storage.path_of(key).read_bytes() == b"first"


def test_discarding_takes_what_was_derived(stored):
    """One attempt's directory, or all of them with the bytes."""
    key = storage.key_of(SOME_ID)
    storage.put(key, b"x")
    for attempt in (1, 2):
        (storage.workdir(key, attempt) / "thumbnail").write_bytes(b"y")
    assert list(storage.workdir(key, 2).iterdir()) == []  # new and empty each time
    storage.discard_derived(key, 1)
    assert not storage.derived_path(key, 1, "thumbnail").exists()
    (storage.workdir(key, 10) / "thumbnail").write_bytes(b"y")
    storage.discard_derived_before(key, 10)
    assert not storage.derived_path(key, 2, "thumbnail").parent.exists()
    storage.discard_derived_before(key, 2)
    assert storage.derived_path(key, 10, "thumbnail").exists()  # a later attempt's
    storage.discard_derived(key, 10)
    assert not storage.derived_path(key, 10, "thumbnail").exists()
    storage.discard(key)
    assert stored.files() == []
    assert not Path(f"{storage.path_of(key)}.d").exists()


def test_only_what_is_named_is_kept():
    """Stray files and directories of an attempt go; a link is removed, never followed."""
    key = storage.key_of(SOME_ID)
    outside = storage.root() / "outside"
    outside.mkdir()
    (outside / "mine").write_bytes(b"")
    work = storage.workdir(key, 1)
    for name in ("keep", "stray"):
        (work / name).write_bytes(b"")
    (work / "directory").mkdir()
    (work / "directory" / "deep").write_bytes(b"")
    (work / "link").symlink_to(outside)
    storage.keep_only(work, {"keep"})
    assert [path.name for path in work.iterdir()] == ["keep"]
    assert (outside / "mine").exists()
    storage.keep_only(work, set())
    assert not work.exists()
    assert not work.parent.exists()


def test_the_models_storage_follows_the_settings(settings, tmp_path):
    """`File.file` lies where the directory is now, not where it was at import."""
    settings.FILEWIRE_DATA_DIR = tmp_path / "elsewhere"
    field = File._meta.get_field("file")
    assert field.storage.path("a/b") == str(tmp_path / "elsewhere" / "files" / "blobs" / "a" / "b")
    assert field.storage.base_location == field.storage.location


# --- documents -----------------------------------------------------------------------------------------------


def test_a_moment_is_utc_with_six_digits():
    """RFC 3339, whatever zone and fraction it came with."""
    assert document.moment(None) is None
    assert document.moment(datetime(2026, 11, 23, 5, tzinfo=UTC)) == "2026-11-23T05:00:00.000000Z"
    east = timezone(timedelta(hours=2))
    assert document.moment(datetime(2026, 11, 23, 5, 0, 0, 7, tzinfo=east)) == "2026-11-23T03:00:00.000007Z"


def test_the_document_the_fields_and_the_serializer_are_one_list():
    """What is sent, what is listed and what OpenAPI describes have the same fields in the same order."""
    from apps.api.serializers import FileSerializer

    file = File(id=SOME_ID, uploaded_at=datetime(2026, 11, 23, tzinfo=UTC), derived={"thumbnail": {}})
    made = document.document(file, "http://h")
    assert tuple(made) == document.FIELDS == tuple(FileSerializer().fields)
    assert FileSerializer(file, context={"base_url": "http://h"}).data == made
    assert made["file"] == f"http://h/files/{SOME_ID}/content/"
    assert made["derived"] == {"thumbnail": f"http://h/files/{SOME_ID}/derived/thumbnail/"}
