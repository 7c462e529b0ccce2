"""Messages (RFC 5322 and MIME): who, to whom, what, and what is attached; nothing remote is fetched."""

from __future__ import annotations

import contextlib
import email.header
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Final

from ...contract import JSON, Derived, Job
from .gathered import FACT_CHARACTERS, Gathered, codec_of
from .mime import HEAD_END, UNREADABLE, Part, Parts, body_of, head_of
from .web import HtmlReader

READ_BYTES: Final = 32 * 1024 * 1024
PARTS: Final = 500
ATTACHMENTS: Final = 50
BODY_BYTES: Final = 8 * 1024 * 1024
DATE_CHARACTERS: Final = 200


def read(job: Job, gathered: Gathered) -> list[Derived]:
    """EML. Raises ProcessingFailed for what is nested too deep."""
    with job.path.open("rb") as file:
        content = file.read(READ_BYTES)
    gathered.cut = job.size > READ_BYTES
    end = HEAD_END.search(content)
    message = head_of(content[: end.start()] if end else content)
    gathered.fact("title", _header(message, "Subject"))
    gathered.fact("author", _header(message, "From"))
    gathered.facts["to"] = _header(message, "To")
    with contextlib.suppress(TypeError, ValueError, IndexError, OverflowError):
        gathered.fact("created", parsedate_to_datetime(str(message.get("Date", ""))[:DATE_CHARACTERS]).isoformat())
    attachments: list[JSON] = []
    plain: list[str] = []
    pages: list[str] = []
    parts = Parts(content, PARTS, gathered.late)
    for part in parts:
        _part(content, part, attachments, plain, pages)
    gathered.cut = gathered.cut or parts.cut
    gathered.facts["attachments"] = attachments
    for text in plain:
        gathered.write(text + "\n")
    if not plain:
        reader = HtmlReader(gathered)
        for page in pages:
            reader.read(page)
    return []


def _part(content: bytes, part: Part, attachments: list[JSON], plain: list[str], pages: list[str]) -> None:
    head = part.head
    try:
        name, sort = head.get_filename(), head.get_content_type()
        attached, charset = head.get_content_disposition() == "attachment", head.get_content_charset()
        body = body_of(content, part)
    except UNREADABLE:
        return
    if name is not None or attached or not sort.startswith("text/"):
        if len(attachments) < ATTACHMENTS:
            shown = _decoded(str(name or ""))[:200]
            attachments.append({"name": shown, "content_type": sort[:127], "size": len(body)})
        return
    text = body[:BODY_BYTES].decode(codec_of(charset) or "utf-8", "replace")
    (pages if sort == "text/html" else plain).append(text)


def _header(message: Message, name: str) -> str | None:
    value = message.get(name)
    return _decoded(str(value))[:FACT_CHARACTERS] if value is not None else None


def _decoded(value: str) -> str:
    """A header's words, their encodings undone (RFC 2047)."""
    try:
        return str(email.header.make_header(email.header.decode_header(value[:5000])))
    except UNREADABLE:
        return value
