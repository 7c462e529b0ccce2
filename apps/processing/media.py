"""What sound and film share: a container opened without giving its demuxer anything but the file's own bytes.

FFmpeg opens what a file names (playlists, external tracks) when it is let: here the demuxer is chosen by the detected
type, from a list without any that read other files, and it gets an open file, so that it has no protocol at all.
"""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, BinaryIO, Final

import av
import av.error
import av.logging

from . import extents, frames
from .contract import JSON, Job, ProcessingFailed

PROBE_BYTES: Final = 4 * 1024 * 1024
PROBE_MICROSECONDS: Final = 5_000_000
STREAMS: Final = 100
TAGS: Final = 40
TAG_CHARACTERS: Final = 500
LONGEST_SECONDS: Final = 366 * 24 * 3600  # beyond that the header lies

FORMATS: Final[Mapping[str, str]] = {
    "audio/mpeg": "mp3",
    "audio/flac": "flac",
    "audio/ogg": "ogg",
    "application/ogg": "ogg",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/vnd.wave": "wav",
    "audio/mp4": "mp4",
    "audio/x-m4a": "mp4",
    "audio/aac": "aac",
    "audio/aiff": "aiff",
    "audio/amr": "amr",
    "audio/amr-wb": "amr",
    "audio/basic": "au",
    "audio/ac3": "ac3",
    "audio/x-ape": "ape",
    "audio/x-caf": "caf",
    "audio/x-tta": "tta",
    "audio/x-voc": "voc",
    "audio/x-w64": "w64",
    "audio/x-wavpack": "wv",
    "video/mp4": "mp4",
    "video/quicktime": "mp4",
    "video/3gpp": "mp4",
    "video/3gpp2": "mp4",
    "video/x-m4v": "mp4",
    "video/webm": "matroska",
    "audio/webm": "matroska",
    "video/matroska": "matroska",
    "video/x-matroska": "matroska",
    "audio/matroska": "matroska",
    "audio/x-matroska": "matroska",
    "audio/3gpp": "mp4",
    "audio/3gpp2": "mp4",
    "video/x-msvideo": "avi",
    "video/avi": "avi",
    "video/ogg": "ogg",
    "video/mp2t": "mpegts",
    "video/mpeg": "mpeg",
    "video/x-flv": "flv",
    "video/x-ms-wmv": "asf",
    "video/x-ms-asf": "asf",
    "audio/x-ms-wma": "asf",
    "application/mxf": "mxf",
    "application/vnd.rn-realmedia": "rm",
    "video/x-ivf": "ivf",
}

# What FFmpeg raises for a file that is damaged. ValueError and the like come from PyAV for headers that lie.
BROKEN = (av.error.FFmpegError, ValueError, OverflowError, ZeroDivisionError, EOFError, UnicodeError, AssertionError)


class _Bytes(io.BufferedReader):
    """The file as FFmpeg reads it: to be sent where no file reaches is the file's fault, and none of the disk's."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As files do. Raises ValueError for a place that is none."""
        try:
            return super().seek(offset, whence)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.EOVERFLOW):
                raise ValueError("there is no such place") from error
            raise


@contextlib.contextmanager
def opened(job: Job, kind: str) -> Iterator[Any]:
    """The container, of a type in `FORMATS`. Raises ProcessingFailed where it cannot be opened."""
    name = FORMATS[job.content_type]
    av.logging.set_level(None)
    options = {
        "probesize": str(PROBE_BYTES),
        "analyzeduration": str(PROBE_MICROSECONDS),
        "max_streams": str(STREAMS),
        "max_probe_packets": "500",
    }
    if name == "mp4":
        options |= {"enable_drefs": "0", "use_absolute_path": "0"}
    with contextlib.ExitStack() as stack:
        file: BinaryIO = stack.enter_context(_Bytes(io.FileIO(job.path)))
        try:
            container = stack.enter_context(
                av.open(file, mode="r", format=name, options=options, metadata_errors="replace")
            )
        except BROKEN as error:
            raise ProcessingFailed(f"{kind}_broken") from error
        yield container


def seconds_of(container: Any, stream: Any | None) -> float | None:
    """How long it is, as it says; None where it does not, or lies."""
    for value, base in (
        (container.duration, Fraction(1, av.time_base)),
        (getattr(stream, "duration", None), getattr(stream, "time_base", None)),
    ):
        if value and base and 0 < value * base < LONGEST_SECONDS:
            return round(float(value * base), 3)
    return None


def tags_of(*owners: Any) -> dict[str, JSON]:
    """The tags of the container, then those of its streams that it lacks; names in lower case, all of it bounded."""
    found: dict[str, JSON] = {}
    for owner in owners:
        for name, value in dict(getattr(owner, "metadata", None) or {}).items():
            key = str(name).lower()[:64]
            if len(found) < TAGS and key not in found and str(value).strip():
                found[key] = str(value)[:TAG_CHARACTERS]
    return found


def number(value: Any) -> float | None:
    """A finite number with three digits, or None."""
    try:
        found = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return round(found, 3) if math.isfinite(found) else None


def codec_of(stream: Any) -> str | None:
    """FFmpeg's name of the codec, and not of the decoder that it takes for it (`mp3`, not `mp3float`)."""
    try:
        context = stream.codec_context
        return str(getattr(context.codec, "canonical_name", None) or context.name)
    except (AttributeError, *BROKEN):
        return None


def ends_early(job: Job) -> bool:
    """Whether the file declares more bytes than there are: cut off on the way, whatever can still be played."""
    form = FORMATS.get(job.content_type)
    with job.path.open("rb") as file:
        if form in ("wav", "avi"):
            return extents.riff_end(file) > job.size
        if form == "mp3":
            return frames.ends_early(file, job.size)
        if form == "mp4":
            return extents.boxes_end(file, job.size) > job.size
        return form == "matroska" and extents.segment_end(file) > job.size
