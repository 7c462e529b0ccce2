"""The form parser, pushed to."""

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.files.errors import (
    FilewireError,
    Malformed,
    MissingFile,
    TooManyFiles,
    TooManyParts,
)
from apps.uploads.multipart import MAX_OTHER_BYTES, MAX_PREAMBLE_BYTES, FormParser, PartStart
from tests.client import BOUNDARY, form, part


def parse(*chunks: bytes, max_parts: int = 32, max_part_header_bytes: int = 8192) -> tuple[list[PartStart], bytes]:
    """What a body of these chunks brings."""
    parser = FormParser(BOUNDARY, max_parts=max_parts, max_part_header_bytes=max_part_header_bytes)
    starts, content = [], b""
    for chunk in chunks:
        for event in parser.push(chunk):
            if isinstance(event, PartStart):
                starts.append(event)
            else:
                content += event
    parser.finish()
    return starts, content


def cut(whole: bytes, places: list[int]) -> list[bytes]:
    """The same bytes, cut at these places."""
    ends = [0, *sorted({place for place in places if 0 < place < len(whole)}), len(whole)]
    return [whole[start:stop] for start, stop in pairwise(ends)]


MANY_HEADERS = f"--{BOUNDARY}\r\n".encode() + b"".join(b"X-%d: y\r\n" % n for n in range(20)) + b"\r\n"
CONTENT = st.one_of(
    st.binary(min_size=1, max_size=300),
    st.lists(st.sampled_from([b"\r\n--", b"\r", b"\n", b"--", BOUNDARY.encode()[:-1], b"x"]), min_size=1).map(b"".join),
)


@given(CONTENT, st.lists(st.integers(0, 1000), max_size=60))
def test_any_chunking_of_a_form_gives_the_same_file(content, places):
    """However the body is cut on its way, the file's bytes, name and type come out the same."""
    whole = form(part(b"value", name="note", filename=None), part(content, filename="ä b.bin"), part(b"v", name="z"))
    starts, found = parse(*cut(whole, places))
    assert found == content
    assert starts == [PartStart(name="ä b.bin", content_type="text/plain", content_digest=None)]


@given(st.binary(max_size=400), st.lists(st.integers(0, 500), max_size=10))
def test_any_body_ends_in_a_file_or_in_one_of_our_errors(noise, places):
    """Bytes that are no form never raise anything but the family's own errors."""
    for whole in (noise, f"--{BOUNDARY}\r\n".encode() + noise, form(part(b"x"))[: len(noise)]):
        with contextlib.suppress(FilewireError):
            parse(*cut(whole, places))


def test_a_parts_own_digest_is_handed_on():
    """The part's Content-Digest and Content-Type come with its start."""
    head = (
        f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n'
        "Content-Digest: sha-256=:AAAA:\r\n\r\n"
    )
    starts, _ = parse(head.encode() + b"x\r\n" + form())
    assert starts == [PartStart(name="a", content_type="", content_digest="sha-256=:AAAA:")]


@pytest.mark.parametrize("boundary", ["", "a\nb"])
def test_a_boundary_that_cannot_be_one_is_malformed(boundary):
    """The parser says so before the first byte."""
    with pytest.raises(Malformed):
        FormParser(boundary, max_parts=1, max_part_header_bytes=256)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (form(), MissingFile),
        (form(part(b"x", name="other")), MissingFile),
        (form(part(b"x", filename=None)), MissingFile),
        (form(part(b"x"), part(b"y")), TooManyFiles),
        (form(*[part(b"", name=f"n{n}") for n in range(40)]), TooManyParts),
        (form(part(b"x"))[:-4], Malformed),
        (part(b"x"), Malformed),
        (b"no boundary at all", Malformed),
        (b"junk" + form(part(b"x")), Malformed),
        (f"--{BOUNDARY}\n".encode() + part(b"x"), Malformed),
        (f"--{BOUNDARY}\r\nno colon\r\n\r\nx\r\n".encode(), Malformed),
        (f"--{BOUNDARY}\r\nContent-Type: text/plain\r\n\r\nx\r\n".encode() + form(), Malformed),
        (f"--{BOUNDARY}\r\nX: {'y' * 9000}\r\n".encode(), TooManyParts),
        (MANY_HEADERS, TooManyParts),
        (b"x" * (MAX_PREAMBLE_BYTES + 1), Malformed),
        (form(part(b"x"), part(b"y" * MAX_OTHER_BYTES, name="other", filename=None)), TooManyParts),
        (form(part(b"x")) + b"y" * MAX_OTHER_BYTES, TooManyParts),
    ],
)
def test_a_bad_form_is_refused_in_words(body, error):
    """Each way in which a form can be wrong has its error."""
    with pytest.raises(error) as caught:
        parse(*cut(body, list(range(0, len(body), 64 * 1024))))
    assert caught.value.status == 400
    assert caught.value.detail


def test_what_follows_the_last_boundary_is_passed_over():
    """A short epilogue is no fault."""
    assert parse(form(part(b"x")), b"\r\n")[1] == b"x"


def test_a_large_file_is_not_counted_among_the_rest():
    """Only what is beside the file counts against the limit on it."""
    assert len(parse(*cut(form(part(b"x" * 2 * MAX_OTHER_BYTES)), [99_999, 1_000_000]))[1]) == 2 * MAX_OTHER_BYTES
