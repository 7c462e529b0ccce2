"""What is said of any bytes at all."""

import hashlib

import pytest

from apps.processing.processors import fallback
from tests import samples


def test_tells_size_type_and_digest(make_job, reports):
    """The result repeats what is known of the file, and progress ends at 100."""
    content = samples.gz()

    outcome = fallback.process(make_job(content))

    assert outcome.result == {
        "content_type": "application/gzip",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "entropy_bits_per_byte": pytest.approx(7.2, abs=0.5),
    }
    assert outcome.derived == ()
    assert reports == [100]


@pytest.mark.parametrize(
    ("content", "entropy"),
    [(b"", 0.0), (b"a" * 1000, 0.0), (b"ab" * 500, 1.0), (bytes(range(256)) * 4, 8.0)],
)
def test_entropy_is_shannons(make_job, content, entropy):
    """Nothing and one repeated byte have none, all bytes alike have eight bits."""
    assert fallback.entropy_bits_per_byte(make_job(content).path) == entropy


def test_entropy_of_one_byte_is_not_minus_zero(make_job):
    """A client never sees "-0.0"."""
    assert str(fallback.entropy_bits_per_byte(make_job(b"aaaa").path)) == "0.0"


def test_entropy_of_a_large_file_is_sampled_to_its_end(make_job):
    """A file larger than the sample is looked at from the first to the last byte, and only in part."""
    block = fallback.ENTROPY_BLOCK_BYTES
    content = bytes(block * fallback.ENTROPY_BLOCKS * 4) + b"\xff" * block

    entropy = fallback.entropy_bits_per_byte(make_job(content).path)

    # One block in 32 is the other byte: H(1/32) = 0.2006 bits.
    assert entropy == pytest.approx(0.2006, abs=0.001)
