"""`manage.py kinds`: writes what each kind's result looks like, for the API's document and for docs/kinds.md."""

from importlib import import_module
from typing import Any

import orjson
from django.conf import settings
from django.core.management.base import BaseCommand

from apps.processing import kinds


def gathered() -> dict[str, Any]:
    """The schemas as the processors have them; this imports every processor."""
    processors = import_module("apps.processing.processors")
    found = {}
    for kind, module in processors.PROCESSORS.items():
        schema = dict(import_module(f"{processors.__name__}.{module}").SCHEMA)
        schema["properties"] = {**schema["properties"], "type_mismatch": kinds.MISMATCH}
        found[kind] = schema
    return found


def page(schemas: dict[str, Any]) -> str:
    """docs/kinds.md."""
    lines = [
        "# Kinds of file, and what is found out about each",
        "",
        "Made from the processors' schemas by `manage.py kinds`; they stand in the OpenAPI document too. A type",
        "told and not read (MIDI, DjVu, camera raw) has the result of `other`. Every result may have `type_mismatch`.",
    ]
    for kind, schema in schemas.items():
        lines += [
            "",
            f"## {kind}",
            "",
            str(schema["description"]),
            "",
            "| field | type | what it is |",
            "|---|---|---|",
        ]
        for name, field in schema["properties"].items():
            if name != "type_mismatch":
                sort = field.get("type", "one of " + ", ".join(field.get("enum", [])))
                shown = " or ".join(sort) if isinstance(sort, list) else sort
                always = "" if name in schema["required"] else " (not always there)"
                lines.append(f"| `{name}` | {shown} | {field.get('description', '')}{always} |")
                for inner, below in field.get("items", {}).get("properties", {}).items():
                    kind_of = below.get("type", "one of " + ", ".join(below.get("enum", [])))
                    told = " or ".join(kind_of) if isinstance(kind_of, list) else kind_of
                    lines.append(f"| `{name}[].{inner}` | {told} | {below.get('description', '')} |")
    return "\n".join(lines) + "\n"


class Command(BaseCommand):
    """Writes both files."""

    help = "Write apps/processing/kinds.json and docs/kinds.md from the processors' schemas."

    def handle(self, *args: Any, **options: Any) -> None:
        """Gather and write."""
        schemas = gathered()
        kinds.PATH.write_bytes(orjson.dumps(schemas, option=orjson.OPT_INDENT_2) + b"\n")
        (settings.BASE_DIR / "docs" / "kinds.md").write_text(page(schemas))
