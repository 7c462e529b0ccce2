"""The Celery application. Each line has its reason beside it."""

import contextlib
import logging
import os
import signal
import socket
import warnings
from typing import Any

from celery import Celery, signals
from celery.exceptions import CPendingDeprecationWarning
from django.conf import settings
from kombu import Connection
from kombu.transport import redis as redis_transport
from redis.exceptions import ConnectionError as RedisConnectionError

from project import pulse

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

# Celery warns a worker that runs as root, because of pickled messages; this one takes JSON alone (see below), and the
# container does not run as root.
warnings.filterwarnings("ignore", message="You're running the worker with superuser privileges")

# … and at each lost connection it warns of a default that changes in Celery 6; ours is set below.
warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)

# Between two tries to reach a broker that is away. Kombu's own waits grow to 30 s, and Celery has no setting
# for them: files would wait that much longer than Redis was away.
RETRY_SECONDS = 2

logger = logging.getLogger(__name__)

app = Celery("filewire")


class Channel(redis_transport.Channel):
    """A channel of kombu's that says so when its connection is gone.

    Kombu 5.7 asks a closed connection for its address then, when it gives unfinished messages back or acknowledges one.
    Celery takes the AttributeError for its own end: no new file was begun until all that ran was over.
    """

    _kept: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        """The client on this channel's pool: one for all messages, where kombu makes one for each."""
        if asynchronous:
            return super()._create_client(asynchronous)
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = super()._create_client()
        return self._kept

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        if self.connection is None or self.connection.client is None:
            raise RedisConnectionError("the channel's connection is closed")
        return dict(super()._connparams(asynchronous))


redis_transport.Transport.Channel = Channel


class PromptConnection(Connection):
    """A connection to the broker that is tried again soon, however long the broker has been away."""

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Return when there is a connection."""
        return super().ensure_connection(*args, **{"interval_max": RETRY_SECONDS, **kwargs})


def broker_url(redis_url: str) -> str:
    """The Redis URL as kombu spells it: a Unix socket's scheme differs."""
    return redis_url.replace("unix://", "redis+socket://", 1)


def configure(celery: Celery) -> None:
    """Set the application up from Django's settings."""
    limit = settings.FILEWIRE_PROCESSING_SECONDS
    celery.amqp.Connection = PromptConnection
    celery.conf.update(
        broker_url=broker_url(settings.REDIS_URL),
        # The row has the outcome; results in Redis would be written for nobody.
        result_backend=None,
        task_ignore_result=True,
        task_default_queue="filewire",
        task_serializer="json",
        accept_content=["json"],
        # A message is acknowledged when its attempt is over; one whose worker died is given to another, where the
        # claim decides whether there is anything left to do.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        # Celery's Django part closes the database's connection before and after every task, and a new one costs the
        # database some 5 ms. Ours is looked at where it is used (`files.threads.connected`), so it is kept; the name is
        # of the old sort, and the only one it has.
        CELERY_DB_REUSE_MAX=10_000,
        # One message a process: a long file does not hold back those behind it.
        worker_prefetch_multiplier=1,
        # Longer than any attempt can take, or Redis would hand a running one out a second time. (It would be a message
        # for nothing: the claim decides.) What a dead worker had reserved is sent again long before, by the sweep.
        broker_transport_options={
            "visibility_timeout": settings.FILEWIRE_VISIBILITY_SECONDS,
            # Look for such messages every 10 s; by default kombu does every 100.
            "unacked_restore_throttle": 1,
            "socket_connect_timeout": settings.REDIS_CONNECT_SECONDS,
            # Longer than the 1 s that a worker's BRPOP waits, or idle workers would lose their connection.
            # Without one, an acknowledgement into a connection that is silently dead would wait for ever.
            "socket_timeout": 10.0,
            # … and such a connection under a BRPOP is left within a minute: kombu looks this often.
            "socket_keepalive": True,
            "health_check_interval": 25,
            # Whoever sends decides whether to send again: the dispatcher, from the rows.
            "retry_on_timeout": False,
        },
        # For all tries of one send together.
        broker_connection_timeout=settings.REDIS_CONNECT_SECONDS,
        # A worker may start before its broker, and outlive it, by however much (see `PromptConnection`).
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # What runs when the broker is lost goes on; its claim, not its message, makes it ours.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # A child's own clock ends it (`apps.processing.sandbox`). This is for a process of ours that hangs itself, on a
        # storage that does not answer, say: it is killed, and the lease it held runs out.
        task_time_limit=limit + 30,
        # At SIGTERM, which REMAP_SIGTERM makes a SIGQUIT (`manage.py worker`): no new messages, and this long for what
        # runs before it is put back.
        worker_soft_shutdown_timeout=8.0,
        worker_enable_soft_shutdown_on_idle=False,
        # Whatever leaks, a fresh process now and then keeps memory flat; strangers' files are opened by others.
        worker_max_tasks_per_child=10_000,
        worker_max_memory_per_child=400_000,  # KiB
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        enable_utc=True,
    )
    celery.autodiscover_tasks(["apps.processing"])


configure(app)


# --- isolation: each of the worker's processes has a sandbox beside it ---------------------------------------------


def _open_sandbox(**_: Any) -> None:
    from apps.processing.run import isolation

    _roll.answer_from_thread()
    isolation.start()


def _close_sandbox(**_: Any) -> None:
    from apps.processing.run import isolation

    isolation.stop()


_roll = pulse.Roll()


def _show_life(**_: Any) -> None:
    pulse.beat_from_thread()
    pulse.each_beat(_end_hung, "hung")


def _end_hung() -> None:
    """Kill those of Celery's processes that have hung: it starts others, and what they worked on is queued again.

    Its own limit ends only one that has begun a task, and only when that takes too long.
    """
    for pid in _roll.silent(round(settings.FILEWIRE_HANG_SECONDS / pulse.BEAT_SECONDS)):
        logger.error("process %d has not shown life for %g s and is killed", pid, settings.FILEWIRE_HANG_SECONDS)
        _roll.strike(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


signals.worker_init.connect(_show_life)  # in Celery's first process; a forked one has no thread of it
signals.worker_process_init.connect(_open_sandbox)
signals.worker_process_shutdown.connect(_close_sandbox)


# --- presence: `readyz` counts the workers that say they are there ----------------------------------------------


def _worker_name(sender: Any) -> str:
    """The name of a consumer, or of the heart that beats for one."""
    hostname = getattr(sender, "hostname", None) or getattr(getattr(sender, "eventer", None), "hostname", None)
    return str(hostname or socket.gethostname())


_leaving = False


def _announce(sender: Any = None, **_: Any) -> None:
    from apps.events import connections
    from apps.processing import presence

    if _leaving:  # the heart beats on while the last files are finished
        return
    try:
        presence.announce(connections.sync_client(), _worker_name(sender))
    except connections.AWAY:
        return  # it is said again in two seconds


def _leave(sender: Any = None, **_: Any) -> None:
    from apps.events import connections
    from apps.processing import presence

    global _leaving
    _leaving = True
    try:
        presence.leave(connections.sync_client(), str(sender))
    except connections.AWAY:
        return  # it is believed for a few seconds more


signals.worker_ready.connect(_announce)
signals.heartbeat_sent.connect(_announce)
signals.worker_shutting_down.connect(_leave)
