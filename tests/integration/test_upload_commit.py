"""Group commit: many share a transaction, each fails alone, and a lost connection is nobody's error."""

import asyncio
import errno
import os
import threading
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from asgiref.sync import sync_to_async
from django.db import DatabaseError, OperationalError, connection
from django.db.backends.utils import CursorWrapper

from apps.files import ids, lifecycle, storage
from apps.files.errors import Busy, DatabaseAway, FilewireError, StorageAway
from apps.files.models import File, Status
from apps.uploads import commit, places
from apps.uploads.commit import Receipt, close_committer, committer
from tests.client import http_client

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_clients")]
# How the driver says that a connection broke: psycopg2 has two words for it.
BROKEN = (OperationalError, DatabaseError)
REAL_RECORDED = lifecycle.recorded


def receipt(content: bytes = b"x", **changes) -> Receipt:
    """One complete upload."""
    moment = datetime.now(UTC)
    fields = {
        "id": ids.new_id(moment), "name": "a.txt", "size": len(content), "content_type": "text/plain",
        "declared_content_type": "", "kind": "text", "sha256": "0" * 64, "uploaded_at": moment, "request_id": "",
    } | changes  # fmt: skip
    return Receipt(file=lifecycle.new_file(**fields), payload=content, held=None)


@pytest.fixture
def statements(monkeypatch) -> list[str]:
    """Every INSERT that the committer's thread sends."""
    seen: list[str] = []
    real = CursorWrapper.execute

    def execute(self, sql, params=None):
        if threading.current_thread().name == "commit" and str(sql).startswith("INSERT"):
            seen.append(str(sql))
        return real(self, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", execute)
    return seen


class Gate(threading.Event):
    """Set it to let the thread go on; `entered` says that the thread has come to it."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()


@pytest.fixture
def held_up(monkeypatch) -> Gate:
    """The committer's thread waits at the first file it writes until this is set."""
    go_on = Gate()
    real = storage.put

    def put(key, payload):
        go_on.entered.set()
        assert go_on.wait(10)
        return real(key, payload)

    monkeypatch.setattr(storage, "put", put)
    return go_on


async def test_many_at_once_share_their_inserts(statements, stored):
    """Sixty uploads that complete together are far fewer statements, and each has its row and its bytes."""
    receipts = [receipt(b"%d" % number) for number in range(60)]
    await asyncio.gather(*(committer().commit(each) for each in receipts))
    assert len(statements) < 10
    assert await File.objects.acount() == 60
    assert len(stored.files()) == 60


async def test_a_batch_is_no_larger_than_its_limit_in_what_it_gathers(statements, settings, held_up):
    """What has queued up while one batch was in flight is taken up to the limit, and the rest with the next."""
    settings.FILEWIRE_COMMIT_BATCH_FILES = 4
    tasks = []
    for _ in range(12):
        tasks.append(asyncio.create_task(committer().commit(receipt())))
        await asyncio.sleep(0)  # an iteration each: twelve hand-overs
        await asyncio.sleep(0)
    held_up.set()
    await asyncio.gather(*tasks)
    assert 3 <= len(statements) <= 6
    assert await File.objects.acount() == 12


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": None},  # the database refuses it
        {"name": "lone \ud800 surrogate"},  # its driver does
    ],
)
async def test_one_bad_row_fails_alone(bad, stored, caplog):
    """The others of its batch are recorded; it is refused in our words and leaves no bytes."""
    good, spoilt = [receipt() for _ in range(5)], receipt()
    for name, value in bad.items():
        setattr(spoilt.file, name, value)
    outcomes = await asyncio.gather(
        *(committer().commit(each) for each in [*good[:3], spoilt, *good[3:]]), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes].count(type(None)) == 5
    assert isinstance(outcomes[3], StorageAway)
    assert {file.id async for file in File.objects.all()} == {each.file.id for each in good}
    assert len(stored.files()) == 5


async def test_one_failing_write_fails_alone(stored):
    """An upload whose bytes cannot be placed has no row; the others of its batch are recorded."""
    good, spoilt = [receipt() for _ in range(5)], receipt()
    storage.path_of(str(spoilt.file.file.name)).mkdir(parents=True)  # a directory where its bytes should be
    outcomes = await asyncio.gather(*(committer().commit(each) for each in [spoilt, *good]), return_exceptions=True)
    assert isinstance(outcomes[0], StorageAway)
    assert isinstance(outcomes[0].__cause__, OSError)
    assert outcomes[1:] == [None] * 5
    assert await File.objects.acount() == 5


@pytest.fixture
def synced(monkeypatch, settings) -> list[int]:
    """With durable uploads: the inodes that the disk was asked to keep, so far."""
    settings.FILEWIRE_FSYNC = True
    asked: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        asked.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", fsync)
    return asked


async def test_bytes_and_their_directories_are_durable_before_the_row(synced, monkeypatch):
    """The file, and each directory that has a new entry, up to one that was there: then the INSERT."""
    before: list[set[int]] = []
    real = lifecycle.receive

    def receive(files, held):
        before.append(set(synced))
        return real(files, held)

    monkeypatch.setattr(lifecycle, "receive", receive)
    receipts = [receipt() for _ in range(20)]
    await asyncio.gather(*(committer().commit(each) for each in receipts))
    for each in receipts:
        path = storage.path_of(storage.key_of(each.file.id))
        wanted = {place.stat().st_ino for place in (path, path.parent, path.parent.parent, storage.blobs())}
        assert any(wanted <= known for known in before)


async def test_a_large_upload_is_durable_before_its_row(synced):
    """One that went to the disk as it came, too."""
    async with http_client() as client:
        answer = await client.post("/upload/?filename=large", content=os.urandom(300_000))
    assert answer.status_code == 201
    path = storage.path_of(storage.key_of(uuid.UUID(answer.json()["id"])))
    assert path.stat().st_ino in synced
    assert path.parent.stat().st_ino in synced


async def test_one_that_the_disk_does_not_keep_fails_alone(synced, monkeypatch, stored):
    """Its error is its own; it leaves nothing, and the others of its batch are recorded."""
    good, spoilt = [receipt() for _ in range(5)], receipt()
    path = storage.path_of(storage.key_of(spoilt.file.id))
    real = storage._sync

    def sync(place):
        if place == path:
            raise OSError(errno.EIO, "the disk")
        real(place)

    monkeypatch.setattr(storage, "_sync", sync)
    outcomes = await asyncio.gather(*(committer().commit(each) for each in [spoilt, *good]), return_exceptions=True)
    assert isinstance(outcomes[0], StorageAway)
    assert outcomes[1:] == [None] * 5
    assert await File.objects.acount() == 5
    assert len(stored.files()) == 5


async def test_abandoned_uploads_are_skipped(held_up, stored):
    """Whoever left before their turn is not recorded, and nobody is told."""
    first = asyncio.create_task(committer().commit(receipt()))
    assert await asyncio.to_thread(held_up.entered.wait, 5)  # the thread has it
    left = asyncio.create_task(committer().commit(receipt()))
    stays = asyncio.create_task(committer().commit(receipt()))
    await asyncio.sleep(0)  # both are on the list
    left.cancel()
    await asyncio.wait([left])
    held_up.set()
    await asyncio.gather(first, stays)
    assert await File.objects.acount() == 2
    assert len(stored.files()) == 2


async def test_too_many_waiting_is_busy(held_up, settings, stored):
    """503 with Retry-After when the queue is full; the bytes are gone; afterwards there is room again."""
    settings.FILEWIRE_COMMIT_QUEUE_FILES = 2
    waiting = [asyncio.create_task(committer().commit(receipt())) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await committer().commit(receipt())
    descriptor, path = storage.open_incoming()
    os.close(descriptor)
    late = receipt()
    late.payload = path
    with pytest.raises(Busy):
        await committer().commit(late)
    async with http_client() as client:
        response = await client.post("/upload/", params={"filename": "a"}, content=b"x")
        assert (response.status_code, response.json()["code"]) == (503, "busy")
        assert response.headers["retry-after"] == "1"
        assert stored.files() == []
        held_up.set()
        await asyncio.gather(*waiting)
        assert (await client.post("/upload/", params={"filename": "a"}, content=b"x")).status_code == 201
    assert await File.objects.acount() == 3


async def test_too_many_on_their_way_is_busy(settings, stored, monkeypatch):
    """503 with Retry-After before a byte is read; whoever ends, well or not, leaves a place behind; one line tells."""
    monkeypatch.setattr(places, "_refused", 0)
    monkeypatch.setattr(places, "SUMMARY_SECONDS", 2.0)
    said: asyncio.Queue[str] = asyncio.Queue()
    monkeypatch.setattr(places.logger, "warning", lambda words, *values: said.put_nowait(words % values))
    settings.FILEWIRE_MAX_UPLOADS = 2
    go, read = asyncio.Event(), asyncio.Semaphore(0)

    async def body(last: bytes) -> AsyncIterator[bytes]:
        yield b"first"
        read.release()  # asked for more: the first piece is in
        await go.wait()
        yield last

    async with http_client() as client:
        good, bad = (
            asyncio.create_task(client.post("/upload/", params={"filename": "a"}, content=body(b"second"))),
            asyncio.create_task(
                client.post(
                    "/upload/",
                    params={"filename": "b"},
                    headers={"Content-Digest": "sha-256=:" + "A" * 43 + "=:"},
                    content=body(b"other than told"),
                )
            ),
        )
        await read.acquire()
        await read.acquire()
        refused = await client.post("/upload/", params={"filename": "c"}, content=b"x")
        assert (refused.status_code, refused.json()["code"]) == (503, "busy")
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["x-request-id"]
        assert (await client.options("/upload/")).status_code == 200
        wrong = await client.put("/upload/c", content=b"x", headers={"Content-Encoding": "br"})
        assert wrong.status_code == 503  # whatever else is wrong with it
        for method, path in (("PUT", "/upload/"), ("DELETE", "/upload/"), ("PATCH", "/upload/c"), ("GET", "/upload/c")):
            never = await client.request(method, path, content=b"x")
            assert (never.status_code, never.json()["code"]) == (405, "method_not_allowed")
        async with asyncio.timeout(10):
            assert await said.get() == "busy: 2 uploads refused within 2 s, 2 on their way"
        assert said.empty()
        go.set()
        assert [response.status_code for response in await asyncio.gather(good, bad)] == [201, 422]
        again = [client.post("/upload/", params={"filename": "d"}, content=b"x") for _ in range(2)]
        assert [response.status_code for response in await asyncio.gather(*again)] == [201, 201]
    assert await File.objects.acount() == len(stored.files()) == 3


@pytest.fixture
def tests_own() -> int:
    """The process of the connection that the test itself is torn down with."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no connections to kill")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


def kill_all_but(spared: int) -> int:
    """End every other connection to this database; how many there were."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid NOT IN (pg_backend_pid(), %s)",
            [spared],
        )
        return cursor.fetchone()[0]


@pytest.mark.parametrize("idle_seconds", [0.0, 1.1])
async def test_a_connection_killed_between_batches_is_nobodys_error(tests_own, idle_seconds):
    """However short ago it was used: the rows are looked for, and those that are absent inserted once more."""
    async with http_client() as client:
        for _ in range(3):
            assert (await client.post("/upload/", params={"filename": "a"}, content=b"x")).status_code == 201
            await asyncio.sleep(idle_seconds)  # past the age at which a connection is tried first, or not
            assert await sync_to_async(kill_all_but)(tests_own) >= 1
        responses = await asyncio.gather(
            *(client.post("/upload/", params={"filename": "a"}, content=b"x") for _ in range(10))
        )
    assert [response.status_code for response in responses] == [201] * 10
    assert await File.objects.acount() == 13


@pytest.mark.parametrize("reached", [True, False])
@pytest.mark.parametrize("error", BROKEN)
async def test_a_commit_whose_answer_was_lost_is_not_made_twice(reached, monkeypatch, stored, error):
    """Whether or not the rows had reached the database when the connection broke, each is there once."""
    real, broken = lifecycle.receive, []

    def receive(files, held):
        if broken:
            return real(files, held)
        broken.append(True)
        if reached:
            real(files, held)
        raise error("server closed the connection unexpectedly")

    monkeypatch.setattr(lifecycle, "receive", receive)
    await asyncio.gather(*(committer().commit(receipt()) for _ in range(5)))
    assert await File.objects.acount() == 5
    assert len(stored.files()) == 5


@pytest.mark.parametrize("error", BROKEN)
async def test_a_commit_that_ends_after_its_rows_were_looked_for_is_seen(monkeypatch, stored, error):
    """The database had not come to its end when the second connection looked: the rows are there all the same."""
    real, looked = lifecycle.receive, []

    def receive(files, held):
        real(files, held)
        if not looked:
            raise error("server closed the connection unexpectedly")

    def recorded(ids):
        looked.append(list(ids))
        return REAL_RECORDED(looked[-1]) if len(looked) > 1 else set()

    monkeypatch.setattr(lifecycle, "receive", receive)
    monkeypatch.setattr(lifecycle, "recorded", recorded)
    receipts = [receipt() for _ in range(3)]
    assert await asyncio.gather(*(committer().commit(each) for each in receipts)) == [None] * 3
    assert {file.id async for file in File.objects.all()} == {each.file.id for each in receipts}
    assert len(stored.files()) == 3


@pytest.mark.parametrize("error", BROKEN)
async def test_a_bad_row_fails_alone_on_the_second_connection_too(monkeypatch, stored, caplog, error):
    """A connection that breaks under a batch with one bad row in it: the good are recorded, the bad one refused."""
    real, broken = lifecycle.receive, []

    def receive(files, held):
        if broken:
            return real(files, held)
        broken.append(True)
        raise error("server closed the connection unexpectedly")

    monkeypatch.setattr(lifecycle, "receive", receive)
    receipts = [receipt() for _ in range(4)]
    receipts[1].file.kind = None
    outcomes = await asyncio.gather(*(committer().commit(each) for each in receipts), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), StorageAway, type(None), type(None)]
    assert await File.objects.acount() == 3
    assert len(stored.files()) == 3


@pytest.mark.parametrize("error", BROKEN)
async def test_a_database_that_goes_while_rows_are_tried_singly_spares_what_is_recorded(
    monkeypatch, stored, caplog, error
):
    """Those before the break are answered 201, the refused one stays refused, those after it are told 503."""
    real, singles = lifecycle.receive, []

    def receive(files, held):
        if len(files) == 1:
            singles.append(files[0])
            if len(singles) > 2:
                raise error("server closed the connection unexpectedly")
        return real(files, held)

    monkeypatch.setattr(lifecycle, "receive", receive)
    receipts = [receipt() for _ in range(4)]
    receipts[1].file.kind = None
    outcomes = await asyncio.gather(*(committer().commit(each) for each in receipts), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), StorageAway, DatabaseAway, DatabaseAway]
    assert await File.objects.acount() == 1
    assert len(stored.files()) == 2  # one recorded, one in doubt


@pytest.mark.parametrize("error", BROKEN)
async def test_rows_in_doubt_keep_their_bytes(monkeypatch, stored, error):
    """When not even a look is possible, the client is told 503, and a row that may be there is not left bare."""

    def receive(files, held):
        raise error("server closed the connection unexpectedly")

    monkeypatch.setattr(lifecycle, "receive", receive)
    monkeypatch.setattr(lifecycle, "recorded", lambda ids: receive(ids, {}))
    with pytest.raises(FilewireError) as caught:
        await committer().commit(receipt())
    assert caught.value.status == 503
    assert len(stored.files()) == 1


async def test_the_thread_outlives_what_nobody_foresaw(monkeypatch, stored, caplog):
    """A bug in one batch is that batch's error, without bytes left; the next is committed."""
    real = commit.Committer._commit

    def broken(self, batch):
        raise RuntimeError("a bug")

    monkeypatch.setattr(commit.Committer, "_commit", broken)
    with pytest.raises(RuntimeError):
        await committer().commit(receipt())
    assert "nobody foresaw" in caplog.text
    monkeypatch.setattr(commit.Committer, "_commit", real)
    await committer().commit(receipt())
    assert await File.objects.acount() == 1
    assert len(stored.files()) == 1


async def test_the_thread_outlives_a_word_that_cannot_be_said(monkeypatch, stored, caplog):
    """What is recorded is answered so, whatever keeps the dispatcher from hearing of it; the next is committed too."""

    def broken():
        raise RuntimeError("a bug")

    monkeypatch.setattr(commit.wake, "tell", broken)
    for number in (1, 2):
        await committer().commit(receipt())
        assert await File.objects.acount() == len(stored.files()) == number
    assert caplog.text.count("nobody foresaw") == 2


async def test_closing_commits_what_has_arrived(stored):
    """Uploads that are complete when the server stops are recorded and answered before the thread ends."""
    thread = committer()._thread
    waiting = [asyncio.create_task(committer().commit(receipt())) for _ in range(5)]
    await asyncio.sleep(0)
    await close_committer()
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)
    assert not thread.is_alive()
    assert await File.objects.filter(status=Status.QUEUED).acount() == 5
    await close_committer()  # a second time is no error
    await committer().commit(receipt())  # and there can be a new one


async def test_a_closed_loop_ends_no_thread_with_an_error(stored):
    """A batch whose loop was closed meanwhile is recorded; there is nobody to tell."""

    def in_its_own_loop() -> commit.Committer:
        async def leave() -> commit.Committer:
            task = asyncio.create_task(committer().commit(receipt(id=uuid.uuid4())))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            return committer()

        return asyncio.run(leave())

    left = await asyncio.to_thread(in_its_own_loop)
    left._queue.put(None)
    await asyncio.to_thread(left._thread.join, 5)
    assert not left._thread.is_alive()
