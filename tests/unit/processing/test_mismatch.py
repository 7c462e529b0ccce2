"""Whether what was told of a file agrees with what it is."""

import mimetypes

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
        ("audio/opus", "a.opus", "audio/ogg"),
        ("application/gzip", "a.tar.gz", "application/gzip"),
        ("text/plain", "config.yml", "application/yaml"),
        ("text/plain", "notes.txt", "application/json"),
        ("text/plain", "notes.txt", "text/html"),
        ("text/x-python", "a.py", "text/csv"),
        ("application/x-httpd-php", "a.php", "text/html"),
        ("text/csv", "one-column.csv", "text/plain"),
        ("text/csv", "data.csv", "text/tab-separated-values"),
        ("text/html", "part.html", "text/plain"),
        ("text/html", "page.html", "application/xhtml+xml"),
        ("application/xhtml+xml", "page.xhtml", "text/html"),
        ("text/xml", "page.xml", "application/xhtml+xml"),
        ("text/xml", "drawing.xml", "image/svg+xml"),
        ("application/json", "lines.json", "application/x-ndjson"),
        ("application/geo+json", "map.geojson", "application/json"),
        ("application/yaml", "a.yaml", "application/json"),
        ("", "README.md", "text/html"),
        ("", "README.md", "text/csv"),
        ("", "data.js", "application/json"),
        ("", "a.toml", "text/plain"),
        ("video/mp4", "sound.mp4", "audio/mp4"),
        ("audio/webm", "voice.webm", "audio/webm"),
        ("video/x-matroska", "a.mkv", "audio/x-matroska"),
        ("application/msword", "a.doc", "application/x-ole-storage"),
        ("application/vnd.ms-excel.sheet.macroEnabled.12", "a.xlsm", "application/vnd.ms-excel.sheet.macroenabled.12"),
        ("", "12:30 notes?.txt", "text/plain"),
        ("", "data:text/html,x", "text/plain"),
        ("", "list.m3u8", "text/plain"),
    ],
)
def test_what_agrees_is_not_told_of(declared, name, found):
    """Nothing told, another name of the same, plain text for any text, and what is read as what was told."""
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
        ("application/json", "a.json", "text/html", ("application/json", "application/json")),
        ("", "a.json", "text/plain", (None, "application/json")),
        ("", "a.json", "text/csv", (None, "application/json")),
        ("", "a.json", "message/rfc822", (None, "application/json")),
        ("application/json", "", "application/yaml", ("application/json", None)),
        ("text/csv", "a.csv", "application/json", ("text/csv", "text/csv")),
        ("", "a.csv", "text/html", (None, "text/csv")),
        ("", "a.xml", "text/html", (None, "application/xml")),
        ("", "a.xml", "text/plain", (None, "application/xml")),
        ("", "a.svg", "text/html", (None, "image/svg+xml")),
        ("", "a.html", "application/json", (None, "text/html")),
        ("", "a.yaml", "text/html", (None, "application/yaml")),
        ("", "a.js", "text/html", (None, "text/javascript")),
        ("", "a.css", "text/html", (None, "text/css")),
        ("", "a.ics", "text/plain", (None, "text/calendar")),
        ("", "a.xls", "text/html", (None, "application/vnd.ms-excel")),
        ("", "a.rtf", "text/plain", (None, "application/rtf")),
        ("", "a.png", "application/x-ole-storage", (None, "image/png")),
    ],
)
def test_f14_a_contradiction_is_told(declared, name, found, told):
    """By the client, by the name, or by both."""
    assert mismatch(declared, name, found) == {"declared": told[0], "named": told[1], "found": found}


def test_names_mean_the_same_on_every_machine():
    """What a system's own tables, or another Python's, say of an ending has no part in it."""
    mimetypes.init()
    mimetypes.add_type("text/vnd.trolltech.linguist", ".ts")
    mimetypes.add_type("video/vnd.avi", ".avi")

    assert mismatch("", "a.ts", "video/mp2t") is None
    assert mismatch("", "a.avi", "video/x-msvideo") is None


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("a.js", "text/javascript"),
        ("a.mjs", "text/javascript"),
        ("a.markdown", "text/markdown"),
        ("a.rst", "text/x-rst"),
        ("a.rtf", "application/rtf"),
        ("a.WAV", "audio/wav"),
        ("notes.tar.gz", "application/gzip"),
        ("a.Z", "application/x-compress"),
        ("sheet.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ],
)
def test_what_a_name_is_known_for(name, named):
    """By its last ending; Python's own table calls some by other types, or by none, from one version to the next."""
    told = mismatch("", name, "application/x-executable")

    assert told is not None
    assert told["named"] == named
    assert mismatch("", name, named) is None


@pytest.mark.parametrize("name", ["", "a", "a.", ".txt", "a.z", "a.unheard-of"])
def test_a_name_may_say_nothing(name):
    """No ending, only an ending, or one that is not known."""
    assert mismatch("", name, "application/x-executable") is None
