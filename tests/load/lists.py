"""Lists over many rows, at two sizes: the first page, one deep in the middle, filtered, unchanged, and under uploads.

Before each load one page is asked for and looked at; what wrk then gets must be as large as that page. This service
keeps a page until something changes, so each list is also asked for by one client, one at a time, after a change each.
"""

import functools
import http.client
import json
import secrets
import statistics
import time
from collections.abc import Callable, Iterator

import redis

from tests.load.bench import Bench, Look
from tests.load.latency import uploading
from tests.load.report import OURS, Spec
from tests.load.serving import Server
from tests.load.wrk import measured

CONNECTIONS = 16
PAGE = 50
UPLOADS_A_SECOND = 10
CHANGED = "filewire:changed"  # `apps.events.stream.CHANGED`: another value means that something has changed
ONCE = 30  # pages after a change each, in a round
SPEC = Spec(columns=(("p50", "p50 ms", 2), ("slowest", "slowest ms", 1)), by="p50", less_is_better=True)


def run(bench: Bench) -> None:
    """Every size, every kind of list, every contender that has it, in turn, round after round."""
    with bench.all(bench.contenders()) as servers:
        for rows in sorted(bench.options.rows):
            for server in servers:
                bench.say(f"lists: {rows:,} rows for {server.name}")
                server.seed(rows)
            looks = list(common_lists(bench, rows))
            for server in servers if rows == min(bench.options.rows) else ():
                bench.say(f"lists, warming up: {server.name}")
                bench.warm_up(server, looks[0])

            def after(number: int, rows: int = rows) -> None:
                # so that the next round's lists, and the next size, are of the rows that were made for them
                for server in servers:
                    server.forget_uploads()
                if number < bench.few_rounds:
                    own_lists(bench, servers[0], rows)

            bench.until_steady(servers, looks, after)


def common_lists(bench: Bench, rows: int) -> Iterator[Look]:
    """The lists that everybody has."""
    beside = f"first page, {UPLOADS_A_SECOND} uploads a second beside it"

    def beside_uploads(server: Server) -> dict[str, float]:
        with uploading(bench, server, UPLOADS_A_SECOND):
            return kept(bench, server, "/files/")

    yield kept_look(rows, "first page", lambda server: kept(bench, server, "/files/"))
    yield once_look(rows, "first page", lambda server: once(server, "/files/"))
    yield kept_look(rows, beside, beside_uploads)


def kept_look(rows: int, what: str, measure: Callable[[Server], dict[str, float]]) -> Look:
    """A list under load."""
    title = f"list of {PAGE} over {rows:,} rows, {CONNECTIONS} connections: {what}"
    return Look(part="lists", title=title, measure=measure, size=rows, family=f"list: {what}")


def once_look(rows: int, what: str, measure: Callable[[Server], dict[str, float]]) -> Look:
    """A list after a change each time."""
    title = f"one list of {PAGE} over {rows:,} rows after a change: {what}"
    return Look(part="lists", title=title, measure=measure, spec=SPEC, size=rows, family=f"list after a change: {what}")


def own_lists(bench: Bench, ours: Server, rows: int) -> None:
    """The lists that this service alone has."""
    assert ours.name == OURS
    few = min(PAGE, (rows + 993) // 1000)
    for what, path, wanted in (
        ("deep page", deep(ours, rows), PAGE),
        ("`status=processed`", "/files/?status=processed", PAGE),
        ("`kind=text`", "/files/?kind=text", PAGE),
        ("`status=failed`, one row in 1,000", "/files/?status=failed", few),
    ):
        for look in (
            kept_look(rows, what, functools.partial(kept, bench, path=path, wanted=wanted)),
            once_look(rows, what, functools.partial(once, path=path)),
        ):
            bench.keep(look, ours, look.measure(ours))
    look = kept_look(rows, "unchanged (`If-None-Match`)", functools.partial(unchanged, bench))
    bench.keep(look, ours, look.measure(ours))


def kept(bench: Bench, server: Server, path: str, wanted: int = PAGE) -> dict[str, float]:
    """One list under load."""
    with server.open(path) as answer:
        body = answer.read()
    page = json.loads(body)
    if len(page["results"]) != wanted:
        raise SystemExit(f"{server.name}: {path} has {len(page['results'])} results, not {wanted}")
    found = measured(server.tree, f"{server.url}{path}", CONNECTIONS, bench.options.seconds)
    if not 0.8 * len(body) < found["answer_bytes"] < 1.2 * len(body) + 1000:
        raise SystemExit(f"{server.name}: {path} is {len(body)} bytes, but answers had {found['answer_bytes']:.0f}")
    return found


def once(server: Server, path: str) -> dict[str, float]:
    """The same list by one client, after a change each time: what the database gives, and no page that was kept."""
    times = []
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    with redis.Redis.from_url(server.environment["REDIS_URL"]) as words:
        for _ in range(ONCE):
            words.set(CHANGED, secrets.token_hex(8))
            began = time.monotonic()
            client.request("GET", path)
            answer = client.getresponse()
            answer.read()
            times.append(1000 * (time.monotonic() - began))
            if answer.status != 200:
                raise SystemExit(f"{server.name}: {path} was answered {answer.status}")
    client.close()
    return {"p50": statistics.median(times), "slowest": max(times)}


def unchanged(bench: Bench, server: Server) -> dict[str, float]:
    """A poll whose list is what it was: 304 each time."""
    with server.open("/files/") as answer:
        tag = answer.headers["ETag"]
    found = measured(
        server.tree, f"{server.url}/files/", CONNECTIONS, bench.options.seconds, headers={"If-None-Match": tag}
    )
    if found["answer_bytes"] > 1500:
        raise SystemExit(f"{server.name}: an unchanged list was sent again ({found['answer_bytes']:.0f} bytes)")
    return found


def deep(server: Server, rows: int) -> str:
    """The address of the page after the row in the middle, by a cursor as the API makes them; looked at once."""
    ids = server.ask("SELECT id FROM files_file ORDER BY id DESC LIMIT 2 OFFSET %s", rows // 2)
    path = f"/files/?cursor=o{str(ids[0][0]).replace('-', '')}"
    page = server.get(path)
    if page["results"][0]["id"] != str(ids[1][0]):
        raise SystemExit(f"{path} begins with {page['results'][0]['id']}, not with {ids[1][0]}")
    following = server.get(page["next"].removeprefix(server.url))
    if following["results"][0]["id"] >= page["results"][-1]["id"]:
        raise SystemExit(f"what follows {path} is not older")
    return path
