"""The cursor and the envelope."""

import json

import pytest

from apps.events.event import BEGINNING, Cursor, body, connection_frame, frame
from apps.files.errors import BadCursor


@pytest.mark.parametrize(
    ("text", "cursor"),
    [("0", BEGINNING), ("5", (5, 0)), ("5-7", (5, 7)), ("18446744073709551615-1", (2**64 - 1, 1))],
)
def test_a_cursor_is_read(text, cursor):
    """Both notations of Redis are cursors."""
    assert Cursor.parse(text) == cursor


@pytest.mark.parametrize(
    "text",
    ["", "-", "1-", "-1", "1-2-3", "+1-1", "1 -1", "abc", "1-x", "\u0661-1", "²-1", "18446744073709551616-0", "9" * 21,
     "1_0-0", "$", ">", "1-0\n"],
)  # fmt: skip
def test_what_is_no_cursor_is_refused(text):
    """Whatever else a client sends is refused before Redis sees it."""
    with pytest.raises(BadCursor):
        Cursor.parse(text)


def test_cursors_order_as_numbers():
    """10 comes after 9, whatever their digits."""
    assert Cursor.parse("9-10") > Cursor.parse("9-9")
    assert Cursor.parse("10-0") > Cursor.parse("9-99")
    assert str(Cursor.parse("10-3")) == "10-3"


def test_a_frame_is_the_kept_event_with_its_id():
    """The envelope is put together without parsing, and is JSON all the same."""
    kept = body(type="file.queued", subject="s", time="t", data={"name": 'quote " and é'})
    whole = json.loads(frame(Cursor(1, 2), kept).text)
    assert whole == {
        "specversion": "1.0", "id": "1-2", "source": "/files", "type": "file.queued", "subject": "s", "time": "t",
        "data": {"name": 'quote " and é'},
    }  # fmt: skip


def test_a_frame_of_the_connection_has_its_place():
    """A connection's own frames have the connection's place as their id."""
    assert json.loads(connection_frame("pong", Cursor(3, 4), "/ws"))["id"] == "3-4"
