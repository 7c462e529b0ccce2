"""What the door reads of a request's headers."""

import contextlib
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.files.errors import BadHeader
from apps.uploads.view import header_parameters

HEADERS = st.one_of(
    st.text(alphabet=st.characters(max_codepoint=255), max_size=80),
    st.text(alphabet="attachment; filename*=0'%\"\\\xe9", max_size=80),
)


def parameters_of(value: str) -> tuple[str, dict[str, str]]:
    """Of a Content-Disposition header."""
    return header_parameters(SimpleNamespace(headers={"Content-Disposition": value}), "Content-Disposition")


@given(HEADERS)
def test_any_header_is_understood_or_refused(value):
    """Whatever a client writes: parameters as text, or the error that names the header."""
    with contextlib.suppress(BadHeader):
        _, parameters = parameters_of(value)
        assert all(isinstance(found, str) for found in parameters.values())


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("attachment; filename=a.txt", "a.txt"),
        ('ATTACHMENT; FileName="a b.txt"', "a b.txt"),
        ("attachment; filename*=utf-8''fancy; filename=plain", "fancy"),
        ('attachment; filename="a;b.txt"', "a;b.txt"),
        ("attachment; filename*=utf-8''%e6%97%a5", "日"),
        ("attachment; filename*=iso-8859-1'en'%E9", "é"),
        ('attachment; filename="' + "日".encode().decode("latin-1") + '"', "日"),
        ("attachment", None),
        ("", None),
    ],
)
def test_a_name_is_read_in_each_of_its_spellings(value, name):
    """Plain, quoted, extended, or the UTF-8 that programs write as it is."""
    assert parameters_of(value)[1].get("filename") == name
