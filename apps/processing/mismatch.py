"""Where what was declared, what the name says and what the bytes are do not agree: told, never hidden."""

from __future__ import annotations

from typing import Final

from .containers import OLE
from .contract import JSON
from .endings import type_by_name

SILENT: Final = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/x-www-form-urlencoded"})
# Names of one and the same type, or of types that one program or another takes for the same.
SAME: Final = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/x-icon": "image/vnd.microsoft.icon",
    "image/x-ms-bmp": "image/bmp",
    "image/x-bmp": "image/bmp",
    "image/svg": "image/svg+xml",
    "audio/mp3": "audio/mpeg",
    "audio/x-wav": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/x-m4a": "video/mp4",
    "audio/m4a": "video/mp4",
    "audio/x-aiff": "audio/aiff",
    "application/ogg": "audio/ogg",
    "video/ogg": "audio/ogg",
    "audio/opus": "audio/ogg",
    "audio/vorbis": "audio/ogg",
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
    "text/x-vcard": "text/vcard",
    "text/x-markdown": "text/markdown",
    "application/x-jsonlines": "application/x-ndjson",
    "application/jsonl": "application/x-ndjson",
    "application/javascript": "text/javascript",
    "application/x-javascript": "text/javascript",
    "application/x-sh": "text/x-sh",
    "application/x-parquet": "application/vnd.apache.parquet",
}
EXCEL: Final = "application/vnd.ms-excel"
"""What Windows declares CSV to be, wherever a spreadsheet program is installed."""


def mismatch(declared: str, name: str, found: str) -> dict[str, JSON] | None:
    """The three types, where one that says something contradicts what was found; None where none does."""
    declared = declared.partition(";")[0].strip().lower()
    named = type_by_name(name)
    if (agrees(declared, found) or (declared == EXCEL and agrees("text/csv", found))) and agrees(named, found):
        return None
    return {"declared": declared or None, "named": named or None, "found": found}


def agrees(told: str, found: str) -> bool:
    """Whether a type that someone told may be the one that was found."""
    if told in SILENT or told == found:
        return True
    if found == OLE:  # some old office document, or an encrypted one
        return told.startswith(("application/msword", "application/vnd.ms-", "application/vnd.openxmlformats-"))
    told, found = SAME.get(told, told), SAME.get(found, found)
    if told == found:
        return True
    # What is told to be XHTML is mostly written, and then found, as HTML is; found, it is XML as well.
    sort = "html" if told == "application/xhtml+xml" else family(told)
    return textual(told) and textual(found) and _agree_as_text(sort, family(found))


# --- one sort of text and another -----------------------------------------------------------------------


def textual(content_type: str) -> bool:
    """Whether files of this type are text."""
    return content_type.startswith("text/") or content_type in TEXTUAL or content_type.endswith(("+xml", "+json"))


def family(content_type: str) -> str:
    """What readers of this type can also read: JSON Lines are JSON's, SVG is XML's. Empty for text of no such sort."""
    if content_type.endswith("+json"):
        return "json"
    return "xml" if content_type.endswith("+xml") else _FAMILIES.get(content_type, "")


def _agree_as_text(told: str, found: str) -> bool:
    """Whether text that was told to be of one sort may be of the other.

    Any text may be called plain text, or a program of some language. A sort that shows itself (JSON, XML, HTML …) is
    none of the others; and what does not show itself may be any of those whose files do not all do so.
    """
    if not told or told == found or (told, found) in _READ_AS:
        return True
    return found in _GUESSED and told not in _SHOWN


_FAMILIES: Final = {
    "application/json": "json",
    "application/toml": "toml",
    "application/x-ndjson": "json",
    "application/xml": "xml",
    "application/yaml": "yaml",
    "text/calendar": "calendar",
    "text/css": "script",
    "text/csv": "table",
    "text/html": "html",
    "text/javascript": "script",
    "text/markdown": "markdown",
    "text/tab-separated-values": "table",
    "text/vcard": "vcard",
    "text/vtt": "vtt",
}
_SHOWN: Final = frozenset({"json", "xml", "calendar", "vcard", "vtt"})
"""Every file of these begins with what it is."""

_GUESSED: Final = frozenset({"", "markdown", "table", "toml", "yaml"})
"""Told by the shape of a few lines, which others may have as well."""

_READ_AS: Final = frozenset(
    {("html", "xml"), ("markdown", "html"), ("markdown", "xml"), ("script", "json"), ("yaml", "json")}
)
"""Told one, found the other: the second is read as the first."""

TEXTUAL: Final = frozenset(
    {
        "application/json", "application/xml", "application/yaml", "application/toml", "application/x-ndjson",
        "application/x-subrip", "message/rfc822", "application/mbox", "application/sql", "application/x-tex",
        "application/x-latex", "application/x-troff", "application/x-troff-me",
        "application/x-csh", "application/x-tcl", "application/x-pem-file",
        "application/x-python-code", "application/x-httpd-php", "application/typescript",
        "application/vnd.apple.mpegurl", "application/vnd.apache.mpegurl", "audio/mpegurl", "audio/x-mpegurl",
    }
)  # fmt: skip
