"""Text: how it is encoded, how much there is of it, how it begins.

The file is read once, in chunks, and never held: neither a gigabyte of text nor a single line of half a
gigabyte costs more memory than a chunk.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import chardet

from ..contract import JSON, Job, Outcome
from ..languages import programming_language

CHUNK_BYTES: Final = 256 * 1024
SAMPLE_BYTES: Final = 64 * 1024
"""How much of the file encoding and language are told from."""
PREVIEW_CHARACTERS: Final = 500

LANGUAGE_MIN_LETTERS: Final = 60
LANGUAGE_MIN_WORDS: Final = 15
"""With fewer letters, letters less than half of all characters, or, in ASCII, fewer different words than this,
any language named would be a guess."""
LANGUAGE_MIN_DIFFERENT_LETTERS: Final = 10
_COMMON: Final = {
    "de": "der die das und ist in den von zu mit nicht ein eine auf im sich auch es des dem wir ich",
    "en": "the of and to in is that it for on with as are this be by at or an we you not from",
    "es": "de la que el en y los se del las un por con una su para es al lo como no",
    "fr": "de la le et les des en un une du que est pour dans qui par sur pas au il je",
    "it": "di e il la che in un per una del non con si i le da sono della al lo",
    "nl": "de het een en van in is dat op te zijn met voor niet aan er om ook als",
    "pt": "de a o que e do da em um para com uma os no se na por mais as dos",
}
COMMON_WORDS: Final = {language: frozenset(words.split()) for language, words in _COMMON.items()}
COMMON_SHARE: Final = 0.08
"""Letters of ASCII tell these from each other badly; a third of what anyone writes in one are words like these."""

SCHEMA: Final[Mapping[str, JSON]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "text",
    "description": "How a text is written, how much there is of it, and how it begins.",
    "type": "object",
    "properties": {
        "encoding": {"type": "string", "description": "As Python names it."},
        "bom": {"type": "boolean", "description": "Whether it begins with a byte order mark."},
        "newlines": {"type": "string", "description": "lf, crlf, cr, mixed, or none."},
        "lines": {"type": "integer", "description": "Lines."},
        "words": {"type": "integer", "description": "Words."},
        "characters": {"type": "integer", "description": "Code points."},
        "invalid_sequences": {"type": "integer", "description": "Bytes that are none of the encoding."},
        "language": {"type": ["string", "null"], "description": "ISO 639-1, where it can be told."},
        "programming_language": {"type": ["string", "null"], "description": "Of source code, where it can be told."},
        "preview": {"type": "string", "description": "The first 500 characters."},
    },
    "required": ["encoding", "bom", "newlines", "lines", "words", "characters", "invalid_sequences", "preview"],
    "additionalProperties": False,
}

WORDS: Final = re.compile(r"[a-z]+")

_BOMS: Final[tuple[tuple[bytes, str], ...]] = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

# All C0 and C1 controls but tab and newline: a preview is for showing.
_UNSHOWABLE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def process(job: Job) -> Outcome:
    """Encoding, newline style, lines, words, characters (code points), language and the first characters.

    Bytes that are not valid in the encoding count as one character each and are told in `invalid_sequences`.
    """
    with job.path.open("rb") as file:
        sample = file.read(SAMPLE_BYTES)
    encoding, bom = encoding_of(sample)
    counts = Counts()
    try:
        count(job, counts, encoding, bom, errors="strict" if encoding == "utf-8" else "replace")
    except UnicodeDecodeError as damage:
        # The sample was UTF-8 (or ASCII) and something further on is not.
        encoding = _encoding_of_damaged(damage)
        counts = Counts(reported=counts.reported)
        count(job, counts, encoding, bom, errors="replace")
    result: dict[str, JSON] = {
        "encoding": encoding,
        "bom": bom > 0,
        "newlines": counts.newline_style,
        "lines": counts.lines,
        "words": counts.words,
        "characters": counts.characters,
        "invalid_sequences": counts.invalid_sequences,
        "language": language_of(sample[bom:].decode(encoding, "ignore")),
        "programming_language": _program(job, sample[bom:].decode(encoding, "ignore")),
        "preview": counts.preview,
    }
    return Outcome(result=result)


def _program(job: Job, text: str) -> str | None:
    """The language of a program; texts of a type of their own (Markdown, subtitles) may show one, and are none."""
    return programming_language(text, job.name) if job.content_type == "text/plain" else None


def encoding_of(sample: bytes) -> tuple[str, int]:
    """The encoding of a file that begins with `sample`, and the length of its byte order mark.

    A mark decides; then valid UTF-8 does, which other encodings are not by chance; only then is it guessed.
    """
    for mark, encoding in _BOMS:
        if sample.startswith(mark):
            return encoding, len(mark)
    try:
        codecs.utf_8_decode(sample, "strict", len(sample) < SAMPLE_BYTES)
    except UnicodeDecodeError:
        return ("utf-8" if _is_mostly_utf8(sample) else _guess(sample)), 0
    # Both pass for ASCII: UTF-16 without a mark, full of zeros, and ISO-2022, full of escape sequences.
    disguised = sample.count(0) * 5 > len(sample) or b"\x1b$" in sample
    return (_guess(sample) if disguised else "utf-8"), 0


def _guess(sample: bytes) -> str:
    guessed = (chardet.detect(sample)["encoding"] or "").lower()
    try:
        codecs.lookup(guessed)
    except LookupError:
        # What the web reads unlabelled bytes as: https://encoding.spec.whatwg.org/
        return "windows-1252"
    if guessed.startswith("mac"):
        return "windows-1252"  # short texts of Western letters look like these, which hardly anyone writes any more
    return "utf-8" if guessed == "ascii" else guessed


def _encoding_of_damaged(damage: UnicodeDecodeError) -> str:
    """UTF-8 with a few broken bytes, or a legacy encoding whose first letter beyond ASCII came late?"""
    start = max(0, damage.start - SAMPLE_BYTES // 2)
    around = bytes(damage.object[start : start + SAMPLE_BYTES])
    return "utf-8" if _is_mostly_utf8(around) else _guess(around)


def _is_mostly_utf8(data: bytes) -> bool:
    beyond_ascii = [char for char in data.decode("utf-8", "replace") if char > "\x7f"]
    return beyond_ascii.count("\ufffd") * 4 < len(beyond_ascii)


@dataclass
class Counts:
    """Running totals over chunks of decoded text."""

    characters: int = 0
    words: int = 0
    invalid_sequences: int = 0
    lf: int = 0
    cr: int = 0
    crlf: int = 0
    last: str = ""
    opening: str = field(default="", repr=False)
    reported: int = 0

    def add(self, text: str) -> None:
        """Take the next piece of the text in; words and CR LF pairs may lie across pieces."""
        if not text:
            return
        self.opening += text[: PREVIEW_CHARACTERS - len(self.opening)]
        self.characters += len(text)
        self.words += words_in(text)
        if self.last and not self.last.isspace() and not text[0].isspace():
            self.words -= 1
        pairs = text.count("\r\n")
        if self.last == "\r" and text[0] == "\n":
            self.crlf += 1
            self.cr -= 1
            self.lf -= 1
        self.crlf += pairs
        self.lf += text.count("\n") - pairs
        self.cr += text.count("\r") - pairs
        self.last = text[-1]

    @property
    def preview(self) -> str:
        """The first `PREVIEW_CHARACTERS`, without those that cannot be shown, newlines as LF."""
        return _UNSHOWABLE.sub("", self.opening.replace("\r\n", "\n").replace("\r", "\n"))

    @property
    def lines(self) -> int:
        """Lines, the last of which need not end in a newline."""
        return self.lf + self.cr + self.crlf + (self.last not in ("", "\n", "\r"))

    @property
    def newline_style(self) -> str:
        """`lf`, `crlf`, `cr`, `mixed`, or `none` if there is no newline at all."""
        styles = [style for style in ("lf", "crlf", "cr") if getattr(self, style)]
        return styles[0] if len(styles) == 1 else ("mixed" if styles else "none")


def count(job: Job, counts: Counts, encoding: str, bom: int, *, errors: str) -> None:
    """Read the whole file into `counts`, reporting progress by bytes read, never backwards.

    Raises `UnicodeDecodeError` where `errors` is `strict` and the file is not in this encoding throughout.
    """
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    done = bom
    with job.path.open("rb") as file:
        file.seek(bom)
        while True:
            chunk = file.read(CHUNK_BYTES)
            text = decoder.decode(chunk, final=not chunk)
            if errors == "replace":
                counts.invalid_sequences += text.count("\ufffd")
            counts.add(text)
            done += len(chunk)
            counts.reported = max(counts.reported, done * 100 // max(job.size, done, 1))
            job.report(counts.reported)
            if not chunk:
                return


# What str.split() takes for white space, as far as ASCII goes.
_SPACES: Final = frozenset(b"\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f ")
_WORD_SHAPE: Final = bytes(0x20 if byte in _SPACES else 0x78 for byte in range(256))


def words_in(text: str) -> int:
    """Runs of characters that are not white space: `len(text.split())`, for ASCII without making the list."""
    if not text.isascii():
        return len(text.split())
    shape = text.encode("ascii").translate(_WORD_SHAPE)
    return shape.count(b" x") + shape.startswith(b"x")


def prepare() -> None:
    """Load what tells encodings and languages: 60 ms, which every child would spend on its first text."""
    chardet.detect("Einige Wörter, an denen die Sprache zu erkennen ist.".encode())


def language_of(text: str) -> str | None:
    """The ISO 639-1 code of the language `text` is written in; None if there is too little to tell by."""
    letters = sum(map(str.isalpha, text))
    if letters < LANGUAGE_MIN_LETTERS or letters * 2 < len(text):
        return None
    if len(set(filter(str.isalpha, text.lower()))) < LANGUAGE_MIN_DIFFERENT_LETTERS:
        return None
    if text.isascii() and len(set(text.split())) < LANGUAGE_MIN_WORDS:
        return None
    language = chardet.detect(text.encode("utf-8", "ignore"))["language"] or None
    if language is not None and language in COMMON_WORDS and text.isascii():
        words = WORDS.findall(text.lower())
        common = sum(map(COMMON_WORDS[language].__contains__, words))
        return language if common >= COMMON_SHARE * len(words) else None
    return language
