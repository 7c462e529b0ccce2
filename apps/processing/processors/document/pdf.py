"""PDF, by PDFium: its facts, outline and text, and a picture of its first page; no script, form or attachment is run.

Whether it is damaged is told by what PDFium says. Nothing stops PDFium within a page, nor does it say what a page will
take: before each step it is settled what the file comes to if that takes too long or too much memory.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, Final

import pypdfium2

from ...contract import Derived, Job, Outcome, ProcessingFailed
from ...pictures import PREVIEW_PIXELS, THUMBNAIL_PIXELS, draw
from .gathered import OUTLINE, Gathered

TEXT_PAGES: Final = 500
PAGE_CHARACTERS: Final = 200_000
LARGEST_POINTS: Final = 20_000  # of a page that is drawn: 7 metres
OPEN_SECONDS: Final = 10.0  # with its facts and its outline
STEP_SECONDS: Final = 5.0  # for the text of a page, and for drawing one
SETTLE_SECONDS: Final = 1.0  # between two words on how much of the text there is
PASSWORD: Final = 4  # FPDF_ERR_PASSWORD
SECURITY: Final = 5
MOMENT: Final = re.compile(r"D:(\d{4})(\d{2})?(\d{2})?(\d{2})?(\d{2})?(\d{2})?(?:([+\-Z])(\d{2})?'?(\d{2})?)?")
ATTACHMENTS: Final = 20


def read(job: Job, gathered: Gathered) -> list[Derived]:
    """Gather what there is, and draw the first page. Raises ProcessingFailed."""
    job.settle(ProcessingFailed("document_too_large"), OPEN_SECONDS)
    try:
        document = pypdfium2.PdfDocument(job.path)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) in (PASSWORD, SECURITY) or "password" in str(error).lower():
            gathered.facts["encrypted"] = True
            return []
        raise ProcessingFailed("document_broken") from error
    try:
        return _read(document, job, gathered)
    except pypdfium2.PdfiumError as error:
        raise ProcessingFailed("document_broken") from error
    finally:
        document.close()


def _read(document: Any, job: Job, gathered: Gathered) -> list[Derived]:
    pages = _pages(document)
    gathered.cut = pages < len(document)
    if not pages:
        raise ProcessingFailed("document_broken", "The document has no page that can be read.")
    gathered.facts["pages"] = pages
    about = {name: _said(document.get_metadata_value, name) for name in document.METADATA_KEYS}
    gathered.fact("title", about.get("Title"))
    gathered.fact("author", about.get("Author"))
    gathered.fact("subject", about.get("Subject"))
    gathered.fact("made_by", about.get("Producer") or about.get("Creator"))
    gathered.fact("created", moment(about["CreationDate"]))
    gathered.fact("modified", moment(about["ModDate"]))
    version = document.get_version()
    gathered.fact("version", f"{version // 10}.{version % 10}" if version else None)
    _attachments(document, gathered)
    for number, mark in enumerate(document.get_toc(max_depth=10)):
        if number >= OUTLINE:
            break
        gathered.head(_said(mark.get_title), mark.level + 1)
    job.report(10)
    settled_at = -SETTLE_SECONDS
    for number in range(min(pages, TEXT_PAGES)):
        if gathered.late():
            break
        if time.monotonic() - settled_at >= SETTLE_SECONDS:
            job.settle(_cut_short(gathered, job), STEP_SECONDS)
            settled_at = time.monotonic()
        _page_text(document, number, gathered)
        job.report(10 + 70 * (number + 1) // min(pages, TEXT_PAGES))
    gathered.cut = gathered.cut or pages > TEXT_PAGES
    job.settle(gathered.outcome(job.workdir), STEP_SECONDS)
    return _picture(document, job)


def _cut_short(gathered: Gathered, job: Job) -> Outcome:
    """What there is if no more text can be read."""
    outcome = gathered.outcome(job.workdir)
    return Outcome(result={**outcome.result, "text_truncated": True}, derived=outcome.derived)


def _pages(document: Any) -> int:
    """How many pages there are: as many as it says if the last of them is there, or up to where they end."""
    claimed = len(document)
    there, missing = 0, claimed
    if claimed and _is_there(document, claimed - 1):
        return claimed
    while there < missing:
        middle = (there + missing) // 2
        if _is_there(document, middle):
            there = middle + 1
        else:
            missing = middle
    return there


def _is_there(document: Any, number: int) -> bool:
    try:
        document.get_page_size(number)
    except pypdfium2.PdfiumError:
        return False
    return True


def _said(ask: Callable[..., str | None], *given: str) -> str:
    """What PDFium says, in its UTF-16 that may be none; nothing then."""
    try:
        return ask(*given) or ""
    except UnicodeDecodeError:
        return ""


def _attachments(document: Any, gathered: Gathered) -> None:
    names = []
    for index in range(min(document.count_attachments(), ATTACHMENTS)):
        try:
            names.append(_said(document.get_attachment(index).get_name)[:200])
        except pypdfium2.PdfiumError:
            continue
    if names:
        gathered.facts["attachments"] = [{"name": name, "content_type": None, "size": None} for name in names]


def _page_text(document: Any, number: int, gathered: Gathered) -> None:
    try:
        page = document[number]
        try:
            words = page.get_textpage()
            try:
                count = min(words.count_chars(), PAGE_CHARACTERS)
                text = words.get_text_range(0, count) if count > 0 else ""
            finally:
                words.close()
        finally:
            page.close()
    except pypdfium2.PdfiumError:
        return  # this page cannot be read; others may be
    gathered.write(text.replace("\r\n", "\n").replace("\ufffe", "") + "\n\n")


def _picture(document: Any, job: Job) -> list[Derived]:
    """The first page as preview and thumbnail; nothing where it cannot be drawn."""
    try:
        page = document[0]
        width, height = page.get_size()
        if not 0 < width <= LARGEST_POINTS or not 0 < height <= LARGEST_POINTS:
            return []
        scale = min(PREVIEW_PIXELS / max(width, height), 4.0)
        image = page.render(scale=scale, may_draw_forms=False).to_pil()
        page.close()
    except (pypdfium2.PdfiumError, ValueError, MemoryError):
        return []
    return [
        draw(image, "preview", job.workdir, PREVIEW_PIXELS),
        draw(image, "thumbnail", job.workdir, THUMBNAIL_PIXELS),
    ]


def moment(written: str) -> str | None:
    """A PDF date (ISO 32000-1, section 7.9.4) as ISO 8601; None where it is none."""
    match = MOMENT.match(written.strip())
    if match is None:
        return None
    year, month, day, hour, minute, second, sign, zone_hours, zone_minutes = match.groups()
    found = f"{year}-{month or '01'}-{day or '01'}T{hour or '00'}:{minute or '00'}:{second or '00'}"
    if sign == "Z":
        return f"{found}Z"
    return f"{found}{sign}{zone_hours or '00'}:{zone_minutes or '00'}" if sign else found
