"""Content-Digest: what the client says its bytes hash to. Source: RFC 9530, and RFC 8941 for the syntax."""

import base64
import binascii
import hashlib
import re

from apps.files.errors import BadHeader, DigestMismatch

HEADER = "Content-Digest"
MEMBER = re.compile(r"\s*([a-z*][a-z0-9_.*-]*)\s*=\s*:([A-Za-z0-9+/=]*):\s*(?:;[^,]*)?")


def sha256_of(header: str | None) -> bytes | None:
    """The SHA-256 that the header names; None where it names none. Raises BadHeader when it cannot be read."""
    if header is None:
        return None
    found: bytes | None = None
    for member in header.split(","):
        match = MEMBER.fullmatch(member)
        if match is None:
            raise BadHeader("Content-Digest could not be understood.", field=HEADER)
        if match[1] == "sha-256":
            try:
                found = base64.b64decode(match[2], validate=True)
            except binascii.Error:
                found = b""
            if len(found) != hashlib.sha256().digest_size:
                raise BadHeader("Content-Digest holds no SHA-256.", field=HEADER)
    return found


def verify(expected: bytes | None, *actual: bytes) -> None:
    """Raises DigestMismatch unless the expected digest, where there is one, is among the actual ones."""
    if expected is not None and expected not in actual:
        raise DigestMismatch(field=HEADER)
