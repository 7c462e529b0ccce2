"""Workbooks: XLSX, XLSM, XLSB, XLS, ODS, by calamine, once it is certain that they do not unpack beyond bounds."""

from __future__ import annotations

import time
from typing import Any, Final
from xml.parsers import expat

import python_calamine

from ... import office, zips
from ...containers import is_compound
from ...contract import JSON, Job, ProcessingFailed
from ...entities import Entities, TooMuch
from . import spans
from .columns import Columns, is_header

UNPACKED_BYTES: Final = 256 * 1024 * 1024  # of all members together
MEMBERS: Final = 20_000
FLAT_BYTES: Final = 128 * 1024 * 1024  # of a workbook that is not packed
SHEETS: Final = 100
ROWS: Final = 200_000  # that are gone through
ROW_CELLS: Final = 20_000
WORK_SECONDS: Final = 20.0
CHECKED_ROWS: Final = 1000
DOCTYPE_BYTES: Final = 4096  # of a part, within which its DTD would begin

FORMATS: Final = {
    **{content_type: name for name, content_type in office.BY_ENDING.items() if office.KINDS[content_type] == "table"},
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/vnd.ms-excel": "xls",
}

# A panic of the library is a BaseException of its own making; it is told by its name.
BROKEN = (python_calamine.CalamineError, ValueError, OSError, OverflowError, IndexError, KeyError)


def workbook(job: Job) -> dict[str, JSON]:
    """Its sheets, and the table in the first of them. Raises ProcessingFailed."""
    result: dict[str, JSON] = {"format": FORMATS[job.content_type], "dialect": None, "encrypted": False}
    closed: dict[str, JSON] = {
        "encrypted": True, "sheets": [], "sheet": None, **Columns().told(), "rows_exact": False, "truncated": False,
    }  # fmt: skip
    if job.content_type in office.KINDS and is_compound(job.path):
        return result | closed  # a package in a container of the old formats, which is how encrypted ones are kept
    _check_size(job)
    try:
        book = python_calamine.CalamineWorkbook.from_path(str(job.path))
    except python_calamine.PasswordError:
        return result | closed
    except BROKEN as error:
        raise ProcessingFailed("table_broken") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ProcessingFailed("table_broken") from error
    return result | _sheets(book, job)


def _check_size(job: Job) -> None:
    """Unpack every member, keep nothing, and stop at the bound: what they declare is not believed."""
    with job.path.open("rb") as file:
        if file.read(4) != zips.LOCAL:
            if job.size > FLAT_BYTES:
                raise ProcessingFailed("table_too_large")
            return
        try:
            directory = zips.find_directory(file)
        except zips.NotAZip as error:
            raise ProcessingFailed("table_broken") from error
        if directory.count > MEMBERS:
            raise ProcessingFailed("table_too_large")
        left, ends_at = UNPACKED_BYTES, time.monotonic() + spans.SECONDS
        for member in zips.members(file, directory):
            span = _span(member.name, ends_at)
            begins = True
            try:
                for piece in zips.chunks(file, member, left):
                    left -= len(piece)
                    if begins and b"<!DOCTYPE" in piece[:DOCTYPE_BYTES]:
                        _check_entities(piece)
                    begins = False
                    if span is not None:
                        span.take(piece)
            except zips.MemberTooLarge as error:
                raise ProcessingFailed("table_too_large") from error
            except zips.MemberUnreadable:
                continue  # the library will say what it thinks of it


def _span(name: str, ends_at: float) -> spans.Span | None:
    if not name.startswith("xl/worksheets/"):
        return None
    return spans.BinarySpan(ends_at) if name.endswith(".bin") else spans.XmlSpan()


def _check_entities(piece: bytes) -> None:
    """No workbook has a DTD; one with entities that unfold to more than any has is a trap, whoever reads it."""
    entities = Entities(UNPACKED_BYTES)
    parser = expat.ParserCreate()
    parser.EntityDeclHandler = entities.declare
    parser.EndDoctypeDeclHandler = entities.check
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.DefaultHandler = entities.read
    try:
        parser.Parse(piece, False)
    except TooMuch as error:
        raise ProcessingFailed("data_bomb") from error
    except (expat.ExpatError, ValueError, LookupError) as error:
        if "amplification" in str(error):
            raise ProcessingFailed("data_bomb") from error


def _sheets(book: Any, job: Job) -> dict[str, JSON]:
    """What is told of all sheets, and the table in the first that is not empty: of the visible ones, if there are."""
    sheets: list[JSON] = []
    main, taken, exact = Columns(), None, True
    ends_at = time.monotonic() + WORK_SECONDS
    metadata = book.sheets_metadata[:SHEETS]
    shown = [str(about.visible).rpartition(".")[2].lower() == "visible" for about in metadata]
    for index, about in enumerate(metadata):
        told: dict[str, JSON] = {
            "name": about.name[:200], "rows": None, "columns": None, "visible": shown[index], "readable": True,
        }  # fmt: skip
        sheets.append(told)
        if time.monotonic() > ends_at:
            exact = False
            continue
        try:
            sheet = book.get_sheet_by_index(index)
            told["rows"], told["columns"] = int(sheet.height), int(sheet.width)
            if taken is None and sheet.height and (shown[index] or not any(shown)):
                taken = about.name[:200]
                exact = _rows(sheet, main, ends_at) and exact
        except BROKEN:
            told["readable"] = exact = False
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            told["readable"] = exact = False
        job.report(min(99, 100 * (index + 1) // max(1, len(book.sheets_metadata))))
    return {"sheets": sheets, "sheet": taken, **main.told(), "rows_exact": exact, "truncated": not exact}


def _rows(sheet: Any, main: Columns, ends_at: float) -> bool:
    """Take in the rows; whether they were all."""
    first = None
    named = False
    for number, raw in enumerate(sheet.iter_rows()):
        row = [None if cell == "" else cell for cell in raw[:ROW_CELLS]]
        if first is None:
            first = row
            continue
        if number == 1:
            named = is_header(first, row)
            (main.name if named else main.add)(first)
        main.add(row)
        if number >= ROWS or (number % CHECKED_ROWS == 0 and time.monotonic() > ends_at):
            return False
    if first is not None and not main.rows and not named:
        main.add(first)
    return True
