"""What a rate of uploads needs of each part, how busy it is then, and at which rate each part is full.

Every load is linear in the rates, and every unit cost is measured (`costs`); what a part can take is its cores, its
memory, or the one process that it is. So the rate at which a part is full, with everything else as it is, is one
division. What this leaves out is said in docs/capacity.md.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from project.capacity.costs import Costs, KindCosts
from project.capacity.notation import SECONDS_OF_DAY
from project.capacity.queueing import PERCENTILES, Queue, servers_for


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What is asked of the service; rates a second."""

    uploads: float
    mix: Mapping[str, float]  # shares by kind, together 1
    sizes: Mapping[str, float] = field(
        default_factory=dict
    )  # mean bytes by kind; the measured samples' where not given
    readers: int = 0  # sockets and streams open at once
    feeds: int = 1  # separate ones, an owner's each, and each reader of one; the service as it is has one for all
    polls: float = 0.0  # of lists that have not changed, answered 304
    lists: float = 0.0  # of 50 files
    downloads: float = 0.0  # of the mean size, through `web`
    retention_days: float | None = None  # None: nothing is deleted


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """How it is deployed, and how full a part may be."""

    utilisation: float = 0.7  # of cores and workers
    wait_share: float = 0.95
    wait_seconds: float = 1.0  # what that share of files may wait for a worker
    dispatchers: int = 1  # more than one is a change of the service
    node_cores: int = 4
    worker_processes: int = 2  # of one worker
    database_threads: int = 4  # of one web process
    database_cores: int = 4
    database_connections: int = 97  # PostgreSQL's default of 100, less those kept for its owner
    redis_bytes: float = 768 * 1024 * 1024
    feed_events: int = 100_000
    remembered_seconds: float = 6 * 3600.0  # a file's place in the feed, after its last event


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part: how many of it, how busy each is, and the uploads a second at which it would be full.

    `alone` parts do not get faster by running more of them: their `full_at` is the service's limit.
    """

    name: str
    unit: str  # what `needed` counts, one of it
    needed: int
    utilisation: float
    full_at: float
    alone: bool
    core_seconds: float = 0.0  # a second
    memory_bytes: float = 0.0
    seen_by: str = ""


@dataclass(frozen=True, kw_only=True)
class KindPlan:
    """What the files of one kind take."""

    share: float
    mean_bytes: float
    service_seconds: float
    core_seconds: float  # a second, of all workers
    beyond_samples: bool  # the size is more than was measured


@dataclass(frozen=True, kw_only=True)
class Waits:
    """How long files wait for a worker, by the formula."""

    workers: int
    utilisation: float
    service_seconds: float
    service_scv: float
    waiting_probability: float
    mean_seconds: float
    percentile_seconds: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The whole answer."""

    demand: Demand
    deployment: Deployment
    machine: str
    date: str
    parts: tuple[Part, ...]
    kinds: Mapping[str, KindPlan]
    waits: Waits
    nodes: Mapping[str, int]
    connections: Mapping[str, int]
    redis_commands: float
    redis_memory: Mapping[str, float]
    growth_bytes_a_day: Mapping[str, float]
    kept_bytes: Mapping[str, float] | None  # at the end of the retention, where there is one
    network_bytes: Mapping[str, float]  # a second
    drivers: Mapping[str, float]  # shares of all core-seconds, greatest first

    @property
    def first(self) -> Part:
        """The part that breaks first when the uploads grow and what can be multiplied is."""
        return min((part for part in self.parts if part.alone), key=lambda part: part.full_at)


def plan(demand: Demand, deployment: Deployment, costs: Costs) -> Plan:
    """What this demand needs. Raises ValueError when no number of workers would do."""
    kinds = {kind: _kind(demand, kind, share, costs) for kind, share in demand.mix.items()}
    mean_bytes = sum(kind.share * kind.mean_bytes for kind in kinds.values())
    queue = _queue(demand, deployment, costs, kinds)
    web = _web(demand, deployment, costs, mean_bytes)
    live = _live(demand, deployment, costs)
    worker = _worker(demand, deployment, costs, kinds, queue)
    dispatcher = _dispatcher(demand, deployment, costs)
    workers_nodes = math.ceil(worker.needed / deployment.worker_processes)
    connections = {
        "web": web.needed * (deployment.database_threads + 1),
        "worker": worker.needed,
        "dispatcher": workers_nodes,  # each worker brings one; those that stand by keep theirs open
    }
    redis_memory = _redis_memory(demand, deployment, costs, queue)
    redis = _redis(demand, costs, redis_memory)
    database = _database(demand, deployment, costs, connections)
    growth = {
        "files": demand.uploads * mean_bytes,
        "derived": demand.uploads * sum(kind.share * costs.kinds[name].derived_bytes for name, kind in kinds.items()),
        "database": demand.uploads
        * (
            costs.database_row_beside_bytes
            + sum(kind.share * costs.kinds[name].row_bytes for name, kind in kinds.items())
        ),
        "write-ahead log": demand.uploads * (costs.wal_upload_bytes + costs.wal_file_bytes),
    }
    a_day = {name: a_second * SECONDS_OF_DAY for name, a_second in growth.items()}
    kept = None
    if demand.retention_days is not None:
        kept = {name: found * demand.retention_days for name, found in a_day.items() if name != "write-ahead log"}
    events = demand.uploads * costs.file_events
    parts = (
        web,
        live,
        dispatcher,
        worker,
        database,
        _connections(demand, deployment, connections, web, _web_beside_uploads(demand, costs, mean_bytes), queue),
        redis,
        _redis_room(demand, deployment, costs, redis_memory),
        _feed(demand, costs),
    )
    return Plan(
        demand=demand,
        deployment=deployment,
        machine=costs.machine,
        date=costs.date,
        parts=parts,
        kinds=kinds,
        waits=Waits(
            workers=queue.servers,
            utilisation=queue.utilisation,
            service_seconds=queue.service_seconds,
            service_scv=queue.service_scv,
            waiting_probability=queue.waiting_probability,
            mean_seconds=queue.mean_wait_seconds,
            percentile_seconds={f"p{share * 100:g}": queue.wait_seconds(share) for share in PERCENTILES},
        ),
        nodes={
            part.name: math.ceil(part.needed / deployment.node_cores) for part in (web, live, worker) if part.needed
        },
        connections=connections,
        redis_commands=demand.uploads * costs.redis_file_commands + costs.redis_idle_commands,
        redis_memory=redis_memory,
        growth_bytes_a_day=a_day,
        kept_bytes=kept,
        network_bytes={
            "uploads in": demand.uploads * mean_bytes,
            "downloads out": demand.downloads * mean_bytes,
            "lists out": demand.lists * costs.list_bytes,
            "frames out": events * demand.readers / demand.feeds * costs.frame_bytes,
            "announcements, Redis to live": events
            * costs.frame_bytes
            * min(live.needed, demand.readers / demand.feeds),
            "files, storage to workers": demand.uploads * mean_bytes,
        },
        drivers=_drivers(parts, kinds),
    )


# --- each part -----------------------------------------------------------------------------------------------


def _kind(demand: Demand, kind: str, share: float, costs: Costs) -> KindPlan:
    found: KindCosts = costs.kinds[kind]
    size = demand.sizes.get(kind, found.mean_bytes)
    return KindPlan(
        share=share,
        mean_bytes=size,
        service_seconds=found.seconds.at(size) + costs.worker_between_files,
        core_seconds=demand.uploads * share * found.core_seconds.at(size),
        beyond_samples=size > found.most_bytes,
    )


def _queue(demand: Demand, deployment: Deployment, costs: Costs, kinds: Mapping[str, KindPlan]) -> Queue:
    """The workers' queue: as many of them as keep both promises."""
    mean = sum(kind.share * kind.service_seconds for kind in kinds.values())
    square = sum(kind.share * kind.service_seconds**2 * (1 + costs.kinds[name].scv) for name, kind in kinds.items())
    return servers_for(
        arrivals_per_second=demand.uploads,
        service_seconds=mean,
        service_scv=max(0.0, square / mean**2 - 1),
        utilisation=deployment.utilisation,
        share=deployment.wait_share,
        wait_seconds=deployment.wait_seconds,
    )


def _web(demand: Demand, deployment: Deployment, costs: Costs, mean_bytes: float) -> Part:
    mib = mean_bytes / (1024 * 1024)
    upload = costs.web_upload + costs.web_upload_mib * mib
    others = _web_beside_uploads(demand, costs, mean_bytes)
    core_seconds = demand.uploads * upload + others
    needed = max(1, math.ceil(core_seconds / deployment.utilisation))
    return Part(
        name="web",
        unit="process",
        needed=needed,
        utilisation=core_seconds / needed,
        full_at=max(0.0, (needed - others) / upload),
        alone=False,
        core_seconds=core_seconds,
        memory_bytes=needed * costs.web_process_bytes,
        seen_by="its core; 503 `busy`",
    )


def _web_beside_uploads(demand: Demand, costs: Costs, mean_bytes: float) -> float:
    """What polls, lists and downloads take of a core."""
    return (
        demand.polls * costs.web_poll
        + demand.lists * costs.web_list
        + demand.downloads * (costs.web_download + costs.web_download_mib * mean_bytes / (1024 * 1024))
    )


def _live(demand: Demand, deployment: Deployment, costs: Costs) -> Part:
    """Each process hears every event of its readers' feeds: more processes do not make it hear less of one feed."""
    if not demand.readers:
        return Part(name="live", unit="process", needed=0, utilisation=0.0, full_at=math.inf, alone=False)
    events = demand.uploads * costs.file_events

    def load_of(processes: int) -> float:
        """What one upload's events take of one of so many processes, by its share of readers."""
        readers = demand.readers / processes
        heard = min(1.0, max(1.0, readers) / demand.feeds)
        return costs.live_event * heard + costs.live_frame * readers / demand.feeds

    few, most = 1, demand.readers
    if events * load_of(most) > deployment.utilisation:  # no number is enough: as many as the sending alone would take
        sending = events * costs.live_frame * demand.readers / demand.feeds
        few = most = min(most, max(1, math.ceil(sending / deployment.utilisation)))
    while few < most:  # the fewest that are not too busy
        middle = (few + most) // 2
        if events * load_of(middle) <= deployment.utilisation:
            most = middle
        else:
            few = middle + 1
    load = load_of(few)
    return Part(
        name="live",
        unit="process",
        needed=few,
        utilisation=events * load,
        full_at=1 / (costs.file_events * load),
        alone=False,
        core_seconds=events * load * few,
        memory_bytes=few * costs.live_process_bytes + demand.readers * costs.live_socket_bytes,
        seen_by="its core; the time from a 201 to its frame",
    )


def _feed(demand: Demand, costs: Costs) -> Part:
    """What one process can hear of one feed at all, before it sends anything."""
    events = demand.uploads * costs.file_events / demand.feeds
    return Part(
        name="a feed",
        unit="stream",
        needed=demand.feeds,
        utilisation=events * costs.live_event if demand.readers else 0.0,
        full_at=demand.feeds / (costs.file_events * costs.live_event) if demand.readers else math.inf,
        alone=True,
        seen_by="every `live` core at once; frames late",
    )


def _worker(demand: Demand, deployment: Deployment, costs: Costs, kinds: Mapping[str, KindPlan], queue: Queue) -> Part:
    parents = math.ceil(queue.servers / deployment.worker_processes)
    child = max(costs.kinds[kind].peak_bytes for kind in kinds)
    return Part(
        name="worker",
        unit="process",
        needed=queue.servers,
        utilisation=queue.utilisation,
        full_at=queue.servers / queue.service_seconds,
        alone=False,
        core_seconds=sum(kind.core_seconds for kind in kinds.values()),
        memory_bytes=queue.servers * (costs.worker_process_bytes + child)
        + parents * (costs.worker_parent_bytes + costs.dispatcher_process_bytes),
        seen_by="`queue.oldest_seconds` in /readyz",
    )


def _dispatcher(demand: Demand, deployment: Deployment, costs: Costs) -> Part:
    full_at = deployment.dispatchers * costs.dispatcher_messages_per_second
    return Part(
        name="dispatcher",
        unit="leader",
        needed=deployment.dispatchers,
        utilisation=demand.uploads / full_at,
        full_at=full_at,
        alone=True,
        core_seconds=demand.uploads * costs.dispatcher_message,
        memory_bytes=deployment.dispatchers * costs.dispatcher_process_bytes,
        seen_by="`queued` rows without `dispatched_at`",
    )


def _database(demand: Demand, deployment: Deployment, costs: Costs, connections: Mapping[str, int]) -> Part:
    upload = costs.database_upload + costs.database_file
    others = demand.polls * costs.database_poll + demand.lists * costs.database_list
    core_seconds = demand.uploads * upload + others
    return Part(
        name="database, cores",
        unit="core",
        needed=math.ceil(core_seconds / deployment.utilisation),
        utilisation=core_seconds / deployment.database_cores,
        full_at=max(0.0, (deployment.database_cores - others) / upload),
        alone=True,
        core_seconds=core_seconds,
        memory_bytes=sum(connections.values()) * costs.database_connection_bytes,
        seen_by="its cores; slower 201s",
    )


def _connections(
    demand: Demand, deployment: Deployment, connections: Mapping[str, int], web: Part, beside: float, queue: Queue
) -> Part:
    """Full at the rate for which `web` and `worker` would have so many processes: both grow with it, by fractions.

    What `web` does beside uploads (`beside`, of a core) does not.
    """
    used = sum(connections.values())
    share = deployment.utilisation  # of a process, that is to be busy
    of_a_core = (deployment.database_threads + 1) / share  # of `web`
    of_web = of_a_core * (web.core_seconds - beside) / demand.uploads
    of_workers = (1 + 1 / deployment.worker_processes) * queue.service_seconds / share
    return Part(
        name="database, connections",
        unit="connection",
        needed=used,
        utilisation=used / deployment.database_connections,
        full_at=max(0.0, deployment.database_connections - of_a_core * beside) / (of_web + of_workers),
        alone=True,
        seen_by="503 `database_unavailable`",
    )


def _redis_memory(demand: Demand, deployment: Deployment, costs: Costs, queue: Queue) -> dict[str, float]:
    """What lies in Redis: the last events, each file's place in the feed for as long as it is kept, and the queue."""
    places = demand.uploads * deployment.remembered_seconds * costs.redis_file_bytes
    waiting = demand.uploads * queue.wait_seconds(0.99) if queue.utilisation < 1 else 0.0
    return {
        "server": costs.redis_process_bytes,
        "events": deployment.feed_events * costs.redis_event_bytes,
        "places of files in the feed": places,
        "queue": waiting * costs.redis_message_bytes,
    }


def _redis(demand: Demand, costs: Costs, memory: Mapping[str, float]) -> Part:
    core_seconds = demand.uploads * costs.redis_file
    return Part(
        name="Redis, core",
        unit="core",
        needed=1,
        utilisation=core_seconds,
        full_at=1 / costs.redis_file,
        alone=True,
        core_seconds=core_seconds,
        memory_bytes=sum(memory.values()),
        seen_by="`used_cpu_…` of INFO; frames late",
    )


def _redis_room(demand: Demand, deployment: Deployment, costs: Costs, memory: Mapping[str, float]) -> Part:
    used = sum(memory.values())
    fixed = memory["server"] + memory["events"]
    per_upload = (used - fixed) / demand.uploads
    return Part(
        name="Redis, memory",
        unit="server",
        needed=math.ceil(used / deployment.redis_bytes),
        utilisation=used / deployment.redis_bytes,
        full_at=max(0.0, (deployment.redis_bytes - fixed) / per_upload),
        alone=True,
        seen_by="`used_memory` of INFO; files stay `queued`",
    )


def _drivers(parts: tuple[Part, ...], kinds: Mapping[str, KindPlan]) -> dict[str, float]:
    """Who takes the cores."""
    found = {
        part.name.split(",")[0]: part.core_seconds for part in parts if part.core_seconds and part.name != "worker"
    }
    found |= {f"worker: {name}": kind.core_seconds for name, kind in kinds.items()}
    total = sum(found.values())
    return {name: spent / total for name, spent in sorted(found.items(), key=lambda item: -item[1])}
