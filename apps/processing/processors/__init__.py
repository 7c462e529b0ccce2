"""One module a kind of file, and the table that says which.

A processor is a function from `Job` to `Outcome`. It reads the file at `job.path`, writes only into
`job.workdir`, and knows neither the database, nor the queue, nor Django. Modules are named here, and imported
when first used: reading this table must not cost the import of an imaging library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Final, cast

from ..contract import Job, Outcome
from ..detect import Detected

Processor = Callable[[Job], Outcome]

FALLBACK: Final = "fallback"

PROCESSORS: Final[Mapping[str, str]] = {
    "image": "image",
    "text": "text",
    "table": "table",
    "data": "data",
    "document": "document",
    "audio": "audio",
    "video": "video",
    "archive": "archive",
    "other": FALLBACK,
}
"""Kind of file → module of this package whose `process` takes it. A new processor is one line here."""


def load() -> None:
    """Import every processor, and have those that say so do once what their libraries do at their first use."""
    for name in set(PROCESSORS.values()):
        getattr(import_module(f"{__name__}.{name}"), "prepare", lambda: None)()


def processor_for(detected: Detected) -> Processor:
    """The function that processes files of this kind; for an unknown kind, the one that takes anything."""
    module = import_module(f"{__name__}.{PROCESSORS.get(detected.kind, FALLBACK)}")
    return cast(Processor, module.process)
