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


def moment(value: datetime | None) -> str | None:
    """A moment as RFC 3339 in UTC with six digits of a second, or null."""
    if value is None:
        return None
    if value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    return value.isoformat(timespec="microseconds")[:-6] + "Z"  # without "+00:00"


def document(file: File, base_url: str = "") -> dict[str, Any]:
    """The file as clients see it; `base_url` (scheme and host, no slash at its end) makes its URLs absolute."""
    return document_of({column: getattr(file, column) for column in COLUMNS}, base_url)


def absolute(relative: dict[str, Any], base_url: str) -> dict[str, Any]:
    """A document that was made without one, with this base URL."""
    return {
        **relative,
        "file": base_url + relative["file"],
        "derived": {name: base_url + url for name, url in relative["derived"].items()},
    }


def document_of(row: dict[str, Any], base_url: str = "") -> dict[str, Any]:
    """The same of a row read as `values(*COLUMNS)`."""
    file_id = str(row["id"])
    url = f"{base_url}/files/{file_id}/"
    return {
        "id": file_id,
        "file": f"{url}content/",
        "name": row["name"],
        "size": row["size"],
        "content_type": row["content_type"],
        "declared_content_type": row["declared_content_type"],
        "kind": row["kind"],
        "sha256": row["sha256"],
        "uploaded_at": moment(row["uploaded_at"]),
        "processed": row["processed"],
        "status": str(row["status"]),
        "progress": row["progress"],
        "attempt": row["attempt"],
        "processed_at": moment(row["processed_at"]),
        "result": row["result"],
        "derived": {name: f"{url}derived/{name}/" for name in row["derived"]},
        "error": row["error"],
    }
