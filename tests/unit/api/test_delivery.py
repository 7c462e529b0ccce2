"""Ranges (RFC 9110, section 14)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.api.ranges import MAX_RANGES, spans_of
from apps.files.errors import RangeUnsatisfiable


@pytest.mark.parametrize(
    ("header", "spans"),
    [
        (None, []),
        ("bytes=0-0", [(0, 1)]),
        ("bytes=0-4", [(0, 5)]),
        ("bytes=5-", [(5, 10)]),
        ("bytes=-3", [(7, 10)]),
        ("bytes=-99", [(0, 10)]),
        ("bytes=8-99", [(8, 10)]),
        ("Bytes=1-2", [(1, 3)]),
        (" bytes=1-2 ", [(1, 3)]),
        # several: in the order asked for, without those outside the file
        ("bytes=0-1,3-4", [(0, 2), (3, 5)]),
        ("bytes=-1, 0-1 ,,3-3", [(9, 10), (0, 2), (3, 4)]),
        ("bytes=0-1,20-30", [(0, 2)]),
        # overlapping, too many, not understood: the whole file
        ("bytes=0-4,4-5", []),
        ("bytes=" + ",".join(["0-0"] * (MAX_RANGES + 1)), []),
        ("bytes=-", []),
        ("bytes=,", []),
        ("bytes=5-2", []),
        ("bytes=0-1,5-2", []),
        ("bytes=a-b", []),
        ("bytes 0-1", []),
        ("items=0-1", []),
        ("bytes=\u0661-\u0662", []),
        ("bytes=" + "9" * 500 + "-", []),
        ("bytes=" + "9" * 5000 + "-", []),
    ],
)
def test_a_range_is_read_as_the_standard_says(header, spans):
    """What is understood and sends no byte twice is served; every other header means the whole file."""
    assert spans_of(header, 10) == spans


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=10-20,30-", 10), ("bytes=-0", 10), ("bytes=0-", 0)]
)
def test_a_range_outside_the_file_says_how_large_it_is(header, size):
    """416 carries the size in Content-Range."""
    with pytest.raises(RangeUnsatisfiable) as caught:
        spans_of(header, size)
    assert caught.value.headers == {"Content-Range": f"bytes */{size}"}


@given(st.text(alphabet="bytes=-0123456789, ", max_size=20), st.integers(0, 100))
def test_no_range_leaves_the_file(header, size):
    """Whatever the header: spans inside the file, none, or an error; together they are never more than the file."""
    try:
        spans = spans_of(header, size)
    except RangeUnsatisfiable:
        return
    assert all(0 <= start < stop <= size for start, stop in spans)
    assert sum(stop - start for start, stop in spans) <= size
