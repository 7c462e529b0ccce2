"""The queue's formulas against published values, and against what they must be."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from project.capacity.queueing import Queue, erlang_b, erlang_c, servers_for

# The Erlang B table that every handbook of telephony has: the load (erlangs) at which one call in a hundred is lost.
ONE_IN_A_HUNDRED = {1: 0.0101, 2: 0.153, 5: 1.36, 10: 4.46, 20: 12.0, 50: 37.9, 100: 84.1}


@pytest.mark.parametrize(("servers", "offered"), ONE_IN_A_HUNDRED.items())
def test_erlang_b_has_the_published_loads(servers, offered):
    """At the table's load, one call in a hundred is lost; three digits of load are two of the loss."""
    assert erlang_b(servers, offered) == pytest.approx(0.01, rel=0.03)


@pytest.mark.parametrize(
    ("servers", "offered", "waiting"),
    [
        (1, 0.5, 0.5),  # M/M/1: the utilisation
        (2, 1.0, 1 / 3),
        (3, 2.0, 4 / 9),
        (5, 4.0, 0.5541),
        (10, 8.0, 0.4092),
    ],
)
def test_erlang_c_has_the_published_probabilities(servers, offered, waiting):
    """The probability of waiting, as textbooks tabulate it."""
    assert erlang_c(servers, offered) == pytest.approx(waiting, abs=5e-5)


def test_a_full_queue_waits_for_ever():
    """At a utilisation of 1 everyone waits, and there is no end to it."""
    queue = Queue(servers=4, arrivals_per_second=4, service_seconds=1)
    assert queue.waiting_probability == 1
    assert queue.mean_wait_seconds == queue.wait_seconds(0.5) == math.inf


def test_one_server_is_pollaczek_and_khinchine():
    """For one server the approximation is exact: constant service halves the wait of exponential service."""
    exponential = Queue(servers=1, arrivals_per_second=0.8, service_seconds=1)
    constant = Queue(servers=1, arrivals_per_second=0.8, service_seconds=1, service_scv=0)
    assert exponential.mean_wait_seconds == pytest.approx(4)
    assert constant.mean_wait_seconds == pytest.approx(2)


def test_percentiles_add_up_to_the_mean():
    """The wait that percentiles describe has the mean that is told beside them."""
    queue = Queue(servers=5, arrivals_per_second=4, service_seconds=1, service_scv=2.5)
    steps = 200_000
    total = sum(queue.wait_seconds((number + 0.5) / steps) for number in range(steps)) / steps
    assert total == pytest.approx(queue.mean_wait_seconds, rel=0.01)


@given(
    rate=st.floats(0.01, 500),
    seconds=st.floats(0.001, 10),
    scv=st.floats(0, 20),
    busy=st.floats(0.1, 0.95),
    wait=st.floats(0.01, 10),
)
def test_as_many_servers_as_needed_and_no_more(rate, seconds, scv, busy, wait):
    """The number that is found keeps both promises, and one less breaks one of them."""
    asked = {"arrivals_per_second": rate, "service_seconds": seconds, "service_scv": scv}
    found = servers_for(**asked, utilisation=busy, share=0.95, wait_seconds=wait)
    assert found.utilisation <= busy * (1 + 1e-9)
    assert found.wait_seconds(0.95) <= wait
    if found.servers > 1:
        fewer = Queue(servers=found.servers - 1, **asked)
        assert fewer.utilisation > busy or fewer.wait_seconds(0.95) > wait


def test_no_number_of_servers_is_refused_in_words():
    """What no number of workers can do says so instead of counting for ever."""
    with pytest.raises(ValueError, match="more than 10,000,000 workers"):
        servers_for(
            arrivals_per_second=1e9, service_seconds=1, service_scv=1, utilisation=0.7, share=0.95, wait_seconds=1
        )


def test_what_is_no_share_is_refused():
    """A percentile is a share of all, and a queue has servers."""
    with pytest.raises(ValueError, match="below 1"):
        Queue(servers=1, arrivals_per_second=0.5, service_seconds=1).wait_seconds(95)
    with pytest.raises(ValueError, match="server"):
        erlang_c(0, 1)
    with pytest.raises(ValueError, match="negative"):
        erlang_b(1, -1)
