"""The multipart door: bytes in, the one file's bytes out. Pushed to, never pulling; knows neither Django nor a loop.

Source: RFC 7578. The parsing is the `multipart` package's; the rules of this service are here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser

from apps.files.errors import (
    FilewireError,
    Malformed,
    MissingFile,
    TooManyFiles,
    TooManyParts,
)

FIELD = "file"
MAX_HEADERS_PER_PART = 16
MAX_PREAMBLE_BYTES = 64 * 1024  # before the first boundary there is nothing that anyone needs
MAX_OTHER_BYTES = 1024 * 1024 + 64 * 1024  # of all that is not the file: other parts, headers, what follows the end


@dataclass(frozen=True, kw_only=True)
class PartStart:
    """The file's part begins."""

    name: str
    content_type: str
    content_digest: str | None


class FormParser:
    """Finds the one part named `file` in a multipart/form-data body that is pushed in as it arrives."""

    def __init__(self, boundary: str, *, max_parts: int, max_part_header_bytes: int) -> None:
        """Raises Malformed for a boundary that cannot be one."""
        try:
            self._parser = PushMultipartParser(
                boundary,
                max_segment_count=max_parts,
                max_header_size=max_part_header_bytes,
                max_header_count=MAX_HEADERS_PER_PART,
            )
        except MultipartError as error:
            raise Malformed("The multipart boundary is not valid.") from error
        self._in_file = False
        self._found = False
        self._parts = 0
        self._file_bytes = 0
        self._pushed_bytes = 0

    def push(self, data: bytes) -> Iterator[PartStart | bytes]:
        """What the data brings of the file: its start, then its bytes. Raises one of the errors of a bad body."""
        self._pushed_bytes += len(data)
        try:
            for event in self._parser.parse(data):
                if isinstance(event, MultipartSegment):
                    start = self._begin(event)
                    if start is not None:
                        yield start
                elif event is None:
                    self._in_file = False
                elif self._in_file:
                    self._file_bytes += len(event)
                    yield bytes(event)
        except MultipartError as error:
            raise _translated(error) from error
        if not self._parts and self._pushed_bytes > MAX_PREAMBLE_BYTES:
            raise Malformed("The multipart boundary does not appear in the body.")
        # Else a body without a Content-Length could go on after its last boundary for as long as an upload may last.
        if self._pushed_bytes - self._file_bytes > MAX_OTHER_BYTES:
            raise TooManyParts(f"The body holds more than {MAX_OTHER_BYTES} bytes beside the file.")

    def finish(self) -> None:
        """The body is over. Raises Malformed when its last boundary is missing, MissingFile when the file is."""
        try:
            self._parser.close()
        except MultipartError as error:
            raise _translated(error) from error
        if not self._found:
            raise MissingFile(field=FIELD)

    def _begin(self, segment: MultipartSegment) -> PartStart | None:
        self._parts += 1
        if segment.name != FIELD:
            return None
        if segment.filename is None:
            raise MissingFile("The submitted data was not a file: give the part a filename.", field=FIELD)
        if self._found:
            raise TooManyFiles(field=FIELD)
        self._found = self._in_file = True
        return PartStart(
            name=segment.filename,
            content_type=segment.header("Content-Type", "") or "",
            content_digest=segment.header("Content-Digest"),
        )


def _translated(error: MultipartError) -> FilewireError:
    if isinstance(error, ParserLimitReached):
        return TooManyParts()
    return Malformed(f"The multipart body is malformed: {error}.")
