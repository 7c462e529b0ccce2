"""Which renderer answers: DRF's negotiation, remembered; and none at all, for doors that hand out files."""

from collections.abc import Sequence
from typing import Any

from rest_framework.negotiation import BaseContentNegotiation, DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

ACCEPT_CHARACTERS = 256
REMEMBERED = 256


class RememberedNegotiation(DefaultContentNegotiation):
    """DRF's own choice; what an Accept header led to once, it leads to again, and is not parsed for it."""

    _choices: dict[tuple[Any, ...], tuple[int, str]] = {}  # noqa: RUF012 - all views' together

    def select_renderer(  # type: ignore[override]
        self, request: Request, renderers: Sequence[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """A renderer, and the media type that it is to write. Raises NotAcceptable."""
        accept = request.headers.get("Accept", "*/*")
        if format_suffix or self.settings.URL_FORMAT_OVERRIDE or len(accept) > ACCEPT_CHARACTERS:
            chosen: tuple[BaseRenderer, str] = super().select_renderer(request, renderers, format_suffix)
            return chosen
        key = (accept, *map(type, renderers))
        known = self._choices.get(key)
        if known is None:
            renderer, media_type = super().select_renderer(request, renderers, format_suffix)
            if len(self._choices) >= REMEMBERED:  # many different headers: begin anew rather than grow
                self._choices.clear()
            known = self._choices[key] = (list(renderers).index(renderer), media_type)
        return renderers[known[0]], known[1]


class AnyAccept(BaseContentNegotiation):
    """For doors that hand out a file's own bytes: their type is the file's, whatever the client hopes for."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """No door parses its body this way."""
        return None

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """The first renderer, for errors."""
        return renderers[0], renderers[0].media_type
