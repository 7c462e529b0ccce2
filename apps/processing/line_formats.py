"""YAML, TOML and Markdown, told by the shape of their lines; nothing is parsed.

Each has two questions. `is_…` holds for the whole sample. `may_be_…` is asked where the file's name says so and nothing
else claims the text: most of it has the shape, and where the fault is, a parser will tell.
"""

from __future__ import annotations

import re
from typing import Final

_YAML_LINE: Final = re.compile(
    r"""(?: [ ]*+(?:-[ ]++)*+(?:"[^"]*+"|'[^']*+'|[\w./$-][\w ./$()-]*+):(?:[ ].*)?$   # key: value
          | [ ]*-(?:[ ].*)?$                                                     # - item
          | [ ]+\S                                                               # continuation of a value
          | [ ]*\#|[ ]*$|---(?:[ ]|$)|\.\.\.$|%YAML[ ]|%TAG[ ]|[]}][ ]*$
        )""",
    re.VERBOSE,
)
_YAML_KEY: Final = re.compile(r"(?:- )?[\w.\"'/$-]+:(?: \S|$)")


# A value that is written as YAML does.
_YAML_OPENING: Final = re.compile(r"""---|%YAML|-[ ]+[{\[]|(?:-[ ])?[\w.-]+:(?:[ ]*$|[ ]+[&*!\[{|>])""")
_YAML_ASIDE: Final = re.compile(r"\s*(?:\#|$)")
_YAML_FLOW: Final = re.compile(r"-[ ]+(?:\{.*\}|\[.*\])\s*$|\s*(?:\#|$)")
_YAML_OPEN_KEY: Final = re.compile(r".*:\s*(?:[&!]\S+\s*){0,2}$")


def opens_as_yaml(lines: list[str]) -> bool:
    """Whether the first line that says something opens no table, though each line may have as many commas."""
    return _YAML_OPENING.match(next((line for line in lines if not _YAML_ASIDE.match(line)), "")) is not None


def is_yaml(lines: list[str]) -> bool:
    """Every line has a shape YAML knows, and there is nesting or a document mark."""
    if not all(map(_YAML_LINE.match, lines)):
        return False
    if lines[0].startswith("- ") and all(map(_YAML_FLOW.match, lines)):
        return True
    keys = [index for index, line in enumerate(lines) if _YAML_KEY.match(line)]
    if lines[0].startswith(("---", "%YAML ")):
        return bool(keys) or any(line.startswith("- ") for line in lines[1:])
    nested = any(
        _YAML_OPEN_KEY.match(lines[index])
        and index + 1 < len(lines)
        and lines[index + 1].startswith((" ", "- ", "-\t"))
        for index in keys
    ) or any(
        lines[index].startswith("- ") and lines[index + 1 : index + 2] and lines[index + 1].startswith("  ")
        for index in keys
    )
    if nested:
        return len(keys) >= 2 or lines[keys[0]].lstrip("- ")[:1].islower()
    # A flat one is told by its keys: other texts of names and values write them with a capital, or in several words.
    return len(keys) >= 2 and all(_YAML_FLAT.match(line) for line in lines)


def may_be_yaml(lines: list[str]) -> bool:
    """Whether text that is called YAML may be that with a fault, or too short: it opens so, and mostly goes on so."""
    said = [line for line in lines if not _YAML_ASIDE.match(line)]
    if not said or not _YAML_START.match(said[0]):
        return False
    return said[0][0] in "{[" or 2 * sum(_YAML_LINE.match(line) is not None for line in said) > len(said)


_YAML_START: Final = re.compile(
    r"""---|%YAML|[{\[]|-[ ]|(?:"[^"]*+"|'[^']*+'|[\w.$/-]+(?:[ ][\w.$/-]+){0,3}):(?:[ ]|$)"""
)
_YAML_FLAT: Final = re.compile(r"[a-z][\w.-]*: \S|\s*#|\s*$")
_TOML_TABLE: Final = re.compile(r"\[{1,2}[ ]*+[\w\"'-]++(?:[ ]*+\.[ ]*+[\w\"'-]++)*+[ ]*+\]{1,2}\s*+(?:#.*)?$")
_TOML_PAIR: Final = re.compile(
    r"\s*+[\w\"'-]++(?:\s*+\.\s*+[\w\"'-]++)*+\s*+=\s*+(?:[\"'\[{]|[+-]?(?:\d|inf\b|nan\b)|true\b|false\b)"
)
_TOML_OTHER: Final = re.compile(r"\s*(?:#|$)|\s+\S|[\]}\"']")


def is_toml(lines: list[str]) -> bool:
    """A table header or nothing but pairs, and no value that TOML would want in quotes: that would be an INI file."""
    tables = pairs = 0
    for line in lines:
        if _TOML_TABLE.match(line):
            tables += 1
        elif _TOML_PAIR.match(line):
            pairs += 1
        elif not _TOML_OTHER.match(line) or re.match(r"\s*+[\w.-]++\s*+=", line):
            return False
    return pairs > 0 if tables else pairs > 1 and all(_TOML_FLAT.match(line) for line in lines)


def may_be_toml(lines: list[str]) -> bool:
    """Whether text that is called TOML may be that with a fault, or too short: most of it is tables and pairs."""
    said = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    shaped = [_TOML_TABLE.match(line) or _TOML_LIKE.match(line) for line in said]
    return (
        bool(said)
        and any(shaped)
        and 2
        * sum(
            bool(shape) or line.startswith((" ", "\t", "]", "}", '"', "'"))
            for shape, line in zip(shaped, said, strict=True)
        )
        > len(said)
    )


_TOML_LIKE: Final = re.compile(r"\s*+(?:[\w\"'-][\w\"'.-]*+\s*+=|\[{1,2}[\w\"'. -]++(?:\]|$))")
_TOML_FLAT: Final = re.compile(r"[\w\"'.-]+ = \S|#|\s*$|\s+\S|[\]}\"']")


_MARKDOWN_FENCE: Final = re.compile(r"(?:```|~~~)[\w+-]*\s*$")
_MARKDOWN_FIRST: Final = ("#", "`", "~")
_MARKDOWN_HEADING: Final = re.compile(r"#{1,6} \S")
_MARKDOWN_SIGNS: Final[tuple[re.Pattern[str], ...]] = (
    re.compile(r"\[[^\[\]\n]++\]\([^()\s]++[^()\n]*+\)"),
    re.compile(r"\*\*\w[^*\n]*\*\*"),
    re.compile(r"(?<!`)`[^`\n]+`(?!`)"),
    re.compile(r"(?m)^\|?[ :]*-{3,}[ :]*\|"),
    re.compile(r"(?m)^(?:[-*+]|\d{1,3}\.) \S"),
    re.compile(r"(?m)^> \S"),
)
# Lines that end like this are a program's, whose comments look like headings.
_CODE_LINE: Final = re.compile(r".*(?:[;{}=]|\):)$|(?:import|from|use|package|set|export) \S+$")


def is_markdown(lines: list[str]) -> bool:
    """Headings that stand alone, or fences, and one more of Markdown's signs; never comments among code."""
    body = "\n".join(lines)
    if not any(sign in body for sign in _MARKDOWN_FIRST):  # many texts, without a look at every line of theirs
        return False
    if not any(line.startswith(_MARKDOWN_FIRST) for line in lines):
        return False
    headings = fences = code = 0
    fenced = False
    previous = ""
    for index, line in enumerate(lines):
        if _MARKDOWN_FENCE.match(line):
            fences += 1
            fenced = not fenced
        elif not fenced and line.startswith("#"):
            following = lines[index + 1].strip() if index + 1 < len(lines) else ""
            if previous.startswith("#") or following.startswith("#") or not _MARKDOWN_HEADING.match(line):
                return False
            headings += not previous and not following
        elif not fenced and not line.startswith((" ", "-", "*", ">", "|")):
            code += _CODE_LINE.match(line) is not None
        previous = line.strip()
    if (code and code >= headings) or (headings == 0 and fences < 2):
        return False
    titled = headings > 0 and lines[0].startswith("#")
    fenced_off = (fences > 1) * (2 if headings else 1)
    signs = titled + (headings > 1) + fenced_off + sum(1 for sign in _MARKDOWN_SIGNS if sign.search(body))
    return signs >= 2
