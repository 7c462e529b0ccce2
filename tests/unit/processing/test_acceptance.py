"""Which files are taken, by kind and type."""

import pytest

from apps.processing.acceptance import is_accepted, is_refused_at_the_door, strangers
from apps.processing.detect import Detected

PNG = Detected(content_type="image/png", kind="image")
PDF = Detected(content_type="application/pdf", kind="document")


@pytest.mark.parametrize(
    ("accept", "reject", "png", "pdf"),
    [
        ([], [], True, True),
        (["image"], [], True, False),
        (["image/*"], [], True, False),
        (["application/pdf", "image/jpeg"], [], False, True),
        ([], ["document"], True, False),
        ([], ["image/*"], False, True),
        (["image"], ["image/png"], False, False),
        (["image", "document"], ["application/pdf"], True, False),
    ],
)
def test_a_file_is_taken_when_nothing_rejects_it_and_something_accepts_it(accept, reject, png, pdf):
    """By kind, by type, by family; rejection wins; an empty list accepts all."""
    assert is_accepted(PNG, accept, reject) is png
    assert is_accepted(PDF, accept, reject) is pdf


def test_the_door_refuses_only_what_the_first_bytes_tell():
    """A ZIP may be a document, unknown bytes anything."""
    for content_type in ("application/zip", "application/octet-stream"):
        assert not is_refused_at_the_door(
            Detected(content_type=content_type, kind="archive"), ["document"], ["archive"]
        )
    assert is_refused_at_the_door(PNG, ["document"], [])
    assert not is_refused_at_the_door(PDF, ["document"], [])


def test_words_that_name_nothing_are_found():
    """A kind that there is not, a type without its slash."""
    assert strangers(["image", "image/*", "application/pdf", "pdf", "images", "*/*"], ["image"]) == [
        "pdf",
        "images",
        "*/*",
    ]
