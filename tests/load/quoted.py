"""Output of commands in the documents: what is quoted there is what the command says.

A block that begins with `$ python manage.py capacity …` is made anew by `refresh`, and a test holds it to what the
command says now. A block of a measurement, between `<!-- name -->` and `<!-- end of name -->`, is replaced by whoever
measures.
"""

import io
import os
import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = (ROOT / "docs" / "scaling.md", ROOT / "docs" / "capacity.md")
BLOCK = re.compile(
    r"(?P<fence>^ *```[a-z]*\n)\$ python manage\.py capacity (?P<words>(?:.*\\\n)*.*)\n(?:.*\n)*?(?=^ *```$)",
    re.MULTILINE,
)


def said(words: str) -> str:
    """What `manage.py capacity` prints for these words."""
    from django.core.management import call_command

    output = io.StringIO()
    call_command("capacity", *shlex.split(words.replace("\\\n", " ")), stdout=output)
    return output.getvalue()


def made_anew(page: str) -> str:
    """The page with each quoted output as the command says it now."""
    return BLOCK.sub(
        lambda block: f"{block['fence']}$ python manage.py capacity {block['words']}\n{said(block['words'])}", page
    )


def replaced(page: str, name: str, text: str) -> str:
    """The page with another text between the marks of this name. Raises ValueError when they are not there."""
    marks = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end of {re.escape(name)} -->)", re.DOTALL)
    if not marks.search(page):
        raise ValueError(f"no marks for {name}")
    return marks.sub(lambda found: found[1] + text + found[2], page)


def refresh() -> None:
    """Write every page whose quotations have changed."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    django.setup()
    for path in PAGES:
        page = path.read_text()
        anew = made_anew(page)
        if anew != page:
            path.write_text(anew)
            print(f"{path.relative_to(ROOT)} quotes the new figures")


if __name__ == "__main__":
    refresh()
