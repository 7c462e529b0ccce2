"""The hub: every event once and in order, whatever becomes of the announcements."""

import asyncio
import contextlib
import json
import time
import uuid

import pytest

from apps.events import connections, hub, publish, stream
from apps.events.event import BEGINNING, Cursor, Frame
from apps.events.hub import RING_FRAMES
from apps.events.publish import ALL_FILES, group_of
from apps.events.reader import Reader, reading
from apps.files.errors import FeedAway
from tests.unit.events.feeding import append, own_valkey, tell, tell_of_new_files, unsaved_file, until

pytestmark = pytest.mark.usefixtures("shared_clients")


async def collect(reader: Reader, count: int, seconds: float = 10.0) -> list[Cursor]:
    """The cursors of the next events, as many as asked for and no more than there are."""
    cursors: list[Cursor] = []
    ends_at = time.monotonic() + seconds
    while len(cursors) < count:
        assert time.monotonic() < ends_at, f"only {len(cursors)} of {count} events came"
        batch = await reader.next(0.2)
        assert not batch.resync
        cursors += [frame.cursor for frame in batch.frames]
    assert (await reader.next(0)).frames == []
    return cursors


async def in_feed(after: Cursor = BEGINNING) -> list[Frame]:
    """The events of a page of the stream."""
    return (await stream.page(connections.async_client(), after)).frames


async def in_stream(after: Cursor = BEGINNING) -> list[Cursor]:
    """Their cursors."""
    return [frame.cursor for frame in await in_feed(after)]


async def resync(reader: Reader, seconds: float = 5.0) -> Cursor:
    """The reader's next resync."""
    ends_at = time.monotonic() + seconds
    while not (batch := await reader.next(0.2)).resync:
        assert time.monotonic() < ends_at, "no resync came"
    return batch.cursor


async def test_events_come_live():
    """A reader is woken by the announcement, not by the tick."""
    async with reading(None, None) as reader:
        tell_of_new_files(1)
        began = time.monotonic()
        assert len((await reader.next(5)).frames) == 1
        assert time.monotonic() - began < hub.TICK_SECONDS / 2


async def test_a_lost_announcement_shows_in_the_next():
    """An event that was never announced comes before the next one that is, without waiting for a tick."""
    async with reading(None, None) as reader:
        append(uuid.uuid4(), 1)
        append(uuid.uuid4(), 1)
        tell_of_new_files(1)
        began = time.monotonic()
        assert await collect(reader, 3) == await in_stream()
        assert time.monotonic() - began < hub.TICK_SECONDS / 2


async def test_a_lost_announcement_with_nothing_after_it_is_found_by_the_tick(monkeypatch):
    """Silence is looked into: the tick finds what nobody announced, for all files and for one."""
    monkeypatch.setattr(hub, "TICK_SECONDS", 0.05)
    file_id = uuid.uuid4()
    async with reading(None, None) as reader, reading(file_id, None) as reader_of_file:
        appended = append(file_id, 1)
        assert appended
        assert await collect(reader, 1) == [appended.cursor]
        assert await collect(reader_of_file, 1) == [appended.cursor]


async def test_announcements_out_of_order_come_out_in_order():
    """Two publishers may announce in another order than they appended: each event comes once, in the feed's order."""
    async with reading(None, None) as reader:
        files = [unsaved_file() for _ in range(6)]
        told = []
        for file in files:
            appended = append(file.id, 1)
            assert appended
            text = (await stream.page(connections.async_client(), appended.before)).frames[0].text
            told.append((appended, text))
        layer = hub.hub()._layer
        for appended, text in [told[i] for i in (2, 0, 1, 5, 4, 3)]:
            events = [publish._told(appended.cursor, appended.before, text)]
            await layer.group_send(ALL_FILES, {"type": "feed.events", "group": ALL_FILES, "events": events})
        assert await collect(reader, 6) == [appended.cursor for appended, _ in told]


async def test_a_batch_of_files_is_announced_in_order(monkeypatch):
    """What was recorded together is told together, each event once: to readers of all, and of one of them."""
    monkeypatch.setattr(hub, "TICK_SECONDS", 1000)  # the announcements alone bring them
    files = [unsaved_file() for _ in range(5)]
    async with reading(None, None) as reader, reading(files[3].id, None) as of_one:
        assert publish.pending(files[1])  # a part of the batch is known already
        assert publish.pending(*files)
        assert publish.pending(*files)
        cursors = await collect(reader, 5)
        assert cursors == sorted(cursors)
        (only,) = await collect(of_one, 1)
        assert only == cursors[3]
    subjects = [json.loads(entry.text)["subject"] for entry in await in_feed()]
    assert subjects == [str(files[i].id) for i in (1, 0, 2, 3, 4)]


async def test_a_message_for_nobody_is_not_sent():
    """A file's own group is told while the file is followed; all files' always."""
    await connections.async_client().xadd(stream.STREAM, {"g": "1"}, id="1-0")
    await connections.async_client().set(stream.GENESIS, "1-0")
    file, other = unsaved_file(), unsaved_file()
    async with connections.async_client().pubsub(ignore_subscribe_messages=True) as words:
        await words.psubscribe("asgi__group__*")
        await words.get_message(timeout=1)
        async with reading(file.id, None) as reader:
            tell(other)
            tell(file)
            assert len(await collect(reader, 1)) == 1
            heard = [(await words.get_message(timeout=1))["channel"].decode() for _ in range(3)]
    assert heard == [f"asgi__group__{name}" for name in (ALL_FILES, ALL_FILES, group_of(file.id))]


async def test_who_follows_says_so_again_and_again(monkeypatch):
    """However long a reader of one file stays, and whatever Redis forgot, its file is followed."""
    monkeypatch.setattr(hub, "TICK_SECONDS", 0.02)
    file_id, client = uuid.uuid4(), connections.async_client()
    async with reading(file_id, None):
        assert await client.delete(f"{stream.FOLLOWED}{file_id}") == 1
        await until(lambda: connections.sync_client().exists(f"{stream.FOLLOWED}{file_id}"))


async def test_one_file_has_its_own_events_only():
    """A reader of one file sees that file's events, the others' never."""
    file = unsaved_file()
    async with reading(file.id, None) as reader:
        tell_of_new_files(3)
        tell(file)
        tell_of_new_files(3)
        tell(file)
        assert len(await collect(reader, 2)) == 2


async def test_a_gap_of_one_file_is_filled_over_many_pages(monkeypatch):
    """What was missed of one file is found among many events of others, over several looks at the stream."""
    monkeypatch.setattr(stream, "PAGE_EVENTS", 4)
    monkeypatch.setattr(stream, "SCAN_EVENTS", 8)
    file = unsaved_file()
    async with reading(file.id, None) as reader:
        lost = append(file.id, 1)
        for _ in range(40):
            append(uuid.uuid4(), 1)
        file.version = 1
        tell(file)
        cursors = await collect(reader, 2)
        assert lost
        assert cursors[0] == lost.cursor < cursors[1]


async def test_a_topic_is_left_with_its_last_reader():
    """What nobody reads is not subscribed to, and keeps nothing."""
    file_id = uuid.uuid4()
    client = connections.async_client()
    name = f"asgi__group__{group_of(file_id)}"
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(reading(file_id, None))
        async with reading(file_id, None):
            await _subscribers(client, name, 1)
        await _subscribers(client, name, 1)
    assert hub.hub()._topics == {}
    await _subscribers(client, name, 0)


async def _subscribers(client, name: str, count: int) -> None:
    ends_at = time.monotonic() + 5
    while (await client.pubsub_numsub(name))[0][1] != count:
        assert time.monotonic() < ends_at
        await asyncio.sleep(0.01)


async def test_a_topic_that_is_left_and_joined_at_once_is_joined():
    """However leaving and joining fall together, the reader who is there in the end gets what comes."""
    file = unsaved_file()

    async def come_and_go() -> None:
        for _ in range(5):
            async with reading(file.id, None):
                await asyncio.sleep(0)

    await asyncio.gather(*(come_and_go() for _ in range(20)))
    async with reading(file.id, None) as reader:
        tell(file)
        assert len(await collect(reader, 1)) == 1


async def test_a_thousand_readers_share_one_ring():
    """A reader costs its place: a thousand hold the very same frames, and Redis sees one subscriber."""
    async with contextlib.AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(reading(None, None)) for _ in range(1000)]
        tell_of_new_files(20)
        await collect(readers[0], 20)
        batches = await asyncio.gather(*(reader.next(5) for reader in readers[1:]))
        assert {len(batch.frames) for batch in batches} == {20}
        assert len({id(frame) for batch in batches for frame in batch.frames}) == 20
        subscribers = await connections.async_client().pubsub_numsub(f"asgi__group__{ALL_FILES}")
        assert subscribers[0][1] == 1


async def test_a_reader_that_falls_behind_the_ring_reads_the_stream(monkeypatch):
    """The ring keeps a bounded number of frames; who is slower gets the rest from the stream, and misses nothing."""
    monkeypatch.setattr(hub, "RING_FRAMES", 16)
    async with reading(None, None) as slow, reading(None, None) as fast:
        for _ in range(10):
            tell_of_new_files(10)
            await collect(fast, 10)
        (topic,) = hub.hub()._topics.values()
        assert len(topic.ring) == 16 < RING_FRAMES
        assert await collect(slow, 100) == await in_stream()


async def test_a_reader_that_falls_behind_the_feed_is_told(monkeypatch, settings):
    """What is neither in the ring nor in the stream any more is a resync, at the newest event."""
    settings.FILEWIRE_FEED_EVENTS = 100
    monkeypatch.setattr(hub, "RING_FRAMES", 16)
    async with reading(None, None) as slow, reading(None, None) as fast:
        for _ in range(30):
            tell_of_new_files(10)
            await collect(fast, 10)
        assert await resync(slow) == fast.position
        tell_of_new_files(1)
        assert len(await collect(slow, 1)) == 1


async def test_a_wiped_redis_is_a_resync_to_live_readers(settings, monkeypatch):
    """When the feed begins anew, readers of all and of one are told, and then follow the new feed."""
    monkeypatch.setattr(hub, "TICK_SECONDS", 0.1)
    with own_valkey(settings) as valkey:
        file = unsaved_file()
        async with reading(None, None) as reader, reading(file.id, None) as reader_of_file:
            tell(file)
            await collect(reader, 1)
            await collect(reader_of_file, 1)
            valkey.stop()
            valkey.wipe()
            valkey.start()
            await resync(reader)
            await resync(reader_of_file)
            tell(file)
            assert await collect(reader, 1) == await collect(reader_of_file, 1)
        await _leave()


async def test_a_file_told_of_first_after_a_wipe_is_a_resync_too(settings, monkeypatch):
    """The announcement of a new feed's event alone tells a reader of one file that its feed is gone."""
    monkeypatch.setattr(hub, "TICK_SECONDS", 1000)
    file = unsaved_file()
    async with reading(file.id, None) as reader:
        tell(file)
        await collect(reader, 1)
        await connections.async_client().flushdb()
        tell(file)
        await resync(reader)


async def test_redis_comes_back_with_its_data(settings, monkeypatch, caplog):
    """Live readers outlive a Redis that is stopped and started: they miss nothing, and are live again after."""
    monkeypatch.setattr(hub, "TICK_SECONDS", 0.2)
    with own_valkey(settings) as valkey:
        async with reading(None, None) as reader:
            tell_of_new_files(2)
            await collect(reader, 2)
            valkey.stop()
            await until(lambda: "the feed is away" in caplog.text)
            valkey.start()
            append(uuid.uuid4(), 1)
            tell_of_new_files(1)
            await collect(reader, 2)
            # Live again: an announcement arrives by itself, the tick kept out of it.
            name = f"asgi__group__{ALL_FILES}"
            await _subscribers_of(name)
            monkeypatch.setattr(hub, "TICK_SECONDS", 1000)
            tell_of_new_files(1)
            await collect(reader, 1, seconds=3)
        await _leave()


async def _subscribers_of(name: str) -> None:
    ends_at = time.monotonic() + 10
    while True:
        with contextlib.suppress(*connections.AWAY):
            await _subscribers(connections.async_client(), name, 1)
            return
        assert time.monotonic() < ends_at


async def _leave() -> None:
    """Close what is bound to a Valkey of one's own, while it is still there."""
    from channels.layers import channel_layers

    await hub.close_hub()
    for layer in list(channel_layers.backends.values()):
        await layer.flush()
    await connections.close_async()


async def test_joining_without_redis_raises(settings):
    """While Redis is away a reader is told so in a moment, and joins once it is back."""
    with own_valkey(settings) as valkey:
        valkey.stop()
        for file_id in (None, uuid.uuid4()):
            with pytest.raises(FeedAway):
                async with reading(file_id, None):
                    pass
        layer = hub.hub()._layer
        assert layer.channels == {}
        valkey.start()
        async with reading(None, None) as reader:
            tell_of_new_files(1)
            await collect(reader, 1)
        await _leave()


async def test_many_who_join_while_redis_hangs_wait_no_longer_than_one(settings, monkeypatch):
    """A Redis that takes connections and answers nothing is away for all who wait, at the same time."""
    import signal

    monkeypatch.setattr(hub, "JOIN_SECONDS", 0.5)
    with own_valkey(settings) as valkey:
        assert valkey.process
        valkey.process.send_signal(signal.SIGSTOP)
        try:

            async def join() -> None:
                with pytest.raises(FeedAway):
                    async with reading(None, None):
                        pass

            began = time.monotonic()
            await asyncio.gather(*(join() for _ in range(50)))
            assert time.monotonic() - began < 3
        finally:
            valkey.process.send_signal(signal.SIGCONT)
        await _leave()


# Cancelled just when it has connected anew, redis-py leaves a StreamWriter to the garbage collector.
@pytest.mark.filterwarnings("ignore:.*StreamWriter.__del__:pytest.PytestUnraisableExceptionWarning")
async def test_reading_the_stream_without_redis_raises(settings, monkeypatch):
    """A reader that needs the stream while Redis is away is told so."""
    with own_valkey(settings) as valkey:
        async with reading(None, BEGINNING) as reader:
            assert reader.position < reader.newest
            valkey.stop()
            with pytest.raises(FeedAway):
                await reader.next(0.1)
        valkey.start()
        await _leave()


async def test_a_reader_ahead_of_its_hub_sees_nothing_twice(monkeypatch):
    """A client that comes from a quicker process has seen what this hub has yet to hear of; it is not sent again."""
    async with reading(None, None):
        first, second = append(uuid.uuid4(), 1), append(uuid.uuid4(), 1)
        assert first
        assert second
        async with reading(None, first.cursor) as ahead:
            assert await collect(ahead, 1) == [second.cursor]
            tell_of_new_files(1)
            assert len(await collect(ahead, 1)) == 1


async def test_f06_readers_that_come_and_go_while_events_go_out():
    """While fifty clients connect and leave in a loop, steady readers see every event once and in order."""
    files = [unsaved_file() for _ in range(5)]
    done = asyncio.Event()

    async def come_and_go(number: int) -> None:
        while not done.is_set():
            async with reading(files[number % 5].id if number % 2 else None, None) as passing:
                await passing.next(0.005)

    async with reading(None, None) as steady, reading(files[0].id, None) as steady_of_file:
        passers = [asyncio.create_task(come_and_go(number)) for number in range(50)]

        def publish_all() -> None:
            for number in range(1000):
                tell(files[number % 5])

        publishing = asyncio.create_task(asyncio.to_thread(publish_all))
        cursors = await collect_until(steady, 1000)
        of_file = await collect_until(steady_of_file, 200)
        await publishing
        done.set()
        await asyncio.gather(*passers)
    assert cursors == sorted(set(cursors))
    assert of_file == sorted(set(of_file))
    assert set(of_file) < set(cursors)


async def collect_until(reader: Reader, count: int) -> list[Cursor]:
    """As many events as asked for, while more may follow."""
    cursors: list[Cursor] = []
    ends_at = time.monotonic() + 60
    while len(cursors) < count:
        assert time.monotonic() < ends_at, f"only {len(cursors)} of {count} events came"
        cursors += [frame.cursor for frame in (await reader.next(0.5)).frames]
    return cursors


async def test_f07_a_reader_that_stops_holds_no_frames():
    """A reader that waits for its client keeps no frame of its own: all it has is a place."""
    async with reading(None, None) as stuck, reading(None, None) as steady:
        for _ in range(50):
            tell_of_new_files(50)
            await collect(steady, 50)
        (topic,) = hub.hub()._topics.values()
        assert len(topic.ring) == RING_FRAMES
        assert not [value for value in vars(stuck).values() if isinstance(value, list)]
        assert len(await collect(stuck, 2500)) == 2500


async def test_f07_a_reader_takes_a_page_at_a_time():
    """However much a slow reader has missed, what it holds while its client does not read is one page."""
    async with reading(None, None) as slow, reading(None, None) as fast:
        tell_of_new_files(500)
        await collect(fast, 500)
        batches = [await slow.next(0) for _ in range(4)]
        assert [len(batch.frames) for batch in batches] == [128, 128, 128, 116]
        cursors = [frame.cursor for batch in batches for frame in batch.frames]
        assert cursors == sorted(set(cursors))
        assert (await slow.next(0)).frames == []
