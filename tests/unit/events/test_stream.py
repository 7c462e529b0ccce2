"""The stream at rest: what is appended once, what is read back, and what is lost."""

import uuid

import pytest

from apps.events import connections, publish, stream
from apps.events.event import BEGINNING, Cursor
from project.layer import channel_layers
from tests.unit.events.feeding import append, own_valkey, unsaved_file

pytestmark = pytest.mark.usefixtures("shared_clients")


@pytest.fixture
def small_feed(settings) -> None:
    """A feed that keeps about a hundred events."""
    settings.FILEWIRE_FEED_EVENTS = 100


async def read_all(after: Cursor, file_id: uuid.UUID | None = None) -> list[stream.Page]:
    """Every page after the cursor."""
    pages = [await stream.page(connections.async_client(), after, file_id)]
    while not pages[-1].lost and pages[-1].through < pages[-1].newest:
        pages.append(await stream.page(connections.async_client(), pages[-1].through, file_id))
    return pages


async def test_an_event_is_appended_once():
    """Publishing a durable event again, or an older one, appends nothing."""
    file_id = uuid.uuid4()
    assert append(file_id, 1) is not None
    assert append(file_id, 1) is None
    assert append(file_id, 2) is not None
    assert append(file_id, 1) is None
    (page,) = await read_all(BEGINNING)
    assert len(page.frames) == 2


async def test_progress_gives_way_to_what_is_newer():
    """Progress is appended as often as it is reported, but never after the end of its attempt."""
    file_id = uuid.uuid4()
    append(file_id, 2)
    assert append(file_id, 2, durable=False) is not None
    assert append(file_id, 2, durable=False) is not None
    append(file_id, 3)
    assert append(file_id, 2, durable=False) is None


async def test_an_event_knows_what_was_before_it():
    """Each event is told with the one before it in the feed and of its file; a file's first with the beginning."""
    one, other = uuid.uuid4(), uuid.uuid4()
    first, second, third = append(one, 1), append(other, 1), append(one, 2)
    assert first
    assert second
    assert third
    _, genesis = await stream.newest(connections.async_client())
    assert (first.before, first.before_of_file) == (genesis, genesis)
    assert (second.before, second.before_of_file) == (first.cursor, genesis)
    assert (third.before, third.before_of_file) == (second.cursor, first.cursor)


async def test_an_empty_feed_begins_with_its_genesis():
    """The first look at an empty feed begins it, so that the cursor given there is one to come back with."""
    newest, genesis = await stream.newest(connections.async_client())
    assert newest == genesis > BEGINNING
    assert (await stream.newest(connections.async_client())) == (newest, genesis)
    page = await stream.page(connections.async_client(), newest)
    assert (page.frames, page.lost, page.through) == ([], False, newest)


async def test_pages_follow_each_other_without_gap_or_double(monkeypatch):
    """However small the pages, together they are the feed."""
    monkeypatch.setattr(stream, "PAGE_EVENTS", 7)
    appended = [append(uuid.uuid4(), 1) for _ in range(30)]
    pages = await read_all(BEGINNING)
    assert len(pages) == 5
    assert [frame.cursor for page in pages for frame in page.frames] == [one.cursor for one in appended if one]


async def test_one_file_is_read_alone(monkeypatch):
    """A page of one file has its events only, and passes over the others', a bounded number at a time."""
    monkeypatch.setattr(stream, "PAGE_EVENTS", 2)
    monkeypatch.setattr(stream, "SCAN_EVENTS", 10)
    wanted = uuid.uuid4()
    own = []
    for seq in range(1, 6):
        own.append(append(wanted, seq))
        for _ in range(9):
            append(uuid.uuid4(), 1)
    pages = await read_all(BEGINNING, wanted)
    assert [frame.cursor for page in pages for frame in page.frames] == [one.cursor for one in own if one]
    assert pages[-1].through == pages[-1].newest


async def test_what_is_trimmed_is_lost(small_feed):
    """A cursor older than what is kept is lost, the very beginning too; one that is kept is not."""
    appended = [append(uuid.uuid4(), 1) for _ in range(500)]
    assert appended[0]
    assert appended[-10]
    client = connections.async_client()
    for old in (appended[0].cursor, BEGINNING):
        page = await stream.page(client, old)
        assert (page.lost, page.frames, page.through) == (True, [], page.newest)
    page = await stream.page(client, appended[-10].cursor)
    assert not page.lost
    assert len(page.frames) == 9
    assert await client.xlen(stream.STREAM) < 250


async def test_a_cursor_from_the_future_is_lost():
    """A cursor that is newer than the newest event was never given by this feed."""
    appended = append(uuid.uuid4(), 1)
    assert appended
    page = await stream.page(connections.async_client(), Cursor(appended.cursor.milliseconds + 1, 0))
    assert page.lost


async def test_zero_replays_a_whole_feed():
    """`after=0` on a feed that was never trimmed is everything."""
    append(uuid.uuid4(), 1)
    append(uuid.uuid4(), 1)
    page = await stream.page(connections.async_client(), Cursor.parse("0"))
    assert len(page.frames) == 2


async def test_a_wiped_redis_loses_every_old_cursor(settings):
    """After Redis has lost its data, no cursor from before is taken for one of the new feed."""
    with own_valkey(settings) as valkey:
        old = [append(uuid.uuid4(), 1) for _ in range(3)]
        _, genesis = await stream.newest(connections.async_client())
        valkey.stop()
        valkey.wipe()
        valkey.start()
        connections.close_sync()
        append(uuid.uuid4(), 1)
        client = connections.async_client()
        with pytest.raises(connections.AWAY):
            await client.ping()  # the old connection
        for cursor in (genesis, *(one.cursor for one in old if one)):
            assert (await stream.page(client, cursor)).lost
        await connections.close_async()


async def test_newest_of_files():
    """The newest event of each file, and the beginning for one that has none."""
    known, unknown = uuid.uuid4(), uuid.uuid4()
    append(known, 1)
    last = append(known, 2)
    assert last
    assert await stream.newest_of(connections.async_client(), [unknown, known]) == [BEGINNING, last.cursor]


async def test_an_event_knows_whether_its_file_is_followed():
    """Who reads one file's events has said so before; in a feed that has just begun everyone may be about to."""
    file_id, other = uuid.uuid4(), uuid.uuid4()
    client = connections.async_client()
    young = append(file_id, 1)
    assert young
    assert young.followed
    await client.delete(stream.STREAM)
    await client.xadd(stream.STREAM, {"g": "1"}, id="1-0")
    await client.set(stream.GENESIS, "1-0")
    unread = append(file_id, 2)
    assert unread
    assert not unread.followed
    await stream.newest_of(client, [file_id], follow=True)
    assert 0 < await client.ttl(f"{stream.FOLLOWED}{file_id}") <= stream.FOLLOWED_SECONDS
    for whose, seq, expected in ((file_id, 3, True), (other, 1, False)):
        appended = append(whose, seq)
        assert appended
        assert appended.followed is expected


async def test_a_redis_that_is_full_is_read_all_the_same():
    """Who follows a file and cannot say so is no worse off than who has not said it."""
    file_id, client = uuid.uuid4(), connections.async_client()
    last = append(file_id, 1)
    assert last
    await client.config_set("maxmemory", "1")
    try:
        assert await stream.newest_of(client, [file_id], follow=True) == [last.cursor]
    finally:
        await client.config_set("maxmemory", "0")
    assert not await client.exists(f"{stream.FOLLOWED}{file_id}")
    await client.set(f"{stream.FILE}{file_id}", "of another type")
    with pytest.raises(connections.AWAY):
        await stream.newest_of(client, [file_id])


async def test_publishing_without_redis_says_so_and_raises_nothing(settings, caplog):
    """While the feed is away events stay pending, and progress is lost in silence."""
    with own_valkey(settings) as valkey:
        valkey.stop()
        file = unsaved_file()
        assert publish.pending(file) is False
        assert file.pending
        publish.progress(file)
    assert "the feed is away" in caplog.text


async def test_an_event_whose_announcement_fails_is_published(settings, caplog):
    """The stream has it, and that is what counts: readers find it there."""
    with own_valkey(settings) as valkey:
        settings.CHANNEL_LAYERS = channel_layers("redis://127.0.0.1:1/0", 1, 2)
        assert publish.pending(unsaved_file())
        assert valkey.process
        page = await stream.page(connections.async_client(), BEGINNING)
        assert len(page.frames) == 1
        await connections.close_async()
    assert "an announcement was lost" in caplog.text


async def test_f08_publishing_opens_no_connection_after_the_first():
    """However many events a worker publishes, Redis sees the same few clients."""
    publish.pending(unsaved_file())
    client = connections.sync_client()
    before = client.info("clients")["connected_clients"]
    for _ in range(200):
        assert publish.pending(unsaved_file())
    assert client.info("clients")["connected_clients"] <= before
