"""The sink: counted, hashed and written once; nothing left when discarded."""

import asyncio
import errno
import hashlib
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from apps.files import storage
from apps.files.errors import FileTooLarge, StorageAway, StorageFull
from apps.uploads.sink import HEAD_BYTES, MEMORY_BYTES, Sink

MIB = 1024 * 1024


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))


@contextmanager
def files_no_larger_than(count: int) -> Iterator[None]:
    """The kernel refuses writes past this size, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


async def filled(sink: Sink, batches: int) -> None:
    """Write so many MiB and finish."""
    for _ in range(batches):
        await sink.write(b"x" * MIB)
    await sink.finish()


@pytest.mark.parametrize("size", [1, MEMORY_BYTES, MEMORY_BYTES + 1, 3 * MIB + 7])
async def test_bytes_come_out_as_they_went_in(size, stored):
    """A small file stays in memory, a larger one lies among the uploads on their way; hash and head are theirs."""
    content = os.urandom(size)
    sink = Sink(10 * MIB)
    for start in range(0, size, 100_000):
        await sink.write(content[start : start + 100_000])
    received = await sink.finish()
    assert received.size == size
    assert received.sha256 == hashlib.sha256(content).digest()
    assert received.head == content[:HEAD_BYTES]
    if size <= MEMORY_BYTES:
        assert received.payload == content
        assert stored.files() == []
    else:
        assert isinstance(received.payload, Path)
        assert received.payload.read_bytes() == content


async def test_f11_the_first_byte_over_is_refused():
    """As many bytes as allowed are taken; one more is not."""
    sink = Sink(10)
    await sink.write(b"x" * 10)
    with pytest.raises(FileTooLarge, match="10 bytes"):
        await sink.write(b"x")


async def test_a_discarded_sink_leaves_no_bytes_and_no_descriptor(stored):
    """Whatever was written is gone, and so is the descriptor, even with a batch on its way to the disk."""
    before = descriptors()
    for batches in (1, 3, 9):
        sink = Sink(100 * MIB)
        for _ in range(batches):
            await sink.write(b"x" * MIB)
        await sink.discard()
    assert stored.files() == []
    assert descriptors() == before


async def test_a_cancelled_write_can_still_be_discarded(stored):
    """A sink whose caller was cancelled while it waited for the disk closes only what no thread uses."""
    before = descriptors()
    sink = Sink(1000 * MIB)

    async def forever() -> None:
        while True:
            await sink.write(b"x" * 4 * MIB)

    writing = asyncio.create_task(forever())
    async with asyncio.timeout(10):
        while not stored.files():  # noqa: ASYNC110 - the file system has no event for it
            await asyncio.sleep(0.001)
    writing.cancel()
    await asyncio.wait([writing])
    await sink.discard()
    assert stored.files() == []
    assert descriptors() == before


async def test_a_full_disk_is_said_and_leaves_nothing(stored, caplog):
    """A refused write is StorageFull, whether the next write or the end meets it."""
    before = descriptors()
    with files_no_larger_than(2 * MIB):
        for batches in (3, 20):
            sink = Sink(100 * MIB)
            with pytest.raises(StorageFull):
                await filled(sink, batches)
            await sink.discard()
    assert stored.files() == []
    assert descriptors() == before


async def test_a_failed_write_is_said_at_the_next_one(stored):
    """A sink whose thread has failed takes no more bytes."""
    with files_no_larger_than(MIB):
        sink = Sink(100 * MIB)
        await sink.write(b"x" * 2 * MIB)
        await asyncio.wait([sink._writing])
        with pytest.raises(StorageFull):
            await sink.write(b"x")
        await sink.discard()
    assert stored.files() == []


async def test_a_failed_write_that_nobody_waited_for_is_no_noise(stored, caplog):
    """A sink discarded after its disk failed does not make asyncio log an exception that nobody asked for."""
    with files_no_larger_than(MIB):
        sink = Sink(100 * MIB)
        await sink.write(b"x" * 2 * MIB)
        await sink.discard()
    del sink
    import gc

    gc.collect()
    await asyncio.sleep(0)
    assert caplog.records == []
    assert stored.files() == []


async def test_a_failure_that_is_told_at_the_close_closes_nothing_twice(monkeypatch, stored):
    """Some file systems say only then that the disk is full. The number may be another upload's by the next time."""
    sink, closed, real = Sink(10 * MIB), [], os.close
    await sink.write(b"x" * MIB)
    ours = sink._descriptor

    def close(descriptor: int) -> None:
        real(descriptor)
        if descriptor == ours:
            closed.append(descriptor)
            raise OSError(errno.EDQUOT, "quota")

    monkeypatch.setattr(os, "close", close)
    with pytest.raises(StorageFull):
        await sink.finish()
    await sink.discard()
    assert closed == [ours]
    assert stored.files() == []


async def test_a_storage_that_is_a_file_is_away(data_directory):
    """Where the directory should be is something else: StorageAway, at the first byte that must be written."""
    storage.incoming().rmdir()
    storage.incoming().write_bytes(b"in the way")
    sink = Sink(10 * MIB)
    with pytest.raises(StorageAway):
        await sink.write(b"x" * MIB)
    await sink.discard()


async def test_a_storage_that_was_emptied_is_made_again(data_directory, stored):
    """A data directory removed under a running service is no error."""
    storage.incoming().rmdir()
    sink = Sink(10 * MIB)
    await sink.write(b"x" * MIB)
    await sink.finish()
    assert len(stored.files()) == 1
    await sink.discard()
