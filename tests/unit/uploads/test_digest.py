"""Content-Digest (RFC 9530)."""

import base64
import hashlib

import pytest

from apps.files.errors import BadHeader, DigestMismatch
from apps.uploads.digest import sha256_of, verify

HASH = hashlib.sha256(b"hello").digest()
TEXT = base64.b64encode(HASH).decode()


@pytest.mark.parametrize(
    "header",
    [
        f"sha-256=:{TEXT}:",
        f"  sha-256 = :{TEXT}:  ",
        f"sha-512=:AAAA:, sha-256=:{TEXT}:",
        f"sha-256=:{TEXT}:, unixsum=:AAAA:",
        f"sha-256=:{TEXT}:;q=1",
    ],
)
def test_the_sha256_is_found_among_the_members(header):
    """The one digest that is checked is taken, wherever it stands."""
    assert sha256_of(header) == HASH


@pytest.mark.parametrize("header", [None, "sha-512=:AAAA:", "md5=:AAAA:, unixsum=:AAAA:"])
def test_other_digests_are_no_digest(header):
    """A header without a SHA-256 asks for nothing."""
    assert sha256_of(header) is None


@pytest.mark.parametrize(
    "header",
    [
        "",
        "sha-256",
        "sha-256=",
        f"sha-256={TEXT}",
        f"sha-256=:{TEXT}",
        "sha-256=:AAAA:",
        "sha-256=:=:",
        "sha-256=:A:",
        "sha-256=::",
        f"sha-256=:{TEXT}:,",
        f"sha-256=:{hashlib.sha256(b'').hexdigest()}:",
    ],
)
def test_a_digest_that_cannot_be_read_is_said(header):
    """A malformed header is an error that names it, never a digest that is silently not checked."""
    with pytest.raises(BadHeader) as caught:
        sha256_of(header)
    assert caught.value.field == "Content-Digest"


def test_a_digest_matches_any_of_the_actual_ones():
    """What is expected may be the file's hash or the body's; nothing expected is always met."""
    verify(None, b"x")
    verify(b"x", b"y", b"x")
    with pytest.raises(DigestMismatch):
        verify(b"x", b"y")
