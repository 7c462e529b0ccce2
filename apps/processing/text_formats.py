"""Is it text, and if so, which: told from the first few thousand characters.

Text has no signatures. What is claimed here is claimed only when the whole sample keeps to the format's own
shape; all else is `text/plain`, which is never wrong. Nothing is parsed that could be made expensive: no XML
entities, no YAML, no TOML. The line between text and binary is the WHATWG's "binary data byte"
(https://mimesniff.spec.whatwg.org/#binary-data-byte).
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Callable
from typing import Final

PLAIN: Final = "text/plain"

_SAMPLE_CHARACTERS = 4096

_CONTROL_BYTES: Final = bytes(sorted(set(range(0x20)) - {0x09, 0x0A, 0x0C, 0x0D, 0x1B}))
_CONTROL_CHARACTERS: Final = re.compile("[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")

_Decoder = Callable[[bytes, str, bool], tuple[str, int]]
# UTF-32 first: its little-endian mark begins with UTF-16's.
_MARKED_ENCODINGS: Final[tuple[tuple[bytes, _Decoder], ...]] = (
    (codecs.BOM_UTF8, codecs.utf_8_decode),
    (codecs.BOM_UTF32_LE, codecs.utf_32_le_decode),
    (codecs.BOM_UTF32_BE, codecs.utf_32_be_decode),
    (codecs.BOM_UTF16_LE, codecs.utf_16_le_decode),
    (codecs.BOM_UTF16_BE, codecs.utf_16_be_decode),
)

_LEGACY_MIN_BYTES = 32
"""Below this, bytes 0x80-0x9F are held for binary: few bytes are free of controls by chance."""


def control_bytes(data: bytes) -> int:
    """How many bytes of `data` no ASCII-compatible text contains."""
    return len(data) - len(data.translate(None, _CONTROL_BYTES))


def decode(head: bytes, complete: bool) -> str | None:
    """The beginning of a file as text, or None if it is not text.

    Letters of a legacy 8-bit or multi-byte encoding come out as Latin-1: good enough to tell the format,
    whose syntax is ASCII.
    """
    for mark, decoder in _MARKED_ENCODINGS:
        if head.startswith(mark):
            return _decode_unicode(head[len(mark) :], decoder)
    if control_bytes(head):
        return _decode_unmarked_utf16(head)
    try:
        return codecs.utf_8_decode(head, "strict", complete)[0]
    except UnicodeDecodeError:
        text = head.decode("latin-1")
        has_c1 = len(head) < _LEGACY_MIN_BYTES and any("\x80" <= char <= "\x9f" for char in text)
        return None if has_c1 else text


def _decode_unicode(data: bytes, decoder: _Decoder) -> str | None:
    try:
        # Not final: a head may end within a character, and so may a damaged file.
        text = decoder(data, "strict", False)[0]
    except UnicodeDecodeError:
        return None
    return None if _CONTROL_CHARACTERS.search(text) else text


def _decode_unmarked_utf16(head: bytes) -> str | None:
    """Western text in UTF-16 has a zero in nearly every second byte, and none in the others."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    enough = max(2, len(head) * 2 // 5)
    if even == 0 and odd >= enough:
        return _decode_unicode(head, codecs.utf_16_le_decode)
    if odd == 0 and even >= enough:
        return _decode_unicode(head, codecs.utf_16_be_decode)
    return None


def content_type(text: str, complete: bool) -> str:
    """The media type of text that begins with `text` (all of it if `complete`)."""
    start = text.lstrip("\ufeff \t\r\n\f")
    if not start:
        return PLAIN
    if start[0] == "<":
        return _markup(start[:_SAMPLE_CHARACTERS], text, complete)
    if start[0] in "{[" and (found := _json(start, complete)):
        return found
    sample = start[:_SAMPLE_CHARACTERS]
    for opening, content in _OPENINGS:
        if opening.match(sample):
            return content
    lines = sample.splitlines()
    if not complete or len(start) > len(sample):
        # The last line is most likely cut.
        lines = lines[:-1]
    if not lines:
        return "text/csv" if _WIDE_ROW.match(sample) else PLAIN
    if _is_mail(lines):
        return "message/rfc822"
    if _YAML_OPENING.match(next((line for line in lines if not _YAML_ASIDE.match(line)), "")) and _is_yaml(lines):
        return "application/yaml"
    if (found := _table(lines)) is not None:
        return found
    for claims, content in _LINE_FORMATS:
        if claims(lines):
            return content
    return PLAIN


_OPENINGS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (
        re.compile(r"\d{1,6}[ \t]*\r?\n\d{1,3}:\d\d:\d\d[,.]\d{1,3} --> \d{1,3}:\d\d:\d\d"),
        "application/x-subrip",
    ),
    (re.compile(r"WEBVTT(?:[ \t\r\n]|\Z)"), "text/vtt"),
    (re.compile(r"BEGIN:VCALENDAR\r?\n"), "text/calendar"),
    (re.compile(r"BEGIN:VCARD\r?\n"), "text/vcard"),
    (re.compile(r"From \S+@\S+ .*\d{4}\r?\n[A-Za-z-]+: "), "application/mbox"),
    (re.compile(r"/\* XPM \*/"), "image/x-xpixmap"),
    (re.compile(r"#define \w{1,99}_width \d+\s+#define \w{1,99}_height \d+"), "image/x-xbitmap"),
    (re.compile(r"0\r?\nSECTION\r?\n"), "image/vnd.dxf"),
    (re.compile(r"(?:%.*\n|\s)*+\\(?:documentclass|documentstyle|NeedsTeXFormat)\b"), "application/x-tex"),
    (re.compile(r"\[Script Info\]\r?\n"), "text/x-ssa"),
    (re.compile(r"-----BEGIN [A-Z0-9 ]{1,40}-----\r?\n"), "application/x-pem-file"),
    (re.compile(r"diff --git a/|--- \S.*\r?\n\+\+\+ \S.*\r?\n@@ -"), "text/x-diff"),
)

# --- markup ---------------------------------------------------------------------------------------------

_ROOT: Final = re.compile(
    r"(?:\s++|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^\[>]*+(?:\[.*?\]\s*+)?>)*+"
    r"<([A-Za-z_][\w.-]*+)(?::([\w.-]++))?([^>]*)",
    re.DOTALL | re.IGNORECASE,
)
# The WHATWG's list (§7.1) and a few more that documents are known to begin with.
_HTML_TAGS: Final = frozenset(
    [
        "html",
        "head",
        "script",
        "iframe",
        "h1",
        "h2",
        "h3",
        "div",
        "font",
        "table",
        "a",
        "style",
        "title",
        "b",
        "body",
        "br",
        "p",
        "meta",
        "link",
        "ul",
        "ol",
        "span",
        "img",
        "center",
        "form",
        "section",
        "article",
        "header",
        "main",
        "nav",
        "pre",
        "blockquote",
        "noscript",
    ]
)

_XML_ROOTS: Final = {
    "gpx": "application/gpx+xml",
    "kml": "application/vnd.google-earth.kml+xml",
    "rss": "application/rss+xml",
    "stylesheet": "application/xslt+xml",
}


def _markup(sample: str, text: str, complete: bool) -> str:
    declared = sample.startswith("<?xml")
    opening = sample[:15].lower()
    if opening.startswith("<!doctype html"):
        return "text/html"
    root = _ROOT.match(sample)
    if root is None:
        if declared:
            return "application/xml"
        return "text/html" if opening.startswith("<!--") else PLAIN
    name = (root[2] or root[1]).lower()
    if name == "svg":
        return "image/svg+xml"
    if name == "html":
        return "application/xhtml+xml" if declared else "text/html"
    if name in _XML_ROOTS:
        return _XML_ROOTS[name]
    if declared or opening.startswith("<!doctype"):
        return "application/xml"
    if name in _HTML_TAGS and root[2] is None:
        return "text/html"
    closed = complete and text.rstrip().endswith((f"</{root[1]}{':' + root[2] if root[2] else ''}>", "/>"))
    return "application/xml" if closed or "xmlns" in root[3] else PLAIN


# --- JSON -----------------------------------------------------------------------------------------------

# A sequence of whole tokens, then at most a part of one where the sample was cut.
_JSON_TOKENS: Final = re.compile(
    r'(?:[\s,:{}\[\]]++|"(?:[^"\\\x00-\x1f]|\\.)*+"|-?\d[\d.eE+-]*+|true\b|false\b|null\b)*+'
    r'(?:"(?:[^"\\\x00-\x1f]|\\.)*+\\?|[-a-z][a-z]{0,4})?\Z'
)
_JSON_OBJECT: Final = re.compile(r'\{\s*(?:"(?:[^"\\\x00-\x1f]|\\.)*+(?:"\s*(?::|\Z)|\Z)|\})')
_JSON_ARRAY: Final = re.compile(r'\[\s*(?:[\[{"\]]|-?\d|true\b|false\b|null\b)')


def _json(start: str, complete: bool) -> str | None:
    if complete and _parses(start):
        return "application/json"
    # One with a fault in it is JSON still: where the fault is will be told.
    if (_JSON_OBJECT if start[0] == "{" else _JSON_ARRAY).match(start):
        sample = start[:_SAMPLE_CHARACTERS]
        if _JSON_TOKENS.match(sample) and not _is_json_lines(start, complete):
            return "application/json"
    return "application/x-ndjson" if _is_json_lines(start, complete) else None


def _is_json_lines(start: str, complete: bool) -> bool:
    lines = [line for line in start.split("\n", 3)[:3] if line.strip()]
    if not complete:
        lines = lines[:2] if start.count("\n") >= 2 else lines[: start.count("\n")]
    return len(lines) >= 2 and all(line[0] in "{[" and _parses(line) for line in lines)


def _parses(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


# --- mail -----------------------------------------------------------------------------------------------

_HEADER_LINE: Final = re.compile(r"([!-9;-~]+):(?: |\t|$)")
_MAIL_HEADERS: Final = frozenset(
    [
        "from",
        "to",
        "cc",
        "subject",
        "date",
        "received",
        "message-id",
        "return-path",
        "delivered-to",
        "mime-version",
        "in-reply-to",
        "reply-to",
        "x-mailer",
        "dkim-signature",
    ]
)


def _is_mail(lines: list[str]) -> bool:
    """RFC 5322 headers from the first line on, at least three of those only mail has, one the sender's."""
    seen = set()
    for line in lines:
        if not line:
            break
        if line[0] in " \t":
            continue
        header = _HEADER_LINE.match(line)
        if header is None:
            return False
        seen.add(header[1].lower())
    return len(seen & _MAIL_HEADERS) >= 3 and bool(seen & {"from", "received", "return-path"})


# --- tables ---------------------------------------------------------------------------------------------

_TABLE_LINES = 50
_PROSE_CELL_CHARACTERS = 80
# A first line that is longer than what is looked at: a hundred cells and more, none like a sentence's or a program's.
_WIDE_ROW: Final = re.compile(r'(?:(?:[^,;(){}<>\n"]{0,40}+|"[^"\n]{0,200}+"),){100}')
_HEADER_CELL: Final = re.compile(r"[\w.%#/()-]+(?: [\w.%#/()-]+){0,3}")


def _table(lines: list[str]) -> str | None:
    """CSV (comma or semicolon) or TSV, if every row has the same number of cells."""
    best: tuple[int, str] | None = None
    lines = [line for line in lines if not line.startswith("#")] if lines[0].startswith("#") else lines
    for delimiter, name in (("\t", "text/tab-separated-values"), (";", "text/csv"), (",", "text/csv")):
        if lines and delimiter in lines[0]:
            width = _table_width(lines[:_TABLE_LINES], delimiter)
            if width > (best[0] if best else 1):
                best = width, name
    return best[1] if best else None


def _table_width(lines: list[str], delimiter: str) -> int:
    """Cells in each row; 0 if the rows differ, or read rather like prose or code."""
    try:
        rows = [row for row in csv.reader((line + "\n" for line in lines), delimiter=delimiter) if row]
    except csv.Error:
        return 0
    if len(rows) > 2 and len(lines) == _TABLE_LINES:
        # The last may be cut within a quoted cell that spans lines.
        rows = rows[:-1]
    width = len(rows[0]) if rows else 0
    # Two columns in two rows can be chance.
    if len(rows) < (3 if width == 2 else 2):
        return 0
    if any(len(row) != width for row in rows) and not _is_ragged(rows):
        return 0
    if all(not row[0].strip() for row in rows) or all(line[-1:] in (";", ",", "{", "}") for line in lines):
        # Indented text, or statements and list items of a programming language.
        return 0
    cells = [cell for row in rows for cell in row]
    if delimiter != "\t":
        mean = sum(map(len, cells)) / len(cells)
        spaced = sum(cell.startswith(" ") for row in rows for cell in row[1:])
        if mean > _PROSE_CELL_CHARACTERS or (mean > 12 and spaced * 2 > len(cells) - len(rows)):
            return 0
    return width


def _is_ragged(rows: list[list[str]]) -> bool:
    """Whether rows of different lengths are a table's still: under a header of names, some lack their last cells."""
    header = rows[0]
    named = len(header) >= 4 and len(set(header)) == len(header) and all(map(_HEADER_CELL.fullmatch, header))
    return named and all(len(header) - 3 < len(row) <= len(header) for row in rows if len(row) > 1)


# --- YAML, TOML, Markdown -------------------------------------------------------------------------------

_YAML_LINE: Final = re.compile(
    r"""(?: [ ]*(?:-[ ]+)*(?:"[^"]*"|'[^']*'|[\w./$-][\w ./$()-]*):(?:[ ].*)?$   # key: value
          | [ ]*-(?:[ ].*)?$                                                     # - item
          | [ ]+\S                                                               # continuation of a value
          | [ ]*\#|[ ]*$|---(?:[ ]|$)|\.\.\.$|%YAML[ ]|%TAG[ ]|[]}][ ]*$
        )""",
    re.VERBOSE,
)
_YAML_KEY: Final = re.compile(r"(?:- )?[\w.\"'/$-]+:(?: \S|$)")


# What opens no table, though each line may have as many commas: a value that is written as YAML does.
_YAML_OPENING: Final = re.compile(r"""---|%YAML|-[ ]+[{\[]|(?:-[ ])?[\w.-]+:(?:[ ]*$|[ ]+[&*!\[{|>])""")
_YAML_ASIDE: Final = re.compile(r"\s*(?:\#|$)")
_YAML_FLOW: Final = re.compile(r"-[ ]+(?:\{.*\}|\[.*\])\s*$|\s*(?:\#|$)")
_YAML_OPEN_KEY: Final = re.compile(r".*:\s*(?:[&!]\S+\s*){0,2}$")


def _is_yaml(lines: list[str]) -> bool:
    """Every line has a shape YAML knows, and there is nesting or a document mark."""
    if not all(map(_YAML_LINE.match, lines)):
        return False
    if lines[0].startswith("- ") and all(map(_YAML_FLOW.match, lines)):
        return True
    keys = [index for index, line in enumerate(lines) if _YAML_KEY.match(line)]
    if lines[0].startswith(("---", "%YAML ")):
        return bool(keys) or any(line.startswith("- ") for line in lines[1:])
    nested = any(
        _YAML_OPEN_KEY.match(lines[index])
        and index + 1 < len(lines)
        and lines[index + 1].startswith((" ", "- ", "-\t"))
        for index in keys
    ) or any(
        lines[index].startswith("- ") and lines[index + 1 : index + 2] and lines[index + 1].startswith("  ")
        for index in keys
    )
    if nested:
        return len(keys) >= 2 or lines[keys[0]].lstrip("- ")[:1].islower()
    # A flat one is told by its keys: other texts of names and values write them with a capital, or in several words.
    return len(keys) >= 2 and all(_YAML_FLAT.match(line) for line in lines)


_YAML_FLAT: Final = re.compile(r"[a-z][\w.-]*: \S|\s*#|\s*$")
_TOML_TABLE: Final = re.compile(r"\[{1,2}[ ]*[\w\"'.-]+(?:[ ]*\.[ ]*[\w\"'-]+)*[ ]*\]{1,2}\s*(?:#.*)?$")
_TOML_PAIR: Final = re.compile(
    r"\s*[\w\"'.-]+(?:\s*\.\s*[\w\"'-]+)*\s*=\s*(?:[\"'\[{]|[+-]?(?:\d|inf\b|nan\b)|true\b|false\b)"
)
_TOML_OTHER: Final = re.compile(r"\s*(?:#|$)|\s+\S|[\]}\"']")


def _is_toml(lines: list[str]) -> bool:
    """A table header or nothing but pairs, and no value that TOML would want in quotes: that would be an INI file."""
    tables = pairs = 0
    for line in lines:
        if _TOML_TABLE.match(line):
            tables += 1
        elif _TOML_PAIR.match(line):
            pairs += 1
        elif not _TOML_OTHER.match(line) or re.match(r"\s*[\w.-]+\s*=", line):
            return False
    return pairs > 0 if tables else pairs > 1 and all(_TOML_FLAT.match(line) for line in lines)


_TOML_FLAT: Final = re.compile(r"[\w\"'.-]+ = \S|#|\s*$|\s+\S|[\]}\"']")


_MARKDOWN_FENCE: Final = re.compile(r"(?:```|~~~)[\w+-]*\s*$")
_MARKDOWN_FIRST: Final = frozenset("#`~")
_MARKDOWN_HEADING: Final = re.compile(r"#{1,6} \S")
_MARKDOWN_SIGNS: Final[tuple[re.Pattern[str], ...]] = (
    re.compile(r"!?\[[^\]\n]+\]\([^)\s]+[^)\n]*\)"),
    re.compile(r"\*\*\w[^*\n]*\*\*"),
    re.compile(r"(?<!`)`[^`\n]+`(?!`)"),
    re.compile(r"(?m)^\|?[ :]*-{3,}[ :]*\|"),
    re.compile(r"(?m)^(?:[-*+]|\d{1,3}\.) \S"),
    re.compile(r"(?m)^> \S"),
)
# Lines that end like this are a program's, whose comments look like headings.
_CODE_LINE: Final = re.compile(r".*(?:[;{}=]|\):)$|(?:import|from|use|package|set|export) \S+$")


def _is_markdown(lines: list[str]) -> bool:
    """Headings that stand alone, or fences, and one more of Markdown's signs; never comments among code."""
    if not any(line[:1] in _MARKDOWN_FIRST for line in lines):  # most texts, without a look at every line of theirs
        return False
    headings = fences = code = 0
    fenced = False
    previous = ""
    for index, line in enumerate(lines):
        if _MARKDOWN_FENCE.match(line):
            fences += 1
            fenced = not fenced
        elif not fenced and line.startswith("#"):
            following = lines[index + 1].strip() if index + 1 < len(lines) else ""
            if previous.startswith("#") or following.startswith("#") or not _MARKDOWN_HEADING.match(line):
                return False
            headings += not previous and not following
        elif not fenced and not line.startswith((" ", "-", "*", ">", "|")):
            code += _CODE_LINE.match(line) is not None
        previous = line.strip()
    if (code and code >= headings) or (headings == 0 and fences < 2):
        return False
    body = "\n".join(lines)
    titled = headings > 0 and lines[0].startswith("#")
    fenced_off = (fences > 1) * (2 if headings else 1)
    signs = titled + (headings > 1) + fenced_off + sum(1 for sign in _MARKDOWN_SIGNS if sign.search(body))
    return signs >= 2


_LINE_FORMATS: Final[tuple[tuple[Callable[[list[str]], bool], str], ...]] = (
    (_is_yaml, "application/yaml"),
    (_is_toml, "application/toml"),
    (_is_markdown, "text/markdown"),
)
