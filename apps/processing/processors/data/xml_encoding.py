"""The encodings that XML may be declared in, and its parser does not know: read by Python's, and handed on as UTF-8.

Source: XML 1.0, fifth edition, §4.3.3 and appendix F.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from typing import Final

from ...text_formats import EBCDIC_XML

OPENING_BYTES: Final = 1024
DECLARED: Final = re.compile(r"<\?xml\s[^>]{0,200}?\sencoding\s*=\s*[\"']([A-Za-z][A-Za-z0-9._-]*)[\"']")
UTF_32: Final = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
# Those of expat itself, which looks at byte order marks, too.
NATIVE: Final = re.compile(r"utf-?8|utf-?16(?:le|be)?|us-ascii|ascii|iso-8859-1|latin-?1", re.IGNORECASE)
# Codecs of Python's that are no character encodings of anybody's, or that hold text back without bounds.
OTHERS: Final = frozenset({"charmap", "idna", "mbcs", "oem", "punycode", "undefined", "utf_7"})


class Unknown(Exception):
    """There is no such encoding; `column` is where it is declared."""

    def __init__(self, column: int) -> None:
        self.column = column
        super().__init__(column)


def foreign(opening: bytes) -> str | None:
    """The encoding of a document that begins like this, as Python names it; None where the parser knows it.

    Raises Unknown for what is none, and for what the declaration itself cannot be written in.
    """
    if opening.startswith(UTF_32):
        return "utf-32"
    ebcdic = opening.startswith(EBCDIC_XML)
    declared = DECLARED.match(opening.decode("cp037" if ebcdic else "latin-1").replace("\x85", "\n"))
    if declared is None or (NATIVE.fullmatch(declared[1]) and not ebcdic):
        return "cp037" if ebcdic else None
    if opening.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return None
    try:
        name = codecs.lookup(declared[1]).name
        fits = (EBCDIC_XML if ebcdic else b"<?xml").decode(name) == "<?xml"
    except (LookupError, ValueError) as error:
        raise Unknown(declared.start(1) + 1) from error
    if not fits or name.replace("-", "_") in OTHERS or "escape" in name:
        raise Unknown(declared.start(1) + 1)
    return name


def decoder(encoding: str) -> Callable[[bytes, bool], bytes]:
    """What turns a document's bytes into UTF-8, piece by piece. It raises UnicodeDecodeError for what is none."""
    incremental = codecs.getincrementaldecoder(encoding)("strict")
    ends_lines = EBCDIC_XML.decode(encoding, "replace") == "<?xml"  # by a character that XML 1.0 has no name for

    def decode(data: bytes, final: bool) -> bytes:
        text = incremental.decode(data, final)
        return (text.replace("\x85", "\n") if ends_lines else text).encode("utf-8", "replace")

    return decode
