"""One attempt, on real files: what is recorded, what is told, and who gives way."""

import contextvars
import json
import logging
import threading
import time
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.db import connections as database_connections
from django.utils import timezone

from apps.events import connections, publish, stream
from apps.files import lifecycle, storage
from apps.files.context import ContextFilter
from apps.files.models import File
from apps.processing import run, tasks
from apps.processing.contract import Derived, Job, Outcome, ProcessingFailed
from tests import samples
from tests.unit.events.feeding import a_file, own_valkey, until_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("feed")]


def row(file: File) -> File:
    """The file as the database has it."""
    return File.everything.get(id=file.id)


def events(file: File) -> list[dict]:
    """The file's events in the feed, oldest first."""
    entries = connections.sync_client().xrange(stream.STREAM)
    kept = [json.loads(fields[b"e"]) for _, fields in entries if b"e" in fields]
    return [event for event in kept if event["subject"] == str(file.id)]


def types(file: File) -> list[str]:
    """Their types."""
    return [event["type"] for event in events(file)]


def process_with(monkeypatch, processor) -> None:
    """Have every file processed by this function."""
    monkeypatch.setattr(run, "processor_for", lambda detected: processor)


# --- real files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "kind", "content_type"),
    [
        (samples.jpeg(camera=True), "image", "image/jpeg"),
        (samples.text(), "text", "text/plain"),
        (samples.csv(), "table", "text/csv"),
        (samples.noise(), "other", "application/octet-stream"),
    ],
)
def test_a_file_is_processed(content, kind, content_type):
    """Detected by its bytes, processed, recorded and told: queued, processing, processed."""
    file = a_file(content, kind="other", content_type="application/octet-stream", name="no-extension")
    tasks.process(str(file.id), 1)
    found = row(file)
    assert (found.status, found.processed, found.progress, found.error) == ("processed", True, 100, None)
    assert (found.kind, found.content_type) == (kind, content_type)
    assert found.result is not None
    assert found.pending is None
    assert types(file) == ["file.queued", "file.processing", "file.processed"]
    assert events(file)[-1]["data"]["kind"] == kind


def test_what_is_derived_is_kept():
    """A picture's thumbnail lies in the storage, under its attempt."""
    file = a_file(samples.jpeg())
    run.attempt(file.id, 1)
    found = row(file)
    thumbnail = found.derived["thumbnail"]
    assert thumbnail["attempt"] == 1
    path = storage.derived_path(str(found.file.name), 1, thumbnail["file"])
    assert path.stat().st_size > 0
    assert events(file)[-1]["data"]["derived"]["thumbnail"] == f"/files/{file.id}/derived/thumbnail/"


def test_a_new_attempt_replaces_what_was_derived(stored):
    """After reprocessing, only the last attempt's derived files take room."""
    file = a_file(samples.jpeg())
    run.attempt(file.id, 1)
    before = len(stored.files())
    lifecycle.requeue(file.id)
    run.attempt(file.id, 2)
    assert row(file).derived["thumbnail"]["attempt"] == 2
    assert len(stored.files()) == before


def test_a_broken_image_fails_with_its_code(stored):
    """A file at fault is failed, not tried again, and what is known of it is kept."""
    file = a_file(samples.jpeg()[:200], kind="other")
    run.attempt(file.id, 1)
    found = row(file)
    assert (found.status, found.kind) == ("failed", "image")
    assert found.error["code"] in {"image_broken", "image_truncated"}
    assert types(file) == ["file.queued", "file.processing", "file.failed"]
    assert len(stored.files()) == 1


def test_a_bomb_fails_with_its_code():
    """An image that is too large to decode is said to be."""
    file = a_file(samples.bomb_png())
    run.attempt(file.id, 1)
    assert row(file).error["code"] == "image_too_large"


# --- faults --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (PermissionError("read-only"), "storage_unavailable"),
        (OSError(28, "no space"), "storage_full"),
        (MemoryError(), "memory_limit"),
        (OperationalError(), "database_unavailable"),
    ],
)
def test_f29_a_transient_fault_is_tried_again(monkeypatch, stored, fault, code):
    """A fault that may pass queues the file again after a wait; the next attempt completes it."""

    def fail(job: Job) -> Outcome:
        (job.workdir / "half").write_bytes(b"x")
        raise fault

    monkeypatch.setattr(lifecycle.random, "uniform", lambda low, high: 0.0)
    file = a_file()
    with monkeypatch.context() as patched:
        process_with(patched, fail)
        run.attempt(file.id, 1)
    assert (row(file).status, row(file).attempt, row(file).error) == ("queued", 2, None)
    assert len(stored.files()) == 1
    run.attempt(file.id, 2)
    assert row(file).status == "processed"
    assert types(file) == ["file.queued", "file.processing", "file.queued", "file.processing", "file.processed"]
    assert code


def test_f29_a_transient_fault_that_does_not_pass_is_a_failure(monkeypatch, settings):
    """When no attempt is left, the fault is the file's error."""
    settings.FILEWIRE_MAX_ATTEMPTS = 1
    process_with(monkeypatch, lambda job: (_ for _ in ()).throw(OSError(28, "full")))
    file = a_file()
    run.attempt(file.id, 1)
    assert (row(file).status, row(file).error["code"]) == ("failed", "storage_full")


def test_bytes_that_are_gone_are_tried_again():
    """A storage without the bytes may be one that is not mounted: it is a fault that may pass."""
    file = a_file()
    storage.path_of(str(file.file.name)).unlink()
    run.attempt(file.id, 1)
    assert (row(file).status, row(file).attempt) == ("queued", 2)


def test_an_error_nobody_foresaw_is_a_failure_without_details(monkeypatch, caplog, stored):
    """A bug in a processor is a traceback in the log and a plain sentence to the client."""

    def fail(job: Job) -> Outcome:
        (job.workdir / "half").write_bytes(b"x")
        raise ZeroDivisionError("/secret/path")

    process_with(monkeypatch, fail)
    file = a_file()
    run.attempt(file.id, 1)
    assert row(file).error == {"code": "processing_error", "detail": "The file could not be processed."}
    assert "ZeroDivisionError" in caplog.text
    assert len(stored.files()) == 1


def test_the_soft_time_limit_is_a_failure(monkeypatch):
    """Celery's soft limit ends the processor, and the file says so."""
    from celery.exceptions import SoftTimeLimitExceeded

    def slow(job: Job) -> Outcome:
        raise SoftTimeLimitExceeded

    process_with(monkeypatch, slow)
    file = a_file()
    run.attempt(file.id, 1)
    assert row(file).error["code"] == "processing_timeout"
    assert row(file).kind == "text"


def test_files_that_are_left_over_are_removed(monkeypatch):
    """Of what a processor leaves in its directory, only what it names is kept."""

    def work(job: Job) -> Outcome:
        (job.workdir / "kept").write_bytes(b"k")
        (job.workdir / "scratch").write_bytes(b"s")
        return Outcome(result={}, derived=(Derived(name="t", path=job.workdir / "kept", content_type="image/webp"),))

    process_with(monkeypatch, work)
    file = a_file()
    run.attempt(file.id, 1)
    kept = storage.derived_path(str(file.file.name), 1, "kept")
    assert [path.name for path in kept.parent.iterdir()] == ["kept"]


# --- claims --------------------------------------------------------------------------------------------------


def test_f13_a_message_that_comes_twice_is_one_attempt(monkeypatch):
    """Two copies of one message, run at once: one works, the other stops quietly, and there is one terminal event."""
    worked = []

    def work(job: Job) -> Outcome:
        worked.append(job.path)
        time.sleep(0.05)
        return Outcome(result={})

    process_with(monkeypatch, work)
    file = a_file()

    def deliver() -> None:
        try:
            tasks.process(str(file.id), 1)
        finally:
            database_connections.close_all()

    threads = [threading.Thread(target=deliver) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(worked) == 1
    assert types(file) == ["file.queued", "file.processing", "file.processed"]
    tasks.process(str(file.id), 1)
    assert len(types(file)) == 3


@pytest.mark.parametrize("how", ["deleted", "expired"])
@pytest.mark.parametrize("ends", ["well", "failed", "transient", "at a report"])
def test_a_claim_lost_on_the_way_records_nothing(monkeypatch, stored, how, ends):
    """Deleted, or taken because the lease ended: however the work ends, nothing is recorded, told or kept of it."""
    monkeypatch.setattr(run, "PROGRESS_SECONDS", 0.0)
    file = a_file()

    def work(job: Job) -> Outcome:
        (job.workdir / "t").write_bytes(b"t")
        if how == "deleted":
            lifecycle.delete(file.id)
        else:
            assert lifecycle.retry(row(file), code="worker_lost", detail="died")
        if ends == "failed":
            raise ProcessingFailed("image_broken")
        if ends == "transient":
            raise PermissionError
        if ends == "at a report":
            job.report(50)
        return Outcome(result={}, derived=(Derived(name="t", path=job.workdir / "t", content_type="image/webp"),))

    process_with(monkeypatch, work)
    run.attempt(file.id, 1)
    found = row(file)
    assert found.status == ("processing" if how == "deleted" else "queued")
    assert types(file) == ["file.queued", "file.processing"]
    assert [path for path in stored.files() if ".d" in str(path.parent)] == []


def test_the_heartbeat_renews_the_lease(monkeypatch, settings):
    """A processor that reports nothing keeps its claim for as long as its process lives."""
    settings.FILEWIRE_LEASE_SECONDS = 0.3
    file = a_file()

    def work(job: Job) -> Outcome:
        began = row(file).lease_expires_at
        until_now(lambda: row(file).lease_expires_at > began + timedelta(seconds=0.4))
        assert row(file).lease_expires_at > timezone.now()
        return Outcome(result={})

    process_with(monkeypatch, work)
    run.attempt(file.id, 1)
    assert row(file).status == "processed"


def test_the_heartbeat_notices_that_the_claim_is_lost(monkeypatch, settings, stored):
    """A processor whose file was taken is ended at its next report, without a look at the database."""
    settings.FILEWIRE_LEASE_SECONDS = 0.06
    file = a_file()
    ended = []

    def work(job: Job) -> Outcome:
        lifecycle.delete(file.id)
        try:
            ends_at = time.monotonic() + 10
            while time.monotonic() < ends_at:
                job.report(0)  # no progress, and so no look at the database
                time.sleep(0.01)
        except run.ClaimLost:
            ended.append(True)
            raise
        return Outcome(result={})

    process_with(monkeypatch, work)
    run.attempt(file.id, 1)
    assert ended
    assert types(file) == ["file.queued", "file.processing"]


def test_a_claim_lost_in_silence_is_noticed_at_the_end(monkeypatch, settings):
    """A processor that never reports loses its outcome, if its file was taken meanwhile."""
    settings.FILEWIRE_LEASE_SECONDS = 0.06
    file = a_file()
    beats, renew = [], lifecycle.renew

    def noticed(claimed: File) -> bool:
        beats.append(renew(claimed))
        return beats[-1]

    def work(job: Job) -> Outcome:
        lifecycle.delete(file.id)
        until_now(lambda: beats.count(False) > 1)  # the first of them has been acted on
        return Outcome(result={})

    monkeypatch.setattr(lifecycle, "renew", noticed)
    process_with(monkeypatch, work)
    run.attempt(file.id, 1)
    assert types(file) == ["file.queued", "file.processing"]


def test_a_heartbeat_that_fails_goes_on(monkeypatch, settings, caplog):
    """A database that is away for a moment costs a line in the log, not the claim."""
    settings.FILEWIRE_LEASE_SECONDS = 0.15
    failed = []
    renew = lifecycle.renew

    def away_once(claimed: File) -> bool:
        if not failed:
            failed.append(True)
            raise OperationalError
        failed.append(renew(claimed))
        return True

    def work(job: Job) -> Outcome:
        until_now(lambda: len(failed) > 1)
        return Outcome(result={})

    monkeypatch.setattr(lifecycle, "renew", away_once)
    process_with(monkeypatch, work)
    file = a_file()
    run.attempt(file.id, 1)
    assert row(file).status == "processed"
    assert "the lease could not be renewed" in caplog.text


# --- progress ------------------------------------------------------------------------------------------------


def test_progress_is_told_a_few_times_a_second(monkeypatch):
    """However often a processor reports, what goes out is limited; it only grows, and it is less than the end."""
    monkeypatch.setattr(run, "PROGRESS_SECONDS", 0.1)

    def work(job: Job) -> Outcome:
        ends_at = time.monotonic() + 0.55
        for percent in range(100_000):
            job.report(min(99, percent // 10))
            job.report(1)
            if time.monotonic() > ends_at:
                break
            time.sleep(0.001)
        return Outcome(result={})

    process_with(monkeypatch, work)
    file = a_file()
    run.attempt(file.id, 1)
    told = [event["data"] for event in events(file) if event["type"] == "file.progress"]
    assert 1 <= len(told) <= 5
    percents = [data["progress"] for data in told]
    assert percents == sorted(set(percents))
    assert {data["status"] for data in told} == {"processing"}
    assert types(file)[-1] == "file.processed"


def test_what_was_held_back_is_told_before_progress(monkeypatch):
    """When the feed was away at the claim, `processing` goes out before the first progress that follows it."""
    monkeypatch.setattr(run, "PROGRESS_SECONDS", 0.0)
    away = [True]
    pending = publish.pending
    monkeypatch.setattr(publish, "pending", lambda file: not away[0] and pending(file))

    def work(job: Job) -> Outcome:
        job.report(10)
        away[0] = False
        job.report(20)
        return Outcome(result={})

    process_with(monkeypatch, work)
    file = a_file()
    run.attempt(file.id, 1)
    assert types(file) == ["file.queued", "file.processing", "file.progress", "file.processed"]


def test_a_feed_that_is_away_does_not_hold_the_work_up(settings):
    """Without Redis the file is processed all the same; its events wait in the row."""
    file = a_file()
    with own_valkey(settings) as valkey:
        valkey.stop()
        run.attempt(file.id, 1)
    found = row(file)
    assert found.status == "processed"
    assert [entry["type"] for entry in found.pending] == ["file.queued", "file.processing", "file.processed"]


# --- logs ----------------------------------------------------------------------------------------------------


def test_log_lines_carry_the_file_and_the_request(caplog, monkeypatch):
    """Every line of an attempt says whose it is; afterwards lines say nothing of it."""
    caplog.set_level(logging.INFO)
    caplog.handler.addFilter(ContextFilter())

    def work(job: Job) -> Outcome:
        logging.getLogger("of.a.processor").info("at work")
        return Outcome(result={})

    process_with(monkeypatch, work)
    file = a_file(request_id="the-request")
    contextvars.copy_context().run(run.attempt, file.id, 1)
    lines = [record for record in caplog.records if record.name in ("of.a.processor", "apps.processing.run")]
    assert len(lines) == 2
    assert {record.file_id for record in lines} == {str(file.id)}
    assert {record.request_id for record in lines} == {"the-request"}
    caplog.clear()
    run.attempt(file.id, 1)
    (line,) = caplog.records
    assert line.file_id == str(file.id)
    assert line.request_id == "-"
