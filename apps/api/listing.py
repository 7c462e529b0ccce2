"""The list: what may be asked of it, and one page of it by keyset, newest first."""

import dataclasses
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from urllib.parse import urlencode

from django.db.models import Q
from django.utils.dateparse import parse_datetime
from rest_framework.exceptions import ErrorDetail, ValidationError

from apps.files.document import COLUMNS, Row
from apps.files.ids import floor_id
from apps.files.models import File, Status
from apps.processing import plugins

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 200

# What every page is a part of, put together once and not for each.
ROWS = File.objects.annotate(untold=Q(pending__isnull=False)).values_list(*COLUMNS, "untold")


class Query(Protocol):
    """A request's query: Django's QueryDict."""

    def __iter__(self) -> Iterator[str]:
        """The parameters' names."""

    def getlist(self, key: str) -> list[str]:
        """All values of one parameter."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Where a page begins: after (older than) an id, or before (newer than) it."""

    file_id: uuid.UUID
    backwards: bool

    def __str__(self) -> str:
        return f"{'n' if self.backwards else 'o'}{self.file_id.hex}"

    @classmethod
    def parse(cls, text: str) -> "Place":
        """The place that a cursor stands for. Raises ValueError."""
        if text[:1] not in ("n", "o") or len(text) != 33:
            raise ValueError("Invalid cursor.")
        return cls(file_id=uuid.UUID(text[1:]), backwards=text[0] == "n")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
    """What was asked for."""

    where: Q
    page_size: int = DEFAULT_PAGE_SIZE
    place: Place | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class FilePage:
    """One page's rows as `values_list(*COLUMNS)`, newest first, and where the pages beside it begin.

    `untold` where a row has changed and no event has said so yet.
    """

    rows: Sequence[Row]
    next: Place | None
    previous: Place | None
    untold: bool


def _processed(values: list[str]) -> Q:
    return Q(processed=_choice(values[-1], {"true": True, "false": False}))


def _status(values: list[str]) -> Q:
    return Q(status__in=[_choice(value, {word: word for word in Status.values}) for value in values])


def _kind(values: list[str]) -> Q:
    return Q(kind__in=[_choice(value, {word: word for word in plugins.kinds()}) for value in values])


def _name(values: list[str]) -> Q:
    if not values[-1] or "\0" in values[-1]:
        raise ValueError("This must be a part of a name.")
    return Q(name__icontains=values[-1])


def _uploaded_after(values: list[str]) -> Q:
    return Q(id__gte=floor_id(_moment(values[-1]) + timedelta(microseconds=1)))


def _uploaded_before(values: list[str]) -> Q:
    return Q(id__lt=floor_id(_moment(values[-1])))


def _choice(value: str, choices: Mapping[str, Any]) -> Any:
    if value not in choices:
        raise ValueError(f'"{value}" is not a valid choice: {", ".join(choices)}.')
    return choices[value]


def _moment(value: str) -> datetime:
    # A "+" in a query that was not escaped arrives as a space.
    try:
        found = parse_datetime(value.strip().replace(" ", "+") if "T" in value else value)
    except ValueError:
        found = None
    if found is None:
        raise ValueError("This must be a moment such as 2026-11-23T05:47:50Z.")
    return found if found.tzinfo else found.replace(tzinfo=UTC)


FILTERS: dict[str, Callable[[list[str]], Q]] = {
    "processed": _processed,
    "status": _status,
    "kind": _kind,
    "name": _name,
    "uploaded_after": _uploaded_after,
    "uploaded_before": _uploaded_before,
}


def _page_size(value: str) -> int:
    # int() of a very long number takes very long, and is refused with another error
    if not (value.isascii() and value.isdigit() and len(value) <= 6 and 1 <= int(value) <= MAX_PAGE_SIZE):
        raise ValueError(f"This must be a whole number from 1 to {MAX_PAGE_SIZE}.")
    return int(value)


def asked(query: Query) -> Listing:
    """What the query asks for. Raises ValidationError, naming each parameter that is not known or not understood."""
    where, wrong = Q(), {}
    page_size, place = DEFAULT_PAGE_SIZE, None
    for name in query:
        values = query.getlist(name)
        try:
            if name in FILTERS:
                where &= FILTERS[name](values)
            elif name == "page_size":
                page_size = _page_size(values[-1])
            elif name == "cursor":
                place = Place.parse(values[-1])
            else:
                raise ValueError("This parameter is not known.")
        except (ValueError, OverflowError) as error:
            wrong[name] = [ErrorDetail(str(error), code="bad_filter")]
    if wrong:
        raise ValidationError(wrong)
    return Listing(where=where, page_size=page_size, place=place)


def page(listing: Listing) -> FilePage:
    """One page, by the primary key's order: as quick at the end of a million rows as at the beginning."""
    rows = ROWS.filter(listing.where)
    place = listing.place
    backwards = place is not None and place.backwards
    if place is not None:
        rows = rows.filter(id__gt=place.file_id) if backwards else rows.filter(id__lt=place.file_id)
    found = list(rows.order_by("id" if backwards else "-id")[: listing.page_size + 1])
    more = len(found) > listing.page_size
    del found[listing.page_size :]
    if backwards:
        found.reverse()
    # There is a page in the direction we came from, and one ahead when a row too many was found.
    has_next, has_previous = (True, more) if backwards else (more, place is not None)
    if not found:
        return FilePage(rows=[], next=None, previous=None, untold=False)
    return FilePage(
        rows=[row[:-1] for row in found],
        next=Place(file_id=found[-1][0], backwards=False) if has_next else None,
        previous=Place(file_id=found[0][0], backwards=True) if has_previous else None,
        untold=any(row[-1] for row in found),
    )


def link(url: str, query: Query, place: Place | None) -> str | None:
    """The address of the page at this place with the same filters."""
    if place is None:
        return None
    kept = [(name, value) for name in query if name != "cursor" for value in query.getlist(name)]
    return f"{url}?{urlencode([*kept, ('cursor', str(place))])}"
