"""The shown name of a file: whatever the client called it, without what could mislead a person or a program."""

import unicodedata

UNNAMED = "unnamed"
# Characters that change the direction of the text around them: "exe.gpj" shown for "jpg.exe".
DIRECTIONS = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
REMOVED = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, lone surrogates, line and paragraph separators


def shown_name(given: str, max_bytes: int) -> str:
    """The last part of the given path, without control and direction characters, at most so many bytes of UTF-8.

    A name that is too long loses the end of its stem, and keeps its extension. Never empty, `.` or `..`.
    """
    last = given.replace("\\", "/").rsplit("/", 1)[-1]
    plain = "".join(
        character
        for character in last
        if character not in DIRECTIONS and unicodedata.category(character) not in REMOVED
    )
    kept = unicodedata.normalize("NFC", plain).strip()  # what is removed may have kept two characters apart
    if kept in ("", ".", ".."):
        return UNNAMED
    if len(kept.encode()) <= max_bytes:
        return kept
    stem, dot, extension = kept.rpartition(".")
    tail = f"{dot}{extension}"
    if not stem or len(tail.encode()) > max_bytes // 2:
        stem, tail = kept, ""
    return stem.encode()[: max_bytes - len(tail.encode())].decode(errors="ignore").rstrip() + tail
