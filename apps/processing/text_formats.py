"""Is it text, and if so, which: told from the first few thousand characters.

Text has no signatures. What is claimed here is claimed only when the whole sample keeps to the format's own
shape; all else is `text/plain`, which is never wrong. Nothing is parsed that could be made expensive: no XML
entities, no YAML, no TOML. `tabular` knows CSV and its like, `line_formats` what is told line by line. The line between
text and binary is the WHATWG's "binary data byte" (https://mimesniff.spec.whatwg.org/#binary-data-byte), but for DOS'
end of a file and for what a terminal has typed over.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Mapping
from typing import Final

from . import line_formats, tabular

PLAIN: Final = "text/plain"

_SAMPLE_CHARACTERS = 4096

_CONTROL_BYTES: Final = bytes(sorted(set(range(0x20)) - {0x09, 0x0A, 0x0C, 0x0D, 0x1B}))
_CONTROL_CHARACTERS: Final = re.compile("[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")

_DOS_END: Final = b"\x1a"
_TERMINAL: Final = b"\x07\x08"  # bell and backspace

EBCDIC_XML: Final = "<?xml".encode("cp037")  # its opening is the same in all of EBCDIC's code pages

# ISO-2022's stretches of two bytes a letter, which look like ASCII: RFC 1468, RFC 1557, RFC 1922.
_ESCAPED: Final = re.compile(r"\x1b\$(?:[@AB]|[()][@-D])([^\x1b]*+)(?:\x1b\([BIJ]|(?=\x1b)|\Z)")

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


def is_binary(data: bytes) -> bool:
    """Whether `data` has bytes of which not even a terminal's record has any."""
    return control_bytes(data.translate(None, _TERMINAL)) > 0


def _letters(escaped: re.Match[str]) -> str:
    """As many letters as two bytes each stand for, in the same lines: which they are does not matter here."""
    return "\n".join("\u3042" * (len(line) // 2) for line in escaped[1].split("\n"))


def decode(head: bytes, complete: bool) -> str | None:
    """The beginning of a file as text, or None if it is not text.

    Letters of a legacy 8-bit or multi-byte encoding come out as Latin-1: good enough to tell the format,
    whose syntax is ASCII.
    """
    for mark, decoder in _MARKED_ENCODINGS:
        if head.startswith(mark):
            return _decode_unicode(head[len(mark) :], decoder)
    if head.startswith(EBCDIC_XML):
        return head.decode("cp037").replace("\x85", "\n")
    if complete and head.endswith(_DOS_END):
        head = head.rstrip(_DOS_END) or head
    controls = control_bytes(head)
    typed = controls and not is_binary(head) and 3 * controls < len(head)
    if controls and not typed:
        return _decode_unmarked_utf16(head)
    try:
        text = codecs.utf_8_decode(head, "strict", complete)[0]
        return _ESCAPED.sub(_letters, text) if "\x1b$" in text else text
    except UnicodeDecodeError:
        if typed:
            return None
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


def content_type(text: str, complete: bool, ending: str = "") -> str:
    """The media type of text that begins with `text` (all of it if `complete`), whose name ends like this.

    The ending breaks a tie: between one sort of text and none in particular where the text has a fault or is too short
    to tell, and between two sorts whose shape it has. It never makes of a text what its shape does not allow.
    """
    start = text.lstrip("\ufeff \t\r\n\f")
    if not start:
        return PLAIN
    found = _content_type(start, text, complete)
    if found in _OPEN and ending == "eml" and _is_mail(start, complete, least=1):
        return "message/rfc822"
    if found == "text/html" and ending == "xml" and not _is_page(start[:_SAMPLE_CHARACTERS]):
        return "application/xml"
    if found not in _OPEN or ending not in _BY_ENDING:
        return found
    named, may_be, is_one = _BY_ENDING[ending]
    lines = _lines(start, complete)
    if found in (PLAIN, "text/markdown"):
        return named if may_be(start, complete, lines) else found
    return named if lines and is_one(lines) else found


def _content_type(start: str, text: str, complete: bool) -> str:
    if start[0] == "<":
        return _markup(start[:_SAMPLE_CHARACTERS], text, complete)
    if start[0] in "{[" and (found := _json(start, complete)):
        return found
    sample = start[:_SAMPLE_CHARACTERS]
    for opening, content in _OPENINGS:
        if opening.match(sample):
            return content
    lines = _lines(start, complete)
    if _is_mail(start, complete):
        return "message/rfc822"
    if not lines:
        return "text/csv" if tabular.is_wide_row(sample) else PLAIN
    if line_formats.opens_as_yaml(lines) and line_formats.is_yaml(lines):
        return "application/yaml"
    if (table := tabular.table(lines)) is not None:
        return table
    for claims, content in _LINE_FORMATS:
        if claims(lines):
            return content
    return PLAIN


def _lines(start: str, complete: bool) -> list[str]:
    """The whole lines of what is looked at."""
    lines = start[:_SAMPLE_CHARACTERS].splitlines()
    # The last line is most likely cut, where there is more.
    return lines if complete and len(start) <= _SAMPLE_CHARACTERS else lines[:-1]


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


def _is_page(sample: str) -> bool:
    """Whether it says itself that it is HTML, and does not only begin with a name that both may have."""
    root = _ROOT.match(sample)
    return sample[:15].lower().startswith("<!doctype html") or (root is not None and root[1].lower() == "html")


def hides_its_root(text: str) -> bool:
    """Whether a file may be markup whose first element stands behind what was read of it, as after a long comment."""
    start = text.lstrip("\ufeff \t\r\n\f")
    if start[:15].lower().startswith("<!doctype html"):
        return False
    return not start or (start.startswith(("<!", "<?")) and _ROOT.match(start[:_SAMPLE_CHARACTERS]) is None)


def late_markup(text: str, complete: bool) -> str | None:
    """The media type of markup by its first element, however late in `text` that is; None where there is none."""
    start = text.lstrip("\ufeff \t\r\n\f")
    return _markup(start, text, complete) if start.startswith("<") and _ROOT.match(start) else None


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


def _is_mail(start: str, complete: bool, least: int = 3) -> bool:
    """RFC 5322 headers from the first line on, at least three of those only mail has, one the sender's.

    One that goes on behind what is looked at, as a list of addresses does, counts by its name. Fewer are enough where
    something else says that it is a mail, and then none need be the sender's.
    """
    lines = start[:_SAMPLE_CHARACTERS].splitlines()
    cut = len(lines) if complete and len(start) <= _SAMPLE_CHARACTERS else len(lines) - 1
    seen = set()
    for index, line in enumerate(lines):
        if not line:
            break
        if line[0] in " \t":
            continue
        header = _HEADER_LINE.match(line)
        if header is None:
            if index == cut:
                break
            return False
        seen.add(header[1].lower())
    return len(seen & _MAIL_HEADERS) >= least and (least < 3 or bool(seen & {"from", "received", "return-path"}))


# --- what a name may say --------------------------------------------------------------------------------

_Claim = Callable[[list[str]], bool]

_LINE_FORMATS: Final[tuple[tuple[_Claim, str], ...]] = (
    (line_formats.is_yaml, "application/yaml"),
    (line_formats.is_toml, "application/toml"),
    (line_formats.is_markdown, "text/markdown"),
)

# What no opening and no parser vouches for: a name may say otherwise.
_OPEN: Final = frozenset(
    {PLAIN, "text/csv", "text/tab-separated-values", "application/yaml", "application/toml", "text/markdown"}
)
_JSON_AT_FAULT: Final = re.compile(
    r"""\{\s*+(?:["'}/]|[\w$]++\s*+:)|\[\s*+(?:[\[{"'\]/-]|\d|true\b|false\b|null\b|-?(?:NaN|Infinity)\b)"""
)
_JSON_COMMENTS: Final = re.compile(r"(?:\s++|//[^\n]*+(?:\n|\Z)|/\*(?:[^*]|\*(?!/))*+\*/)*+")
_JSON_LINES: Final = 20
_XML_AT_FAULT: Final = re.compile(r"<(?:[A-Za-z_]|\?xml\b|!--|!DOCTYPE\b)")


def _may_be_json(start: str, complete: bool, lines: list[str]) -> bool:
    comments = _JSON_COMMENTS.match(start)
    at = comments.end() if comments is not None else 0
    return _JSON_AT_FAULT.match(start, at) is not None or (complete and _parses(start))


def _may_be_xml(start: str, complete: bool, lines: list[str]) -> bool:
    return _XML_AT_FAULT.match(start) is not None


def _by_lines(may_be: _Claim) -> Callable[[str, bool, list[str]], bool]:
    return lambda start, complete, lines: may_be(lines)


def _never(lines: list[str]) -> bool:
    return False


def _may_be_json_lines(lines: list[str]) -> bool:
    """Whether most lines are JSON, each for itself."""
    said = [line for line in lines if line.strip()][:_JSON_LINES]
    return 2 * sum(line.lstrip()[:1] in ("{", "[") and _parses(line) for line in said) > len(said)


_JSON_LINES_NAMED: Final = ("application/x-ndjson", _by_lines(_may_be_json_lines), _may_be_json_lines)
_JSON_NAMED: Final = ("application/json", _may_be_json, _never)
_YAML_NAMED: Final = ("application/yaml", _by_lines(line_formats.may_be_yaml), line_formats.is_yaml)
_BY_ENDING: Final[Mapping[str, tuple[str, Callable[[str, bool, list[str]], bool], _Claim]]] = {
    "json": _JSON_NAMED,
    "geojson": _JSON_NAMED,
    "jsonl": _JSON_LINES_NAMED,
    "ndjson": _JSON_LINES_NAMED,
    "xml": ("application/xml", _may_be_xml, _never),
    "yaml": _YAML_NAMED,
    "yml": _YAML_NAMED,
    "toml": ("application/toml", _by_lines(line_formats.may_be_toml), line_formats.is_toml),
    "csv": ("text/csv", _by_lines(tabular.may_be_csv), _never),
    "tsv": ("text/tab-separated-values", _by_lines(tabular.may_be_tsv), _never),
    "tab": ("text/tab-separated-values", _by_lines(tabular.may_be_tsv), _never),
}
"""By a name's ending: the type, whether a text of no sort in particular may be that, and whether one of another is."""
