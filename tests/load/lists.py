"""Lists over many rows, at two sizes: the first page, one deep in the middle, filtered, unchanged, and under uploads.

Before each load one page is asked for and looked at; what wrk then gets must be as large as that page. This service
keeps a page until something changes, so each list is also asked for by one client, one at a time, after a change each.
"""

import http.client
import json
import secrets
import statistics
import time

import redis

from tests.load.bench import Bench
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
            for number in range(bench.options.rounds):
                bench.say(f"lists, round {number + 1}, {rows:,} rows")
                one_round(bench, servers, rows)
                if number < bench.few_rounds:
                    own_lists(bench, servers[0], rows)


def one_round(bench: Bench, servers: list[Server], rows: int) -> None:
    """The lists that everybody has."""
    for server, figures in bench.in_turn(servers, lambda server: kept(bench, server, "/files/")):
        add(bench, server, rows, "first page", figures)
    for server, figures in bench.in_turn(servers, lambda server: once(server, "/files/")):
        add_once(bench, server, rows, "first page", figures)

    def beside_uploads(server: Server) -> dict[str, float]:
        with uploading(bench, server, UPLOADS_A_SECOND):
            return kept(bench, server, "/files/")

    for server, figures in bench.in_turn(servers, beside_uploads):
        add(bench, server, rows, f"first page, {UPLOADS_A_SECOND} uploads a second beside it", figures)
    # so that the next round's lists, and the next size, are of the rows that were made for them
    for server in servers:
        server.forget_uploads()


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
        add(bench, ours, rows, what, kept(bench, ours, path, wanted))
        add_once(bench, ours, rows, what, once(ours, path))
    unchanged(bench, ours, rows)


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


def add_once(bench: Bench, server: Server, rows: int, what: str, figures: dict[str, float]) -> None:
    """Keep what was found of a list after a change."""
    title = f"one list of {PAGE} over {rows:,} rows after a change: {what}"
    bench.results.add("lists", title, server.name, figures, spec=SPEC, size=rows, family=f"list after a change: {what}")


def unchanged(bench: Bench, server: Server, rows: int) -> None:
    """A poll whose list is what it was: 304 each time."""
    with server.open("/files/") as answer:
        tag = answer.headers["ETag"]
    found = measured(
        server.tree, f"{server.url}/files/", CONNECTIONS, bench.options.seconds, headers={"If-None-Match": tag}
    )
    if found["answer_bytes"] > 1500:
        raise SystemExit(f"{server.name}: an unchanged list was sent again ({found['answer_bytes']:.0f} bytes)")
    add(bench, server, rows, "unchanged (`If-None-Match`)", found)


def add(bench: Bench, server: Server, rows: int, what: str, figures: dict[str, float]) -> None:
    """Keep what was found."""
    title = f"list of {PAGE} over {rows:,} rows, {CONNECTIONS} connections: {what}"
    bench.results.add("lists", title, server.name, figures, size=rows, family=f"list: {what}")


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
