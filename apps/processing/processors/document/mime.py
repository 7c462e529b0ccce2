"""A message taken apart: its parts one after the other, each with its headers and the bytes of its body.

The standard library's parser asks of every line whether it ends any of the parts that are open, so that a message costs
its lines times its levels. Here lines that may be boundaries are searched for, and looked up.

Sources: RFC 2046, section 5.1; RFC 5322, section 2.2.
"""

from __future__ import annotations

import email.errors
import email.parser
import email.policy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from typing import Final

from ...contract import ProcessingFailed

HEAD_BYTES: Final = 256 * 1024
VALUE_CHARACTERS: Final = 2000  # of a header that has parameters, which cost their number squared
LEVELS: Final = 200
CHECKED_LINES: Final = 1000
UNREADABLE: Final = (LookupError, ValueError, UnicodeError, AttributeError, TypeError, email.errors.MessageError)

HEAD_END: Final = re.compile(rb"^(?:\r?\n|--)", re.MULTILINE)
BOUNDARY_LINE: Final = re.compile(rb"^--([^\r\n]{1,200}?)[ \t]*\r?$", re.MULTILINE)


@dataclass(kw_only=True)
class Part:
    """Headers, and a body from one place in the content to another."""

    head: Message
    start: int
    stop: int = 0


@dataclass(kw_only=True)
class _Container:
    boundary: bytes
    part: Part
    met: bool = False  # whether its boundary was


class Parts:
    """The parts of a message that are no containers of others, in order; at most so many of either.

    `cut` says that there are more, that the message ends within one, or that it was too `late` to go on.
    """

    def __init__(self, content: bytes, most: int, late: Callable[[], bool]) -> None:
        self.cut = False
        self._content = content
        self._most = most
        self._late = late
        self._seen = 0
        self._at = 0
        self._containers: list[_Container] = []
        self._levels: dict[bytes, int] = {}  # by boundary; of two that are alike, that of the inner one
        self._leaf: Part | None = None

    def __iter__(self) -> Iterator[Part]:
        """Each part. Raises ProcessingFailed for what is nested too deep."""
        self._leaf = self._begin()
        for number, line in enumerate(self._lines()):
            if self._seen > self._most or (number % CHECKED_LINES == 0 and self._late()):
                self.cut = True
                return
            name = line[1]
            if name not in self._levels and name.removesuffix(b"--") not in self._levels:
                continue
            level = self._levels[name if name in self._levels else name.removesuffix(b"--")]
            yield from self._end(level + 1, line.start())
            self._containers[level].met = True
            if name in self._levels:
                self._leaf = self._begin()
            else:
                self._leave(level)
        self.cut = any(container.met for container in self._containers[:1])
        yield from self._end(0, len(self._content))

    def _lines(self) -> Iterator[re.Match[bytes]]:
        while line := BOUNDARY_LINE.search(self._content, self._at):
            self._at = min(line.end() + 1, len(self._content))
            yield line

    def _begin(self) -> Part | None:
        """The part whose headers begin here; None for one that others are in."""
        while True:
            part = self._headed()
            self._seen += 1
            sort, boundary = _sort_of(part.head)
            if sort == "message/rfc822" and part.start < len(self._content) and self._seen <= self._most:
                continue  # what it holds is a message, and begins here
            if not sort.startswith("multipart/") or not boundary:
                return part
            if len(self._containers) >= LEVELS:
                raise ProcessingFailed(
                    "document_too_large", "The message has more parts in parts than this service follows."
                )
            self._levels[boundary] = len(self._containers)
            self._containers.append(_Container(boundary=boundary, part=part))
            return None

    def _headed(self) -> Part:
        end = HEAD_END.search(self._content, self._at)
        stop = end.start() if end else len(self._content)
        head = head_of(self._content[self._at : stop])
        self._at = end.start() if end and end[0] == b"--" else end.end() if end else stop
        return Part(head=head, start=self._at)

    def _end(self, level: int, stop: int) -> Iterator[Part]:
        """What ends here: the present part, and any container from this level on in which no boundary was met."""
        unmet = [container.part for container in self._containers[level:] if not container.met]
        for part in [self._leaf, *reversed(unmet)] if self._leaf else unmet[::-1]:
            part.stop = max(part.start, stop - self._newline(stop) * (level > 0))
            yield part
        self._leaf = None
        self._leave(level)

    def _newline(self, stop: int) -> int:
        """The bytes of the newline before a boundary, which is the boundary's."""
        before = self._content[max(0, stop - 2) : stop]
        return 2 if before == b"\r\n" else int(before.endswith(b"\n"))

    def _leave(self, level: int) -> None:
        del self._containers[level:]
        self._levels = {container.boundary: at for at, container in enumerate(self._containers)}


def head_of(content: bytes) -> Message:
    """The headers; what is too long for one is cut."""
    head = email.parser.BytesHeaderParser(policy=email.policy.compat32).parsebytes(content[:HEAD_BYTES])
    for name in ("Content-Type", "Content-Disposition"):
        value = head.get(name)
        if value is not None:
            head.replace_header(name, str(value)[:VALUE_CHARACTERS])
    return head


def body_of(content: bytes, part: Part) -> bytes:
    """The part's body, its encoding undone. Raises what is in UNREADABLE."""
    part.head.set_payload(content[part.start : part.stop].decode("ascii", "surrogateescape"))
    payload = part.head.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _sort_of(head: Message) -> tuple[str, bytes]:
    """Its type, and the boundary of its parts, if there is one."""
    try:
        return head.get_content_type(), (head.get_boundary() or "").encode("utf-8", "surrogateescape")
    except UNREADABLE:
        return "text/plain", b""
