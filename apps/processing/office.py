"""Office Open XML: its media types, by what a package's main part is and by how such a file's name ends.

Which of the family a package is stands in `[Content_Types].xml`, whatever its folders are called (ECMA-376 part 2,
§10.1; [MS-OFFMACRO2] §2 for those with macros). An encrypted one shows only that it is encrypted ([MS-OFFCRYPTO] §2.3),
so that nothing but its name says which it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_OPEN = "application/vnd.openxmlformats-officedocument."
_WORD, _EXCEL, _SLIDES = "application/vnd.ms-word.", "application/vnd.ms-excel.", "application/vnd.ms-powerpoint."

# The ending of the name, the media type, and the type of the main part: in lower case, as they are compared.
_FAMILY: Final[tuple[tuple[str, str, str], ...]] = (
    ("docx", f"{_OPEN}wordprocessingml.document", f"{_OPEN}wordprocessingml.document.main+xml"),
    ("dotx", f"{_OPEN}wordprocessingml.template", f"{_OPEN}wordprocessingml.template.main+xml"),
    ("docm", f"{_WORD}document.macroenabled.12", f"{_WORD}document.macroenabled.main+xml"),
    ("dotm", f"{_WORD}template.macroenabled.12", f"{_WORD}template.macroenabledtemplate.main+xml"),
    ("xlsx", f"{_OPEN}spreadsheetml.sheet", f"{_OPEN}spreadsheetml.sheet.main+xml"),
    ("xltx", f"{_OPEN}spreadsheetml.template", f"{_OPEN}spreadsheetml.template.main+xml"),
    ("xlsm", f"{_EXCEL}sheet.macroenabled.12", f"{_EXCEL}sheet.macroenabled.main+xml"),
    ("xltm", f"{_EXCEL}template.macroenabled.12", f"{_EXCEL}template.macroenabled.main+xml"),
    ("xlam", f"{_EXCEL}addin.macroenabled.12", f"{_EXCEL}addin.macroenabled.main+xml"),
    ("xlsb", f"{_EXCEL}sheet.binary.macroenabled.12", f"{_EXCEL}sheet.binary.macroenabled.main"),
    ("pptx", f"{_OPEN}presentationml.presentation", f"{_OPEN}presentationml.presentation.main+xml"),
    ("potx", f"{_OPEN}presentationml.template", f"{_OPEN}presentationml.template.main+xml"),
    ("ppsx", f"{_OPEN}presentationml.slideshow", f"{_OPEN}presentationml.slideshow.main+xml"),
    ("pptm", f"{_SLIDES}presentation.macroenabled.12", f"{_SLIDES}presentation.macroenabled.main+xml"),
    ("potm", f"{_SLIDES}template.macroenabled.12", f"{_SLIDES}template.macroenabled.main+xml"),
    ("ppsm", f"{_SLIDES}slideshow.macroenabled.12", f"{_SLIDES}slideshow.macroenabled.main+xml"),
    ("ppam", f"{_SLIDES}addin.macroenabled.12", f"{_SLIDES}addin.macroenabled.main+xml"),
)

BY_ENDING: Final[Mapping[str, str]] = {ending: content_type for ending, content_type, _ in _FAMILY}
"""Media types by the ending of a name, in lower case and without its dot."""

ENDINGS: Final[Mapping[str, str]] = {content_type: ending for ending, content_type in BY_ENDING.items()}
"""The same the other way round: what such a file is called for short."""

KINDS: Final[Mapping[str, str]] = {
    content_type: "table" if ending.startswith("xl") else "document" for ending, content_type in BY_ENDING.items()
}
"""The kind of each of these types."""


def by_main_part(content_types: bytes) -> str | None:
    """The media type of a package, from the beginning of its `[Content_Types].xml`; None where that does not tell."""
    told = content_types.lower()
    return next((content_type for _, content_type, part in _FAMILY if f'"{part}"'.encode() in told), None)
