"""How long files wait for one of c workers.

M/M/c is Erlang's: A. K. Erlang, "Solution of some problems in the theory of probabilities of significance in automatic
telephone exchanges" (1917). M/G/c and G/G/c have no closed form; here is the approximation of Allen and Cunneen
(A. O. Allen, "Probability, Statistics, and Queueing Theory with Computer Science Applications", 2nd edition, Academic
Press 1990), which is Kingman's for c = 1 (J. F. C. Kingman, "The single server queue in heavy traffic", 1961): the mean
wait of M/M/c times half the sum of the squared coefficients of variation of the times between arrivals and of the
service. Kingman's heavy-traffic limit makes the wait of those who wait exponential; the percentiles rest on
that. It is exact for M/M/c and an estimate for anything else. The formulas hold for a queue that has been running at
one rate for long: not for a burst, and not for the hour after one.
"""

import math
from dataclasses import dataclass
from typing import Final

MOST_SERVERS: Final = 10_000_000
PERCENTILES: Final = (0.5, 0.95, 0.99)


def erlang_b(servers: int, offered: float) -> float:
    """The share of calls that find all servers busy where nobody waits; `offered` in erlangs (rate by service time)."""
    if servers < 0 or offered < 0:
        raise ValueError("servers and offered load cannot be negative")
    blocked = 1.0
    for number in range(1, servers + 1):  # the recursion that does not overflow, however many there are
        blocked = offered * blocked / (number + offered * blocked)
    return blocked


def erlang_c(servers: int, offered: float) -> float:
    """The probability that an arrival has to wait in M/M/c; 1 where the load is more than the servers can do."""
    if servers < 1:
        raise ValueError("there must be a server")
    if offered >= servers:
        return 1.0
    blocked = erlang_b(servers, offered)
    return blocked / (1.0 - offered / servers * (1.0 - blocked))


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A queue in front of equal servers; times in seconds, `scv` are squared coefficients of variation."""

    servers: int
    arrivals_per_second: float
    service_seconds: float
    service_scv: float = 1.0
    arrival_scv: float = 1.0

    @property
    def offered(self) -> float:
        """Erlangs: how many servers would be busy, if there were enough."""
        return self.arrivals_per_second * self.service_seconds

    @property
    def utilisation(self) -> float:
        """The share of the time that a server is busy; 1 or more has no end to its queue."""
        return self.offered / self.servers

    @property
    def variability(self) -> float:
        """Allen and Cunneen's factor: 1 for M/M/c, a half for service times that are all the same."""
        return (self.arrival_scv + self.service_scv) / 2

    @property
    def waiting_probability(self) -> float:
        """How likely it is that a file finds every server busy."""
        return erlang_c(self.servers, self.offered)

    @property
    def _relief_per_second(self) -> float:
        """What the servers can do beyond what comes, in files a second."""
        return self.servers / self.service_seconds - self.arrivals_per_second

    @property
    def mean_wait_seconds(self) -> float:
        """The mean wait of all, of those who need not wait too; infinite at a utilisation of 1."""
        if not self.offered:
            return 0.0
        if self.utilisation >= 1:
            return math.inf
        return self.waiting_probability * self.variability / self._relief_per_second

    def wait_seconds(self, share: float) -> float:
        """The wait that this share of all files does not exceed: 0.95 for the 95th percentile."""
        if not 0 <= share < 1:
            raise ValueError("a percentile is a share of all, below 1")
        if not self.offered:
            return 0.0
        if self.utilisation >= 1:
            return math.inf
        waiting = self.waiting_probability
        if waiting <= 1 - share:
            return 0.0
        return math.log(waiting / (1 - share)) * self.variability / self._relief_per_second


def servers_for(
    *,
    arrivals_per_second: float,
    service_seconds: float,
    service_scv: float,
    utilisation: float,
    share: float,
    wait_seconds: float,
) -> Queue:
    """The smallest queue whose servers are at most so busy, and where this share waits at most so long.

    Raises ValueError when more than ten million servers would be needed.
    """

    def queue(servers: int) -> Queue:
        return Queue(
            servers=servers,
            arrivals_per_second=arrivals_per_second,
            service_seconds=service_seconds,
            service_scv=service_scv,
        )

    def is_enough(servers: int) -> bool:
        found = queue(servers)
        return found.utilisation <= utilisation and found.wait_seconds(share) <= wait_seconds

    few = max(1, math.ceil(arrivals_per_second * service_seconds / utilisation - 1e-9))
    if few > MOST_SERVERS:
        raise ValueError(f"more than {MOST_SERVERS:,} workers would be needed")
    many = few
    while not is_enough(many):
        many *= 2
    while few < many:
        middle = (few + many) // 2
        if is_enough(middle):
            many = middle
        else:
            few = middle + 1
    return queue(many)
