"""The life of files as a state machine, driven at random against the real database, beside a model of the feed.

Workers that lost their claim keep their File and try to write with it: a stale one never changes a row.
"""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from apps.files import lifecycle
from apps.files.document import document
from apps.files.errors import FileBusy, FileMissing
from apps.files.models import File
from tests.unit.events.feeding import a_file

pytestmark = pytest.mark.django_db(transaction=True)

TERMINAL = ("file.processed", "file.failed")
DONE = {"content_type": "text/plain", "kind": "text", "result": {"lines": 1}, "derived": {}}
MAX_ATTEMPTS, MAX_RETRIES = 2, 2


class Lives(RuleBasedStateMachine):
    """Files, the workers that hold or held them, and what the feed was told."""

    files: Bundle[uuid.UUID] = Bundle("files")
    claims: Bundle[File] = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.known: set[uuid.UUID] = set()
        self.gone: set[uuid.UUID] = set()
        # The feed: what of each file is told, by number, as the stream's script takes it.
        self.told: dict[uuid.UUID, dict[int, dict[str, Any]]] = {}

    def teardown(self) -> None:
        File.everything.all().delete()

    def row(self, file_id: uuid.UUID) -> File | None:
        """The row as it is, hidden or not."""
        return File.everything.filter(id=file_id).first()

    def tell(self, file: File) -> None:
        """Publish what the file in memory has not published; the stream takes each number once, and none backwards."""
        told = self.told.setdefault(file.id, {})
        for entry in file.pending or []:
            if entry["seq"] > max(told, default=0):
                told[entry["seq"]] = entry

    def is_stale(self, claim: File) -> bool:
        """Whether the worker that holds this File has lost its claim."""
        row = File.objects.filter(id=claim.id).first()
        return row is None or (row.version, row.attempt, row.status) != (claim.version, claim.attempt, "processing")

    # --- what happens ----------------------------------------------------------------------------------------

    @rule(target=files)
    def receive(self) -> uuid.UUID:
        """An upload is recorded."""
        file = a_file()
        self.known.add(file.id)
        return file.id

    @rule(file_id=files)
    def dispatch(self, file_id: uuid.UUID) -> None:
        """The dispatcher publishes and sends what waits."""
        for file in lifecycle.undispatched(100):
            if file.id == file_id:
                self.tell(file)
                lifecycle.dispatched([file])

    @rule(target=claims, file_id=files, attempt=st.integers(1, 4), tells=st.booleans())
    def claim(self, file_id: uuid.UUID, attempt: int, tells: bool) -> Any:
        """A worker gets a message, the right one or an old one."""
        before = self.row(file_id)
        file = lifecycle.claim(file_id, attempt)
        waits = before is not None and before.deleted_at is None and before.status == "queued"
        assert (file is not None) == bool(waits and before and before.attempt == attempt)
        if file is None:
            return File(id=uuid.uuid4(), attempt=0)  # a worker without a file: everything it tries is stale
        if tells:
            self.tell(file)
        return file

    @rule(claim=claims, percent=st.integers(-5, 120))
    def progress(self, claim: File, percent: int) -> None:
        """A worker reports; a stale one is told that it has lost the file."""
        stale = self.is_stale(claim)
        held = lifecycle.progress(claim, percent) if not stale else lifecycle.renew(claim)
        row = File.objects.filter(id=claim.id, attempt=claim.attempt, status="processing").first()
        assert held == (row is not None)

    @rule(
        claim=consumes(claims),
        how=st.sampled_from(["complete", "fail", "retry", "lose", "put_back"]),
        tells=st.booleans(),
    )
    def end(self, claim: File, how: str, tells: bool) -> None:
        """A worker records how its attempt ended; a stale one records nothing."""
        stale, before = self.is_stale(claim), self.row(claim.id)
        ours = {
            "complete": lambda: lifecycle.complete(claim, **DONE),
            "fail": lambda: lifecycle.fail(claim, code="image_broken", detail="It is."),
            "retry": lambda: lifecycle.retry(claim, code="storage_unavailable", detail="away"),
            "lose": lambda: lifecycle.lose(claim),
            "put_back": lambda: lifecycle.put_back(claim),
        }[how]()
        assert ours is not stale
        after = self.row(claim.id)
        if stale:
            assert document(after) == document(before) if before and after else before == after
        elif tells:
            self.tell(claim)
            lifecycle.published(claim)

    @rule(file_id=files)
    def lease_ends(self, file_id: uuid.UUID) -> None:
        """A worker is dead or hangs; the sweep takes its file."""
        File.objects.filter(id=file_id, status="processing").update(
            lease_expires_at=timezone.now() - timedelta(seconds=1)
        )
        for file in lifecycle.expired(100):
            if lifecycle.lose(file):
                self.tell(file)
                lifecycle.published(file)

    @rule(file_id=files)
    def wait_is_over(self, file_id: uuid.UUID) -> None:
        """The time before a retry has gone by."""
        File.objects.filter(id=file_id).update(due_at=timezone.now())

    @rule(file_id=files)
    def requeue(self, file_id: uuid.UUID) -> None:
        """A client asks for another attempt: only of a file that is done."""
        before = self.row(file_id)
        try:
            file = lifecycle.requeue(file_id)
        except FileMissing:
            assert before is None or before.deleted_at is not None
        except FileBusy:
            assert before is not None
            assert before.status in ("queued", "processing")
        else:
            assert before is not None
            assert (file.attempt, file.losses, file.faults) == (before.attempt + 1, 0, 0)

    @precondition(lambda self: len(self.known) > 1)
    @rule(file_id=files)
    def delete(self, file_id: uuid.UUID) -> None:
        """A client deletes the file; it is out of sight at once."""
        try:
            lifecycle.delete(file_id)
        except FileMissing:
            assert file_id in self.gone
        self.gone.add(file_id)
        assert not File.objects.filter(id=file_id).exists()

    @rule()
    def publish_late(self) -> None:
        """The sweep publishes what dead processes left unsaid, and buries who is deleted."""
        for file in lifecycle.unpublished(0, 100):
            self.tell(file)
            if file.deleted_at is None:
                lifecycle.published(file)
        for file in lifecycle.deleted(100):
            self.tell(file)
            lifecycle.bury(file)

    # --- what always holds -----------------------------------------------------------------------------------

    @invariant()
    def rows_are_right(self) -> None:
        """The record agrees with itself, and its faults are counted within their limits."""
        for file in File.everything.all():
            assert file.processed == (file.status == "processed")
            assert (file.error is not None) == (file.status == "failed")
            assert file.losses < MAX_ATTEMPTS
            assert file.faults <= MAX_RETRIES
            numbers = [entry["seq"] for entry in file.pending or []]
            assert numbers == sorted(set(numbers))
            if numbers:
                assert numbers[-1] == file.version

    @invariant()
    def the_feed_is_right(self) -> None:
        """Of each file: told and untold events together have no gap, each attempt ends once, and nothing follows the
        deletion."""
        for file_id in self.known:
            told = dict(self.told.get(file_id, {}))
            row = self.row(file_id)
            for entry in (row.pending if row else None) or []:
                told.setdefault(entry["seq"], entry)
            words = [told[number]["type"] for number in sorted(told)]
            if row is not None:
                assert sorted(told) == list(range(1, row.version + 1))
            ends = [entry["data"]["attempt"] for entry in told.values() if entry["type"] in TERMINAL]
            assert len(ends) == len(set(ends))
            if row is not None and row.status in ("processed", "failed"):
                assert row.attempt in ends
            if "file.deleted" in words:
                assert words.index("file.deleted") == len(words) - 1


def test_the_life_of_files_at_random(settings: Any) -> None:
    """Whatever happens in whatever order, and whoever writes too late."""
    settings.FILEWIRE_MAX_ATTEMPTS, settings.FILEWIRE_MAX_RETRIES = MAX_ATTEMPTS, MAX_RETRIES
    run_state_machine_as_test(Lives, settings=QUICK)


QUICK = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
