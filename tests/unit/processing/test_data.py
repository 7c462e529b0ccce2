"""Data: valid or where not, and of what it is made; what would unfold without end is refused."""

import jsonschema
import pytest

from apps.processing.contract import ProcessingFailed
from apps.processing.processors import data

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
