"""Where what was declared, what the name says and what the bytes are do not agree: told, never hidden."""

from __future__ import annotations

import mimetypes
from typing import Final

from .contract import JSON

SILENT: Final = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/x-www-form-urlencoded"})
# Names of one and the same type, or of types that one program or another takes for the same.
SAME: Final = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/x-icon": "image/vnd.microsoft.icon",
    "image/x-ms-bmp": "image/bmp",
    "image/x-bmp": "image/bmp",
    "audio/mp3": "audio/mpeg",
    "audio/x-wav": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/x-m4a": "video/mp4",
    "audio/m4a": "video/mp4",
    "audio/x-aiff": "audio/aiff",
    "application/ogg": "audio/ogg",
    "video/ogg": "audio/ogg",
    "video/avi": "video/x-msvideo",
    "video/x-m4v": "video/mp4",
    "video/matroska": "video/x-matroska",
    # One container each, which names and programs call by its film, whatever is in it.
    "audio/webm": "video/webm",
    "audio/x-matroska": "video/x-matroska",
    "audio/matroska": "video/x-matroska",
    "audio/mp4": "video/mp4",
    "audio/3gpp": "video/3gpp",
    "audio/3gpp2": "video/3gpp2",
    "application/x-zip-compressed": "application/zip",
    "application/x-zip": "application/zip",
    "application/x-gzip": "application/gzip",
    "application/x-rar": "application/vnd.rar",
    "application/x-rar-compressed": "application/vnd.rar",
    "application/x-bzip": "application/x-bzip2",
    "application/x-pdf": "application/pdf",
    "text/xml": "application/xml",
    "text/json": "application/json",
    "text/yaml": "application/yaml",
    "text/x-yaml": "application/yaml",
    "application/x-yaml": "application/yaml",
    "text/rtf": "application/rtf",
    "application/csv": "text/csv",
    "text/x-csv": "text/csv",
    "text/tsv": "text/tab-separated-values",
    "application/x-jsonlines": "application/x-ndjson",
    "application/jsonl": "application/x-ndjson",
    "application/javascript": "text/javascript",
    "application/x-javascript": "text/javascript",
    "application/xhtml+xml": "text/html",
    "application/x-sh": "text/x-sh",
    "application/x-parquet": "application/vnd.apache.parquet",
    "application/x-ole-storage": "application/msword",
    "application/vnd.ms-excel": "text/csv",  # what Windows calls CSV, wherever a spreadsheet program is installed
}


mimetypes.init(files=[])  # the same on every machine, whatever lies in its /etc


def mismatch(declared: str, name: str, found: str) -> dict[str, JSON] | None:
    """The three types, where one that says something contradicts what was found; None where none does."""
    declared = declared.partition(";")[0].strip().lower()
    named = mimetypes.guess_type(name, strict=False)
    by_name = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}.get(
        named[1] or "", named[0] or ""
    )
    if all(agrees(told, found) for told in (declared, by_name)):
        return None
    return {"declared": declared or None, "named": by_name or None, "found": found}


def agrees(told: str, found: str) -> bool:
    """Whether a type that someone told may be the one that was found."""
    if told in SILENT:
        return True
    told, found = SAME.get(told, told), SAME.get(found, found)
    if told == found:
        return True
    textual = told.startswith("text/") or told.endswith(("+xml", "+json")) or told in TEXTUAL
    # Any text may go by the name of another sort of text: what it is in particular is a matter of opinion.
    return textual and (found.startswith("text/") or found in TEXTUAL or found.endswith(("+xml", "+json")))


TEXTUAL: Final = frozenset(
    {
        "application/json", "application/xml", "application/yaml", "application/toml", "application/x-ndjson",
        "text/javascript", "application/x-subrip", "message/rfc822", "application/sql", "application/x-tex",
        "application/x-python-code", "text/x-python", "application/x-httpd-php", "application/typescript",
    }
)  # fmt: skip
