"""What clients see of a file: one shape for the upload's answer, the list, the file and the feed."""

from datetime import UTC, datetime
from typing import Any

from apps.files.models import File

FIELDS = (
    "id",
    "file",
    "name",
    "size",
    "content_type",
    "declared_content_type",
    "kind",
    "sha256",
    "uploaded_at",
    "processed",
    "status",
    "progress",
    "attempt",
    "processed_at",
    "result",
    "derived",
    "error",
)
# What a row must be read with to become a document.
COLUMNS = tuple(field for field in FIELDS if field != "file")

Row = tuple[Any, ...]


def moment(value: datetime | None) -> str | None:
    """A moment as RFC 3339 in UTC with six digits of a second, or null."""
    if value is None:
        return None
    if value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    parts = (value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond)
    return "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ" % parts  # noqa: UP031 - half of what `isoformat` and `format` take


def document(file: File, base_url: str = "") -> dict[str, Any]:
    """The file as clients see it; `base_url` (scheme and host, no slash at its end) makes its URLs absolute."""
    return document_of(tuple(getattr(file, column) for column in COLUMNS), base_url)


def absolute(relative: dict[str, Any], base_url: str) -> dict[str, Any]:
    """A document that was made without one, with this base URL."""
    return {
        **relative,
        "file": base_url + relative["file"],
        "derived": {name: base_url + url for name, url in relative["derived"].items()},
    }


def document_of(row: Row, base_url: str = "") -> dict[str, Any]:
    """The same of a row read as `values_list(*COLUMNS)`."""
    (
        id_, name, size, content_type, declared_content_type, kind, sha256, uploaded_at, processed, status, progress,
        attempt, processed_at, result, derived, error,
    ) = row  # fmt: skip
    file_id = str(id_)
    url = f"{base_url}/files/{file_id}/"
    return {
        "id": file_id,
        "file": f"{url}content/",
        "name": name,
        "size": size,
        "content_type": content_type,
        "declared_content_type": declared_content_type,
        "kind": kind,
        "sha256": sha256,
        "uploaded_at": moment(uploaded_at),
        "processed": processed,
        "status": str(status),
        "progress": progress,
        "attempt": attempt,
        "processed_at": moment(processed_at),
        "result": result,
        "derived": {name: f"{url}derived/{name}/" for name in derived},
        "error": error,
    }
