"""Documents: facts, outline, words and first page; what is encrypted is told, what is a trap is refused."""

import sys
import time
import zlib
from collections.abc import Iterator
from unittest.mock import Mock

import jsonschema
import pytest
from PIL import Image

from apps.processing.confinement import Limits
from apps.processing.contract import ProcessingFailed, Task
from apps.processing.isolation import Isolation
from apps.processing.processors import document
from apps.processing.processors.document import mime, web
from tests.unit.processing import real


def told(job) -> tuple[dict, dict]:
    """The result, once it is what the schema says, and what was derived, by name."""
    outcome = document.process(job)
    jsonschema.validate(outcome.result, document.SCHEMA)
    return dict(outcome.result), {item.name: item.path for item in outcome.derived}


def code_of(job) -> str:
    with pytest.raises(ProcessingFailed) as failure:
        document.process(job)
    return failure.value.code


def test_a_pdf_has_words_an_outline_and_a_picture(make_job):
    """Pages, title, author, date, words of all pages, and the first page drawn within its bound."""
    result, derived = told(make_job(real.pdf(3)))
    assert (result["pages"], result["title"], result["author"]) == (3, "A title", "An author")
    assert result["created"] == "2024-05-17T10:00:00+02:00"
    assert result["outline"] == [{"title": "Beginning", "level": 1}]
    assert result["words"] == 12
    assert "Words of page 3" in derived["text"].read_text()
    with Image.open(derived["preview"]) as picture:
        assert picture.size == (1200, 800)
    with Image.open(derived["thumbnail"]) as picture:
        assert max(picture.size) == 512


def test_a_pdf_page_of_absurd_size_is_not_drawn(make_job):
    """Its words are read all the same."""
    result, derived = told(make_job(real.pdf(1, width=90_000)))
    assert result["words"] == 4
    assert set(derived) == {"text"}


def test_f16_a_pdf_that_unpacks_without_end_costs_nothing(make_job):
    """What no page asks for is not unpacked."""
    result, _ = told(make_job(real.nested_pdf()))
    assert result["pages"] == 1


@pytest.fixture(scope="module")
def hurried() -> Iterator[Isolation]:
    """A sandbox whose children give PDFium little time."""
    isolation = Isolation("tests.unit.processing.hostile:hurried")
    yield isolation
    isolation.stop()


def worked_on(isolation: Isolation, job, memory_mib: int = 768) -> tuple[dict, dict]:
    """What a child made of it: the result, and what was derived, by name."""
    limits = Limits(seconds=60, cpu_seconds=60, memory_bytes=memory_mib * 1024 * 1024, output_bytes=1024 * 1024)
    task = Task(path=job.path, size=job.size, name=job.name, sha256=job.sha256, workdir=job.workdir)
    outcome = isolation.process(task, limits, Mock(beat_seconds=10.0))
    jsonschema.validate(outcome.result, document.SCHEMA)
    return dict(outcome.result), {item.name: item.path for item in outcome.derived}


GLYPHS = b" BT /F1 1 Tf 1 1 Td (" + b"A" * 1000 + b") Tj ET"
CURVES = b" 0 0 m 0 200 300 0 300 200 c f*"


@pytest.mark.parametrize(
    ("drawing", "seconds", "words"),
    [(GLYPHS * 40_000, "0.5", 0), (b" 0 0 m" + CURVES * 400_000 + b" f*", "1.5", 4)],
    ids=["text without end", "drawing without end"],
)
def test_a_pdf_page_that_takes_too_long_leaves_what_there_is(make_job, hurried, drawing, seconds, words):
    """Its facts, its outline, and the text if only drawing it takes so long."""
    began = time.monotonic()
    result, derived = worked_on(hurried, make_job(real.pdf(1, extra=drawing), name=seconds))
    assert time.monotonic() - began < 15
    assert (result["pages"], result["title"], result["words"]) == (1, "A title", words)
    assert result["text_truncated"] is (words == 0)
    assert set(derived) == ({"text"} if words else set())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a child's memory is not bounded")
def test_a_pdf_page_that_takes_too_much_memory_leaves_its_facts(make_job, hurried):
    """PDFium aborts; the file is no failure."""
    content = zlib.compress(bytes(600 * 1024 * 1024), 9)
    whole = real.pdf(1)
    start, end = whole.index(b"stream\n") + 7, whole.index(b"\nendstream")
    packed = b"/Filter /FlateDecode /Length %d" % len(content)
    whole = whole[:start].replace(b"/Length %d" % (end - start), packed) + content + whole[end:]
    result, derived = worked_on(hurried, make_job(whole, name="5"), 512)
    assert (result["pages"], result["title"], result["text_truncated"], derived) == (1, "A title", True, {})


@pytest.mark.parametrize(
    ("said", "told_pages", "cut"),
    [(b"/Count 1000000 >>", 3, True), (b"/Count 4 >>", 3, True), (b"/Count 3 >>", 3, False)],
)
def test_a_pdf_has_the_pages_that_are_there(make_job, said, told_pages, cut):
    """However many it says it has."""
    result, _ = told(make_job(real.pdf(3).replace(b"/Count 3 >>", said)))
    assert (result["pages"], result["words"], result["text_truncated"]) == (told_pages, 12, cut)


def test_a_pdf_of_pages_within_themselves_has_none(make_job):
    """A tree of pages whose branches are the tree again."""
    content = real.pdf(1)
    kid = content[content.index(b"/Kids [") :][:12].split(b"[")[1].split()[0]
    tree = content[: content.index(b"/Type /Pages")].rsplit(b" 0 obj", 1)[0].rsplit(b"\n", 1)[1]
    looped = content.replace(b"/Kids [" + kid, b"/Kids [" + tree).replace(b"/Count 1 >>", b"/Count 1000000 >>", 1)
    assert code_of(make_job(looped)) == "document_broken"


@pytest.mark.parametrize("content", [b"%PDF-1.7\n", b"%PDF-1.4\n" + b"\xff" * 1000, real.pdf(2)[:60]])
def test_a_pdf_that_is_none_is_broken(make_job, content):
    """Damaged beyond what PDFium can mend."""
    assert code_of(make_job(content, content_type="application/pdf")) == "document_broken"


def test_a_word_document_has_words_and_an_outline(make_job):
    """Fields' instructions are no words of it; facts come from its properties."""
    result, derived = told(make_job(real.docx()))
    assert (result["format"], result["title"], result["author"], result["pages"]) == ("docx", "A title", "An author", 3)
    assert (result["created"], result["language"], result["made_by"]) == ("2024-05-17T10:00:00Z", "de-DE", "A program")
    assert result["outline"] == [{"title": "A heading", "level": 1}]
    assert derived["text"].read_text() == "A heading\nSome words."


def test_slides_are_read_in_their_order(make_job):
    """By number, not by name; titles are the outline."""
    result, derived = told(make_job(real.pptx()))
    assert result["pages"] == 2
    assert [mark["title"] for mark in result["outline"]] == ["Slide 2", "Slide 10"]
    assert derived["text"].read_text().split() == ["Slide", "2", "Point", "2", "Slide", "10", "Point", "10"]


def test_an_open_document_is_read(make_job):
    """Headings with their level, statistics, words."""
    result, derived = told(make_job(real.odt()))
    assert (result["title"], result["pages"]) == ("A title", 7)
    assert result["outline"] == [{"title": "A heading", "level": 2}]
    assert derived["text"].read_text() == "A heading\nSome words."


def test_an_open_document_with_a_password_is_told(make_job):
    """And is no failure."""
    manifest = '<m xmlns:manifest="m"><manifest:encryption-data/></m>'
    entries = {
        "mimetype": "application/vnd.oasis.opendocument.text",
        "META-INF/manifest.xml": manifest,
        "content.xml": "x",
    }
    result, derived = told(make_job(real.packed(entries, first="mimetype")))
    assert (result["encrypted"], derived) == (True, {})


def test_a_book_is_read_in_its_order(make_job):
    """The spine's, not the manifest's; its cover is drawn anew."""
    result, derived = told(make_job(real.epub()))
    assert (result["title"], result["chapters"], result["language"]) == ("A book", 2, "en")
    assert [mark["title"] for mark in result["outline"]] == ["One", "Two"]
    assert derived["text"].read_text().split() == ["One", "First", "words.", "Two", "Last", "words."]
    with Image.open(derived["preview"]) as picture:
        assert (picture.format, picture.size) == ("WEBP", (60, 90))


def test_rtf_is_read(make_job):
    """Words in code pages and in Unicode; tables of fonts are no words."""
    content = (
        rb"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}{\info{\title The title}{\author Me}}\pard "
        rb"Gr\'fc\'dfe \u8364?\par {\*\generator x}{\b Bold} \{braces\}\emdash end}"
    )
    result, derived = told(make_job(content))
    assert (result["format"], result["title"], result["author"]) == ("rtf", "The title", "Me")
    assert derived["text"].read_text() == "Grüße €\nBold {braces}\u2014end"


def test_a_page_is_words_without_scripts(make_job):
    """Nothing of it is run or fetched; links and scripts are counted."""
    content = (
        b"<!doctype html><html lang='fr'><head><title> A  page </title><meta name=author content=Me><style>p{}</style>"
        b"<script>bad()</script></head><body><h1>Big</h1><p>Some <b>words</b>&amp; more<script>worse()</script>"
        b"<a href='http://192.0.2.1/'>link</a></body></html>"
    )
    result, derived = told(make_job(content))
    assert (result["title"], result["author"], result["language"]) == ("A page", "Me", "fr")
    assert (result["links"], result["scripts"]) == (1, 2)
    assert derived["text"].read_text().split() == ["Big", "Some", "words&", "morelink"]


@pytest.mark.parametrize(
    ("page", "title", "words"),
    [
        ("<!doctype html><title>My &amp; page</title><p>Hello", "My & page", "Hello"),
        ("<html><TITLE lang=de>Käse</TITLE><body>hallo", "Käse", "hallo"),
        ("<head><title>A</title><title>B</title><p>Head without an end", "A", "Head without an end"),
        ("<p>x<svg><title>A drawing's</title></svg><title>Late</title>", "Late", "x"),
        ("<title>No end <p>Hello", None, "No end\nHello"),
        ("<title/><script src='a'/><p>An <b/>XHTML</p>", None, "An XHTML"),
        ("<script src=/a/>if (a<b) '</b>'</script><style>p > a {}</style>x", None, "x"),
        ("<p title='a > b' x=\"<p>\">1 < 2 <<b>3</b></>4<!-- <p> 5--><?php 6 ?></é>7", None, "1 < 2 <347"),
        ("a<b and no end", None, "a b and no end"),
        ("<textarea><b>&eacute;</textarea><![CDATA[x > y]]>z", None, "<b>éz"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_page_is_read_as_browsers_do(make_job, page, title, words, encoding):
    """With or without a head, whatever is not closed, and whatever only looks like a tag."""
    content = page.encode(encoding)
    result, derived = told(make_job(content, content_type="text/html"))
    assert (result["title"], " ".join(derived["text"].read_text().split())) == (title, " ".join(words.split()))


def test_a_page_that_says_it_is_utf_16_in_bytes_is_not(make_job):
    """Whoever can read that is not reading UTF-16."""
    page = "<meta charset=utf-16><p>Grüße".encode()
    assert told(make_job(page, content_type="text/html"))[0]["excerpt"] == "Grüße"


@pytest.mark.parametrize(
    "content",
    [
        b"<" * 4_000_000, b"<title>" * 500_000, b"<title>x</title>" * 200_000, b"<div>" * 500_000,
        b"</p>" * 500_000, b"<a " + b"b=c " * 1_000_000, b"<a b='>" * 500_001, b"&amp;" * 1_000_000,
        b"<![CDATA[" * 500_000, b"</" * 1_000_000, b"<script>" * 500_000, b"=\"" * 9 + b"<a b=\"" * 500_000,
    ],
    ids=lambda content: content[:8].decode(),
)  # fmt: skip
def test_a_page_costs_its_length_whatever_it_repeats(make_job, content):
    """Millions of tags, of attributes, of references, of what is never closed."""
    began = time.process_time()
    document.process(make_job(b"<p>x" + content, content_type="text/html"))
    assert time.process_time() - began < 5


def test_a_page_of_any_number_of_tags_is_read_for_so_many(make_job, monkeypatch):
    """And says that there is more."""
    monkeypatch.setattr(web, "TOKENS", 100)
    result, _ = told(make_job(b"<i>word </i>" * 100, content_type="text/html"))
    assert (result["words"], result["text_truncated"]) == (33, True)


@pytest.mark.parametrize("content", [b"<html>" + b"<div>" * 200_000, b"<html><body><p " + b"a" * 3_000_000])
def test_a_page_without_end_is_bounded(make_job, content):
    """Deep nesting and a tag that never closes cost no more than their length."""
    told(make_job(content, content_type="text/html"))


def test_a_message_has_its_parts(make_job):
    """Headers are decoded, the words come from the plain part, attachments are named and not opened."""
    content = (
        b"From: =?utf-8?q?M=C3=BCller?= <m@example.com>\r\nTo: you@example.com\r\nSubject: =?utf-8?b?R3LDvMOfZQ==?=\r\n"
        b"Date: Fri, 17 May 2024 10:00:00 +0200\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n'
        b"Content-Type: text/plain; charset=utf-8\r\n\r\nHello there\r\n"
        b"--b\r\nContent-Type: application/zip\r\nContent-Disposition: attachment; filename=x.zip\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\nUEsDBA==\r\n--b--\r\n"
    )
    result, derived = told(make_job(content))
    assert (result["title"], result["author"]) == ("Grüße", "Müller <m@example.com>")
    assert result["created"] == "2024-05-17T10:00:00+02:00"
    assert result["attachments"] == [{"name": "x.zip", "content_type": "application/zip", "size": 4}]
    assert derived["text"].read_text() == "Hello there"


def mail(*parts: bytes, boundary: bytes = b"b", end: bytes = b"--b--\r\n") -> bytes:
    """A message of these parts."""
    head = b"Content-Type: multipart/mixed; boundary=" + boundary + b"\r\n\r\nnot shown\r\n"
    return head + b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + end


def test_a_message_in_a_message_and_parts_in_parts_are_found(make_job):
    """What is before the first boundary and behind the last one is no part of it."""
    inner = mail(
        b"\r\nin\r\n--not a boundary\r\n--bb\r\n",
        b"Content-Type: message/rfc822\r\n\r\nSubject: s\r\n\r\nmost in",
        boundary=b"c",
        end=b"--c--\r\n",
    )
    content = b"From: a@b.c\r\nSubject: x\r\n" + mail(b"\r\nout", inner, b"\r\nlast") + b"not shown either"
    result, derived = told(make_job(content, content_type="message/rfc822"))
    lines = [line.strip() for line in derived["text"].read_text().splitlines()]
    assert lines == ["out", "in", "--not a boundary", "--bb", "", "most in", "last"]
    assert (result["title"], result["text_truncated"]) == ("x", False)


@pytest.mark.parametrize(
    ("content", "words", "cut"),
    [
        (mail(b"\r\none two", end=b""), 2, True),
        (mail(b"\r\none two", b"\r\nthree")[:-12], 3, True),
        (b"Subject: none", 0, False),
        (b"Content-Type: multipart/mixed\r\n\r\none two", 0, False),
        (b"Content-Type: multipart/mixed; boundary=b\r\n\r\none two", 0, False),
        (mail(b"Subject: no blank line"), 0, False),
        (mail(b"\r\none", end=b"--b--"), 1, False),
        (mail(b"\none").replace(b"\r", b""), 1, False),
        (b"Content-Type: text/plain; name=" + b"\xff" * 9000 + b"\n\none", 0, False),
    ],
)
def test_a_message_that_is_not_as_it_should_be_is_read_as_far_as_it_goes(make_job, content, words, cut):
    """Without its end, its boundaries or its body."""
    result, _ = told(make_job(content, content_type="message/rfc822"))
    assert (result["words"], result["text_truncated"]) == (words, cut)


@pytest.mark.parametrize(
    "content",
    [
        mail(*[b"Content-Type: text/plain; name=a\r\n\r\nx"] * 50_000),
        mail(*[b"Content-Type: message/rfc822\r\n\r\n" * 1000] * 20),
        mail(*[mail(boundary=b"c", end=b"--c--\r\n")] * 20_000),
    ],
)
def test_a_message_of_any_number_of_parts_is_looked_into_for_so_many(make_job, monkeypatch, content):
    """No header behind them is read."""
    heads = []
    monkeypatch.setattr(mime, "head_of", lambda head, read=mime.head_of: heads.append(head) or read(head))
    result, _ = told(make_job(content, content_type="message/rfc822"))
    assert result["text_truncated"] is True
    assert len(heads) <= document.mail.PARTS + 2


def test_a_message_costs_its_length_whatever_its_levels_and_parameters(make_job):
    """A million lines in a hundred levels, and a name of semicolons, were half a minute each."""
    began = time.process_time()
    levels = b"".join(b"Content-Type: multipart/mixed; boundary=B%d\r\n\r\n--B%d\r\n" % (n, n) for n in range(150))
    told(make_job(levels + b"x\n" * 1_000_000, content_type="message/rfc822"))
    told(
        make_job(b'Content-Type: text/plain; name="' + b'\\";' * 100_000 + b"\r\n\r\nx", content_type="message/rfc822")
    )
    assert time.process_time() - began < 5


def test_a_message_nested_too_deep_is_refused(make_job):
    """Before it is taken apart."""
    content = b"Subject: x\r\n" + b"".join(
        b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n) for n in range(1000)
    )
    assert code_of(make_job(content, content_type="message/rfc822")) == "document_too_large"


def test_f16_a_document_that_unpacks_to_gigabytes_is_refused(make_job):
    """25 KB that would be more than anyone reads."""
    content = real.packed({"[Content_Types].xml": "", "word/document.xml": b"<w>" + b" " * 80_000_000 + b"</w>"})
    assert len(content) < 100_000
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    assert code_of(make_job(content, content_type=kind)) == "document_too_large"


def test_entities_and_endless_nesting_in_a_document_are_refused(make_job):
    """Neither has a place in one."""
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    bomb = '<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'
    assert code_of(make_job(real.packed({"word/document.xml": bomb}), content_type=kind)) == "document_broken"
    deep = "<x>" * 2000
    assert code_of(make_job(real.packed({"word/document.xml": deep}), content_type=kind)) == "document_too_large"


def test_what_is_not_read_is_described(make_job):
    """A format that is told and not read has the facts of any bytes."""
    kind = "application/vnd.wordperfect"
    assert document.process(make_job(b"\xffWPC", content_type=kind)).result["content_type"] == kind


@pytest.mark.parametrize("charset", ["unicode", "hex", "idna", "undefined", "no-such"])
def test_a_charset_that_is_none_is_not_believed(make_job, charset):
    """Python knows some of these names, as codecs of something else."""
    page = f'<meta charset="{charset}"><p>Grüße</p>'.encode()
    assert document.process(make_job(page, content_type="text/html")).result["words"] == 1
    mail = f"From: a@b.c\r\nContent-Type: text/plain; charset={charset}\r\n\r\nGrüße aus Köln\r\n".encode()
    assert document.process(make_job(mail, content_type="message/rfc822")).result["words"] == 3


@pytest.mark.parametrize(
    "content", [b"<p>x" + b"<!--" * 100_000, b"<p>x" + b'<a b="' * 30_000, b"<p>x" + b"<a<" * 100_000]
)
def test_what_is_never_closed_takes_no_time(make_job, content):
    """Each of these took a minute and more: from every "<" on, the rest was looked through again."""
    began = time.monotonic()
    outcome = document.process(make_job(content, content_type="text/html"))
    assert outcome.result["excerpt"].startswith("x")
    assert time.monotonic() - began < 5
