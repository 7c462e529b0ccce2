"""Whether this storage and this database belong together: both carry one id, made when neither had any.

A sweep that looks for bytes without a row would empty the storage if it were shown another database, and one that looks
for rows without bytes would fail every file if the storage were not mounted. Neither moves unless the two ids are one.
"""

import uuid

from apps.files import storage
from apps.files.models import StorageMark


def settle() -> bool:
    """Whether they belong together; makes their id where there is none. Raises OSError, and what the database does."""
    mark = StorageMark.objects.first()
    there = storage.read_mark()
    if mark is None:
        if there is not None:  # another database's, or one restored without its rows
            return False
        mark = StorageMark.objects.get_or_create(id=1, defaults={"value": uuid.uuid4()})[0]
    if not mark.written:  # a process that died in between left it so
        if there not in (None, mark.value):
            return False
        storage.write_mark(mark.value)
        StorageMark.objects.filter(id=mark.id).update(written=True)
        return True
    return there == mark.value


def belongs() -> bool:
    """Whether they belong together; as long as neither has an id, whether the storage looks like one.

    Raises OSError, and what the database does.
    """
    mark = StorageMark.objects.first()
    there = storage.read_mark()
    if mark is not None and mark.written:
        return there == mark.value
    return there is None and storage.incoming().is_dir()
