"""Environment variables: read in words, refused in words."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from project import environment as env

NAME = "FILEWIRE_OF_A_TEST"


def test_absent_and_empty_are_the_default(monkeypatch):
    """A variable set to nothing, as compose files do, is one that is not set."""
    for value in (None, "", "  "):
        if value is None:
            monkeypatch.delenv(NAME, raising=False)
        else:
            monkeypatch.setenv(NAME, value)
        assert env.text(NAME, "x") == "x"
        assert env.integer(NAME, 7) == 7
        assert env.seconds(NAME, 1.5) == 1.5
        assert env.listing(NAME) == []
        assert env.listing(NAME, ["a"]) == ["a"]
    monkeypatch.delenv(NAME)
    assert env.switch(NAME, default=True) is True


def test_values_are_read(monkeypatch):
    """Each kind, with the spaces that people leave."""
    monkeypatch.setenv(NAME, " 12 ")
    assert env.text(NAME) == "12"
    assert env.integer(NAME, 0) == 12
    assert env.seconds(NAME, 0) == 12.0
    monkeypatch.setenv(NAME, " a, b ,,c ")
    assert env.listing(NAME) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1", True),
        ("True", True),
        ("YES", True),
        ("on", True),
        ("0", False),
        ("no", False),
        ("Off", False),
        ("", False),
    ],
)
def test_switches_know_the_usual_words(monkeypatch, word, value):
    """On and off in each spelling; set to nothing is off."""
    monkeypatch.setenv(NAME, word)
    assert env.switch(NAME, default=not value) is value


@pytest.mark.parametrize(
    ("read", "value", "words"),
    [
        (lambda: env.integer(NAME, 0), "many", "must be a whole number, not 'many'"),
        (lambda: env.integer(NAME, 0), "1.5", "must be a whole number"),
        (lambda: env.integer(NAME, 5, minimum=2), "1", "must be at least 2, not 1"),
        (lambda: env.integer(NAME, 5, maximum=9), "10", "must be at most 9, not 10"),
        (lambda: env.seconds(NAME, 0), "soon", "must be a number of seconds, not 'soon'"),
        (lambda: env.seconds(NAME, 5, minimum=1), "0.5", "must be at least 1 seconds, not 0.5"),
        (lambda: env.seconds(NAME, 5), "inf", "must be at least"),
        (lambda: env.seconds(NAME, 5), "nan", "must be at least"),
        (lambda: env.switch(NAME, default=False), "maybe", "must be on or off, not 'maybe'"),
    ],
)
def test_a_bad_value_stops_the_start_in_words(monkeypatch, read, value, words):
    """The message names the variable and what it should have been."""
    monkeypatch.setenv(NAME, value)
    with pytest.raises(ImproperlyConfigured) as caught:
        read()
    assert NAME in str(caught.value)
    assert words in str(caught.value)
