"""The harness itself, run for real with tiny numbers: `python -m tests tests/load/test_bench.py` (a minute or two)."""

import asyncio
import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.load import arrivals, report
from tests.load.bench import NO_QUICKER, QUICKER, STEADY, Bench, Look
from tests.load.processes import ROOT
from tests.load.report import OURS, Load, Results, Spec

SPEC = Spec(columns=(("seconds", "seconds", 1),), by="seconds", less_is_better=True)


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")
@pytest.mark.filterwarnings("default")
def test_a_smoke_run_measures_every_part(tmp_path: Path):
    """`make bench BENCH=--quick` ends well, checks what it measures, and says that its figures mean nothing."""
    done = subprocess.run(
        [
            sys.executable, "-m", "tests.load.measure", "--quick", "--peers", "bare ASGI", "--output",
            str(tmp_path / "tables.md"), "--json", str(tmp_path / "found.json"), "--plots", str(tmp_path),
        ],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    tables = (tmp_path / "tables.md").read_text()
    assert tables in done.stdout
    assert "The server on core 0" in tables
    assert "A smoke run" in tables
    found = json.loads((tmp_path / "found.json").read_text())
    parts = {load["part"] for load in found["loads"]}
    assert parts == {"uploads", "large", "lists", "latency", "fanout", "worker", "overload"}
    for load in found["loads"]:
        ours = next(rounds for who, rounds in load["rounds"].items() if who.startswith(OURS))
        assert all(value >= 0 for one in ours for value in one.values()), load
    assert "Growth of cost" in tables


async def answered(*answers: bytes, count: int) -> arrivals.Found:
    """What an open-loop client finds at a server that gives these answers in turn; an empty one is none."""
    turn = itertools.cycle(answers)

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            answer = next(turn)
            if answer:
                self.transport.write(answer)
            else:
                self.transport.close()

    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        request = arrivals.request_of("127.0.0.1", port, b"x", "text/plain")
        found = await arrivals.arrive("127.0.0.1", port, request, 1000, seconds=count / 1000)
        await asyncio.sleep(0.1)  # in which the server learns that its clients are gone
        return found


CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"


async def test_an_answer_of_201_or_503_with_retry_after_is_right():
    """Each is counted, with its time."""
    found = await answered(CREATED, BUSY, count=100)
    assert not found.wrong
    assert set(found.answers) == {"201", "503"}
    assert len(found.accepted) + len(found.refused) == found.answers.total() > 50


@pytest.mark.parametrize("answer", [BUSY.replace(b"503", b"500"), BUSY.replace(b"Retry", b"Re"), b""])
async def test_any_other_answer_is_wrong(answer: bytes):
    """Another status, a 503 that does not say when, and none at all."""
    found = await answered(answer, count=20)
    assert found.wrong.total() == found.answers.total() > 5
    assert not found.accepted
    assert not found.refused


def loads() -> list[Load]:
    """Two sizes of one family: here ten times the size costs ten times as much, there nothing more."""
    made = []
    for size, here, there in ((10, 1.0, 2.0), (100, 10.0, 2.0)):
        rounds = {OURS: [{"seconds": here}] * 3, "another": [{"seconds": there}] * 2 + [{"seconds": 2 * there}]}
        made.append(Load(part="a", title=f"{size}", spec=SPEC, size=size, family="f", rounds=rounds))
    return made


def test_growth_is_the_power_of_the_size():
    """Linear is 1, constant is 0."""
    small, large = loads()
    assert report.exponent(small, large, OURS) == pytest.approx(1)
    assert report.exponent(small, large, "another") == pytest.approx(0)
    assert "| f | Filewire | 10 to 100 | 1.00 |" in list(report.growth([small, large]))


def test_a_ratio_is_of_rounds_and_has_its_spread():
    """Round by round; of a time, what takes twice as long is twice as bad."""
    small, _ = loads()
    assert report.ratio(small, "another") == "2.52 (2.00 to 4.00)"
    assert report.ratio(small, OURS) == ""


def test_this_service_is_measured_again_between_the_others():
    """After every third of them; its figures are the means."""
    order: list[str] = []

    def measure(server: str) -> dict[str, float]:
        order.append(server)
        return {"rate": float(len(order))}

    found = Bench.in_turn(["ours", "a", "b", "c", "d"], measure)
    assert order == ["ours", "a", "b", "c", "ours", "d"]
    assert found == [("ours", {"rate": 3}), *[(who, {"rate": order.index(who) + 1}) for who in "abcd"]]
    assert Bench.in_turn(["ours"], measure) == [("ours", {"rate": 7})]


def test_a_ratio_is_of_the_rounds_in_which_both_took_part():
    """Twice and half are equally far; where rounds have no number, they are paired in their order."""
    ours = [{"seconds": 1.0, "round": 0}, {"seconds": 3.0, "round": 1}, {"seconds": 1.0, "round": 2}]
    theirs = [{"seconds": 2.0, "round": 0}, {"seconds": 8.0, "round": 2}]
    load = Load(part="a", title="t", spec=SPEC, rounds={OURS: ours, "another": theirs})
    assert report.times_better(load, "another") == [2, 8]
    assert report.ratio(load, "another") == "4.00 (2.00 to 8.00)"
    for figures in ours + theirs:
        del figures["round"]
    assert report.times_better(load, "another") == pytest.approx([2, 8 / 3])


def test_rounds_go_on_with_those_whose_ratio_is_not_known():
    """Until it is, or it has been tried for long enough."""
    told = {"ours": [1.0], "steady": [2.0], "later": [1.0, 4.0, *[2.0] * 100], "never": [1.0, 100.0]}
    given = {who: itertools.cycle(rates) for who, rates in told.items()}
    asked: list[str] = []

    def measure(server: SimpleNamespace) -> dict[str, float]:
        asked.append(server.name)
        return {"rate": next(given[server.name])}

    bench = Bench.__new__(Bench)
    bench.results, bench.began, bench.options = Results(), 0.0, SimpleNamespace(rounds=2, most_rounds=200)
    servers = [SimpleNamespace(name=name) for name in ("Filewire", "steady", "later", "never")]
    given["Filewire"] = given.pop("ours")
    over: list[int] = []
    look = Look(part="a", title="t", measure=measure)
    bench.until_steady(servers, [look], over.append)
    assert asked[:8] == ["Filewire", "steady", "later", "never"] * 2
    assert asked.count("steady") == 2
    assert 10 < asked.count("later") < 100
    assert asked.count("never") == 200 == len(over)
    assert report.uncertainty(bench.results.loads["a", "t"], "later") < STEADY
    assert [figures["round"] for figures in bench.results.loads["a", "t"].rounds["never"]] == list(range(200))


def test_who_cannot_be_measured_so_is_left_out():
    """nginx takes no forms, others no raw bodies: they are neither measured nor waited for."""
    bench = Bench.__new__(Bench)
    bench.results, bench.began, bench.options = Results(), 0.0, SimpleNamespace(rounds=2, most_rounds=4)
    servers = [SimpleNamespace(name=name) for name in (OURS, "no forms", "forms")]
    look = Look(part="a", title="t", measure=lambda _: {"rate": 1.0}, takes=lambda server: server.name != "no forms")
    bench.until_steady(servers, [look])
    assert {who: len(rounds) for who, rounds in bench.results.loads["a", "t"].rounds.items()} == {OURS: 2, "forms": 2}


@pytest.mark.parametrize(("rates", "rounds"), [([5.0], 1 + NO_QUICKER), ([1.0, 2.0, 3.0], 3 + NO_QUICKER)])
def test_a_server_is_warm_when_load_makes_it_no_quicker(rates: list[float], rounds: int):
    """A little quicker is no quicker: noise is that too."""
    given = itertools.chain(rates, itertools.repeat(rates[-1] * (1 + QUICKER / 2)))
    asked: list[float] = []

    def measure(server: SimpleNamespace) -> dict[str, float]:
        asked.append(next(given))
        return {"rate": asked[-1]}

    bench = Bench.__new__(Bench)
    bench.options = SimpleNamespace(warm_seconds=60)
    bench.warm_up(SimpleNamespace(name="a"), Look(part="a", title="t", measure=measure))
    assert len(asked) == rounds
    bench.options.warm_seconds = 0
    bench.warm_up(SimpleNamespace(name="a"), Look(part="a", title="t", measure=measure))
    assert len(asked) == rounds


def test_ratios_that_two_runs_do_not_agree_on_are_named():
    """Those that are within a quarter of each other are counted."""
    results, (small, large) = Results(), loads()
    results.loads = {(each.part, each.title): each for each in (small, large)}
    same = {"part": "a", "load": "10", "rounds": small.rounds}
    other = {"part": "a", "load": "100", "rounds": {**large.rounds, "another": large.rounds[OURS]}}
    assert report.agreement(results, []) == []
    assert report.agreement(results, [same]) == ["1 of 1 ratios are within 25% of an earlier run's."]
    assert report.agreement(results, [same, other]) == [
        "1 of 2 ratios are within 25% of an earlier run's; not: 100, another: 1.00, then 0.25"
    ]


def test_tables_go_between_their_markers(tmp_path: Path):
    """What stands around them stays; a page without a place for them is refused."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.write_between_markers(page, r"new \1")
    assert page.read_text() == f"before\n{report.BEGIN}\n\nnew \\1\n{report.END}\nafter\n"
    page.write_text("nothing")
    with pytest.raises(SystemExit):
        report.write_between_markers(page, "new")
