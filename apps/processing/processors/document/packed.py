"""Documents that are ZIP files of XML: DOCX, PPTX, ODT, ODP, EPUB. Members are inflated within bounds, read by expat.

Nothing that a document refers to is fetched; what is outside the package is only counted.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from typing import BinaryIO, Final
from urllib.parse import unquote
from xml.parsers import expat

from ... import zips
from ...contract import Derived, Job, ProcessingFailed
from ...pictures import redraw
from .gathered import Gathered
from .web import HtmlReader

MEMBER_BYTES: Final = 64 * 1024 * 1024
ALL_BYTES: Final = 256 * 1024 * 1024
MEMBERS: Final = 20_000
SLIDES: Final = 500
CHAPTERS: Final = 1000
DEPTH: Final = 500
COVER_BYTES: Final = 16 * 1024 * 1024
HEADING: Final = re.compile(r"heading\s?(\d)", re.IGNORECASE)

Start = Callable[[str, dict[str, str]], None]


class Package:
    """The members of a package by name, inflated one at a time and never more than so much in all."""

    def __init__(self, file: BinaryIO) -> None:
        try:
            directory = zips.find_directory(file)
        except zips.NotAZip as error:
            raise ProcessingFailed("document_broken") from error
        if directory.count > MEMBERS:
            raise ProcessingFailed("document_too_large")
        self._file = file
        self._left = ALL_BYTES
        self.members = {member.name.replace("\\", "/"): member for member in zips.members(file, directory)}

    def read(self, name: str, limit_bytes: int = MEMBER_BYTES) -> bytes:
        """A member's bytes; none where it is not there, or cannot be read. Raises ProcessingFailed beyond bounds."""
        member = self.members.get(name)
        if member is None:
            return b""
        try:
            content = zips.read(self._file, member, min(limit_bytes, self._left))
        except zips.MemberTooLarge as error:
            raise ProcessingFailed("document_too_large") from error
        except zips.MemberUnreadable:
            return b""
        self._left -= len(content)
        return content


def parse(content: bytes, start: Start, end: Callable[[str], None], text: Callable[[str], None]) -> bool:
    """Read XML by its local names; whether it was whole. Raises ProcessingFailed for what is nested too deep."""
    parser = expat.ParserCreate(namespace_separator=" ")
    depth = 0

    def open_(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEPTH:
            raise ProcessingFailed("document_too_large", "The document is nested deeper than this service follows.")
        start(name.rpartition(" ")[2], {key.rpartition(" ")[2]: value for key, value in attributes.items()})

    def close(name: str) -> None:
        nonlocal depth
        depth -= 1
        end(name.rpartition(" ")[2])

    def entity(*_: object) -> None:
        raise ProcessingFailed("document_broken", "The document declares entities.")

    parser.StartElementHandler, parser.EndElementHandler = open_, close
    parser.CharacterDataHandler, parser.EntityDeclHandler = text, entity
    parser.buffer_text = True
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, LookupError, ValueError):  # these two for an encoding that expat asks Python for
        return False
    return True


def facts_of(content: bytes, gathered: Gathered) -> None:
    """The facts in an XML of Dublin Core and its like: one element each, by its local name."""
    names = {
        "title": "title", "creator": "author", "initial-creator": "author", "subject": "subject",
        "language": "language",
        "created": "created", "creation-date": "created", "modified": "modified", "date": "modified",
        "generator": "made_by", "Application": "made_by", "Pages": "pages", "Slides": "pages",
    }  # fmt: skip
    open_: list[str] = []
    said: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        open_.append(name)
        said.clear()
        for key in ("page-count", "slide-count"):
            if attributes.get(key, "").isdecimal():
                gathered.facts.setdefault("pages", int(attributes[key][:9]))

    def end(name: str) -> None:
        value = "".join(said).strip()
        fact = names.get(name)
        if fact == "pages" and value.isdecimal():
            gathered.facts.setdefault("pages", int(value[:9]))
        elif fact and fact != "pages":
            gathered.fact(fact, value)
        open_.pop()
        said.clear()

    parse(content, start, end, said.append)


# --- Office Open XML (ECMA-376) --------------------------------------------------------------------------------


def word(job: Job, gathered: Gathered) -> list[Derived]:
    """DOCX."""
    with job.path.open("rb") as file:
        package = Package(file)
        for name in ("docProps/core.xml", "docProps/app.xml"):
            facts_of(package.read(name), gathered)
        content = package.read("word/document.xml")
        if not content:
            raise ProcessingFailed("document_broken", "The package has no document that can be read.")
        job.report(40)
        _paragraphs(content, gathered)
        return _office_cover(package, job)


def _paragraphs(content: bytes, gathered: Gathered) -> None:
    level, said, hidden = 0, list[str](), 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal level, hidden
        if name == "p":
            level = 0
            said.clear()
        elif name == "pStyle":
            match = HEADING.search(attributes.get("val", ""))
            level = int(match[1]) if match else 1 if attributes.get("val") == "Title" else level
        elif name == "outlineLvl" and attributes.get("val", "").isdecimal() and int(attributes["val"][:2]) < 9:
            level = int(attributes["val"][:2]) + 1
        elif name in ("tab", "br", "cr"):
            said.append("\t" if name == "tab" else "\n")
        elif name in ("instrText", "delText"):
            hidden += 1

    def end(name: str) -> None:
        nonlocal hidden
        if name == "p":
            text = "".join(said)
            gathered.write(text + "\n")
            if level:
                gathered.head(text, level)
            said.clear()
        elif name in ("instrText", "delText"):
            hidden -= 1

    def text(piece: str) -> None:
        if not hidden:
            said.append(piece)

    if not parse(content, start, end, text):
        gathered.cut = True


def slides(job: Job, gathered: Gathered) -> list[Derived]:
    """PPTX."""
    with job.path.open("rb") as file:
        package = Package(file)
        for name in ("docProps/core.xml", "docProps/app.xml"):
            facts_of(package.read(name), gathered)
        numbered = sorted(
            (int(match[1]), name)
            for name in package.members
            if (match := re.fullmatch(r"ppt/slides/slide(\d{1,6})\.xml", name))
        )
        if "ppt/presentation.xml" not in package.members and not numbered:
            raise ProcessingFailed("document_broken", "The package has no presentation that can be read.")
        gathered.facts["pages"] = len(numbered)
        for index, (_, name) in enumerate(numbered[:SLIDES]):
            if gathered.late():
                break
            _slide(package.read(name), gathered)
            job.report(90 * (index + 1) // len(numbered))
        gathered.cut = gathered.cut or len(numbered) > SLIDES
        return _office_cover(package, job)


def _slide(content: bytes, gathered: Gathered) -> None:
    said, whole, title = list[str](), list[str](), False

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal title
        if name == "ph":
            title = attributes.get("type") in ("title", "ctrTitle")
        elif name == "sp":
            title = False
            whole.clear()

    def end(name: str) -> None:
        if name == "p":
            text = "".join(said)
            said.clear()
            whole.append(text)
            gathered.write(text + "\n")
        elif name == "sp" and title:
            gathered.head(" ".join(whole), 1)

    if not parse(content, start, end, said.append):
        gathered.cut = True


def _office_cover(package: Package, job: Job) -> list[Derived]:
    for name in ("docProps/thumbnail.jpeg", "docProps/thumbnail.png", "Thumbnails/thumbnail.png"):
        if name in package.members:
            picture = redraw(package.read(name, COVER_BYTES), "preview", job.workdir)
            return [picture] if picture else []
    return []


# --- OpenDocument (ISO/IEC 26300) ------------------------------------------------------------------------------


def open_document(job: Job, gathered: Gathered) -> list[Derived]:
    """ODT and ODP."""
    with job.path.open("rb") as file:
        package = Package(file)
        if b"manifest:encryption-data" in package.read("META-INF/manifest.xml"):
            gathered.facts["encrypted"] = True
            return []
        facts_of(package.read("meta.xml"), gathered)
        content = package.read("content.xml")
        if not content:
            raise ProcessingFailed("document_broken", "The package has no content that can be read.")
        job.report(40)
        _open_text(content, gathered)
        return _office_cover(package, job)


def _open_text(content: bytes, gathered: Gathered) -> None:
    said, level, pages, hidden = list[str](), 0, 0, 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal level, pages, hidden
        if name in ("p", "h"):
            said.clear()
            given = attributes.get("outline-level", "1")
            level = (int(given[:2]) if given.isdecimal() else 1) if name == "h" else 0
        elif name == "page":
            pages += 1
        elif name in ("tab", "line-break", "s"):
            said.append("\n" if name == "line-break" else " ")
        elif name in ("tracked-changes", "annotation"):
            hidden += 1

    def end(name: str) -> None:
        nonlocal hidden
        if name in ("p", "h"):
            text = "".join(said)
            gathered.write(text + "\n")
            if name == "h":
                gathered.head(text, level)
            said.clear()
        elif name in ("tracked-changes", "annotation"):
            hidden -= 1

    def text(piece: str) -> None:
        if not hidden:
            said.append(piece)

    if not parse(content, start, end, text):
        gathered.cut = True
    if pages:
        gathered.facts["pages"] = pages


# --- EPUB (3.3) ------------------------------------------------------------------------------------------------


def book(job: Job, gathered: Gathered) -> list[Derived]:
    """EPUB: the chapters in their order of reading, its headings as the outline, its cover as the preview."""
    with job.path.open("rb") as file:
        package = Package(file)
        root = ""

        def find(name: str, attributes: dict[str, str]) -> None:
            nonlocal root
            if name == "rootfile" and not root:
                root = attributes.get("full-path", "")

        parse(package.read("META-INF/container.xml"), find, lambda name: None, lambda text: None)
        opf = package.read(root)
        if not opf:
            raise ProcessingFailed("document_broken", "The package does not say what is in it.")
        gathered.facts["encrypted"] = (
            "META-INF/encryption.xml" in package.members and "META-INF/rights.xml" in package.members
        )
        facts_of(opf, gathered)
        chapters, cover = _spine(opf, posixpath.dirname(root))
        for index, name in enumerate(chapters[:CHAPTERS]):
            if gathered.late():
                break
            reader = HtmlReader(gathered)
            reader.read(package.read(name).decode("utf-8", "replace"))
            job.report(90 * (index + 1) // len(chapters))
        gathered.facts["pages"] = None
        gathered.facts["chapters"] = len(chapters)
        picture = redraw(package.read(cover, COVER_BYTES), "preview", job.workdir) if cover else None
        return [picture] if picture else []


def _spine(opf: bytes, base: str) -> tuple[list[str], str]:
    items: dict[str, str] = {}
    order: list[str] = []
    cover_id, cover = "", ""

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal cover_id, cover
        if name == "item":
            path = posixpath.normpath(posixpath.join(base, unquote(attributes.get("href", ""))))
            items[attributes.get("id", "")] = path
            if "cover-image" in attributes.get("properties", ""):
                cover = path
        elif name == "itemref":
            order.append(attributes.get("idref", ""))
        elif name == "meta" and attributes.get("name") == "cover":
            cover_id = attributes.get("content", "")

    parse(opf, start, lambda name: None, lambda text: None)
    # Each once: a spine that names one chapter again and again makes the book no longer.
    return list(dict.fromkeys(items[name] for name in order if name in items)), cover or items.get(cover_id, "")
