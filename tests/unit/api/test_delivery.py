"""Ranges (RFC 9110, section 14)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.api.delivery import span_of
from apps.files.errors import RangeUnsatisfiable


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-4", (0, 5)),
        ("bytes=5-", (5, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes=8-99", (8, 10)),
        ("Bytes=1-2", (1, 3)),
        (" bytes=1-2 ", (1, 3)),
        # not understood, or several: the whole file
        ("bytes=-", None),
        ("bytes=5-2", None),
        ("bytes=0-1,3-4", None),
        ("bytes=a-b", None),
        ("bytes 0-1", None),
        ("items=0-1", None),
        ("bytes=\u0661-\u0662", None),
        ("bytes=" + "9" * 5000 + "-", None),
    ],
)
def test_a_range_is_read_as_the_standard_says(header, span):
    """One range that is understood is served; every other header means the whole file."""
    assert span_of(header, 10) == span


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=10-20", 10), ("bytes=-0", 10), ("bytes=0-", 0)]
)
def test_a_range_outside_the_file_says_how_large_it_is(header, size):
    """416 carries the size in Content-Range."""
    with pytest.raises(RangeUnsatisfiable) as caught:
        span_of(header, size)
    assert caught.value.headers == {"Content-Range": f"bytes */{size}"}


@given(st.text(alphabet="bytes=-0123456789, ", max_size=20), st.integers(0, 100))
def test_no_range_leaves_the_file(header, size):
    """Whatever the header: a span inside the file, none, or an error."""
    try:
        span = span_of(header, size)
    except RangeUnsatisfiable:
        return
    assert span is None or 0 <= span[0] < span[1] <= size
