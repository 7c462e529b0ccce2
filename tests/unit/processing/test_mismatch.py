"""Whether what was told of a file agrees with what it is."""

import pytest

from apps.processing.mismatch import mismatch


@pytest.mark.parametrize(
    ("declared", "name", "found"),
    [
        ("", "", "image/png"),
        ("application/octet-stream", "noname", "image/png"),
        ("image/jpg", "a.JPG", "image/jpeg"),
        ("text/plain; charset=utf-8", "notes.md", "text/markdown"),
        ("text/plain", "data.csv", "text/csv"),
        ("application/vnd.ms-excel", "data.csv", "text/csv"),
        ("text/xml", "feed.xml", "application/xml"),
        ("application/x-zip-compressed", "a.zip", "application/zip"),
        ("audio/x-wav", "a.wav", "audio/wav"),
        ("application/gzip", "a.tar.gz", "application/gzip"),
        ("text/plain", "config.yml", "application/yaml"),
    ],
)
def test_what_agrees_is_not_told_of(declared, name, found):
    """Nothing told, another name of the same, one text for another."""
    assert mismatch(declared, name, found) is None


@pytest.mark.parametrize(
    ("declared", "name", "found", "told"),
    [
        ("image/jpeg", "a.jpg", "image/png", ("image/jpeg", "image/jpeg")),
        ("image/png", "a.png", "text/html", ("image/png", "image/png")),
        ("application/pdf", "a.pdf", "application/zip", ("application/pdf", "application/pdf")),
        ("", "a.png", "application/x-executable", (None, "image/png")),
        ("image/png", "noname", "image/gif", ("image/png", None)),
        ("text/plain", "a.txt", "application/x-executable", ("text/plain", "text/plain")),
    ],
)
def test_f14_a_contradiction_is_told(declared, name, found, told):
    """By the client, by the name, or by both."""
    assert mismatch(declared, name, found) == {"declared": told[0], "named": told[1], "found": found}
