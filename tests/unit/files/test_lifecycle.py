"""Every change of a file's state: what it needs, what it leaves, and who loses the race."""

import threading
import uuid
from datetime import timedelta

import pytest
from django.db import IntegrityError, OperationalError, connection, connections, transaction
from django.utils import timezone

from apps.files import idempotency, lifecycle, storage
from apps.files.document import document
from apps.files.errors import FileBusy, FileMissing, KeyInFlight
from apps.files.models import File, IdempotencyKey, Status
from tests.unit.events.feeding import a_file, unsaved_file

pytestmark = pytest.mark.django_db(transaction=True)

DONE = {"content_type": "text/plain", "kind": "text", "result": {"lines": 1}, "derived": {}}


def row(file: File) -> File:
    """The file as the database has it."""
    return File.everything.get(id=file.id)


def types(file: File) -> list[tuple[int, str]]:
    """Number and type of each unpublished event in the database."""
    return [(entry["seq"], entry["type"]) for entry in row(file).pending or []]


def claimed(**fields) -> File:
    """A file that is being processed."""
    file = lifecycle.claim(a_file(**fields).id, 1)
    assert file is not None
    return file


# --- transitions ---------------------------------------------------------------------------------------------


def test_a_received_file_is_queued_with_its_event():
    """The row and its first event are one INSERT."""
    file = a_file()
    found = row(file)
    assert (found.status, found.version, found.attempt, found.progress) == ("queued", 1, 1, 0)
    assert types(file) == [(1, "file.queued")]
    assert found.pending[0]["data"] == document(found)


def test_claim_complete():
    """A claimed file is processing under a lease; a completed one is processed and has its outcome."""
    file = claimed()
    found = row(file)
    assert (found.status, found.version) == ("processing", 2)
    assert found.lease_expires_at > timezone.now()
    assert found.dispatched_at is not None
    assert lifecycle.complete(file, **DONE)
    found = row(file)
    assert (found.status, found.processed, found.progress, found.version) == ("processed", True, 100, 3)
    assert (found.result, found.error, found.lease_expires_at) == ({"lines": 1}, None, None)
    assert found.processed_at is not None
    assert types(file) == [(1, "file.queued"), (2, "file.processing"), (3, "file.processed")]
    assert found.pending[-1]["data"] == document(found)


def test_fail():
    """A failed file says why, and keeps what was found of it."""
    file = claimed()
    assert lifecycle.fail(file, code="image_broken", detail="It is damaged.", kind="image")
    found = row(file)
    assert (found.status, found.processed, found.kind, found.progress) == ("failed", False, "image", 0)
    assert found.error == {"code": "image_broken", "detail": "It is damaged."}
    assert types(file)[-1] == (3, "file.failed")
    assert found.pending[-1]["data"]["error"] == found.error


def test_retry_waits_and_then_gives_up(settings, monkeypatch):
    """Each retry is the next attempt after a longer wait; the last one's fault is the file's failure."""
    settings.FILEWIRE_MAX_RETRIES = 2
    monkeypatch.setattr(lifecycle.random, "uniform", lambda low, high: high)
    file = claimed()
    waits = []
    for attempt in (1, 2):
        before = timezone.now()
        assert lifecycle.retry(file, code="storage_unavailable", detail="away")
        found = row(file)
        assert (found.status, found.attempt, found.dispatched_at) == ("queued", attempt + 1, None)
        waits.append(round((found.due_at - before).total_seconds()))
        assert lifecycle.undispatched(10) == []
        again = lifecycle.claim(file.id, attempt + 1)
        assert again
        file = again
    assert waits == [1, 2]
    assert lifecycle.retry(file, code="storage_unavailable", detail="away")
    found = row(file)
    assert (found.status, found.attempt) == ("failed", 3)
    assert found.error == {"code": "storage_unavailable", "detail": "away"}


def test_the_wait_before_a_retry_is_between_its_half_and_its_whole(monkeypatch):
    """A fault of seconds does not eat all retries, files that met it together come back apart, and a minute is most."""
    asked = []
    monkeypatch.setattr(lifecycle.random, "uniform", lambda low, high: asked.append((low, high)) or high)
    assert [lifecycle._wait_seconds(times) for times in (1, 2, 3, 7, 40)] == [1, 2, 4, 60, 60]
    assert all(low == high / 2 for low, high in asked)


def test_a_lost_worker_is_counted_apart(settings, monkeypatch):
    """Faults of the surroundings do not use up the attempts that a poison file may make, nor the other way round."""
    settings.FILEWIRE_MAX_ATTEMPTS = 2
    settings.FILEWIRE_MAX_RETRIES = 1
    monkeypatch.setattr(lifecycle.random, "uniform", lambda low, high: 0.0)
    file = claimed()
    assert lifecycle.retry(file, code="storage_unavailable", detail="away")
    file = lifecycle.claim(file.id, 2)
    assert lifecycle.lose(file)
    assert (row(file).status, row(file).attempt, row(file).faults, row(file).losses) == ("queued", 3, 1, 1)
    file = lifecycle.claim(file.id, 3)
    assert lifecycle.lose(file)
    assert (row(file).status, row(file).attempt, row(file).error["code"]) == ("failed", 3, "worker_lost")


def test_a_file_that_is_put_back_waits_at_once():
    """It is the next attempt, and no fault of anyone's."""
    file = claimed()
    assert lifecycle.put_back(file)
    found = row(file)
    assert (found.status, found.attempt, found.losses, found.faults) == ("queued", 2, 0, 0)
    assert [waiting.id for waiting in lifecycle.undispatched(10)] == [file.id]


@pytest.mark.parametrize("end", ["processed", "failed"])
def test_requeue(end):
    """A file that is done is queued for a new attempt, with its faults forgotten and its outcome gone."""
    file = claimed()
    File.objects.filter(id=file.id).update(losses=2, faults=5)
    if end == "processed":
        lifecycle.complete(file, **DONE)
    else:
        lifecycle.fail(file, code="x", detail="y")
    again = lifecycle.requeue(file.id)
    found = row(file)
    assert (found.status, found.processed, found.attempt, found.progress) == ("queued", False, 2, 0)
    assert (found.result, found.error, found.derived, found.processed_at) == (None, None, {}, None)
    assert (found.losses, found.faults) == (0, 0)
    assert found.dispatched_at is None
    assert again.version == found.version
    assert types(file)[-1] == (found.version, "file.queued")


def test_requeue_while_it_waits_or_runs_is_refused():
    """There is one attempt at a time."""
    file = a_file()
    with pytest.raises(FileBusy):
        lifecycle.requeue(file.id)
    lifecycle.claim(file.id, 1)
    with pytest.raises(FileBusy):
        lifecycle.requeue(file.id)
    with pytest.raises(FileMissing):
        lifecycle.requeue(uuid.uuid4())


@pytest.mark.parametrize("status", ["queued", "processing", "processed"])
def test_delete_and_bury(status, stored):
    """A deleted file is out of sight at once with its bytes; its row goes when its event is out."""
    file = a_file() if status == "queued" else claimed()
    if status == "processed":
        lifecycle.complete(file, **DONE)
    lifecycle.delete(file.id)
    assert not File.objects.filter(id=file.id).exists()
    assert stored.files() == []
    assert types(file)[-1][1] == "file.deleted"
    with pytest.raises(FileMissing):
        lifecycle.delete(file.id)
    with pytest.raises(FileMissing):
        lifecycle.requeue(file.id)
    (hidden,) = lifecycle.deleted(10)
    lifecycle.bury(hidden)
    assert not File.everything.filter(id=file.id).exists()
    lifecycle.bury(hidden)


def test_bytes_that_cannot_be_removed_stay_for_the_sweep(monkeypatch, caplog):
    """A storage that refuses does not keep the file in sight."""
    file = a_file()

    def refuse(key: str) -> None:
        raise PermissionError

    monkeypatch.setattr(storage, "discard", refuse)
    lifecycle.delete(file.id)
    assert not File.objects.filter(id=file.id).exists()
    assert "stay for the sweep" in caplog.text


# --- fences --------------------------------------------------------------------------------------------------


def test_only_the_waiting_attempt_is_claimed():
    """Another attempt's message, a second copy of this one's, and one of a file that is gone claim nothing."""
    file = a_file()
    assert lifecycle.claim(file.id, 2) is None
    assert lifecycle.claim(file.id, 0) is None
    assert lifecycle.claim(uuid.uuid4(), 1) is None
    assert lifecycle.claim(file.id, 1) is not None
    assert lifecycle.claim(file.id, 1) is None
    lifecycle.delete(file.id)
    assert lifecycle.claim(file.id, 1) is None


def lose_by_retry(file: File) -> None:
    """Another process takes the file, because its lease ended."""
    assert lifecycle.retry(row(file), code="worker_lost", detail="died")


def lose_by_deletion(file: File) -> None:
    """A caller deletes it."""
    lifecycle.delete(file.id)


@pytest.mark.parametrize("lose", [lose_by_retry, lose_by_deletion])
@pytest.mark.parametrize(
    "record",
    [
        lambda file: lifecycle.complete(file, **DONE),
        lambda file: lifecycle.fail(file, code="x", detail="y"),
        lambda file: lifecycle.retry(file, code="x", detail="y"),
        lambda file: lifecycle.renew(file),
        lambda file: lifecycle.progress(file, 50),
    ],
)
def test_a_lost_claim_records_nothing(lose, record):
    """Whoever lost the file changes nothing of it, whatever it was about to say."""
    file = claimed()
    lose(file)
    before = File.everything.filter(id=file.id).values().get()
    assert record(file) is False
    assert File.everything.filter(id=file.id).values().get() == before


def test_a_claim_is_renewed_and_shows_progress():
    """Progress and the heartbeat each hold the claim for another lease; progress stays within 0 and 100."""
    file = claimed()
    File.objects.filter(id=file.id).update(lease_expires_at=timezone.now())
    assert [found.id for found in lifecycle.expired(10)] == [file.id]
    assert lifecycle.renew(file)
    assert lifecycle.expired(10) == []
    File.objects.filter(id=file.id).update(lease_expires_at=timezone.now())
    for said, shown in ((-5, 0), (42, 42), (1000, 100)):
        assert lifecycle.progress(file, said)
        assert row(file).progress == shown
    assert lifecycle.expired(10) == []
    assert row(file).version == file.version == 2


def test_an_error_in_between_leaves_the_file_as_it_was_read(monkeypatch):
    """When the database goes away under a change, the same change can be tried again."""
    file = claimed()
    from django.db.models.query import QuerySet

    def away(*_: object, **__: object) -> int:
        raise OperationalError

    with monkeypatch.context() as patched:
        patched.setattr(QuerySet, "update", away)
        with pytest.raises(OperationalError):
            lifecycle.complete(file, **DONE)
    assert (file.status, file.version) == ("processing", 2)
    assert lifecycle.complete(file, **DONE)


def together(*calls) -> list:
    """What each call returned or raised, made at once, each in a thread with its own connection."""
    barrier, answers = threading.Barrier(len(calls)), [None] * len(calls)

    def run(number: int) -> None:
        try:
            barrier.wait(5)
            answers[number] = calls[number]()
        except Exception as error:
            answers[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return answers


def test_f13_two_who_claim_at_once():
    """Of many copies of one message, run at the same time, one gets the file."""
    for _ in range(5):
        file = a_file()
        answers = together(*[lambda file=file: lifecycle.claim(file.id, 1)] * 4)
        assert sum(isinstance(answer, File) for answer in answers) == 1, answers
        assert row(file).version == 2


def test_two_who_requeue_at_once():
    """Of two wishes to reprocess a file one is granted."""
    file = claimed()
    lifecycle.complete(file, **DONE)
    answers = together(*[lambda: lifecycle.requeue(file.id)] * 2)
    assert sorted(type(answer).__name__ for answer in answers) == ["File", "FileBusy"]
    assert row(file).attempt == 2


def test_deletion_and_completion_at_once():
    """However they fall, the file is gone, and the worker knows whether it was in time."""
    for _ in range(5):
        file = claimed()
        together(lambda file=file: lifecycle.delete(file.id), lambda file=file: lifecycle.complete(file, **DONE))
        found = row(file)
        assert found.deleted_at is not None
        assert types(file)[-1][1] == "file.deleted"
        assert [seq for seq, _ in types(file)] == list(range(1, found.version + 1))


# --- the outboxes --------------------------------------------------------------------------------------------


def test_what_is_dispatched_is_noted_unless_it_changed():
    """A note about a row that has moved on since is no note."""
    one, other = a_file(), a_file()
    assert [file.id for file in lifecycle.undispatched(10)] == [one.id, other.id]
    lifecycle.claim(other.id, 1)
    lifecycle.dispatched([one, other])
    assert row(one).dispatched_at is not None
    assert row(one).pending is None
    assert types(other) == [(1, "file.queued"), (2, "file.processing")]
    assert lifecycle.undispatched(10) == []
    later = timezone.now() + timedelta(seconds=1)
    assert [file.id for file in lifecycle.dispatched_before(later, 10)] == [one.id]


def test_unpublished_events_are_found_late_and_noted_once():
    """Events that a dead process left are found after a while, those of hidden rows too; a newer event is not noted."""
    file, hidden = a_file(), a_file()
    lifecycle.delete(hidden.id)
    assert lifecycle.unpublished(60, 10) == []
    assert {found.id for found in lifecycle.unpublished(0, 10)} == {file.id, hidden.id}
    as_read = row(file)
    lifecycle.claim(file.id, 1)
    lifecycle.published(as_read)
    assert len(types(file)) == 2
    lifecycle.published(row(file))
    assert types(file) == []


# --- receiving under a key -----------------------------------------------------------------------------------


def test_a_file_and_its_key_are_recorded_together():
    """The answer under a key is kept by the transaction that records the file; without the key neither is."""
    holder = idempotency.reserve("key")
    assert holder
    file = unsaved_file()
    held = lifecycle.Held(key="key", holder=holder, fingerprint="f", response="{}", location="/files/x/")
    lifecycle.receive([file], {file.id: held})
    kept = IdempotencyKey.objects.get(key="key")
    assert (kept.response, kept.location, kept.fingerprint) == ("{}", "/files/x/", "f")
    late = unsaved_file()
    with pytest.raises(KeyInFlight):
        lifecycle.receive([late], {late.id: held})
    assert lifecycle.recorded([file.id, late.id]) == {file.id}


# --- what the database itself holds --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"processed": True},
        {"status": Status.PROCESSED},
        {"status": Status.FAILED},
        {"error": {"code": "x"}},
        {"status": "lost"},
        {"progress": 101},
        {"attempt": 0},
    ],
)
def test_the_database_refuses_what_contradicts_itself(changes):
    """No program, ours or another, can leave a row whose parts disagree."""
    file = a_file()
    with pytest.raises(IntegrityError), transaction.atomic():
        File.objects.filter(id=file.id).update(**changes)
    assert row(file).status == "queued"


def test_the_constraint_is_the_databases_own():
    """The rule that `processed` is the status holds for plain SQL too."""
    file = a_file()
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE files_file SET processed = %s WHERE id = %s", [True, _raw(file.id)])
    assert row(file).processed is False


def _raw(file_id: uuid.UUID) -> str:
    return file_id.hex if connection.vendor == "sqlite" else str(file_id)
