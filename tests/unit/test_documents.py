"""What the documents promise is what the code does."""

import re
import tomllib
from pathlib import Path

import jsonschema
import pytest

import project.settings
from apps.files import errors, faults
from apps.files.models import Kind
from apps.processing import kinds
from apps.processing.contract import FAILURE_CODES, KINDS
from project.management.commands import kinds as kinds_command
from tests.load import quoted

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text()
ALSO_FAIL = {"processing_error", "worker_lost", "bytes_missing"}


def codes_of(page: str, heading: str) -> set[str]:
    """The first cells of the table under a heading."""
    section = page.split(heading, 1)[1].split("\n## ", 1)[0]
    return set(re.findall(r"^\| `([a-z_]+)` \|", section, re.MULTILINE))


def test_the_settings_table_names_every_setting():
    """Each FILEWIRE_ setting stands in the README's table, and nothing else does."""
    section = README.split("## Settings", 1)[1].split("\n## ", 1)[0]
    described = set(re.findall(r"`(FILEWIRE_[A-Z_]+)`", section))
    read = set(re.findall(r'env\.\w+\(\s*"(FILEWIRE_[A-Z_]+)"', (ROOT / "project" / "settings.py").read_text()))
    assert described == read
    for name in read - {"FILEWIRE_PROXIES"}:
        assert hasattr(project.settings, name), name


def test_the_settings_table_has_the_defaults():
    """A plain number in the table is the default that the settings have."""
    section = README.split("## Settings", 1)[1].split("\n## ", 1)[0]
    source = (ROOT / "project" / "settings.py").read_text()
    for name, default in re.findall(r"^\| `(FILEWIRE_[A-Z_]+)` \| (\d+) \|", section, re.MULTILINE):
        (written,) = re.findall(rf'"{name}", ([\d_ *]+)', source)
        assert eval(written) == int(default), name


def test_every_error_code_is_documented():
    """docs/errors.md lists each code that an answer can have."""
    page = (ROOT / "docs" / "errors.md").read_text()
    known = {
        found.code
        for found in vars(errors).values()
        if isinstance(found, type) and issubclass(found, errors.FilewireError)
    } - {"error", "client_gone", "bytes_missing"}
    assert codes_of(page, "## Codes of answers") == known


def test_every_failure_code_is_documented():
    """docs/errors.md lists each code that a failed file can have."""
    page = (ROOT / "docs" / "errors.md").read_text()
    transient = {"storage_unavailable", "storage_full", "database_unavailable", faults.OutOfMemory.code}
    assert codes_of(page, "## Codes of failed files") == set(FAILURE_CODES) | ALSO_FAIL | transient


def test_the_kinds_results_are_the_processors():
    """kinds.json and docs/kinds.md are what `manage.py kinds` makes of the processors' schemas."""
    schemas = kinds_command.gathered()
    assert schemas == kinds.schemas()
    assert (ROOT / "docs" / "kinds.md").read_text() == kinds_command.page(schemas)
    for kind, schema in schemas.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert all(field.get("description") for field in schema["properties"].values()), kind


def test_every_dependency_has_its_reason():
    """docs/dependencies.md has a line for each package that requirements/*.in ask for, and no other."""
    asked = set()
    for path in (ROOT / "requirements").glob("*.in"):
        for line in path.read_text().splitlines():
            name = re.match(r"[a-z0-9-]+", line)
            if name and not line.startswith("-"):
                asked.add(name[0])
    listed = set(re.findall(r"^\| ([a-z0-9-]+) \|", (ROOT / "docs" / "dependencies.md").read_text(), re.MULTILINE))
    assert listed - {"package"} == asked


def test_every_guarantee_is_shown_by_a_test():
    """docs/guarantees.md names tests that there are, and each test of the fault suite is named by it or of its kind."""
    page = (ROOT / "docs" / "guarantees.md").read_text()
    written = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)\(", path.read_text())
    }
    named = set(re.findall(r"`(test_\w+)`", page))
    assert named <= written, named - written
    rows = [line for line in page.splitlines() if line.startswith("| ") and "guarantee | it rests on" not in line]
    assert all(re.search(r"`test_\w+`", row) for row in rows)


def test_the_kinds_are_the_same_everywhere():
    """The record's kinds are those that detection can tell."""
    assert tuple(Kind.values) == KINDS


def test_the_page_has_the_snippet_of_the_readme():
    """What the README shows for a page is what the example page runs."""
    (snippet,) = re.findall(r"```js\n(.*?)```", README, re.DOTALL)
    page = (ROOT / "docs" / "examples" / "live.html").read_text()
    assert snippet in page


def test_every_link_leads_somewhere():
    """No document links to a file that is not there."""
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_version_is_one():
    """The package, the OpenAPI document and the changelog speak of the same version."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert project.settings.SPECTACULAR_SETTINGS["VERSION"] == version
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("page", quoted.PAGES, ids=lambda path: path.name)
def test_the_quoted_capacity_is_what_the_command_says(page):
    """Every output of `manage.py capacity` in the documents is the command's own, with the figures of today.

    `python -m tests.load.quoted` makes them anew.
    """
    text = page.read_text()
    assert len(quoted.BLOCK.findall(text)) == text.count("$ python manage.py capacity")
    assert quoted.made_anew(text) == text


def test_a_measurement_is_put_between_its_marks():
    """What a run of the simulation says takes the place of what the last one said, and of nothing else."""
    page = "before\n<!-- simulation -->\nold\n<!-- end of simulation -->\nafter\n"
    anew = quoted.replaced(page, "simulation", "new | \\1\n")
    assert anew == "before\n<!-- simulation -->\nnew | \\1\n<!-- end of simulation -->\nafter\n"
    with pytest.raises(ValueError, match="no marks for load"):
        quoted.replaced(page, "load", "new")
    assert "<!-- simulation -->\n" in (ROOT / "docs" / "capacity.md").read_text()
