"""The dispatcher, with the real Celery application and a real broker, and no worker."""

import base64
import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from celery import Celery
from django.db import connection
from django.utils import timezone

from apps.events import connections, publish, stream
from apps.files import idempotency, lifecycle, storage
from apps.files.models import File, IdempotencyKey
from apps.processing import dispatch, wake
from apps.processing.dispatch import LEADER, Dispatcher
from apps.processing.sweep import QUEUE
from project.celery import broker_url, configure
from tests.unit.events.feeding import a_file, own_valkey, unsaved_file, until_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("feed")]


@pytest.fixture(autouse=True)
def eager_sweeps(settings) -> None:
    """Each turn sweeps."""
    settings.FILEWIRE_SWEEP_SECONDS = 0.0


@pytest.fixture
def celery_app(settings) -> Iterator[Celery]:
    """The service's application, with connections of its own."""
    app = Celery("of-a-test", set_as_current=False)
    configure(app)
    app.conf.broker_url = broker_url(settings.REDIS_URL)
    yield app
    app.close()


@pytest.fixture
def dispatcher(celery_app) -> Dispatcher:
    """A dispatcher whose turns the test takes."""
    return Dispatcher(celery_app)


@contextlib.contextmanager
def running(*dispatchers: Dispatcher) -> Iterator[None]:
    """The dispatchers at work, each in a thread."""
    threads = [threading.Thread(target=one.run, name="dispatcher") for one in dispatchers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for one in dispatchers:
            one.stop()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()


def messages() -> list[tuple[str, int]]:
    """File and attempt of each message in the queue, oldest first."""
    raw = connections.sync_client().lrange(QUEUE, 0, -1)
    found = [tuple(json.loads(base64.b64decode(json.loads(one)["body"]))[0]) for one in raw]
    return found[::-1]


def events(subject: object = None) -> list[str]:
    """The types of the events in the feed, oldest first."""
    entries = connections.sync_client().xrange(stream.STREAM)
    kept = [json.loads(fields[b"e"]) for _, fields in entries if b"e" in fields]
    return [event["type"] for event in kept if subject is None or event["subject"] == str(subject)]


def row(file: File) -> File:
    """The file as the database has it."""
    return File.everything.get(id=file.id)


def test_what_waits_is_sent_once_and_noted(dispatcher):
    """Each waiting file's event is published and its message sent, and that is noted; the next turn sends nothing."""
    files = [a_file() for _ in range(3)]
    assert dispatcher.turn() is False
    assert messages() == [(str(file.id), 1) for file in files]
    assert events() == ["file.queued"] * 3
    for file in files:
        assert row(file).dispatched_at is not None
        assert row(file).pending is None
    dispatcher.turn()
    assert len(messages()) == len(events()) == 3


def test_what_a_worker_claims_at_once_is_not_touched_again(dispatcher, monkeypatch):
    """A free worker has it before it is noted that it was sent; the claim says so too."""
    file = a_file()
    claimed = []

    def pace(_: float) -> None:
        claimed.append(lifecycle.claim(file.id, 1))

    monkeypatch.setattr(time, "sleep", pace)
    assert dispatcher.send() == 1
    row = File.objects.get(id=file.id)
    assert (row.status, row.version, row.pending) == ("processing", claimed[0].version, claimed[0].pending)
    assert row.dispatched_at is not None
    assert dispatcher.send() == 0


def test_a_message_says_which_task_and_nothing_of_the_file(dispatcher):
    """The message has ids and numbers alone, under an id that names the attempt."""
    file = a_file(name="secret.txt")
    dispatcher.turn()
    (raw,) = connections.sync_client().lrange(QUEUE, 0, -1)
    headers = json.loads(raw)["headers"]
    assert (headers["task"], headers["id"]) == ("filewire.process", f"{file.id}.1")
    assert b"secret" not in raw


def test_a_full_batch_is_followed_at_once(dispatcher, monkeypatch):
    """When there is more than a batch, the next turn comes without a wait."""
    monkeypatch.setattr(dispatch, "BATCH_FILES", 2)
    for _ in range(5):
        a_file()
    assert [dispatcher.turn() for _ in range(3)] == [True, True, False]
    assert len(messages()) == 5


def test_a_feed_that_refuses_holds_messages_back(dispatcher, monkeypatch):
    """No worker speaks of a file before its `queued` is out; and a refusing feed is not asked in a tight loop."""
    monkeypatch.setattr(dispatch, "BATCH_FILES", 1)
    file = a_file()
    with monkeypatch.context() as patched:
        patched.setattr(publish, "pending", lambda file: False)
        assert dispatcher.turn() is False
    assert messages() == []
    assert row(file).dispatched_at is None
    dispatcher.turn()
    assert len(messages()) == 1


def test_it_wakes_when_it_is_told(dispatcher, monkeypatch):
    """A word is enough: the file is sent long before the next poll."""
    monkeypatch.setattr(dispatch, "POLL_SECONDS", 1.5)

    waits, wait = [], dispatcher._wait
    monkeypatch.setattr(dispatcher, "_wait", lambda words: (waits.append(words), wait(words)))
    with running(dispatcher):
        until_now(lambda: len(waits) >= 2)  # the first is over at once, by the word that it is subscribed
        a_file()
        began = time.monotonic()
        wake.tell()
        until_now(messages)
        assert time.monotonic() - began < 0.7


def test_it_polls_when_nobody_tells_it(dispatcher, monkeypatch):
    """A lost word costs one poll."""
    monkeypatch.setattr(dispatch, "POLL_SECONDS", 0.1)
    with running(dispatcher):
        a_file()
        until_now(messages)


# --- the lead ------------------------------------------------------------------------------------------------


def test_one_leads_and_the_other_stands_by(celery_app):
    """The second does nothing while the first leads, and takes over when it resigns."""
    first, second = Dispatcher(celery_app), Dispatcher(celery_app)
    first.turn()
    a_file()
    assert second.turn() is False
    assert messages() == []
    second._resign()  # what is not its own it cannot give up
    assert second.turn() is False
    first._resign()
    second.turn()
    assert len(messages()) == 1


def test_the_lead_of_a_dead_one_runs_out(celery_app, monkeypatch):
    """A leader that was killed is succeeded when its lead expires."""
    monkeypatch.setattr(dispatch, "LEADER_SECONDS", 0.2)
    Dispatcher(celery_app).turn()
    a_file()
    second = Dispatcher(celery_app)
    second.turn()
    assert messages() == []
    until_now(lambda: connections.sync_client().exists(LEADER) == 0)
    second.turn()
    assert len(messages()) == 1


def test_a_dispatcher_that_stops_resigns(celery_app):
    """Where one stops and another runs, nothing waits for a lead to run out."""
    first, second = Dispatcher(celery_app), Dispatcher(celery_app)
    with running(second):
        with running(first):
            until_now(lambda: connections.sync_client().exists(LEADER))
        for _ in range(20):
            a_file()
        until_now(lambda: len(messages()) == 20, seconds=3)
    assert connections.sync_client().exists(LEADER) == 0


def test_two_that_run_send_each_file_once(celery_app, monkeypatch):
    """Two dispatchers beside each other are one sender."""
    monkeypatch.setattr(dispatch, "POLL_SECONDS", 0.02)
    with running(Dispatcher(celery_app), Dispatcher(celery_app)):
        files = [a_file() for _ in range(40)]
        until_now(lambda: not lifecycle.undispatched(1))
    assert sorted(messages()) == sorted((str(file.id), 1) for file in files)


# --- what is away --------------------------------------------------------------------------------------------


def test_f01_what_waited_while_redis_was_away_is_sent_when_it_is_back(settings, monkeypatch, caplog):
    """Redis stops twice under a running dispatcher: each time what came meanwhile is sent without another request."""
    monkeypatch.setattr(dispatch, "POLL_SECONDS", 0.1)
    caplog.set_level(logging.INFO)
    with own_valkey(settings) as valkey:
        app = Celery("of-a-test", set_as_current=False)
        configure(app)
        with running(Dispatcher(app)):
            for number in (1, 2):
                until_now(lambda: connections.sync_client().exists(LEADER))
                # It says that it was away once it knows that it is back: at the end of a whole turn.
                until_now(lambda number=number: caplog.text.count("the dispatcher goes on") >= number - 1)
                valkey.stop()
                file = a_file()
                until_now(lambda number=number: caplog.text.count("is away: ConnectionError") >= number)
                valkey.start()
                until_now(lambda file=file: row(file).dispatched_at is not None)
                assert (str(file.id), 1) in messages()
            assert len(messages()) == 2
        app.close()
    assert not [record for record in caplog.records if record.exc_info]


def test_f01_a_second_call_without_a_broker_does_not_hang(settings):
    """Each try to send while the broker is away ends within seconds, the second as the first."""
    with own_valkey(settings) as valkey:
        app = Celery("of-a-test", set_as_current=False)
        configure(app)
        dispatcher = Dispatcher(app)
        a_file()
        dispatcher.send()  # there is a connection to lose
        file = a_file()
        publish.pending(file)
        File.objects.filter(id=file.id).update(pending=None)
        valkey.stop()
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(dispatch.AWAY):
                dispatcher.send()
            assert time.monotonic() - began < 4
        valkey.start()
        assert dispatcher.send() == 1
        app.close()


def test_a_database_that_is_away_is_one_line_in_the_log(dispatcher, monkeypatch, caplog):
    """While the database cannot be reached the dispatcher says so once, without a traceback, and then goes on."""
    from django.db import OperationalError

    monkeypatch.setattr(dispatch, "PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(dispatch, "POLL_SECONDS", 0.02)
    tried = []

    def away(limit: int) -> list[File]:
        tried.append(limit)
        raise OperationalError

    with running(dispatcher):
        with monkeypatch.context() as patched:
            patched.setattr(lifecycle, "undispatched", away)
            until_now(lambda: len(tried) > 5)
        a_file()
        until_now(messages)
    assert caplog.text.count("is away") == 1
    assert "Traceback" not in caplog.text
    assert "the dispatcher goes on" in caplog.text


def test_an_error_nobody_foresaw_does_not_end_it(dispatcher, monkeypatch, caplog):
    """A bug in one step is a traceback in the log, and the dispatcher goes on."""
    monkeypatch.setattr(dispatch, "PAUSE_SECONDS", 0.02)
    tried = []

    def broken(limit: int) -> list[File]:
        tried.append(limit)
        raise ZeroDivisionError

    with running(dispatcher):
        with monkeypatch.context() as patched:
            patched.setattr(lifecycle, "undispatched", broken)
            until_now(lambda: tried)
        a_file()
        until_now(messages)
    assert "ZeroDivisionError" in caplog.text


# --- sweeping ------------------------------------------------------------------------------------------------


def sent_long_ago(settings) -> None:
    """Whatever was sent, was sent before the time to send it again."""
    then = timezone.now() - timedelta(seconds=settings.FILEWIRE_REDISPATCH_SECONDS + 1)
    File.objects.filter(dispatched_at__isnull=False).update(dispatched_at=then)


def test_messages_that_the_broker_lost_are_sent_again(dispatcher, settings, caplog):
    """An emptied queue is filled again from the rows, after a while and not before."""
    file = a_file()
    dispatcher.turn()
    connections.sync_client().delete(QUEUE)
    dispatcher.turn()
    assert messages() == []
    sent_long_ago(settings)
    dispatcher.turn()
    assert messages() == [(str(file.id), 1)]
    assert "were lost with the broker's data" in caplog.text
    dispatcher.turn()
    assert len(messages()) == 1


def test_a_queue_that_is_long_is_not_sent_again(dispatcher, settings):
    """What still waits in the queue is waiting, however long."""
    a_file()
    dispatcher.turn()
    sent_long_ago(settings)
    dispatcher.turn()
    assert len(messages()) == 1


def test_a_message_lost_from_a_long_queue_is_sent_again(dispatcher, settings):
    """The queue is first in, first out: what was sent long before something that is worked on is not in it any more."""
    lost, later, waiting = a_file(), a_file(), a_file()
    dispatcher.turn()
    connections.sync_client().delete(QUEUE)
    sent_long_ago(settings)
    File.objects.filter(id__in=[later.id, waiting.id]).update(dispatched_at=timezone.now())
    dispatcher._app.send_task("filewire.process", args=(str(waiting.id), 1), queue=QUEUE)
    dispatcher.turn()
    assert messages() == [(str(waiting.id), 1)]  # nothing says yet that anything is lost
    assert lifecycle.claim(later.id, 1)
    dispatcher.turn()
    assert sorted(messages()) == sorted([(str(waiting.id), 1), (str(lost.id), 1)])


def test_leftovers_of_uploads_are_swept(dispatcher, settings, stored):
    """Bytes on their way whose process died go when no upload can be that old; younger ones stay."""
    for name, age_seconds in (("old", settings.FILEWIRE_UPLOAD_TOTAL_SECONDS + 120), ("young", 10)):
        path = storage.incoming() / name
        path.write_bytes(b"left over")
        then = timezone.now().timestamp() - age_seconds
        os.utime(path, (then, then))
    dispatcher.turn()
    assert [path.name for path in stored.files()] == ["young"]


def test_events_left_by_a_dead_process_are_published_once(dispatcher, settings):
    """A worker that died between its record and its word is spoken for, and no event is doubled."""
    settings.FILEWIRE_REPUBLISH_SECONDS = 0.0
    file = a_file()
    dispatcher.turn()
    claimed = lifecycle.claim(file.id, 1)
    assert claimed
    publish.pending(claimed)  # said, but not noted
    lifecycle.complete(claimed, content_type="text/plain", kind="text", result={}, derived={})
    for _ in range(2):
        dispatcher.turn()
    assert events(file.id) == ["file.queued", "file.processing", "file.processed"]
    assert row(file).pending is None


def test_a_dead_workers_file_is_tried_again_and_then_fails(dispatcher, settings, monkeypatch):
    """When a lease runs out the file gets its next attempt; when there is none left it fails with `worker_lost`."""
    settings.FILEWIRE_MAX_ATTEMPTS = 2
    monkeypatch.setattr(lifecycle.random, "uniform", lambda low, high: 0.0)
    file = a_file()
    for attempt in (1, 2):
        dispatcher.turn()
        dispatcher.turn()
        assert messages()[-1] == (str(file.id), attempt)
        assert lifecycle.claim(file.id, attempt)
        File.objects.filter(id=file.id).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    dispatcher.turn()
    found = row(file)
    assert (found.status, found.attempt) == ("failed", 2)
    assert found.error["code"] == "worker_lost"
    assert found.pending is None
    assert events(file.id) == [
        "file.queued", "file.processing", "file.queued", "file.processing", "file.failed",
    ]  # fmt: skip


def test_a_deleted_file_is_buried_after_its_event(dispatcher, monkeypatch):
    """The row of a deleted file goes once its last event is out, and not before."""
    file = a_file()
    dispatcher.turn()
    lifecycle.delete(file.id)
    with monkeypatch.context() as patched:
        patched.setattr(publish, "pending", lambda file: False)
        dispatcher.turn()
    assert row(file).deleted_at
    dispatcher.turn()
    assert not File.everything.filter(id=file.id).exists()
    assert events(file.id) == ["file.queued", "file.deleted"]


def test_a_deleted_file_whose_bytes_stay_is_tried_again(dispatcher, monkeypatch, caplog):
    """The row is what remembers bytes that could not be removed: it stays as long as they do."""
    file = a_file()
    lifecycle.delete(file.id)

    def refuse(key: str) -> None:
        raise PermissionError

    with monkeypatch.context() as patched:
        patched.setattr(storage, "discard", refuse)
        dispatcher.turn()
    assert row(file)
    assert "cannot be removed yet" in caplog.text
    dispatcher.turn()
    assert not File.everything.filter(id=file.id).exists()


def test_expired_keys_are_forgotten(dispatcher):
    """Idempotency keys go when their time is over."""
    idempotency.reserve("old")
    idempotency.reserve("young")
    IdempotencyKey.objects.filter(key="old").update(expires_at=timezone.now())
    dispatcher.turn()
    assert list(IdempotencyKey.objects.values_list("key", flat=True)) == ["young"]


def test_f13_a_message_is_of_a_row_that_is_there(dispatcher):
    """A file whose transaction is not over is not sent: whoever gets its message finds its row."""
    from django.db import transaction

    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time: the dispatcher would wait for the transaction")
    with transaction.atomic():
        file = unsaved_file()
        lifecycle.receive([file], {})
        turn = threading.Thread(target=lambda: (dispatcher.turn(), connection.close()))
        turn.start()
        turn.join(20)
        assert messages() == []
    dispatcher.turn()
    assert messages() == [(str(file.id), 1)]
