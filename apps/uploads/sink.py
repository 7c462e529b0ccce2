"""Where an upload's bytes go as they arrive: counted, hashed, sniffed, and written once.

A small file stays in memory until the commit writes it; a larger one goes to a file among the uploads on their way,
in a thread beside the parser, with a bounded number of batches between them.
"""

import asyncio
import contextlib
import hashlib
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from apps.files import storage
from apps.files.errors import FileTooLarge

MEMORY_BYTES = 128 * 1024  # a file up to this size is written by the commit, in one go
HEAD_BYTES = 8 * 1024  # what the type is sniffed from
QUEUED_BATCHES = 4
WRITTEN_BATCHES = 64  # by one call to the system, at most

_pool = ThreadPoolExecutor(4, thread_name_prefix="sink")


@dataclass(frozen=True, kw_only=True)
class Received:
    """All of a file's bytes: where they are, and what was seen of them as they passed."""

    payload: bytes | Path
    size: int
    sha256: bytes
    head: bytes


class Sink:
    """Takes one file's bytes. Whoever makes one calls `discard` unless the commit has taken what it received."""

    def __init__(self, max_bytes: int, on_head: Callable[[bytes], None] = lambda head: None) -> None:
        """`on_head` is called with the first HEAD_BYTES of a file that memory is too small for; it may refuse."""
        self.name = ""  # of the file, once that is known: before its bytes
        self._max_bytes = max_bytes
        self._on_head = on_head
        self._size = 0
        self._hash = hashlib.sha256()
        self._head = b""
        self._memory: list[bytes] = []
        self._batches: deque[bytes] = deque()
        self._writing: asyncio.Future[None] | None = None
        self._descriptor: int | None = None
        self._path: Path | None = None

    async def write(self, data: bytes) -> None:
        """Take the next bytes. Raises FileTooLarge at the first byte over, StorageFull and StorageAway."""
        self._count(data)
        if self._path is None and self._size <= MEMORY_BYTES:
            self._memory.append(data)
            return
        if self._path is None:
            self._on_head(self._head)
            with storage.translated():
                self._descriptor, self._path = storage.open_incoming()
            self._batches.extend(self._memory)
            self._memory = []
        self._batches.append(data)
        self._start()
        while len(self._batches) >= QUEUED_BATCHES:
            await self._written()

    async def finish(self) -> Received:
        """The bytes are all here. Raises StorageFull and StorageAway."""
        if self._path is None:
            whole = b"".join(self._memory)
            self._memory = []
            self._hash.update(whole)
            payload: bytes | Path = whole
        else:
            while self._batches or self._writing is not None:
                await self._written()
            if settings.FILEWIRE_FSYNC and self._descriptor is not None:
                # Here, and not in the commit: others need not wait until a large file is on the disk.
                self._writing = asyncio.get_running_loop().run_in_executor(_pool, os.fsync, self._descriptor)
                await self._written()
            payload = self._path
            with storage.translated():  # some file systems tell only now that a write has failed
                self._close()
        return Received(payload=payload, size=self._size, sha256=self._hash.digest(), head=self._head)

    async def discard(self) -> None:
        """Leave nothing behind: no bytes, no descriptor."""
        self._batches.clear()
        self._memory = []
        if self._writing is not None:
            # The thread is in the middle of one batch; its descriptor must not be closed under it.
            await asyncio.wait([self._writing])
            self._writing.exception()  # asked for, so that asyncio does not log an upload that failed already
            self._writing = None
        with contextlib.suppress(OSError):
            self._close()
        if self._path is not None:
            with contextlib.suppress(OSError):  # what cannot be removed now is removed by the sweep
                self._path.unlink(missing_ok=True)

    def _count(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._max_bytes:
            raise FileTooLarge(f"The file is larger than {self._max_bytes} bytes, the most this service accepts.")
        if len(self._head) < HEAD_BYTES:
            self._head += data[: HEAD_BYTES - len(self._head)]

    def _start(self) -> None:
        if self._writing is None or self._writing.done():
            if self._writing is not None:
                with storage.translated():
                    self._writing.result()
            self._writing = asyncio.get_running_loop().run_in_executor(_pool, self._drain)

    async def _written(self) -> None:
        """Return when the thread has taken what was there, or raise what it met."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            try:
                with storage.translated():
                    await asyncio.shield(writing)
            except asyncio.CancelledError:
                self._writing = writing
                raise
        if self._batches:
            self._start()

    def _drain(self) -> None:
        if self._descriptor is None:
            return
        while count := len(self._batches):
            taken = [self._batches.popleft() for _ in range(min(count, WRITTEN_BATCHES))]
            for batch in taken:
                self._hash.update(batch)
            storage.write_all(self._descriptor, *taken)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None  # gone even where closing it raises
        if descriptor is not None:
            os.close(descriptor)
