"""The capacity model: what it answers, and how it refuses."""

import dataclasses
import io
import json
import math

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from project.capacity import costs, notation, report
from project.capacity.costs import BadCosts, fit
from project.capacity.model import Demand, Deployment, plan
from project.capacity.notation import BadInput

MIX = "image=0.5,document=0.3,text=0.2"


@pytest.fixture(scope="module")
def measured():
    """The costs as they were measured."""
    return costs.load()


def asked(*words: str) -> str:
    """What the command prints."""
    output = io.StringIO()
    call_command("capacity", "--uploads-per-second=50", f"--mix={MIX}", *words, stdout=output)
    return output.getvalue()


def planned(measured, deployment=None, **demand):
    """A plan of fifty uploads a second, but for what is given."""
    given = {"uploads": 50.0, "mix": notation.mix(MIX, "mix", measured.kinds), **demand}
    return plan(Demand(**given), deployment or Deployment(), measured)


def part(found, name):
    """One part of a plan."""
    return next(each for each in found.parts if each.name == name)


# --- the file of costs ---------------------------------------------------------------------------------------


def test_every_figure_says_where_it_comes_from(measured):
    """Machine and date stand over all of them, and each has its unit and its source."""
    assert measured.machine
    assert measured.date
    assert set(measured.sources) == set(costs.figures())
    assert all(source.strip() for source in measured.sources.values())


def test_every_kind_is_measured_more_than_once(measured):
    """Each kind that the service tells has samples of several sizes, each timed several times."""
    from apps.processing.contract import KINDS

    assert set(measured.kinds) == set(KINDS)
    for name, kind in measured.kinds.items():
        assert len(kind.samples) >= 2, name
        assert all(len(sample.seconds) >= 5 for sample in kind.samples), name


def document():
    """The file of costs as JSON."""
    return json.loads(costs.PATH.read_text())


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "1", None, True])
def test_a_figure_that_is_no_number_is_refused(value):
    """A broken file of costs is an error in words, not a plan."""
    broken = document()
    broken["figures"]["web_upload"]["value"] = value
    with pytest.raises(BadCosts, match="web_upload must be a number"):
        costs.parse(broken)


def test_a_figure_that_is_missing_or_of_another_unit_is_refused(tmp_path):
    """So is one that lacks a figure, has one nobody knows, or speaks of another unit."""
    broken = document()
    broken["figures"]["web_uploads"] = broken["figures"].pop("web_upload")
    with pytest.raises(BadCosts, match=r"missing: \['web_upload'\], unknown: \['web_uploads'\]"):
        costs.parse(broken)
    broken = document()
    broken["figures"]["web_upload"]["unit"] = "ms"
    with pytest.raises(BadCosts, match="must be in core-seconds"):
        costs.parse(broken)
    broken = document()
    broken["kinds"]["text"]["samples"] = []
    with pytest.raises(BadCosts, match="text has no samples"):
        costs.parse(broken)
    for text in ("", "[]", "{}", '{"figures": 3}'):
        path = tmp_path / "costs.json"
        path.write_text(text)
        with pytest.raises(BadCosts, match=r"costs\.json"):
            costs.load(path)
    with pytest.raises(BadCosts, match="cannot be read"):
        costs.load(tmp_path / "none.json")


def test_a_line_is_found_again():
    """The fit gives back the line that its points lie on."""
    line = fit([0, 1 << 20, 4 << 20], [2.0, 3.0, 6.0])
    assert line.fixed == pytest.approx(2)
    assert line.per_mib == pytest.approx(1)
    assert line.at(2 << 20) == pytest.approx(4)


def test_no_part_of_a_line_is_negative():
    """Noise that would make a larger file cheaper, or an empty one pay, is not believed."""
    assert fit([0, 1 << 20], [2.0, 1.0]).per_mib == 0
    steep = fit([1 << 20, 2 << 20], [1.0, 5.0])
    assert steep.fixed == 0
    assert 1 <= steep.per_mib <= 2.5
    assert fit([1 << 20], [3.0]).at(5 << 20) == 3.0
    for sizes, values in (([], []), ([1.0], [-1.0]), ([1.0, 2.0], [1.0])):
        with pytest.raises(ValueError, match="a line needs costs"):
            fit(sizes, values)


# --- the model -----------------------------------------------------------------------------------------------


def test_ten_times_the_uploads_is_ten_times_the_work(measured):
    """Core-seconds, growth and network are linear in the rate; the rates at which parts are full do not move."""
    one, ten = planned(measured), planned(measured, uploads=500.0)
    for name in ("web", "worker", "database, cores", "Redis, core", "dispatcher"):
        assert part(ten, name).core_seconds == pytest.approx(10 * part(one, name).core_seconds)
    for name, found in one.growth_bytes_a_day.items():
        assert ten.growth_bytes_a_day[name] == pytest.approx(10 * found)
    for name in ("database, cores", "Redis, core", "dispatcher"):
        assert part(ten, name).full_at == pytest.approx(part(one, name).full_at)
    assert sum(one.drivers.values()) == pytest.approx(1)


@pytest.mark.parametrize("demand", [{}, {"readers": 2000}, {"polls": 300.0, "lists": 20.0, "downloads": 10.0}])
def test_a_part_is_full_at_the_rate_that_is_told(measured, demand):
    """Asked again at the rate at which a part is full, that part is busy all the time."""
    found = planned(measured, **demand)
    for name in ("dispatcher", "database, cores", "Redis, core", "Redis, memory", "a feed"):
        before = part(found, name)
        if math.isfinite(before.full_at):
            again = planned(measured, **demand, uploads=before.full_at)
            assert part(again, name).utilisation == pytest.approx(1, rel=0.02), name


def test_no_part_that_can_be_multiplied_is_busier_than_asked(measured):
    """Web, live and workers are as many as the utilisation asks for, and the waits are kept."""
    deployment = Deployment(utilisation=0.6, wait_seconds=0.05)
    found = planned(measured, deployment, readers=500)
    for name in ("web", "live", "worker"):
        assert part(found, name).utilisation <= 0.6 + 1e-9
        assert part(found, name).full_at >= 50
    assert found.waits.percentile_seconds["p95"] <= 0.05


def test_the_first_to_break_is_a_part_that_cannot_be_multiplied(measured):
    """It is the one whose rate is least; with less of Redis it is Redis, with few connections it is those."""
    assert planned(measured).first.alone
    assert planned(measured, Deployment(redis_bytes=1.0)).first.name == "Redis, memory"
    roomy = {"redis_bytes": 1e15, "database_cores": 1000}
    assert planned(measured, Deployment(database_connections=1, **roomy)).first.name == "database, connections"
    slow = dataclasses.replace(measured, dispatcher_messages_per_second=0.5)
    assert planned(slow, Deployment(database_connections=10_000, **roomy)).first.name == "dispatcher"


def test_what_polls_take_does_not_grow_with_the_uploads(measured):
    """The rate for which there are connections enough is the same, however few uploads come beside many polls."""
    mix = {"text": 1.0}
    few, many = (
        part(planned(measured, uploads=rate, mix=mix, polls=2000.0), "database, connections") for rate in (0.01, 5.0)
    )
    assert few.full_at == pytest.approx(many.full_at)
    assert few.full_at > 5.0
    crowded = part(
        planned(measured, Deployment(database_connections=1), mix=mix, polls=2000.0), "database, connections"
    )
    assert crowded.full_at == 0


def test_readers_cost_nothing_when_there_are_none(measured):
    """Without readers there is no `live`; with them each process hears everything, and shares the sending."""
    assert part(planned(measured), "live").needed == 0
    few, many = planned(measured, readers=100), planned(measured, readers=10_000)
    assert 0 < part(few, "live").needed < part(many, "live").needed
    assert many.network_bytes["frames out"] == pytest.approx(100 * few.network_bytes["frames out"])


def test_a_feed_for_each_owner_is_what_makes_live_grow(measured):
    """One feed for all is full at some rate whatever one pays; feeds of owners are full that many times later."""
    one = planned(measured, uploads=5000.0, readers=1000)
    assert part(one, "live").utilisation > 1
    assert part(one, "a feed").utilisation > 1
    own = planned(measured, uploads=5000.0, readers=1000, feeds=1000)
    assert part(own, "live").utilisation <= 0.7
    assert part(own, "a feed").full_at == pytest.approx(1000 * part(one, "a feed").full_at)


def test_the_memory_of_redis_is_mostly_what_it_remembers_of_each_file(measured):
    """Each file's place in the feed is kept for a week: it grows with the rate, the stream of events does not."""
    one, ten = planned(measured).redis_memory, planned(measured, uploads=500.0).redis_memory
    assert ten["places of files in the feed"] == pytest.approx(10 * one["places of files in the feed"])
    assert ten["events"] == one["events"] == pytest.approx(100_000 * measured.redis_event_bytes)


def test_retention_bounds_what_is_kept(measured):
    """With a retention the plan says how much lies there at its end; without one there is no end."""
    assert planned(measured).kept_bytes is None
    kept, growth = planned(measured, retention_days=30.0).kept_bytes, planned(measured).growth_bytes_a_day
    assert kept["files"] == pytest.approx(30 * growth["files"])


# --- the command ---------------------------------------------------------------------------------------------


def test_the_command_says_what_breaks_first():
    """The report has every part, the waits, the growth and the first limit."""
    found = asked("--readers=1000", "--mean-size=2MiB", "--retention-days=30")
    for words in (
        "web",
        "live",
        "worker",
        "dispatcher",
        "Redis",
        "First to break",
        "p95",
        "Growth a day",
        "Kept after",
    ):
        assert words in found, words
    assert max(len(line) for line in found.splitlines()) <= 120
    assert "Kept after 0 days: nothing." in asked("--retention-days=0")


def test_json_is_the_same_plan():
    """`--json` has the whole plan; what has no bound is null."""
    found = json.loads(asked("--json"))
    assert found["demand"]["uploads"] == 50
    assert found["first_to_break"]["name"] in asked()
    feed = next(each for each in found["parts"] if each["name"] == "a feed")
    assert feed["full_at"] is None
    assert set(found["waits"]["percentile_seconds"]) == {"p50", "p95", "p99"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--uploads-per-second=0"], "must be at least 1e-06"),
        (["--uploads-per-second=1e-300"], "must be at least 1e-06"),
        (["--mix=text=1", "--mean-size=image=2MiB"], "--mean-size names image, which --mix does not"),
        (["--uploads-per-second=-1"], "must be from 0 to"),
        (["--uploads-per-second=many"], "must be a number, not 'many'"),
        (["--uploads-per-second=nan"], "must be a finite number"),
        (["--mix=image=0.5"], "--mix must add up to 1, not 0.5"),
        (["--mix=image=0.5,images=0.5"], "--mix names 'images'"),
        (["--mix=image=0.5,image=0.5"], "--mix names image twice"),
        (["--mix=image"], "must be pairs"),
        (["--mean-size=2 elephants"], "must be a size such as 2MiB"),
        (["--mean-size=image=1MiB,film=2MiB"], "--mean-size names 'film'"),
        (["--mean-size=0"], "--mean-size must be at least 1 byte, not '0'"),
        (["--mix=text=1", "--mean-size=text=0"], "--mean-size text must be at least 1 byte, not '0'"),
        (["--mix=text=1", "--mean-size=text=0.0001kB"], "--mean-size text must be at least 1 byte"),
        (["--redis-memory=0MiB"], "--redis-memory must be at least 1 byte"),
        ([f"--mean-size={'9' * 170}"], "--mean-size must be at most 1024 PiB"),
        ([f"--redis-memory={'9' * 300}PiB"], "--redis-memory must be at most 1024 PiB"),
        (["--readers=1.5"], "--readers must be a whole number"),
        (["--feeds=0"], "--feeds must be from 1"),
        (["--utilisation=1"], "--utilisation must be from 0.05 to 0.99"),
        (["--uploads-per-second=1e9"], "workers would be needed"),
        (["--redis-memory=much"], "--redis-memory must be a size"),
        (["--dispatchers=0"], "--dispatchers must be"),
    ],
)
def test_bad_input_is_refused_in_words(words, said):
    """What cannot be read or computed is one sentence, and no traceback."""
    with pytest.raises(CommandError, match=r"\S") as error:
        asked(*words)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "value"), [("2MiB", 2 << 20), ("300 kB", 300_000), ("4096", 4096), ("1.5gib", 1.5 * (1 << 30)), ("7b", 7)]
)
def test_sizes_are_read(text, value):
    """Sizes as people write them."""
    assert notation.size(text, "size") == value


@pytest.mark.parametrize("text", ["", "MiB", "1..5MiB", "-1", "1e3", "0", "0.5 B"])
def test_what_is_no_size_is_refused(text):
    """And nothing else."""
    with pytest.raises(BadInput):
        notation.size(text, "size")


def test_numbers_are_said_shortly():
    """Three digits that count, and no more zeros than help."""
    assert notation.said(1234567.8) == "1,234,568"
    assert notation.said(0.01234) == "0.0123"
    assert notation.said(math.inf) == "no limit"
    assert notation.said_bytes(1536) == "1.5 KiB"
    assert notation.said_bytes(3e18) == "2,665 PiB"
    assert notation.said_seconds(0.0123) == "12.3 ms"
    assert notation.said_seconds(1e-17) == "less than 0.1 ms"
    assert notation.said_seconds(0) == "0 s"
    assert notation.said_seconds(math.inf) == "without end"


def test_every_line_of_the_report_is_made_of_the_plan(measured):
    """Without readers there is nothing to say of `live`'s limit."""
    found = report.text(planned(measured))
    assert "live" in found
    assert "no limit" not in found
