"""JSON by the chunk: what a loop over tokens would find, found by passes in C over all of them at once.

A chunk is reduced to a byte a token; of these, containers that hold nothing but whole values are folded into one value,
again and again, and what is left (what the chunk did not open or did not close) goes through the grammar. A chunk with
anything wrong is left as it was: `json_grammar.take_tokens` then says what, and where.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate, islice
from typing import Final

from .json_grammar import Invalid, Nesting, Scan
from .limits import DEPTH, KEYS, NAME_CHARACTERS

UNICODE_ESCAPE: Final = re.compile(r"\\u[0-9a-fA-F]{4}")
ESCAPE: Final = re.compile(r'\\["/bfnrt]')
BEGUN_ESCAPE: Final = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
ESCAPED: Final = "\x7f"  # stands for each character of an escape; outside of a string it is as wrong as they are
CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
SPACES: Final = "\t\n\r"  # which may stand between tokens, and not in them
WHITE: Final = " \t\n\r"
# A zero that more digits follow is a number of its own here, and two values side by side are none.
INTEGER: Final = re.compile(rb"[0-9](?:(?<!0)[0-9]++)?")
NUMBER: Final = re.compile(rb"[0-9](?:(?<!0)[0-9]++)?(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?")
FRACTION: Final = re.compile(rb"[.eE]")
WORD_CHARACTERS: Final = "+-.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

# The bytes that stand for tokens are none of ASCII, so that nothing in the text can be taken for one.
KEY, TRUE, FALSE, NULL, NUMERAL, VALUE, WRONG = (bytes([0x80 + index]) for index in range(7))
STRING_BYTE, KEY_BYTE, VALUE_BYTE = ord('"'), KEY[0], VALUE[0]
MARKS: Final = b"{}[],"
SORTS: Final = bytes(
    byte if byte in MARKS + KEY else VALUE_BYTE if byte in b'"' + TRUE + FALSE + NULL + NUMERAL else WRONG[0]
    for byte in range(256)
)
STEPS: Final = bytes(1 if byte in b"{[" else 0xFF if byte in b"}]" else 0 for byte in range(256))  # of signed bytes
WHOLE: Final = re.compile(rb"\{(?:\x80\x85(?:,\x80\x85)*+)?\}|\[(?:\x85(?:,\x85)*+)?\]")
MORE: Final = {ord("["): re.compile(rb"(?:,\x85)*+"), ord("{"): re.compile(rb"(?:,\x80\x85)*+")}
WORTH_A_PASS: Final = 8  # to go through all that is left costs as much as this part of it in the grammar


def take_chunk(text: str, scan: Scan, over: bool) -> int | None:
    """Take in the text but its last token, which may go on in the next chunk; how far that was, or None for a fault."""
    plain = _without_escapes(text)
    parts = plain.split('"')
    outside, strings = parts[::2], parts[1::2]
    if len(outside) == len(strings):
        if over or "\\" in BEGUN_ESCAPE.sub("", strings[-1]):
            return None
        outside.append("")
    elif not over:
        outside[-1] = outside[-1].rstrip(WORD_CHARACTERS)
    if not over and len(outside) > 1 and not outside[-1].strip(WHITE):
        del outside[-1], strings[-1]  # it goes on, or a colon may come
    end = sum(map(len, outside)) + sum(map(len, strings)) + 2 * len(strings)
    between = '"'.join(outside)
    if CONTROL.search(text) or any(between.count(space) < text.count(space, 0, end) for space in SPACES):
        return None
    if "\\" in plain[:end]:
        return None
    try:
        tokens = _tokens(between.encode("ascii"))
    except UnicodeEncodeError:
        return None
    before = len(scan.nesting.stack)
    if not _take(tokens, scan):
        return None
    if scan.top == "object" and len(scan.keys) < KEYS and min(_levels(tokens, before)) < 2:
        places = islice(_keys(tokens, parts, before), KEYS - len(scan.keys))
        scan.keys += [text[start:stop][:NAME_CHARACTERS] for start, stop in places]
    return end


def _without_escapes(text: str) -> str:
    """The text with something else in the place of each escape; a backslash that is left is none."""
    if "\\" not in text:
        return text
    plain = text.replace("\\\\", ESCAPED * 2)
    return ESCAPE.sub(ESCAPED * 2, UNICODE_ESCAPE.sub(ESCAPED * 6, plain))


def _tokens(between: bytes) -> bytes:
    """A byte a token, of a text of whose strings a quote is left.

    Two values side by side stay so when the space between them goes: no fault is lost with it.
    """
    for word, byte in ((b"true", TRUE), (b"false", FALSE), (b"null", NULL)):
        between = between.replace(word, byte)
    number = NUMBER if FRACTION.search(between) else INTEGER
    between = number.sub(NUMERAL, between).replace(b"-" + NUMERAL, NUMERAL)
    return between.translate(None, b" \t\n\r").replace(b'":', KEY)


def _levels(tokens: bytes, level: int) -> Iterator[int]:
    """How many containers are open before each token, and at the end."""
    return accumulate(memoryview(tokens.translate(STEPS)).cast("b"), initial=level)


def _take(tokens: bytes, scan: Scan) -> bool:
    """Take in the tokens but for the names of keys; False, and nothing changed, where they are at fault."""
    if not tokens:
        return True
    shape = tokens.translate(SORTS)
    depth = max(_levels(tokens, len(scan.nesting.stack)))
    nesting = Nesting(stack=scan.nesting.stack[:], expects=scan.nesting.expects)
    if depth > DEPTH or WRONG in shape or not _follows(_folded(shape), nesting):
        return False
    scan.nesting = nesting
    scan.depth = max(scan.depth, depth)
    scan.top = scan.top or {b"{": "object", b"[": "array"}.get(tokens[:1], "scalar")
    seen = {
        "objects": tokens.count(b"{"),
        "arrays": tokens.count(b"["),
        "strings": tokens.count(b'"'),
        "numbers": tokens.count(NUMERAL),
        "booleans": tokens.count(TRUE) + tokens.count(FALSE),
        "nulls": tokens.count(NULL),
        "keys": tokens.count(KEY),
    }
    for name, count in seen.items():
        scan.counts[name] += count
    return True


def _folded(shape: bytes) -> bytes:
    """The tokens, whole containers as one value each, as far as that is worth its passes."""
    while True:
        folded = WHOLE.sub(VALUE, shape)
        if (len(shape) - len(folded)) * WORTH_A_PASS <= len(shape):
            return folded
        shape = folded


def _follows(shape: bytes, nesting: Nesting) -> bool:
    """Whether these tokens may come next."""
    at, end = 0, len(shape)
    try:
        while at < end:
            byte = shape[at]
            at += 1
            if byte == KEY_BYTE:
                nesting.key()
                nesting.mark(ord(":"))
            elif byte == VALUE_BYTE:
                nesting.value()
                more = MORE[nesting.stack[-1]].match(shape, at) if nesting.stack else None
                at = more.end() if more else at
            else:
                nesting.mark(byte)
    except Invalid:
        return False
    return True


def _keys(tokens: bytes, parts: list[str], level: int) -> Iterator[tuple[int, int]]:
    """Where the keys at the top level start and stop, of a text whose quotes are between these parts."""
    stops = list(accumulate(map(len, parts)))
    part = 1
    for byte, open_ in zip(tokens, _levels(tokens, level), strict=False):
        if byte == KEY_BYTE and open_ == 1:
            yield stops[part - 1] + part, stops[part] + part
        part += 2 * (byte in (KEY_BYTE, STRING_BYTE))
