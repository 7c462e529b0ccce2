"""One attempt, on real files: what is recorded, what is told, and who gives way."""

import contextlib
import contextvars
import json
import logging
import shutil
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import DatabaseError, OperationalError
from django.db import connections as database_connections
from django.utils import timezone

from apps.events import connections, publish, stream
from apps.files import lifecycle, storage
from apps.files.context import ContextFilter
from apps.files.errors import DatabaseAway
from apps.files.models import File
from apps.processing import detect, run, tasks
from apps.processing.contract import Derived, Job, Outcome, ProcessingFailed
from apps.processing.isolation import Isolation
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
    """Their types, without progress, of which a slow machine has some."""
    return [event["type"] for event in events(file) if event["type"] != "file.progress"]


class InThisProcess:
    """In place of a child: its processor called here, where a test can see and steer it."""

    def __init__(self, processor) -> None:
        self._processor = processor

    def process(self, task, limits, listener) -> Outcome:
        listener.begun()
        detected = detect.detect(task.path)
        listener.found(detected)
        job = Job(
            path=task.path, size=task.size, name=task.name, content_type=detected.content_type, kind=detected.kind,
            sha256=task.sha256, workdir=task.workdir, report=listener.report,
        )  # fmt: skip
        return self._processor(job)

    def rest(self) -> None:
        """There is no child."""


def process_with(monkeypatch, processor) -> None:
    """Have every file processed by this function."""
    monkeypatch.setattr(run, "isolation", InThisProcess(processor))


@pytest.fixture(scope="module", autouse=True)
def sandbox() -> Iterator[None]:
    """The worker's own sandbox, ended when these tests are."""
    yield
    run.isolation.stop()


@pytest.fixture
def hostile(monkeypatch) -> Iterator[None]:
    """A sandbox whose children do what the file's name says."""
    isolation = Isolation("tests.unit.processing.hostile:work")
    monkeypatch.setattr(run, "isolation", isolation)
    yield
    isolation.stop()


@contextlib.contextmanager
def attempted(file: File) -> Iterator[Path]:
    """The first attempt at a file, under way in a thread for as long as the block; the directory it writes to."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            run.attempt(file.id, 1)
        except BaseException as error:
            raised.append(error)
        finally:
            database_connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        workdir = storage.derived_path(str(file.file.name), 1, "go").parent
        until_now(lambda: row(file).status == "processing" and workdir.exists())
        yield workdir
    finally:
        thread.join(20)
    assert not raised


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


def test_a_type_that_is_not_taken_is_a_failure(settings):
    """What the first bytes had not told: the processor is not asked."""
    settings.FILEWIRE_REJECT = ["image/*"]
    file = a_file(samples.jpeg())
    run.attempt(file.id, 1)
    found = row(file)
    assert (found.status, found.kind, found.error["code"]) == ("failed", "image", "type_not_accepted")
    assert found.derived == {}


# --- faults --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (PermissionError("read-only"), "storage_unavailable"),
        (OSError(28, "no space"), "storage_full"),
        (MemoryError(), "memory_limit"),
        (OperationalError(), "database_unavailable"),
        (DatabaseError("server closed the connection unexpectedly"), "database_unavailable"),
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
    settings.FILEWIRE_MAX_RETRIES = 0
    process_with(monkeypatch, lambda job: (_ for _ in ()).throw(OSError(28, "full")))
    file = a_file()
    run.attempt(file.id, 1)
    assert (row(file).status, row(file).error["code"]) == ("failed", "storage_full")


def test_bytes_that_are_gone_are_a_failure():
    """A storage that is there, without the bytes: no retry brings them back."""
    file = a_file()
    storage.path_of(str(file.file.name)).unlink()
    run.attempt(file.id, 1)
    assert (row(file).status, row(file).error["code"]) == ("failed", "bytes_missing")


def test_a_storage_that_is_not_mounted_is_tried_again(data_directory):
    """Without its directories the storage is away, and its bytes with it."""
    file = a_file()
    (data_directory / "files").rename(data_directory / "elsewhere")
    run.attempt(file.id, 1)
    assert (row(file).status, row(file).attempt) == ("queued", 2)
    shutil.rmtree(data_directory / "files", ignore_errors=True)
    (data_directory / "elsewhere").rename(data_directory / "files")
    run.attempt(file.id, 2)
    assert row(file).status == "processed"


@pytest.mark.usefixtures("hostile")
def test_f03_a_poison_file_fails_and_others_go_on(settings, monkeypatch):
    """A file that kills its child each time is `worker_lost` after the limit; the next one is processed."""
    settings.FILEWIRE_MAX_ATTEMPTS = 3
    monkeypatch.setattr(lifecycle.random, "uniform", lambda low, high: 0.0)
    file = a_file(name="exit")
    for number in (1, 2, 3):
        run.attempt(file.id, number)
    found = row(file)
    assert (found.status, found.attempt, found.error["code"]) == ("failed", 3, "worker_lost")
    assert types(file).count("file.failed") == 1
    other = a_file(name="well")
    run.attempt(other.id, 1)
    assert row(other).status == "processed"


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize(("name", "code"), [("sleep", "processing_timeout"), ("grow", "memory_limit")])
def test_a_limit_that_was_passed_is_a_failure(settings, name, code):
    """At once, with a code that names it, and the next file is served."""
    settings.FILEWIRE_PROCESSING_SECONDS = 0.5 if name == "sleep" else 30
    settings.FILEWIRE_PROCESSING_MEMORY_BYTES = 300 * 1024 * 1024
    file = a_file(name=name)
    run.attempt(file.id, 1)
    assert (row(file).status, row(file).error["code"]) == ("failed", code)
    other = a_file(name="well")
    run.attempt(other.id, 1)
    assert row(other).status == "processed"


def test_a_worker_that_is_told_to_stop_puts_its_file_back(monkeypatch, stored):
    """Celery's cold shutdown ends the task with SystemExit: the file waits again at once, and no fault is counted."""

    def stop(job: Job) -> Outcome:
        (job.workdir / "half").write_bytes(b"x")
        raise SystemExit

    file = a_file()
    with monkeypatch.context() as patched:
        process_with(patched, stop)
        with pytest.raises(SystemExit):
            run.attempt(file.id, 1)
    found = row(file)
    assert (found.status, found.attempt, found.losses, found.faults) == ("queued", 2, 0, 0)
    assert found.due_at <= timezone.now()
    assert len(stored.files()) == 1
    run.attempt(file.id, 2)
    assert types(file) == ["file.queued", "file.processing", "file.queued", "file.processing", "file.processed"]


def test_a_database_that_is_away_at_the_claim_leaves_the_file_waiting(monkeypatch, caplog):
    """The message is over, the row is not: it is sent again."""
    file = a_file()

    def away(file_id: object, number: int) -> None:
        raise OperationalError

    monkeypatch.setattr(lifecycle, "claim", away)
    run.attempt(file.id, 1)
    assert (row(file).status, row(file).attempt) == ("queued", 1)
    assert "the database is away" in caplog.text


@pytest.mark.parametrize("lost", ["the question", "the answer"])
def test_an_outcome_is_recorded_though_the_database_was_away(monkeypatch, lost):
    """Whether the first try was carried out or not, the outcome is recorded, and told, once."""
    complete = lifecycle.complete
    tries = []

    def away_once(file: File, **outcome) -> bool:
        tries.append(True)
        if len(tries) > 1:
            return complete(file, **outcome)
        if lost == "the answer":
            assert complete(row(file), **outcome)
        raise OperationalError

    monkeypatch.setattr(lifecycle, "complete", away_once)
    file = a_file(samples.jpeg())
    run.attempt(file.id, 1)
    found = row(file)
    assert (found.status, len(tries)) == ("processed", 2)
    assert types(file) == ["file.queued", "file.processing", "file.processed"]
    assert storage.derived_path(str(found.file.name), 1, found.derived["thumbnail"]["file"]).exists()


def test_an_outcome_that_cannot_be_recorded_is_left_to_the_lease(monkeypatch, settings):
    """The database stays away: nothing is thrown away, and the row's lease ends by itself."""
    settings.FILEWIRE_LEASE_SECONDS = 0.3

    def away(file: File, **outcome) -> bool:
        raise OperationalError

    monkeypatch.setattr(lifecycle, "complete", away)
    file = a_file()
    with pytest.raises(DatabaseAway):
        run.attempt(file.id, 1)
    assert row(file).status == "processing"


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
            assert lifecycle.lose(row(file))
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


@pytest.mark.usefixtures("hostile")
def test_the_heartbeat_renews_the_lease(settings):
    """A processor that reports nothing keeps its claim for as long as its worker lives."""
    settings.FILEWIRE_LEASE_SECONDS = 0.3
    file = a_file(name="wait")
    with attempted(file) as workdir:
        began = row(file).lease_expires_at
        until_now(lambda: row(file).lease_expires_at > began + timedelta(seconds=0.4))
        assert row(file).lease_expires_at > timezone.now()
        (workdir / "go").touch()
    assert row(file).status == "processed"


@pytest.mark.usefixtures("hostile")
def test_that_the_claim_was_told_is_noted_before_long():
    """While the child works, and not by a renewal of the lease, which is due much later."""
    file = a_file(name="wait")
    with attempted(file) as workdir:
        until_now(lambda: row(file).pending is None)
        assert row(file).status == "processing"
        assert types(file) == ["file.queued", "file.processing"]
        (workdir / "go").touch()
    assert types(file) == ["file.queued", "file.processing", "file.processed"]


def test_the_outcome_of_a_file_that_is_done_soon_notes_its_claim_too(monkeypatch):
    """Both events are told, each once, and one statement is spared."""
    noted = []
    published = lifecycle.published
    monkeypatch.setattr(lifecycle, "published", lambda file: (noted.append(file.status), published(file)))
    process_with(monkeypatch, lambda job: Outcome(result={}))
    file = a_file()
    run.attempt(file.id, 1)
    assert types(file) == ["file.queued", "file.processing", "file.processed"]
    assert noted == ["processed"]
    assert row(file).pending is None


@pytest.mark.usefixtures("hostile")
def test_a_claim_that_is_lost_ends_the_child(settings, stored):
    """A processor whose file was deleted is ended at the next heartbeat, in the middle of its work."""
    settings.FILEWIRE_LEASE_SECONDS = 0.06
    file = a_file(name="sleep")
    with attempted(file):
        lifecycle.delete(file.id)
    assert types(file) == ["file.queued", "file.processing"]
    assert stored.files() == []


@pytest.mark.usefixtures("hostile")
def test_a_heartbeat_that_fails_goes_on(monkeypatch, settings, caplog):
    """A database that is away for a moment costs a line in the log, not the claim."""
    settings.FILEWIRE_LEASE_SECONDS = 0.15
    beats = []
    renew = lifecycle.renew

    def away_once(claimed: File) -> bool:
        beats.append(True)
        if len(beats) == 1:
            raise OperationalError
        return renew(claimed)

    monkeypatch.setattr(lifecycle, "renew", away_once)
    file = a_file(name="wait")
    with attempted(file) as workdir:
        until_now(lambda: len(beats) > 1)
        (workdir / "go").touch()
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
    told = [event["type"] for event in events(file)]
    assert told == ["file.queued", "file.processing", "file.progress", "file.processed"]


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
