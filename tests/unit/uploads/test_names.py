"""The shown name of a file."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from apps.uploads.names import DIRECTIONS, REMOVED, UNNAMED, shown_name


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("holiday.jpg", "holiday.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\scan.pdf", "scan.pdf"),
        ("/absolute/path.txt", "path.txt"),
        ("", UNNAMED),
        (".", UNNAMED),
        ("..", UNNAMED),
        ("../..", UNNAMED),
        ("a/", UNNAMED),
        ("   ", UNNAMED),
        ("\x00\r\n", UNNAMED),
        ("a\x00b.txt", "ab.txt"),
        ("a\r\nSet-Cookie: b.txt", "aSet-Cookie: b.txt"),
        ("invoice\u202egpj.exe", "invoicegpj.exe"),
        ("line\u2028break\u2029.txt", "linebreak.txt"),
        ("lone\ud800surrogate", "lonesurrogate"),
        ("e\u0301.txt", "\u00e9.txt"),
        (" padded.txt ", "padded.txt"),
        (".gitignore", ".gitignore"),
    ],
)
def test_f18_a_name_is_shown_without_what_misleads(given, shown):
    """Paths, control characters and changes of direction go; the rest of a name stays as it was given."""
    assert shown_name(given, 255) == shown


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a" * 300 + ".txt", "a" * 251 + ".txt"),
        ("日" * 300, "日" * 85),
        ("日" * 300 + ".png", "日" * 83 + ".png"),
        ("." + "a" * 300, "." + "a" * 254),
        ("a." + "b" * 300, "a." + "b" * 253),
        ("a.b.c" * 100, "a.b.c" * 51),
    ],
)
def test_f18_a_long_name_keeps_its_extension(given, shown):
    """A name over the limit loses the end of its stem, by whole characters; an endless extension is a stem too."""
    found = shown_name(given, 255)
    assert len(found.encode()) <= 255
    if given == "a.b.c" * 100:  # its last part after a dot is an extension
        assert found.endswith("c")
    else:
        assert found == shown


NAMES = st.one_of(
    st.text(max_size=400),
    st.text(alphabet="./\\ \u202e\x00\r\n日\u0301aé", max_size=400),
)


@given(NAMES, st.integers(16, 255))
@example("日" * 80 + "." + "x" * 200, 255)
def test_f18_no_name_breaks_the_rules(given, max_bytes):
    """Whatever a client calls its file: never empty, never a path, never too long, nothing that turns text around."""
    shown = shown_name(given, max_bytes)
    assert shown.strip() == shown != ""
    assert shown not in (".", "..")
    assert "/" not in shown
    assert "\\" not in shown
    assert len(shown.encode()) <= max_bytes
    assert not any(character in DIRECTIONS for character in shown)
    assert not any(unicodedata.category(character) in REMOVED for character in shown)


@given(NAMES)
def test_a_shown_name_is_shown_the_same_again(given):
    """A name that was cleaned once needs no cleaning."""
    once = shown_name(given, 255)
    assert shown_name(once, 255) == once
