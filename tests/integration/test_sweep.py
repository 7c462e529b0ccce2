"""What the sweep finds and mends: bytes without a row, rows without bytes, and when it must not move."""

import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from django.db import DataError, OperationalError
from django.utils import timezone

from apps.files import home, ids, lifecycle, storage
from apps.files.models import File, StorageMark
from apps.processing.sweep import Sweeper
from project.celery import broker_url, configure
from tests.unit.events.feeding import a_file

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("feed")]

DONE = {"content_type": "text/plain", "kind": "text", "result": {"lines": 1}, "derived": {}}
HOUR = 3600


@pytest.fixture
def sweeper(settings) -> Iterator[Sweeper]:
    """A sweeper whose broker is the tests', and which sends nothing."""
    app = Celery("of-a-test", set_as_current=False)
    configure(app)
    app.conf.broker_url = broker_url(settings.REDIS_URL)
    yield Sweeper(app, lambda files: 0)
    app.close()


def sweep(sweeper: Sweeper) -> None:
    """Twice: the first call may only begin the walk."""
    sweeper.sweep()
    sweeper.sweep()


def age(path: Path, monkeypatch, seconds: float = HOUR) -> None:
    """Have the storage see everything as so much older: a ctime cannot be set."""
    real = time.time
    monkeypatch.setattr(storage.time, "time", lambda: real() + seconds)


def orphan(content: bytes = b"nobody's") -> uuid.UUID:
    """The id under which bytes lie that no row knows."""
    file_id = ids.new_id(timezone.now())
    storage.put(storage.key_of(file_id), content)
    return file_id


def done(content: bytes = b"hello\n") -> File:
    """A processed file with something derived, as its attempt left it."""
    file = lifecycle.claim(a_file(content).id, 1)
    assert file
    directory = storage.workdir(str(file.file.name), 1)
    (directory / "made.txt").write_bytes(b"made")
    derived = {"made": {"attempt": 1, "file": "made.txt", "content_type": "text/plain"}}
    assert lifecycle.complete(file, **{**DONE, "derived": derived})
    return file


def row(file: File) -> File:
    """The file as the database has it."""
    return File.everything.get(id=file.id)


def test_bytes_without_a_row_are_removed_when_they_are_old(sweeper, stored, monkeypatch):
    """Young ones may be an upload's whose row is on its way; directories that are left empty go with the old ones."""
    kept = done()
    file_id = orphan()
    sweep(sweeper)
    assert storage.has_bytes(storage.key_of(file_id))
    age(storage.path_of(storage.key_of(file_id)), monkeypatch)
    sweep(sweeper)
    assert not storage.has_bytes(storage.key_of(file_id))
    assert not storage.path_of(storage.key_of(file_id)).parent.exists()
    assert storage.has_bytes(str(kept.file.name))
    assert storage.derived_path(str(kept.file.name), 1, "made.txt").exists()
    assert len(stored.files()) == 2


def test_what_dead_attempts_derived_is_removed(sweeper, monkeypatch):
    """Of an earlier attempt, a failed one, one that made nothing, a file that is gone; never of one that stands or
    runs.
    """
    file = done()
    key = str(file.file.name)
    lifecycle.requeue(file.id)
    running = lifecycle.claim(file.id, 2)
    assert running
    working = storage.workdir(key, 2)
    (working / "half").write_bytes(b"half")
    failed = lifecycle.claim(a_file(b"fails\n").id, 1)
    assert failed
    assert lifecycle.fail(failed, code="image_broken", detail="")
    left = storage.workdir(str(failed.file.name), 1)
    idle = lifecycle.claim(a_file(b"nothing\n").id, 1)
    assert idle
    assert lifecycle.complete(idle, **{**DONE, "derived": {}})
    empty = storage.workdir(str(idle.file.name), 1)
    gone = ids.new_id(timezone.now())
    nobodys = storage.workdir(storage.key_of(gone), 3)
    age(working, monkeypatch)
    sweep(sweeper)
    assert working.joinpath("half").exists()
    assert not storage.derived_path(key, 1, "made.txt").exists()
    assert not left.exists()
    assert not empty.exists()
    assert not nobodys.parent.exists()


def test_a_hidden_rows_bytes_are_its_own(sweeper, monkeypatch):
    """While a deletion is under way its row is there, and its bytes are not the sweep's."""
    file = done()
    File.objects.filter(id=file.id).update(deleted_at=timezone.now())
    age(storage.path_of(str(file.file.name)), monkeypatch)
    sweep(sweeper)
    assert storage.has_bytes(str(file.file.name))


def test_a_row_without_bytes_says_so_by_a_new_attempt(sweeper, settings):
    """Once: the attempt fails with `bytes_missing`, and is not made again and again."""
    settings.FILEWIRE_ORPHAN_SECONDS = 0
    file, whole = done(), done()
    storage.path_of(str(file.file.name)).unlink()
    sweep(sweeper)
    found = row(file)
    assert (found.status, found.attempt) == ("queued", 2)
    claimed = lifecycle.claim(file.id, 2)
    assert claimed
    assert lifecycle.fail(claimed, code="bytes_missing", detail="gone")
    sweep(sweeper)
    assert (row(file).status, row(file).attempt) == ("failed", 2)
    assert (row(whole).status, row(whole).attempt) == ("processed", 1)


def test_a_row_that_is_young_is_left_alone(sweeper):
    """Its bytes may be on their way back."""
    file = done()
    storage.path_of(str(file.file.name)).unlink()
    sweep(sweeper)
    assert row(file).status == "processed"


@pytest.mark.parametrize("how", ["not mounted", "another storage", "another database", "an empty database"])
def test_nothing_is_touched_where_the_two_do_not_belong_together(sweeper, settings, monkeypatch, caplog, how):
    """A storage that is not this database's is neither emptied nor taken for empty, and the log says so once."""
    settings.FILEWIRE_ORPHAN_SECONDS = 1
    file = done()
    sweep(sweeper)
    mark = storage.root() / storage.MARK
    if how == "not mounted":
        mark.unlink()
        storage.path_of(str(file.file.name)).unlink()
    elif how == "another storage":
        mark.write_text(str(uuid.uuid4()))
    elif how == "another database":
        StorageMark.objects.update(value=uuid.uuid4())
    else:
        StorageMark.objects.all().delete()
        File.everything.all().delete()
    stray = orphan()
    age(mark, monkeypatch)
    File.objects.update(changed_at=timezone.now() - timezone.timedelta(hours=1))
    sweep(sweeper)
    sweep(sweeper)
    assert storage.has_bytes(storage.key_of(stray))
    assert not File.objects.exclude(status="processed").exists()
    assert caplog.text.count("is not this database's") == 1
    assert not home.belongs()


def test_the_mark_is_made_once_and_mended(sweeper):
    """By the first sweep; a process that died between its two halves leaves it to the next."""
    assert storage.read_mark() is None
    assert home.belongs()
    sweeper.sweep()
    first = storage.read_mark()
    assert first == StorageMark.objects.get().value
    assert home.settle()
    assert storage.read_mark() == first
    StorageMark.objects.update(written=False)
    (storage.root() / storage.MARK).unlink()
    assert home.settle()
    assert storage.read_mark() == first
    StorageMark.objects.update(written=False)
    (storage.root() / storage.MARK).write_text(str(uuid.uuid4()))
    assert not home.settle()


def test_a_storage_that_cannot_be_looked_through_costs_a_line(sweeper, monkeypatch, caplog):
    """And the next sweep goes on."""

    def away() -> Iterator[Path]:
        raise PermissionError(13, "not now")
        yield

    with monkeypatch.context() as patched:
        patched.setattr(storage, "shards", away)
        sweep(sweeper)
    assert "cannot be looked through" in caplog.text
    sweep(sweeper)


def test_the_walk_goes_on_where_it_stopped(sweeper, monkeypatch):
    """A bounded part of the storage at each sweep, and all of it in the end, over and over."""
    monkeypatch.setattr("apps.processing.sweep.BATCH_SHARDS", 2)
    names = [orphan(b"%d" % number) for number in range(12)]
    age(storage.root(), monkeypatch)
    sweeper.sweep()
    sweeper.sweep()
    left = [name for name in names if storage.has_bytes(storage.key_of(name))]
    assert 0 < len(left) < 12
    for _ in range(12):
        sweeper.sweep()
    assert not any(storage.has_bytes(storage.key_of(name)) for name in names)
    late = orphan()
    for _ in range(12):
        sweeper.sweep()
    assert not storage.has_bytes(storage.key_of(late))


def test_strange_names_in_the_storage_are_left_alone(sweeper, monkeypatch):
    """What is not ours is not ours to remove."""
    strange = storage.blobs() / "0123456" / "ab" / "lost+found"
    strange.parent.mkdir(parents=True)
    strange.write_bytes(b"?")
    (storage.blobs() / "a-file").write_bytes(b"?")
    age(strange, monkeypatch)
    sweep(sweeper)
    assert strange.exists()
    os.utime(strange)
    shutil.rmtree(storage.blobs() / "0123456")


def test_one_file_that_cannot_be_put_right_is_no_other_files_trouble(sweeper, monkeypatch, caplog):
    """Its line is in the log; those behind it get their next attempt in the same sweep."""
    files = [lifecycle.claim(a_file().id, 1) for _ in range(3)]
    File.objects.update(lease_expires_at=timezone.now() - timezone.timedelta(seconds=1))
    bad, real = files[0], lifecycle.lose

    def lose(file: File) -> bool:
        if file.id == bad.id:
            raise DataError("this row refuses")
        return real(file)

    monkeypatch.setattr(lifecycle, "lose", lose)
    sweeper.sweep()
    assert [row(file).status for file in files] == ["processing", "queued", "queued"]
    assert caplog.text.count("this file cannot be put right") == 1


def test_a_database_that_is_away_is_no_files_trouble(sweeper, monkeypatch, caplog):
    """The sweep ends by its error, for whoever waits until it is back."""
    assert lifecycle.claim(a_file().id, 1)
    File.objects.update(lease_expires_at=timezone.now() - timezone.timedelta(seconds=1))

    def lose(file: File) -> bool:
        raise OperationalError("the connection broke")

    monkeypatch.setattr(lifecycle, "lose", lose)
    with pytest.raises(OperationalError):
        sweeper.sweep()
    assert "cannot be put right" not in caplog.text


def test_a_step_that_stumbles_does_not_keep_the_next_ones_from_their_turn(sweeper, monkeypatch):
    """A folder of uploads that cannot be read is told; the walk behind it goes on all the same."""
    sweep(sweeper)
    stray = orphan()
    age(storage.path_of(storage.key_of(stray)), monkeypatch)
    storage.incoming().rmdir()
    storage.incoming().write_bytes(b"no folder")
    for _ in range(2):
        with pytest.raises(NotADirectoryError):
            sweeper.sweep()
    assert not storage.has_bytes(storage.key_of(stray))
