"""Celery's configuration: every name is one that it knows, and what no setting can say holds too."""

import time

import pytest
from celery import Celery
from celery.app.defaults import DEFAULTS
from celery.fixups.django import DjangoWorkerFixup
from django.db import connection
from kombu.exceptions import OperationalError
from kombu.transport.redis import Channel

from project.celery import RETRY_SECONDS, configure
from tests.ports import free_port


@pytest.fixture
def application(settings) -> Celery:
    """One that is configured as ours is, with nobody at its broker's address."""
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    celery = Celery("of a test", set_as_current=False)
    configure(celery)
    return celery


def test_every_setting_is_one_that_celery_has(application):
    """A name that Celery or kombu does not know would be taken without a word, and do nothing."""
    # The one name that Celery's Django part reads by itself is held by what it does, below.
    names = set(application.conf.changes) - {"deprecated_settings"}
    assert len(names) > 20
    assert names <= {*DEFAULTS, "CELERY_DB_REUSE_MAX"}
    assert set(application.conf.broker_transport_options) <= set(Channel.from_transport_options)


def test_a_message_is_invisible_for_longer_than_any_attempt(application, settings):
    """Or Redis would give it to a second worker while the first one works."""
    assert application.conf.task_time_limit > settings.FILEWIRE_PROCESSING_SECONDS
    visible_after = application.conf.broker_transport_options["visibility_timeout"]
    assert visible_after == settings.FILEWIRE_VISIBILITY_SECONDS > application.conf.task_time_limit


def test_a_channel_whose_connection_is_gone_says_so(application):
    """As an error that Celery knows: another would end its consumer, and with it all work but what runs."""
    with application.connection_for_read() as connection:
        known = connection.recoverable_connection_errors
        transport = connection.transport
        channel = object.__new__(transport.Channel)
        channel.connection = transport
        transport.client = None
        with pytest.raises(known):
            channel._connparams()


def test_a_broker_that_is_away_is_tried_again_soon(application):
    """The waits between two tries do not grow: a worker is back as soon as its broker is."""
    waits: list[float] = []
    began = time.monotonic()
    with application.connection_for_read() as connection, pytest.raises(OperationalError):
        connection.ensure_connection(lambda _, seconds: waits.append(seconds), max_retries=2)
    assert waits == [RETRY_SECONDS] * 2  # kombu's own would be 2, 4, 6 …
    assert time.monotonic() - began < 2 * RETRY_SECONDS + 3


@pytest.mark.django_db(transaction=True)
def test_the_connection_to_the_database_outlives_a_task(application):
    """Celery's Django part closes it around every task, unless it is told not to: a new one costs the database 5 ms."""
    fixup = DjangoWorkerFixup(application)
    connection.ensure_connection()
    kept = connection.connection
    for _ in range(20):
        fixup.close_database()
    assert connection.connection is kept
    fixup._close_database()
    assert connection.connection is None
