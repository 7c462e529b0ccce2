"""`manage.py capacity`: what a rate of uploads needs, from measured costs. See docs/capacity.md."""

import argparse
import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from apps.events import stream
from project.capacity import costs, notation, report
from project.capacity.model import Demand, Deployment, plan
from project.capacity.notation import BadInput

DEFAULT = Deployment()
MOST, LEAST = 1e9, 1e-6


class Command(BaseCommand):
    """Prints a plan."""

    help = "Compute nodes, memory, connections, growth, waits and the first limit for a rate of uploads."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The demand, then the deployment. All are text here: what is wrong with one is said in words."""
        demand = parser.add_argument_group("demand")
        demand.add_argument("--uploads-per-second", required=True, help="at the busiest time that must be held")
        demand.add_argument("--mix", required=True, help="shares by kind: image=0.5,document=0.3,text=0.2")
        demand.add_argument("--mean-size", help="2MiB, or by kind: image=3MiB,text=20kB (default: the samples')")
        demand.add_argument("--readers", default="0", help="sockets and streams open at once")
        demand.add_argument(
            "--feeds", default="1", help="one an owner instead of one for all (a change of the service)"
        )
        demand.add_argument("--polls-per-second", default="0", help="lists asked for that have not changed (304)")
        demand.add_argument("--lists-per-second", default="0", help="lists of 50 files")
        demand.add_argument("--downloads-per-second", default="0", help="contents of the mean size, through web")
        demand.add_argument("--retention-days", help="until a file is deleted (default: never)")
        deployment = parser.add_argument_group("deployment")
        deployment.add_argument("--utilisation", default=f"{DEFAULT.utilisation}", help="how busy a core may be")
        deployment.add_argument(
            "--wait-seconds", default=f"{DEFAULT.wait_seconds:g}", help="what 95 %% of files may wait for a worker"
        )
        deployment.add_argument("--dispatchers", default="1", help="that lead, each over its share of the ids")
        deployment.add_argument("--node-cores", default=f"{DEFAULT.node_cores}", help="cores of one machine")
        deployment.add_argument("--database-cores", default=f"{DEFAULT.database_cores}")
        deployment.add_argument("--database-connections", default=f"{DEFAULT.database_connections}")
        deployment.add_argument("--redis-memory", default="768MiB", help="its maxmemory")
        parser.add_argument("--json", action="store_true", help="print the plan as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Read, compute, print."""
        try:
            measured = costs.load()
            found = plan(demanded(options, measured), deployed(options), measured)
        except ValueError as error:  # BadInput and BadCosts among them
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(report.document(found), indent=2))
        else:
            self.stdout.write(report.text(found), ending="")


def demanded(options: dict[str, Any], measured: costs.Costs) -> Demand:
    """The demand that the options describe. Raises BadInput."""

    def rate(name: str) -> float:
        return notation.number(options[name], _option(name), maximum=MOST)

    uploads = rate("uploads_per_second")
    if uploads < LEAST:
        raise BadInput(f"--uploads-per-second must be at least {LEAST:g}")
    retention = options["retention_days"]
    mix = notation.mix(options["mix"], "--mix", measured.kinds)
    sizes = notation.sizes(options["mean_size"], "--mean-size", measured.kinds) if options["mean_size"] else {}
    if "=" in (options["mean_size"] or "") and (unused := sorted(sizes.keys() - mix.keys())):
        raise BadInput(f"--mean-size names {', '.join(unused)}, which --mix does not")
    return Demand(
        uploads=uploads,
        mix=mix,
        sizes=sizes,
        readers=_whole(options, "readers", minimum=0),
        feeds=_whole(options, "feeds"),
        polls=rate("polls_per_second"),
        lists=rate("lists_per_second"),
        downloads=rate("downloads_per_second"),
        retention_days=None if retention is None else notation.number(retention, "--retention-days"),
    )


def deployed(options: dict[str, Any]) -> Deployment:
    """The deployment that options and settings describe. Raises BadInput."""
    redis_bytes = notation.size(options["redis_memory"], "--redis-memory")
    return Deployment(
        utilisation=notation.number(options["utilisation"], "--utilisation", minimum=0.05, maximum=0.99),
        wait_seconds=notation.number(options["wait_seconds"], "--wait-seconds"),
        dispatchers=_whole(options, "dispatchers"),
        node_cores=_whole(options, "node_cores"),
        worker_processes=settings.FILEWIRE_WORKER_PROCESSES,
        database_threads=settings.FILEWIRE_DATABASE_THREADS,
        database_cores=_whole(options, "database_cores"),
        database_connections=_whole(options, "database_connections"),
        redis_bytes=redis_bytes,
        feed_events=settings.FILEWIRE_FEED_EVENTS,
        remembered_seconds=stream.FILE_SECONDS,
    )


def _whole(options: dict[str, Any], name: str, minimum: int = 1) -> int:
    value = notation.number(options[name], _option(name), minimum=minimum, maximum=MOST)
    if value != int(value):
        raise BadInput(f"{_option(name)} must be a whole number, not {options[name]}")
    return int(value)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
