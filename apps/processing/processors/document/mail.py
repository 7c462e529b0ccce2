"""Messages (RFC 5322 and MIME): who, to whom, what, and what is attached; nothing remote is fetched."""

from __future__ import annotations

import contextlib
import email
import email.errors
import email.header
import email.policy
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Final

from ...contract import JSON, Derived, Job, ProcessingFailed
from .gathered import FACT_CHARACTERS, Gathered, codec_of
from .web import HtmlReader

READ_BYTES: Final = 32 * 1024 * 1024
PARTS: Final = 500
ATTACHMENTS: Final = 50
BODY_BYTES: Final = 8 * 1024 * 1024
NESTED_BOUNDARIES: Final = 200

UNREADABLE: Final = (LookupError, ValueError, UnicodeError, AttributeError, TypeError, email.errors.MessageError)


def read(job: Job, gathered: Gathered) -> list[Derived]:
    """EML. Raises ProcessingFailed for what is nested too deep."""
    with job.path.open("rb") as file:
        content = file.read(READ_BYTES)
    gathered.cut = job.size > READ_BYTES
    if content.lower().count(b"content-type: multipart/") > NESTED_BOUNDARIES:
        raise ProcessingFailed("document_too_large", "The message has more parts in parts than this service follows.")
    try:
        message = email.message_from_bytes(content, policy=email.policy.compat32)
    except (*UNREADABLE, RecursionError) as error:
        raise ProcessingFailed("document_broken") from error
    gathered.fact("title", _header(message, "Subject"))
    gathered.fact("author", _header(message, "From"))
    gathered.facts["to"] = _header(message, "To")
    with contextlib.suppress(TypeError, ValueError, IndexError, OverflowError):
        gathered.fact("created", parsedate_to_datetime(str(message.get("Date", ""))).isoformat())
    attachments: list[JSON] = []
    plain: list[str] = []
    pages: list[str] = []
    for number, part in enumerate(message.walk()):
        if number >= PARTS or gathered.late():
            gathered.cut = True
            break
        if part.is_multipart():
            continue
        _part(part, attachments, plain, pages)
    gathered.facts["attachments"] = attachments
    for text in plain:
        gathered.write(text + "\n")
    if not plain:
        reader = HtmlReader(gathered)
        for page in pages:
            reader.read(page)
    return []


def _part(part: Message, attachments: list[JSON], plain: list[str], pages: list[str]) -> None:
    try:
        name, sort = part.get_filename(), part.get_content_type()
        payload = part.get_payload(decode=True)
    except UNREADABLE:
        return
    content = payload if isinstance(payload, bytes) else b""
    if name is not None or part.get_content_disposition() == "attachment" or not sort.startswith("text/"):
        if len(attachments) < ATTACHMENTS:
            shown = _decoded(str(name or ""))[:200]
            attachments.append({"name": shown, "content_type": sort[:127], "size": len(content)})
        return
    text = content[:BODY_BYTES].decode(codec_of(part.get_content_charset()) or "utf-8", "replace")
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
