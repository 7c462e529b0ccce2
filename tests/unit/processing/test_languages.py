"""Programming languages, by what is in a text."""

import pytest

from apps.processing.languages import programming_language
from tests import samples

PROGRAMS = {
    "Python": "import os\n\nclass A:\n    def run(self, x):\n        if x:\n            return self.y\n",
    "JavaScript": "const a = require('fs');\nfunction run(x) {\n  console.log(x);\n}\nmodule.exports = run;\n",
    "Java": "package a.b;\nimport java.util.List;\npublic class A {\n  @Override\n  public void run() {}\n}\n",
    "C": '#include <stdio.h>\n#define N 3\nint main(void) {\n  printf("%d", N);\n}\n',
    "Go": 'package main\n\nimport "fmt"\n\nfunc main() {\n\tx := 1\n\tif err != nil {\n\t}\n\tfmt.Println(x)\n}\n',
    "Rust": 'use std::fs;\n\nfn main() {\n    let mut x = vec![1];\n    println!("{}", x[0]);\n}\n',
    "PHP": "<?php\n$a = 1;\nfunction f($x) { echo $x; }\n",
    "SQL": "CREATE TABLE a (id int);\nINSERT INTO a VALUES (1);\nSELECT id\nFROM a\nWHERE id > 0;\n",
}


@pytest.mark.parametrize("language", PROGRAMS)
def test_a_program_is_told_by_its_lines(language):
    """Whatever it is called."""
    assert programming_language(PROGRAMS[language], "noname") == language


@pytest.mark.parametrize(
    ("line", "language"),
    [("#!/usr/bin/env python3", "Python"), ("#!/bin/sh -e", "Shell"), ("#! /usr/bin/node", "JavaScript")],
)
def test_a_first_line_decides(line, language):
    """The interpreter is named."""
    assert programming_language(f"{line}\nwhatever\n", "a.txt") == language


def test_prose_is_no_program():
    """Nor is a file that is only named like one."""
    prose = samples.text().decode() + "Select what you like from the list; let it be, and import nothing.\n"
    assert programming_language(prose, "a.txt") is None
    assert programming_language("Only a few words of prose.\n", "a.py") is None


def test_it_costs_little():
    """Whatever a line is: a second is far more than it may take."""
    import time

    began = time.monotonic()
    lines = ("a" * 150 + "\n", " " * 150 + "\n", "\n", "func " * 30 + "\n", "(" * 150 + "\n", "a." * 70 + "\n")
    for text in ("a" * 200_000, " " * 200_000, "func " * 40_000, *(line * 2000 for line in lines)):
        programming_language(text, "a.rs")
    assert time.monotonic() - began < 5
