"""What a file's name may say of it: between sorts of text where the bytes leave a choice, and nothing else."""

import time

import pytest

from apps.processing.detect import detect, sniff
from apps.processing.processors import data, table

MAIL = "message/rfc822"
PLAIN, CSV, TSV = "text/plain", "text/csv", "text/tab-separated-values"
JSON, XML, YAML, TOML = "application/json", "application/xml", "application/yaml", "application/toml"
VERSE = "The rain it raineth on the just, and also on the unjust fella\nBut chiefly on the just, because\n"


@pytest.mark.parametrize(
    ("text", "name", "content_type"),
    [
        ("name,age,city\n", "people.csv", CSV),
        ("name,age,city", "PEOPLE.CSV", CSV),
        ("name;age\nAda;36\n", "people.csv", CSV),
        ("name|age\n", "people.csv", CSV),
        ("Report of May\n\nname,age\nAda,36,x\nAlan,41\n", "people.csv", CSV),
        ("email\nada@example.org\nalan@example.org\n", "people.csv", CSV),
        ("name\tage\n", "people.tsv", TSV),
        ("name,age,city\n", "people.tsv", PLAIN),
        ("one line of words\n", "people.csv", PLAIN),
        (VERSE, "verse.csv", PLAIN),
        ("if (a, b) {\nf(a, b) {\n", "program.csv", PLAIN),
        ("To: " + "a@example.org, " * 1000 + "\nFrom: b\nSubject: c\n\nHello\n", "a.eml", MAIL),
        ("From: " + "(" * 100_000 + "\nTo: b\n\nHello\n", "a.EML", MAIL),
        ("Subject: one header\n\nHello, you, there\n", "a.eml", MAIL),
        ("date: 1\nfrom: 2\n", "a.eml", MAIL),
        ("name,age,city\nAda,36,x\n", "a.eml", CSV),
        ("From here on: words\n", "a.eml", PLAIN),
        ('{"from": "a"}', "a.eml", JSON),
        ("name,age,city\n", "people.txt", PLAIN),
        ("name,age,city\n", "csv", PLAIN),
        ("name,age,city\n", "", PLAIN),
        ('[project]\nname = "x"\nversion = 1.0.0\n', "a.toml", TOML),
        ("[project]\nname = unquoted\n", "a.toml", TOML),
        ("a = 1\n", "a.toml", TOML),
        ("[project\nname = 'x'\n", "a.toml", TOML),
        ("[project]\nname = unquoted\n", "a.ini", PLAIN),
        (VERSE, "a.toml", PLAIN),
        ("# only a comment\n", "a.toml", PLAIN),
        ("a: 1\n\tb: 2\nc: [1, 2\n", "a.yaml", YAML),
        ("key: value\n", "a.yml", YAML),
        ("{a: 1}\n", "a.yml", YAML),
        ("- one\n- two\n", "a.yml", YAML),
        ("Dear Sir: this is\nnothing of the kind\nat all\n", "a.yaml", PLAIN),
        ("# only a comment\n", "a.yaml", PLAIN),
        ("# A title\n\n- a\n- b\n- c: `d`\n", "a.yaml", YAML),
        ("a: 1,2\nb: 3,4\nc: 5,6\n", "a.yaml", YAML),
        ("a: 1,2\nb: 3,4\nc: 5,6\n", "a.txt", CSV),
        ('a = "1,2"\nb = "3,4"\nc = "5,6"\n', "a.toml", TOML),
        ("# A title\n\n- a\n- b\n- c: `d`\n", "a.md", "text/markdown"),
        ("{'a': 1}", "a.json", JSON),
        ('// a comment\n{"a": 1}', "a.json", JSON),
        ("{\n  // a comment\n}", "a.json", JSON),
        ("42\n", "a.json", JSON),
        ('"a string"\n', "a.json", JSON),
        ("{words} and words", "a.json", PLAIN),
        ("words", "a.json", PLAIN),
        ("<note>text", "a.xml", XML),
        ("<3 you", "a.xml", PLAIN),
    ],
)
def test_a_name_breaks_a_tie(tmp_path, text, name, content_type):
    """Where text has a fault or is short, and has the shape of what its name says; head and whole agree."""
    path = tmp_path / "blob"
    path.write_text(text)

    assert sniff(text.encode(), len(text.encode()), name).content_type == content_type
    assert detect(path, name).content_type == content_type


@pytest.mark.parametrize(
    ("text", "content_type"),
    [
        ('{"a": 1}', JSON),
        ("<!DOCTYPE html><p>Hello</p>", "text/html"),
        ('<?xml version="1.0"?><a/>', XML),
        ("a,b,c\n1,2,3\n", CSV),
        ("{}" + "\n{}" * 9, "application/x-ndjson"),
        ("From: a\nTo: b\nSubject: c\n\nBody\n", "message/rfc822"),
        (",".join("column" for _ in range(900)), CSV),
    ],
)
def test_a_name_overrides_nothing(text, content_type):
    """What the text shows, it is, whatever it is called."""
    for ending in ("json", "xml", "yaml", "toml", "csv", "tsv", "txt", "html", "png"):
        assert sniff(text.encode(), len(text.encode()), f"a.{ending}").content_type == content_type


@pytest.mark.parametrize(
    ("content", "name", "line"),
    [
        (b'[project]\nname = "x"\nversion = 1.0.0\n', "a.toml", 3),
        (b"a: 1\nb: 2\n\tc: 3\n", "a.yaml", 3),
        (b"{'a': 1}", "a.json", 1),
        (b"<note>\n<to>text", "a.xml", 2),
    ],
)
def test_data_with_a_fault_says_where(make_job, content, name, line):
    """It is data of the sort that it is called, and not valid."""
    job = make_job(content, name=name)
    result = data.process(job).result

    assert job.kind == "data"
    assert (result["valid"], result["error"]["line"]) == (False, line)


@pytest.mark.parametrize("content", [b"name,age,city\n", b"name|age|city\nAda|36|London\nAlan|41|Wilmslow\n"])
def test_what_is_called_a_table_is_read_as_one(make_job, content):
    """One row of names, and rows with pipes between their cells."""
    result = table.process(make_job(content, name="people.csv")).result

    assert (result["column_count"], result["format"]) == (3, "csv")


@pytest.mark.parametrize(
    ("text", "content_type"),
    [
        ("name|age|city\nAda|36|London\nAlan|41|Wilmslow\n", CSV),
        ("2024-05-17 | INFO | began\n2024-05-18 | WARN | ended\n", CSV),
        ("a | b\n--- | ---\n1 | 2\n", PLAIN),
        ("| a | b |\n| c | d |\n| e | f |\n", PLAIN),
        ("ls -l | wc\ncat a | sort\nps x | less\n", PLAIN),
        ("name, age, city\nAda, 36, London\nAlan, 41, Wilmslow\n", CSV),
        ('"name", "city"\n"Ada", "London"\n"Alan", "Wilmslow"\n', CSV),
        ("a, b, c, d\n" * 5, CSV),
        ("Hello, world\nGood night, moon\nFarewell, stars\n", PLAIN),
        ("Yes, of course, he said\nNo, never, she said\n", PLAIN),
        ("f(1, 2)\ng(3, 4)\nh(x, y)\n", PLAIN),
        ("2024-05-17 18:30:00,123 INFO began\n2024-05-17 18:30:01,456 INFO ended\n" * 2, PLAIN),
        ("at,value\n18:30:00,123\n18:30:01,456\n", CSV),
    ],
)
def test_tables_are_told_from_prose(text, content_type):
    """By the spaces behind commas where no column holds values; the fraction of a second in a log is no cell."""
    assert sniff(text.encode(), len(text.encode())).content_type == content_type


@pytest.mark.parametrize(
    "text",
    [
        "a." * 2000,
        "x = 1\n" + "a." * 2000,
        "[a]\n[" + "a." * 2000,
        "- " * 2000,
        "# h\n\n" + "![" * 2000,
        "00:00:00" * 500,
    ],
)
def test_no_head_is_slow(text):
    """Long lines of what the shapes repeat cost no more than others: each way to read them is tried but once."""
    head = f"{text[:4000]}\nx\ny\n".encode()
    times = []
    for name in ("", "a.yaml", "a.toml", "a.csv"):
        began = time.process_time()
        sniff(head, 10**6, name)
        times.append(time.process_time() - began)

    assert min(times) < 0.02
