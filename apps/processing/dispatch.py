"""The dispatcher: the only sender of Celery messages, a process of its own beside the worker.

The rows say what waits; it publishes their events, sends their messages, and notes both. It may die between any two
of these steps: what was not noted is done again, an event published twice is one event (the stream knows its number),
and a message sent twice is one attempt (the claim is conditional).

It also sweeps (`sweep`). Only one dispatcher leads at a time; a second one stands by.
"""

import logging
import time
import uuid
from collections.abc import Callable, Sequence

import redis
from celery import Celery
from django.conf import settings
from django.db import connection
from kombu.exceptions import BatchPublishError, OperationalError

from apps.events import connections, publish
from apps.files import lifecycle
from apps.files.context import about
from apps.files.errors import DatabaseAway
from apps.files.models import File
from apps.files.threads import connected
from apps.processing.sweep import BATCH_FILES, QUEUE, Sweeper
from apps.processing.wake import CHANNEL

logger = logging.getLogger(__name__)

TASK = "filewire.process"
LEADER = "filewire:dispatcher"
LEADER_SECONDS = 5.0
POLL_SECONDS = 1.0
PAUSE_SECONDS = 0.5
PACE_SECONDS = 0.01
"""So long after something was sent it is noted, and what came meanwhile is sent together.

A turn costs about a millisecond whatever it sends: while uploads follow one another, ten a turn cost a tenth each. And
a worker that is free has claimed its file by then, so that nothing is left to note.
"""
AWAY = (*connections.AWAY, OperationalError, BatchPublishError, DatabaseAway)

# KEYS: leader. ARGV: name, milliseconds. Takes or keeps the lead; returns whether it is ours.
LEAD = """
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
# KEYS: leader. ARGV: name. Gives the lead up, if it is ours.
RESIGN = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class Dispatcher:
    """Runs until it is stopped; every method may be called again after any failure."""

    def __init__(self, app: Celery, beat: Callable[[], None] = lambda: None) -> None:
        """`beat` is called in every round, of which there is one a second at least."""
        self._app = app
        self._beat = beat
        self._name = uuid.uuid4().hex
        self._stopping = False
        self._sweeper = Sweeper(app, self._send)
        self._swept_at = 0.0
        self._ask_at = 0.0
        self._away = False

    def stop(self) -> None:
        """Ask the run to end; safe in a signal handler."""
        # A flag, and no Event: its lock may be held by the very thread that the signal interrupts.
        self._stopping = True

    def run(self) -> None:
        """Dispatch and sweep until stopped, whatever is away meanwhile."""
        while not self._stopping:
            try:
                with connections.sync_client().pubsub(ignore_subscribe_messages=True) as words:  # type: ignore[no-untyped-call]
                    words.subscribe(CHANNEL)
                    while not self._stopping:
                        self._beat()
                        more = self.turn()
                        if not more:
                            self._wait(words)
            except Exception as error:
                self._ask_at = 0.0  # Redis may have forgotten whose the lead is
                self._report(error)
                self._beat()
                time.sleep(PAUSE_SECONDS)
        self._resign()
        connection.close()

    def _report(self, error: Exception) -> None:
        if not isinstance(error, AWAY):
            logger.error("the dispatcher stumbled", exc_info=error)
        elif not self._away:
            # Of a batch it is told only that it failed; why is behind it.
            logger.warning("the broker or the database is away: %s", type(error.__cause__ or error).__name__)
        self._away = True

    def _wait(self, words: redis.client.PubSub) -> None:
        """Return when something was said, or after a poll's time; all that was said meanwhile counts once."""
        if words.get_message(timeout=POLL_SECONDS) is not None:
            while words.get_message(timeout=0) is not None:
                pass

    def turn(self) -> bool:
        """One round, if we lead; True when there is more to send at once. Raises what is away."""
        if not self._lead():
            return False
        with connected():
            sent = self.send()
            self.bury()
            now = time.monotonic()
            if now - self._swept_at >= settings.FILEWIRE_SWEEP_SECONDS:
                self._swept_at = now
                self._sweeper.sweep()
        if self._away:
            logger.info("the dispatcher goes on")
            self._away = False
        return sent == BATCH_FILES

    def _lead(self) -> bool:
        """Whether the lead is ours, for far longer than until it is asked for again."""
        now = time.monotonic()
        if now >= self._ask_at:
            lead = connections.sync_client().register_script(LEAD)
            if not lead(keys=[LEADER], args=[self._name, int(LEADER_SECONDS * 1000)]):
                return False
            self._ask_at = now + LEADER_SECONDS / 5
        return True

    def _resign(self) -> None:
        self._ask_at = 0.0
        try:
            connections.sync_client().register_script(RESIGN)(keys=[LEADER], args=[self._name])
        except connections.AWAY:
            logger.debug("the lead runs out by itself")

    # --- sending ---------------------------------------------------------------------------------------------

    def send(self) -> int:
        """Publish and send what waits and was never sent; how many files were sent. Raises what is away."""
        return self._send(lifecycle.undispatched(BATCH_FILES))

    def _send(self, files: Sequence[File]) -> int:
        if not files or not publish.pending(*files):  # `queued` goes out before anything a worker says of the file
            return 0
        with (
            self._app.producer_pool.acquire(block=True, timeout=settings.REDIS_CONNECT_SECONDS) as producer,
            producer.batch(BATCH_FILES),  # one round trip for so many; where it breaks off, all are sent again
        ):
            for number, file in enumerate(files):
                self._app.send_task(
                    TASK,
                    args=(str(file.id), file.attempt),
                    task_id=f"{file.id}.{file.attempt}",
                    producer=producer,
                    queue=QUEUE,
                    declare=[] if number else None,  # the queue, with the first: an eighth of what a message costs
                    retry=False,
                    ignore_result=True,
                )
        if len(files) < BATCH_FILES:
            time.sleep(PACE_SECONDS)
        lifecycle.dispatched(files)
        return len(files)

    def bury(self) -> None:
        """Publish the last event of each deleted file, then remove what is left of it. Raises what is away."""
        for file in lifecycle.deleted(BATCH_FILES):
            with about(file=file.id, request=file.request_id):
                if not publish.pending(file):
                    return
                try:
                    lifecycle.bury(file)
                except OSError:
                    logger.warning("the bytes of a deleted file cannot be removed yet", exc_info=True)
