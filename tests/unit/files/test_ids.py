"""File ids: UUID version 7."""

import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from apps.files.ids import DRAWN_AT_ONCE, EPOCH, floor_id, new_id, random_bytes

MOMENTS = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 12, 31), timezones=st.just(UTC))
MICROSECOND = timedelta(microseconds=1)


@given(MOMENTS)
def test_an_id_is_a_version_7_uuid_of_its_millisecond(moment):
    """Any reader of UUIDs sees the version, the variant and the time."""
    made = new_id(moment)
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == (moment - EPOCH) // timedelta(milliseconds=1)


@given(MOMENTS, MOMENTS)
def test_ids_order_as_their_moments_do(one, other):
    """To the microsecond: whoever was uploaded later has the greater id."""
    if one != other:
        assert (new_id(one) < new_id(other)) is (one < other)


@given(MOMENTS)
def test_the_floor_is_under_every_id_of_its_moment_and_over_all_before(moment):
    """So that a date filter is a range of the primary key."""
    assert floor_id(moment) <= new_id(moment) < floor_id(moment + MICROSECOND)
    assert floor_id(moment).hex.startswith(new_id(moment).hex[:12])


def test_moments_before_the_epoch_count_as_the_epoch():
    """A filter from long ago is a filter from the beginning."""
    assert floor_id(datetime(1, 1, 1, tzinfo=UTC)) == floor_id(EPOCH)


def test_ids_of_one_moment_differ():
    """Two files of one microsecond have two ids."""
    moment = datetime.fromtimestamp(time.time(), UTC)
    assert len({new_id(moment) for _ in range(1000)}) == 1000


def test_randomness_is_handed_out_once():
    """However much is drawn, by however many threads."""
    count = DRAWN_AT_ONCE * 5
    with ThreadPoolExecutor(8) as threads:
        drawn = list(threads.map(lambda _: random_bytes(), range(count)))
    assert len(set(drawn)) == count
    assert {len(each) for each in drawn} == {8}


FORKED = """
import os
from apps.files.ids import DRAWN_AT_ONCE, random_bytes
random_bytes()
reading, writing = os.pipe()
if not os.fork():
    os.write(writing, random_bytes())
    os._exit(0)
os.wait()
theirs = os.read(reading, 9)
assert len(theirs) == 8
assert theirs not in {random_bytes() for _ in range(DRAWN_AT_ONCE)}
"""


def test_a_forked_process_draws_its_own_randomness():
    """What was drawn before a fork and not handed out is one process's alone."""
    subprocess.run([sys.executable, "-c", FORKED], check=True)
