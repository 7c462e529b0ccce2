"""Where bytes lie: the only module that knows.

Under the data directory:

    files/storage-id                  the id that the database carries too (`home`)
    files/incoming/<id>               an upload on its way; older ones than an upload may last are swept
    files/blobs/<time>/<xx>/<id>      a file's bytes
    files/blobs/<time>/<xx>/<id>.d/   what was derived from them: <attempt>/<name>

<time> is the first 28 bits of the id's clock (17.5 minutes a directory), <xx> its last, random byte: a file is made
in a young, small directory, which costs a tenth of what a large flat one does, and a sweep need only look at the
directories of its own time. A key never contains anything that a client sent.
"""

import contextlib
import errno
import functools
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.files.storage import FileSystemStorage
from django.utils.deconstruct import deconstructible

from apps.files.errors import Busy, FilewireError, StorageAway, StorageFull

TIME_DIGITS = 7
SHARD_DIGITS = 2
MARK = "storage-id"
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
TOO_MANY_OPEN = frozenset({errno.EMFILE, errno.ENFILE})  # this process's limit, and the machine's


@functools.lru_cache(maxsize=4)  # as many as there are data directories: one, but in tests
def _root(data_directory: str | Path) -> Path:
    return Path(data_directory) / "files"


@functools.lru_cache(maxsize=4)
def _blobs(data_directory: str | Path) -> Path:
    return _root(data_directory) / "blobs"


def root() -> Path:
    """The directory of everything stored."""
    return _root(settings.FILEWIRE_DATA_DIR)


def blobs() -> Path:
    """The directory that keys are relative to."""
    return _blobs(settings.FILEWIRE_DATA_DIR)


def incoming() -> Path:
    """The directory of uploads on their way."""
    return root() / "incoming"


@deconstructible
class BlobStorage(FileSystemStorage):
    """The storage of `File.file`: keys relative to the directory of blobs."""

    @property
    def base_location(self) -> str:
        """Read from the settings at each use, so that a test's directory is its own."""
        return str(blobs())

    @property
    def location(self) -> str:
        """The directory of blobs, absolute."""
        return str(blobs())


def prepare() -> None:
    """Make the directories that must exist. Raises OSError."""
    incoming().mkdir(parents=True, exist_ok=True)
    blobs().mkdir(parents=True, exist_ok=True)


def probe() -> None:
    """Write and remove one small file. Raises OSError when the storage cannot be written."""
    path = incoming() / f"probe-{uuid.uuid4().hex}"
    try:
        path.write_bytes(b"probe")
    finally:
        path.unlink(missing_ok=True)


def read_mark() -> uuid.UUID | None:
    """The storage's id; None when it has none that can be read. Raises OSError."""
    try:
        return uuid.UUID((root() / MARK).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def write_mark(value: uuid.UUID) -> None:
    """Give the storage its id, in one step. Raises OSError."""
    path = incoming() / uuid.uuid4().hex
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    try:
        write_all(descriptor, str(value).encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    path.rename(root() / MARK)
    _sync(root())


def key_of(file_id: uuid.UUID) -> str:
    """The key under which this file's bytes lie."""
    digits = file_id.hex
    return f"{digits[:TIME_DIGITS]}/{digits[-SHARD_DIGITS:]}/{digits}"


def path_of(key: str) -> Path:
    """The path of a key's bytes."""
    return blobs() / key


def derived_path(key: str, attempt: int, name: str) -> Path:
    """The path of something derived from a key's bytes by this attempt."""
    return _derived_root(key) / str(attempt) / name


def _derived_root(key: str) -> Path:
    return blobs() / f"{key}.d"


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn an OSError of the block into StorageFull, StorageAway or Busy."""
    try:
        yield
    except OSError as error:
        raise as_storage_error(error) from error


def as_storage_error(error: OSError) -> FilewireError:
    """What an OSError of the storage means to a client."""
    if error.errno in TOO_MANY_OPEN:
        return Busy("Too many files are open.")
    return StorageFull() if error.errno in FULL else StorageAway()


def open_incoming() -> tuple[int, Path]:
    """A descriptor open for writing on a new file among the uploads on their way, and its path. Raises OSError."""
    path = incoming() / uuid.uuid4().hex
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), path
    except FileNotFoundError:  # a data directory that was emptied under a running service
        prepare()
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), path


def sweep_incoming(older_than_seconds: float) -> int:
    """Remove what uploads whose process died left on their way; how many there were. Raises OSError."""
    then = time.time() - older_than_seconds
    removed = 0
    for entry in os.scandir(incoming()):
        with contextlib.suppress(FileNotFoundError):  # its upload has just ended
            if entry.stat(follow_symlinks=False).st_mtime < then:
                Path(entry.path).unlink()
                removed += 1
    return removed


@dataclass(frozen=True, kw_only=True)
class Found:
    """Something in a shard: whose it is, which attempt derived it (None: the bytes), where it lies, its age."""

    file_id: uuid.UUID
    attempt: int | None
    path: Path
    age_seconds: float


def shards() -> Iterator[Path]:
    """Every shard directory, youngest first; read as it is asked for. Raises OSError."""
    for moment in sorted(_names(blobs()), reverse=True):
        for shard in sorted(_names(blobs() / moment)):
            yield blobs() / moment / shard


def found_in(shard: Path, older_than_seconds: float) -> list[Found]:
    """What lies in a shard under an id of that age: its bytes, and what each attempt derived. Raises OSError.

    An id begins with its time in milliseconds. What lies under a younger one is no older, and is not looked at.
    """
    found = []
    now = time.time()
    youngest = f"{int((now - older_than_seconds) * 1000):012x}"
    for name in _names(shard):
        if name[: len(youngest)] > youngest:
            continue
        with contextlib.suppress(ValueError, FileNotFoundError):  # no id of ours, or gone meanwhile
            file_id = uuid.UUID(hex=name.removesuffix(".d"))
            if not name.endswith(".d"):
                found.append(
                    Found(file_id=file_id, attempt=None, path=shard / name, age_seconds=_age(shard / name, now))
                )
                continue
            for attempt in _names(shard / name):
                path = shard / name / attempt
                found.append(Found(file_id=file_id, attempt=int(attempt), path=path, age_seconds=_age(path, now)))
    return found


def remove_found(item: Found) -> None:
    """Remove it, and the directory that it leaves empty. Raises OSError."""
    if item.attempt is None:
        item.path.unlink(missing_ok=True)
        return
    shutil.rmtree(item.path, ignore_errors=True)
    with contextlib.suppress(OSError):
        item.path.parent.rmdir()


def remove_empty(shard: Path, older_than_seconds: float) -> None:
    """Remove a shard, and its parent, when nothing lies in them any more and nothing has of late."""
    for directory in (shard, shard.parent):
        with contextlib.suppress(OSError):  # not empty, or gone
            if _age(directory, time.time()) > older_than_seconds:
                directory.rmdir()


def has_bytes(key: str) -> bool:
    """Whether there is anything under the key. Raises OSError when that cannot be said."""
    try:
        path_of(key).stat()
    except FileNotFoundError:
        return False
    return True


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _age(path: Path, now: float) -> float:
    """Seconds since the path was written, renamed or given anything."""
    status = path.stat(follow_symlinks=False)
    return now - max(status.st_mtime, status.st_ctime)


def put(key: str, payload: bytes | Path) -> tuple[Path, ...]:
    """Make these bytes, or this incoming file, the bytes of the key; returns the directories that have a new entry.

    Raises OSError, and then leaves nothing under the key. Safe against a power cut only after `make_durable`.
    """
    path = path_of(key)
    try:
        _place(path, payload)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        _place(path, payload)
        return path.parent, path.parent.parent, path.parent.parent.parent
    return (path.parent,)


def _place(path: Path, payload: bytes | Path) -> None:
    if isinstance(payload, Path):
        payload.rename(path)
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    try:
        try:
            write_all(descriptor, payload)
        finally:
            os.close(descriptor)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def make_durable(put_there: Mapping[str, Sequence[Path]]) -> dict[str, OSError]:
    """Have the disk keep the bytes of these keys, and the entries of their directories; the errors by key.

    All of them at once, by a few threads: what the disk writes for one of them it need not write for the others.
    """
    paths = {path_of(key) for key in put_there} | {path for new in put_there.values() for path in new}
    syncs = {path: _syncing.submit(_sync, path) for path in paths}
    failed: dict[str, OSError] = {}
    for key, directories in put_there.items():
        for path in (path_of(key), *directories):
            error = syncs[path].exception()
            if isinstance(error, OSError):
                failed[key] = error
            elif error is not None:
                raise error
    return failed


_syncing = ThreadPoolExecutor(8, thread_name_prefix="sync")


def write_all(descriptor: int, *pieces: bytes) -> None:
    """Write all of these: a disk that fills takes a part first and refuses the next write. Raises OSError."""
    written = os.writev(descriptor, pieces)
    if written < sum(map(len, pieces)):
        left = memoryview(b"".join(pieces))[written:]
        while left:
            left = left[os.write(descriptor, left) :]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discard(key: str) -> None:
    """Remove the key's bytes and everything derived from them; nothing there is no error. Raises OSError."""
    path_of(key).unlink(missing_ok=True)
    discard_derived(key)


def discard_derived(key: str, attempt: int | None = None) -> None:
    """Remove what this attempt, or any, derived from the key's bytes."""
    target = _derived_root(key) if attempt is None else _derived_root(key) / str(attempt)
    shutil.rmtree(target, ignore_errors=True)
    with contextlib.suppress(OSError):  # another attempt's, or not there
        _derived_root(key).rmdir()


def discard_derived_before(key: str, attempt: int) -> None:
    """Remove what the attempts before this one derived from the key's bytes; a later one's is not ours to touch."""
    for name in _names(_derived_root(key)):
        if name.isdecimal() and int(name) < attempt:
            shutil.rmtree(_derived_root(key) / name, ignore_errors=True)


def workdir(key: str, attempt: int) -> Path:
    """A new, empty directory for what this attempt derives from the key's bytes. Raises OSError."""
    path = _derived_root(key) / str(attempt)
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def keep_only(directory: Path, names: set[str]) -> None:
    """Remove from an attempt's directory whatever is not named, and the directory itself when nothing is kept."""
    for entry in directory.iterdir():
        if entry.name not in names:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
    if not names:
        with contextlib.suppress(OSError):
            directory.rmdir()
            directory.parent.rmdir()
