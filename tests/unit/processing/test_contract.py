"""What passes between worker and processor: values that can be stored, faults that can be told."""

import json
import pickle
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.processing.contract import FAILURE_CODES, JSON, KINDS, Derived, Outcome, ProcessingFailed, storable
from apps.processing.detect import Detected
from apps.processing.processors import PROCESSORS, processor_for


def of_kind(kind):
    return Detected(content_type="application/octet-stream", kind=kind)


def test_failure_tells_its_default_sentence():
    """A failure without words of its own says the sentence of its code."""
    failure = ProcessingFailed("image_broken")

    assert (failure.code, failure.detail) == ("image_broken", FAILURE_CODES["image_broken"])
    assert str(failure) == "image_broken: The image is damaged and cannot be read."


def test_failure_refuses_a_code_nobody_documented():
    """A code outside the table has no sentence of its own; a plugin's brings one."""
    with pytest.raises(KeyError):
        ProcessingFailed("no_such_code")
    assert ProcessingFailed("drill_failed", "With words.").detail == "With words."


def test_failure_survives_the_way_between_processes():
    """Pickled and unpickled, a failure keeps its code and its detail."""
    failure = pickle.loads(pickle.dumps(ProcessingFailed("image_too_large", "Too many pixels.")))

    assert (failure.code, failure.detail) == ("image_too_large", "Too many pixels.")


@pytest.mark.parametrize("code", FAILURE_CODES)
def test_failure_codes_are_stable_names_with_sentences(code):
    """Every code is snake_case and its default detail a sentence."""
    assert code == code.lower()
    assert code.replace("_", "").isalpha()
    assert FAILURE_CODES[code].endswith(".")


def test_outcome_makes_its_result_storable():
    """What PostgreSQL or strict JSON would refuse is taken out when the outcome is made."""
    outcome = Outcome(
        result={
            "a\0": "b\0c\ud800",
            "nan": float("nan"),
            "list": (1, float("inf"), True, None),
            "deep": {"x": "\0"},
        }
    )

    assert outcome.result == {"a": "bc", "nan": None, "list": [1, None, True, None], "deep": {"x": ""}}
    assert outcome.derived == ()


@pytest.mark.parametrize("value", [b"bytes", bytearray(b"x"), Path("x"), object(), {1, 2}])
def test_outcome_refuses_what_json_cannot_say(value):
    """Bytes and objects in a result are a programming error, not something to guess at."""
    with pytest.raises(TypeError, match="has no place in a result"):
        Outcome(result={"key": value})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


@given(_JSON)
def test_storable_values_are_strict_json_in_utf8(value):
    """Anything JSON-like comes out as what jsonb takes, and stays as it is from then on."""
    stored = storable(value)

    assert "\\u0000" not in json.dumps(stored, allow_nan=False)
    json.dumps(stored, allow_nan=False, ensure_ascii=False).encode()
    assert orjson.loads(orjson.dumps(stored)) == stored
    assert storable(stored) == stored


def test_integers_that_few_readers_take_become_floats():
    """Beyond 64 bits; and null where a float ends too."""
    assert storable([2**64 - 1, -(2**63), 2**64, -(10**400)]) == [2**64 - 1, -(2**63), float(2**64), None]


def test_a_result_that_is_too_deep_to_be_told_is_refused():
    """Each event wraps it in others, and orjson writes 254 levels."""
    value: JSON = 1
    for _ in range(63):
        value = [value]
    assert Outcome(result={"a": value}).result == {"a": value}
    with pytest.raises(TypeError, match="64 levels"):
        Outcome(result={"a": [value]})


def test_every_kind_has_a_processor():
    """The table names a processor for each kind, and each can be imported and called."""
    assert set(PROCESSORS) == set(KINDS)
    assert all(callable(processor_for(of_kind(kind))) for kind in KINDS)


def test_an_unknown_kind_falls_back():
    """A kind from a newer version of the service is still processed."""
    assert processor_for(of_kind("hologram")) is processor_for(of_kind("other"))


def test_values_cannot_be_changed():
    """What a processor hands over stays as it was."""
    derived = Derived(name="thumbnail", path=Path("x"), content_type="image/webp")

    with pytest.raises(AttributeError):
        derived.name = "other"
