"""Data: valid or where not, and of what it is made; what would unfold without end is refused."""

import json
import random
from unittest import mock

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.processing.contract import ProcessingFailed
from apps.processing.processors import data
from apps.processing.processors.data import json_text, markup, yaml_text
from tests.unit.processing.mutants import mutant

JSON, XML, YAML, TOML = "application/json", "application/xml", "application/yaml", "application/toml"


def told(job) -> dict:
    """The result, once it is what the schema says."""
    result = data.process(job).result
    jsonschema.validate(result, data.SCHEMA)
    return result


def code_of(job) -> str:
    with pytest.raises(ProcessingFailed) as failure:
        data.process(job)
    return failure.value.code


@pytest.mark.parametrize(
    ("content", "top", "depth"),
    [
        (b'{"a": 1, "b": [true, null, {"c": "d"}]}', "object", 3),
        (b" [1, -2.5e+3, 0] ", "array", 1),
        (b'"only words \\u00e9 \\" "', "scalar", 0),
        ("\ufeff{}".encode(), "object", 1),
        ('{"ä": "ö"}'.encode("utf-16"), "object", 1),
        (b"[" * 1000 + b"]" * 1000, "array", 1000),
    ],
)
def test_json_is_valid(make_job, content, top, depth):
    """Of whatever shape, in whatever encoding."""
    result = told(make_job(content, content_type=JSON))
    assert (result["valid"], result["error"], result["top_level"], result["depth"]) == (True, None, top, depth)


def test_json_is_counted(make_job):
    """Keys, objects, arrays and scalars; the top-level keys are told."""
    result = told(make_job(b'{"a": 1, "b": [true, null, {"c": "d"}]}', content_type=JSON))
    assert result["keys"] == ["a", "b"]
    assert result["counts"] == {
        "objects": 2, "arrays": 1, "strings": 1, "numbers": 1, "booleans": 1, "nulls": 1, "keys": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "line", "column"),
    [
        (b'{"a": 1,\n "b": tru}', 2, 7),
        (b"[1, 2", 1, 6),
        (b"[1] 2", 1, 5),
        (b'{"a" 1}', 1, 6),
        (b"[01]", 1, 2),
        (b"[NaN]", 1, 2),
        (b'["a\nb"]', 1, 2),
        (b"{]", 1, 2),
        ('["{}",\n"b'.format("é" * 40_000).encode() + b'\xff"]', 2, 3),
        (b"", 1, 1),
    ],
)
def test_json_that_is_none_says_where(make_job, content, line, column):
    """Line and column of the first fault; the file is processed all the same."""
    result = told(make_job(content, content_type=JSON))
    assert result["valid"] is False
    assert (result["error"]["line"], result["error"]["column"]) == (line, column)


def test_json_of_many_chunks_is_read_across_them(make_job):
    """Tokens that lie across a chunk's end are whole."""
    content = b"[" + b",".join(b'{"name": "%050d", "n": %d.5}' % (n, n) for n in range(30_000)) + b"]"
    result = told(make_job(content, content_type=JSON))
    assert (result["valid"], result["counts"]["objects"], result["counts"]["numbers"]) == (True, 30_000, 30_000)


def surveyed(job, chunk_bytes: int, **instead) -> object:
    """The result or the failure's code, read in chunks of that size."""
    with mock.patch.multiple(json_text, CHUNK_BYTES=chunk_bytes, **instead):
        try:
            return data.process(job).result
        except ProcessingFailed as failure:
            return failure.code


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=DOCUMENTS, indent=st.sampled_from([None, 1]), ascii_only=st.booleans(), chunk_bytes=st.integers(1, 80))
def test_json_that_is_valid_is_taken_by_the_chunk(make_job, document, indent, ascii_only, chunk_bytes):
    """However it is written and wherever a chunk ends, nothing is left for the slow way; its facts are those of it."""
    content = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode()
    job = make_job(content, content_type=JSON)
    slow_way = mock.Mock(side_effect=AssertionError("token by token"))
    result = surveyed(job, chunk_bytes, take_tokens=slow_way)
    assert result == surveyed(job, 1 << 20, take_chunk=lambda *_: None)
    assert result["valid"] is True


@pytest.mark.parametrize("seed", range(60))
def test_json_with_a_fault_is_told_alike_by_the_chunk_and_by_the_token(make_job, seed):
    """The same facts, the same fault at the same place."""
    chance = random.Random(seed)
    document = [{"id": 7, "né": 'a\\ "b" \n', "n": [-0.5e-7, None, True, {}, []], "o": {"p": [[1], "é"]}}] * 3
    content = json.dumps(document, indent=chance.choice([None, 2]), ensure_ascii=chance.random() < 0.5).encode()
    for _ in range(chance.choice([0, 1, 2])):
        content = mutant(content, chance)
    job = make_job(content, content_type=JSON)
    told = [surveyed(job, size) for size in (1, 11, 64, 1 << 20)]
    assert told == [surveyed(job, 1 << 20, take_chunk=lambda *_: None)] * 4


@pytest.mark.parametrize(
    "content",
    [
        b"[1 2]", b"[-]", b"[--1]", b"[- 1]", b"[1.]", b"[1e]", b"[.5]", b"[+1]", b"[1-1]", b"[truetrue]", b"[t]",
        b"[,]", b"{,}", b"[1,]", b'{"a":1,}', b'{"a":1,2}', b'["a":1]', b'{"a"}', b'{"a":}', b"{1:2}", b"[]]",
        b'["a""b"]', b"[}", b":", b'"a', b'["\\x"]', b'["\\u12"]', b"[\\n]", b'["\x01"]', b"[\x01]", b'["\t"]',
        b"[\x7f]", b"[\x85]", "[\u0967]".encode(), b'[{"a":1},2:3]', b'{"a":[1,"b":2]}', b"1 1", b"[1]\0", b'"a" "b"',
    ],
)  # fmt: skip
def test_json_takes_no_more_than_its_grammar_does(make_job, content):
    """Python's reader, where it is as strict, agrees."""
    with pytest.raises(ValueError, match=r".+"):
        json.loads(content.decode(), parse_constant=mock.Mock(side_effect=ValueError("no constant")))
    assert told(make_job(content, content_type=JSON))["valid"] is False


def test_a_string_of_escapes_takes_no_more_memory_than_its_characters(make_job):
    """Nothing is remembered of each, and a fault behind a million of them is found at once."""
    whole = told(make_job(b'["' + b'\\"' * 1_000_000 + b'"]', content_type=JSON))
    assert (whole["valid"], whole["counts"]["strings"]) == (True, 1)
    broken = told(make_job(b'["' + b'\\"' * 1_000_000 + b'\\x"]', content_type=JSON))
    assert (broken["valid"], broken["error"]["column"]) == (False, 2)


@pytest.mark.parametrize(
    ("content", "content_type", "code"),
    [
        (b"[" * 100_000, JSON, "data_too_deep"),
        (b"<a>" * 5000, XML, "data_too_deep"),
        (b"[" * 5000, YAML, "data_too_deep"),
        (b"a=" + b"[" * 5000, TOML, "data_too_deep"),
        (b"x = 1\n" * 2_000_000, TOML, "data_too_large"),
    ],
)
def test_what_is_nested_too_deep_or_too_large_is_refused(make_job, content, content_type, code):
    """Within a moment."""
    assert code_of(make_job(content, content_type=content_type)) == code


def test_f16_entities_are_never_expanded(make_job):
    """A billion laughs are refused by what they would be; a harmless entity is told of and left as it stands."""
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 9))
    bomb = f'<!DOCTYPE x [<!ENTITY l0 "lol">{levels}]><x>&l8;</x>'
    assert code_of(make_job(bomb.encode(), content_type=XML)) == "data_bomb"
    harmless = b'<!DOCTYPE x [<!ENTITY who "me">]><x a="1">&who;</x>'
    result = told(make_job(harmless, content_type=XML))
    assert (result["valid"], result["entities_declared"]) == (True, True)


def test_nothing_outside_the_file_is_asked_for(make_job, tmp_path):
    """Neither by an entity nor by a document type."""
    secret = tmp_path / "secret"
    secret.write_text("not to be read")
    content = f'<!DOCTYPE x SYSTEM "file://{secret}" [<!ENTITY s SYSTEM "file://{secret}">]><x>&s;</x>'
    result = told(make_job(content.encode(), content_type=XML))
    assert result["top_level"] == "x"
    assert "not to be read" not in str(result)


def test_xml_is_counted(make_job):
    """Root, namespaces, elements, attributes, depth."""
    content = b'<feed xmlns="urn:a"><entry id="1"><p/></entry><entry id="2"/></feed>'
    result = told(make_job(content, content_type=XML))
    assert (result["top_level"], result["keys"], result["namespaces"]) == ("feed", ["entry"], ["urn:a"])
    assert (result["counts"], result["depth"]) == ({"elements": 4, "attributes": 3}, 3)


def test_xml_that_is_none_says_where(make_job):
    """Line and column."""
    result = told(make_job(b"<a>\n  <b>\n</a>", content_type=XML))
    assert result["valid"] is False
    assert result["error"]["line"] == 3


def test_f16_yaml_aliases_are_weighed(make_job):
    """What would unfold to billions is refused; a few aliases are counted. No tag is followed."""
    names = "abcdefghij"
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{name}: &{name} [{','.join([f'*{names[at]}'] * 10)}]\n" for at, name in enumerate(names[1:])
    )
    assert code_of(make_job(bomb.encode(), content_type=YAML)) == "data_bomb"
    content = b"base: &b {x: 1}\nuse: *b\nrun: !!python/object/apply:os.system ['echo']\n---\n- 2\n"
    result = told(make_job(content, content_type=YAML))
    assert (result["valid"], result["top_level"], result["keys"]) == (True, "object", ["base", "use", "run"])
    assert result["counts"]["documents"] == 2
    assert (result["counts"]["aliases"], result["counts"]["tags"]) == (1, 1)


def test_yaml_of_any_length_is_bounded(make_job, monkeypatch):
    """Its events are gone through as they come, for so long; an anchor that is given anew weighs what it has now."""
    monkeypatch.setattr(yaml_text, "WORK_SECONDS", -1.0)
    result = told(make_job(b"- {id: 1, name: x}\n" * 5000, content_type=YAML))
    assert (result["valid"], result["truncated"]) == (True, True)
    assert result["counts"]["objects"] < 1000
    monkeypatch.undo()
    heavy = b"- &a [" + b"x, " * 5000 + b"]\n- &a x\n" + b"- *a\n" * 5000
    assert told(make_job(heavy, content_type=YAML))["counts"]["aliases"] == 5000


def test_yaml_that_is_none_says_where(make_job):
    """Line and column."""
    result = told(make_job(b"a: 1\nb: [1, 2\nc: 3\n", content_type=YAML))
    assert result["valid"] is False
    assert result["error"]["line"] >= 2


def test_toml_is_told(make_job):
    """Valid with its keys and depth, or where it is not."""
    result = told(make_job(b'title = "x"\n[owner]\nname = "y"\ntags = [1, 2]\n', content_type=TOML))
    assert (result["valid"], result["keys"], result["depth"]) == (True, ["title", "owner"], 3)
    broken = told(make_job(b"a = 1\nb = \n", content_type=TOML))
    assert (broken["valid"], broken["error"]["line"]) == (False, 2)


def test_a_database_is_told_and_not_read(make_job):
    """What no reader is there for has the facts of any bytes."""
    assert data.process(make_job(b"SQLite format 3\0" + bytes(100))).result["content_type"] == "application/vnd.sqlite3"


def test_f16_a_long_entity_that_is_named_often_is_refused(make_job):
    """By what all its references would stand for, in text as in attributes; a few of them are counted."""
    long = "x" * 100_000
    for body in ("<x>" + "&a;" * 500 + "</x>", "<x>" + '<y b="&a;&a;"/>' * 200 + "</x>"):
        content = f'<!DOCTYPE x [<!ENTITY a "{long}">]>{body}'
        assert code_of(make_job(content.encode(), content_type=XML)) == "data_bomb"
    few = f'<!DOCTYPE x [<!ENTITY a "{long}">]><x>&a;&amp;&a;&#10;</x>'
    result = told(make_job(few.encode(), content_type=XML))
    assert (result["valid"], result["entities_declared"]) == (True, True)
    assert result["counts"] == {"elements": 1, "attributes": 0, "entities": 1, "references": 2}


def test_f16_the_order_of_entities_hides_nothing(make_job):
    """Each names the next, which is declared behind it; some name themselves."""
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n + 1};" * 10}">' for n in range(9))
    bomb = f'<!DOCTYPE x [{levels}<!ENTITY l9 "lol">]><x/>'
    assert code_of(make_job(bomb.encode(), content_type=XML)) == "data_bomb"
    for circle in ('<!ENTITY a "&a;">', '<!ENTITY a "&b;"><!ENTITY b "&c;&d;"><!ENTITY d "d"><!ENTITY c "&a;">'):
        assert code_of(make_job(f"<!DOCTYPE x [{circle}]><x/>".encode(), content_type=XML)) == "data_bomb"
    tree = '<!ENTITY a "&b;&c;"><!ENTITY b "&d;"><!ENTITY c "&d;"><!ENTITY d "d"><!ENTITY d "again">'
    result = told(make_job(f"<!DOCTYPE x [{tree}]><x>&a;</x>".encode(), content_type=XML))
    assert result["counts"]["entities"] == 4


def test_f16_declarations_are_bounded(make_job):
    """By how many there are, and how long they are together."""
    many = "".join(f'<!ENTITY e{n} "x">' for n in range(10_001))
    assert code_of(make_job(f"<!DOCTYPE x [{many}]><x/>".encode(), content_type=XML)) == "data_bomb"
    chain = "".join(f'<!ENTITY e{n} "&e{n + 1};">' for n in range(9_000))
    result = told(make_job(f"<!DOCTYPE x [{chain}]><x>&e0;</x>".encode(), content_type=XML))
    assert result["counts"]["references"] == 1


JAPANESE = "東京は日本の都市です"


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("GB2312", "中文字"),
        ("GB18030", "中文字😀"),
        ("Big5", "繁體中文"),
        ("Shift_JIS", JAPANESE),
        ("EUC-JP", JAPANESE),
        ("ISO-2022-JP", JAPANESE),
        ("EUC-KR", "한국어"),
        ("windows-1251", "русский"),
        ("cp037", "äöü"),
        ("IBM500", "äöü"),
    ],
)
def test_xml_in_an_encoding_of_old(make_job, encoding, words):
    """Whether it takes one byte a letter or several, and in EBCDIC too; a letter may lie across two chunks."""
    row = f'<row at="{words}">{words}</row>\n'
    rows = 20 + 2 * markup.CHUNK_BYTES // len(row.encode(encoding))
    content = f'<?xml version="1.0" encoding="{encoding}"?>\n<rows>{row * rows}</rows>'.encode(encoding)
    result = data.process(make_job(content, name="rows.xml")).result
    assert (result["valid"], result["error"]) == (True, None)
    assert result["counts"] == {"elements": rows + 1, "attributes": rows}


def test_xml_in_utf_32(make_job):
    """By its mark."""
    content = '<?xml version="1.0" encoding="UTF-32"?><a>ä</a>'.encode("utf-32")
    assert data.process(make_job(content, content_type="application/xml")).result["valid"] is True


@pytest.mark.parametrize(
    "encoding",
    ["base64", "hex", "zlib", "rot13", "idna", "punycode", "undefined", "unicode_escape", "utf-7", "bogus", "utf-32"],
)
def test_an_encoding_that_is_none_is_said_to_be(make_job, encoding):
    """In words about the file, whatever Python has a codec for."""
    content = f'<?xml version="1.0" encoding="{encoding}"?><a>\x80</a>'.encode("latin-1")
    result = data.process(make_job(content, content_type="application/xml")).result
    assert result["error"] == {"line": 1, "column": 31, "message": "The encoding is not known."}


def test_xml_that_is_not_in_its_encoding(make_job):
    """Is not valid, and says so without a word of the decoder's."""
    content = b'<?xml version="1.0" encoding="Shift_JIS"?>\n<a>\xff\xff</a>'
    result = data.process(make_job(content, content_type="application/xml")).result
    assert (result["valid"], result["error"]["message"]) == (False, "The text is not in its encoding.")


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ('{"a": NaN}', 7, "NaN is no JSON number."),
        ("[1, -Infinity]", 5, "Infinity is no JSON number."),
        ("[1, // one\n2]", 5, "JSON has no comments."),
        ("/* c */ [1]", 1, "JSON has no comments."),
        ("['a']", 2, "JSON has no single quotes."),
        ("[007]", 2, "A JSON number begins with no zero."),
        ("[None]", 2, "This is no JSON value."),
        ("[Nano]", 2, "This is no JSON."),
    ],
)
def test_what_other_languages_have_is_named(make_job, text, column, message):
    """And where it is."""
    result = data.process(make_job(text.encode(), content_type="application/json")).result
    assert result["error"] == {"line": 1, "column": column, "message": message}
