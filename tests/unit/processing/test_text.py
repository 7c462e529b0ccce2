"""Text: encodings, newlines, counts; in chunks, whatever lies across them."""

import re
import tracemalloc

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from apps.processing.processors import text
from tests import samples

GREEK = "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.\n"  # noqa: RUF001  # Greek looks like that.
RUSSIAN = "Съешь же ещё этих мягких французских булок, да выпей чаю.\n"
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n"


def result_of(job):
    return text.process(job).result


def test_describes_plain_text(make_job):
    """Prose in ASCII: UTF-8 by today's reckoning, counted, in English, shown from the beginning."""
    assert result_of(make_job(samples.text())) == {
        "encoding": "utf-8",
        "bom": False,
        "newlines": "lf",
        "lines": 3,
        "words": len(samples.PROSE.split()),
        "characters": len(samples.PROSE),
        "invalid_sequences": 0,
        "programming_language": None,
        "language": "en",
        "preview": samples.PROSE[:500],
    }


@pytest.mark.parametrize(
    ("content", "encoding", "bom"),
    [
        (samples.GERMAN.encode(), "utf-8", False),
        (samples.text_utf8_bom(), "utf-8", True),
        (b"\xff\xfe" + samples.GERMAN.encode("utf-16-le"), "utf-16-le", True),
        (b"\xfe\xff" + samples.GERMAN.encode("utf-16-be"), "utf-16-be", True),
        (b"\xff\xfe\0\0" + samples.GERMAN.encode("utf-32-le"), "utf-32-le", True),
        (b"\0\0\xfe\xff" + samples.GERMAN.encode("utf-32-be"), "utf-32-be", True),
        (samples.text_utf16_unmarked(), "utf-16-le", False),
    ],
)
def test_marks_and_unicode_are_recognised(make_job, content, encoding, bom):
    """A byte order mark decides the encoding and is no part of the text."""
    result = result_of(make_job(content))

    assert (result["encoding"], result["bom"]) == (encoding, bom)
    assert result["preview"] == samples.GERMAN
    assert result["characters"] == len(samples.GERMAN)
    assert result["language"] == "de"


@pytest.mark.parametrize(
    ("original", "encoding"),
    [
        (samples.GERMAN, "latin-1"),
        (samples.GERMAN, "cp1252"),
        (GREEK, "iso8859-7"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc-jp"),
        (JAPANESE, "iso2022-jp"),
    ],
)
def test_legacy_encodings_are_told_apart(make_job, original, encoding):
    """Text from before Unicode is shown with the letters it was written in."""
    result = result_of(make_job((original * 3).encode(encoding)))

    assert result["preview"] == (original * 3)[:500]
    assert result["invalid_sequences"] == 0


@pytest.mark.parametrize("guess", [None, "x-unheard-of"])
def test_an_encoding_nobody_knows_is_read_as_the_web_reads_it(make_job, monkeypatch, guess):
    """Bytes for which no codec can be named are read as Windows-1252, not refused."""
    monkeypatch.setattr(text.chardet, "detect", lambda sample: {"encoding": guess, "language": None})

    assert result_of(make_job(samples.text_latin1()))["preview"].startswith(samples.GERMAN)


@pytest.mark.parametrize(
    ("content", "style", "lines"),
    [
        (b"", "none", 0),
        (b"one", "none", 1),
        (b"one\n", "lf", 1),
        (b"one\ntwo", "lf", 2),
        (b"one\r\ntwo\r\n", "crlf", 2),
        (b"one\rtwo\r", "cr", 2),
        (b"one\r\ntwo\n", "mixed", 2),
        (b"\n\n\n", "lf", 3),
    ],
)
def test_newlines(make_job, content, style, lines):
    """The newline style is named; a last line counts with or without one."""
    result = result_of(make_job(content))

    assert (result["newlines"], result["lines"]) == (style, lines)


def test_a_letter_beyond_ascii_that_comes_late(make_job):
    """A Latin-1 file that is ASCII for longer than the sample is still read as Latin-1."""
    content = b"plain words. " * 40_000 + (samples.GERMAN * 5).encode("latin-1")

    result = result_of(make_job(content))

    assert result["encoding"].startswith(("windows-125", "iso-8859"))
    assert result["invalid_sequences"] == 0
    assert result["characters"] == len(content)


@pytest.mark.parametrize("padding", [0, 600_000])
def test_a_few_broken_bytes_do_not_make_utf8_something_else(make_job, padding):
    """UTF-8 with a damaged byte, early or late, stays UTF-8 and says how much is damaged."""
    content = b"x" * padding + (samples.GERMAN * 20).encode() + b"\xff\n" + samples.GERMAN.encode()

    result = result_of(make_job(content))

    assert (result["encoding"], result["invalid_sequences"]) == ("utf-8", 1)


def test_progress_goes_from_nothing_to_all_and_never_back(make_job, reports):
    """Even when the encoding turns out to be another in the middle of the file."""
    text.process(make_job(b"plain words. " * 60_000 + b"\xe4\xf6\xfc " * 100))

    assert reports == sorted(reports)
    assert reports[-1] == 100
    assert len(set(reports)) > 2


def test_preview_can_be_shown(make_job):
    """A preview holds at most 500 characters, no control characters, and newlines of one style."""
    result = result_of(make_job(b"a\x00b\x07c\x1b[0m\td\r\ne\rf\n" + b"x" * 1000, content_type="text/plain"))

    assert result["preview"].startswith("abc[0m\td\ne\nf\nx")
    assert len(result["preview"]) <= 500


@pytest.mark.parametrize(
    "content",
    [
        b"ok",
        b"x" * 5000,
        b"1 2 3 4\n" * 100,
        b"x = 1; y = 2;\n" * 3,
        b"2024-01-01 200 0.33\n" * 50,
        b"the same few words again and again\n" * 50,
    ],
)
def test_language_is_not_guessed_from_too_little(make_job, content):
    """Numbers, a handful of letters, and the same words over and over are in no language."""
    assert result_of(make_job(content))["language"] is None


def test_memory_does_not_grow_with_the_file(make_job):
    """Neither many lines nor a single one of 16 MB is held in memory."""
    for content in (b"some words in a line\n" * 800_000, b"x" * 16_000_000):
        job = make_job(content)
        tracemalloc.start()
        text.process(job)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert peak < 6_000_000


_PIECES = st.text(st.sampled_from("ab é\u2003日\n\r\t\x1c\x85"), max_size=30)


@example(["one\r", "\ntwo\r", "three", "four"])
@given(st.lists(_PIECES, max_size=6))
def test_counts_are_those_of_the_whole_text(pieces):
    """However the text is cut into pieces, the counts are as if it had been read at once."""
    whole = "".join(pieces)
    counts = text.Counts()
    for piece in pieces:
        counts.add(piece)

    newlines = re.findall("\r\n|\r|\n", whole)
    assert counts.characters == len(whole)
    assert counts.words == len(whole.split())
    assert counts.lines == len(newlines) + (whole != "" and whole[-1] not in "\r\n")
    assert counts.crlf + counts.cr + counts.lf == len(newlines)


@given(st.text(st.characters(max_codepoint=0x2FF)))
def test_words_are_those_of_split(whole):
    """The quick way of counting words agrees with `str.split`."""
    assert text.words_in(whole) == len(whole.split())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(content=st.binary(max_size=400))
def test_any_bytes_can_be_read_as_text(make_job, content):
    """Should binary data ever be taken for text, it is described, not tripped over."""
    result = result_of(make_job(content, content_type="text/plain"))

    assert result["characters"] <= max(len(content), 0)


LOREM = (
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore "
    "magna aliqua. Ut enim ad minim veniam, quis nostrud exercitation ullamco laboris nisi ut aliquip ex ea "
    "commodo consequat."
)
PANGRAM = "The quick brown fox jumps over the lazy dog. Pack my box with five dozen liquor jugs, please.\n"
SPANISH = (
    "Esta es una carta sobre el tiempo de la semana pasada, en la que cuento que hemos caminado por la orilla del mar."
)


@pytest.mark.parametrize("content", [LOREM.encode(), PANGRAM.encode() * 20, b"\xff" * 1000, "абв ".encode() * 100])
def test_no_language_is_named_that_a_text_is_not_in(make_job, content):
    """Filler, a sentence of every letter and one letter a thousand times look like one to who counts letters only."""
    assert result_of(make_job(content, content_type="text/plain"))["language"] in (None, "en", "la")


@pytest.mark.parametrize(
    ("content", "language"),
    [
        (SPANISH, "es"),
        ("The service takes files over HTTP and works on them in the background; what it found is told as JSON.", "en"),
    ],
)
def test_a_language_in_ascii_is_named_by_its_common_words_too(make_job, content, language):
    """Where both agree."""
    assert result_of(make_job(content.encode()))["language"] == language
