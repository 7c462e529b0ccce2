"""Film: its facts and streams, a poster frame, and a short silent preview."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Final

from PIL import Image

from ..contract import JSON, Derived, Job, Outcome, ProcessingFailed
from ..media import BROKEN, FORMATS, STREAMS, codec_of, ends_early, number, opened, seconds_of, tags_of
from ..pictures import PREVIEW_PIXELS, THUMBNAIL_PIXELS, draw
from . import fallback

TURN: Final = re.compile(r"-?[0-9]{1,4}")
MAX_PIXELS: Final = 8192 * 4608  # of a frame that is decoded
POSTER_AT: Final = 0.1  # of the whole
POSTER_FRAMES: Final = 60  # that are decoded in search of one that is not black
POSTER_SECONDS: Final = 5.0
DARK: Final = 24  # the mean of a frame's grey, of 255, below which it is black
PREVIEW_FRAMES: Final = 8
PREVIEW_BOX: Final = 320
PREVIEW_SECONDS: Final = 3.0
PREVIEW_FRAME_MS: Final = 500
FRAMES_BETWEEN: Final = 60  # that are decoded from a key frame on, to come to a moment

SCHEMA: Final[Mapping[str, JSON]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "video",
    "description": "A film's facts.",
    "type": "object",
    "properties": {
        "duration_seconds": {"type": ["number", "null"], "description": "As the file says."},
        "width": {"type": ["integer", "null"], "description": "Pixels, as it is shown: after rotation."},
        "height": {"type": ["integer", "null"], "description": "Pixels, as it is shown."},
        "frame_rate": {"type": ["number", "null"], "description": "Frames a second, on average."},
        "rotation": {"type": "integer", "description": "Degrees clockwise that it is turned by to be shown."},
        "codecs": {"type": "array", "items": {"type": "string"}, "description": "FFmpeg's names, without repeats."},
        "bit_rate": {"type": ["integer", "null"], "description": "Bits a second, of all streams."},
        "tags": {"type": "object", "additionalProperties": {"type": "string"}, "description": "At most 40 tags."},
        "streams": {
            "type": "array",
            "description": "At most 100 of them.",
            "items": {
                "type": "object",
                "properties": {
                    "type": {"type": "string", "description": "video, audio, subtitle, data or attachment."},
                    "codec": {"type": ["string", "null"]},
                    "language": {"type": ["string", "null"]},
                    "bit_rate": {"type": ["integer", "null"]},
                    "width": {"type": "integer"},
                    "height": {"type": "integer"},
                    "pixel_format": {"type": ["string", "null"]},
                    "frame_rate": {"type": ["number", "null"]},
                    "sample_rate_hz": {"type": ["integer", "null"]},
                    "channels": {"type": ["integer", "null"]},
                },
                "required": ["type", "codec", "language", "bit_rate"],
                "additionalProperties": False,
            },
        },
        "truncated": {"type": "boolean", "description": "Whether its pictures are damaged, or end before they should."},
    },
    "required": [
        "duration_seconds", "width", "height", "frame_rate", "rotation", "codecs", "bit_rate", "tags", "streams",
        "truncated",
    ],
    "additionalProperties": False,
}  # fmt: skip


def process(job: Job) -> Outcome:
    """The facts and what was made. Raises ProcessingFailed where nothing in it can be read."""
    if job.content_type not in FORMATS:
        return fallback.process(job)
    with opened(job, "video") as container:
        streams = [_stream(stream) for stream in list(container.streams)[:STREAMS]]
        if not streams:
            raise ProcessingFailed("video_broken", "There is no stream in the file.")
        films = (stream for stream in container.streams.video if stream.codec_context and not _is_cover(stream))
        film = next(films, None)
        duration = seconds_of(container, film)
        if duration is None and not any(stream["codec"] for stream in streams):
            raise ProcessingFailed("video_unsupported", "No codec in the file is known.")
        result: dict[str, JSON] = {
            "duration_seconds": duration,
            "width": None,
            "height": None,
            "frame_rate": None,
            "rotation": 0,
            "codecs": sorted({str(stream["codec"]) for stream in streams if stream["codec"]}),
            "bit_rate": int(container.bit_rate or 0) or None,
            "tags": tags_of(container, film),
            "streams": list(streams),
            "truncated": ends_early(job),
        }
        derived: list[Derived] = []
        if film is not None:
            width, height = film.codec_context.width, film.codec_context.height
            if width * height > MAX_PIXELS:
                detail = f"The film declares {width} x {height} pixels; at most {MAX_PIXELS:,} are decoded."
                raise ProcessingFailed("video_too_large", detail)
            job.report(10)
            frames = _frames(container, film, duration, job)
            if not frames and (duration is None or not width or not height):
                raise ProcessingFailed("video_broken")
            turn = _rotation(film, frames[0] if frames else None)
            shown = (height, width) if turn % 180 else (width, height)
            result |= {
                "width": shown[0] or None,
                "height": shown[1] or None,
                "frame_rate": number(film.average_rate or film.guessed_rate),
                "rotation": turn,
                "truncated": not frames or ends_early(job),
            }
            pictures = [picture for picture in (_picture(frame, turn) for frame in frames) if picture]
            derived = _derive(pictures, job) if pictures else []
    job.report(100)
    return Outcome(result=result, derived=tuple(derived))


def _stream(stream: Any) -> dict[str, JSON]:
    context: Any = getattr(stream, "codec_context", None)
    found: dict[str, JSON] = {
        "type": str(stream.type or "data"),
        "codec": codec_of(stream),
        "language": str(stream.language)[:16] if getattr(stream, "language", None) else None,
        "bit_rate": int(getattr(context, "bit_rate", 0) or 0) or None,
    }
    if stream.type == "video" and context is not None:
        found |= {
            "width": int(context.width),
            "height": int(context.height),
            "pixel_format": str(context.pix_fmt) if context.pix_fmt else None,
            "frame_rate": number(stream.average_rate),
        }
    if stream.type == "audio" and context is not None:
        found |= {
            "sample_rate_hz": int(context.sample_rate or 0) or None,
            "channels": int(context.channels or 0) or None,
        }
    return found


def _is_cover(stream: Any) -> bool:
    return "attached_pic" in str(getattr(stream, "disposition", "")).lower()


def _frames(container: Any, film: Any, duration: float | None, job: Job) -> list[Any]:
    """A frame for the poster, then some more from all over the film, as time allows."""
    began = time.monotonic()
    film.thread_type = "NONE"
    poster = _poster(container, film, duration, began)
    if poster is None:
        return []
    found = [poster]
    job.report(50)
    for index in range(PREVIEW_FRAMES):
        if not duration or duration < 2 or time.monotonic() - began > POSTER_SECONDS + PREVIEW_SECONDS:
            break
        frame = _first_after(container, film, duration * (index + 0.5) / PREVIEW_FRAMES, began)
        if frame is not None:
            found.append(frame)
        job.report(50 + 5 * index)
    return found


def _poster(container: Any, film: Any, duration: float | None, began: float) -> Any | None:
    """The first frame that is not black, from a tenth of the film on, or else from its beginning."""
    best = None
    for at in ([duration * POSTER_AT] if duration and duration > 1 else []) + [0.0]:
        try:
            container.seek(int(at * 1_000_000), backward=True)
            for index, frame in enumerate(container.decode(film)):
                best = best or frame
                if frame.width * frame.height > MAX_PIXELS:
                    raise ProcessingFailed("video_too_large")
                if not _is_dark(frame):
                    return frame
                if index >= POSTER_FRAMES or time.monotonic() - began > POSTER_SECONDS:
                    break
        except BROKEN:
            continue
    return best


def _first_after(container: Any, film: Any, at: float, began: float) -> Any | None:
    """The frame at this moment, or the last one that could be reached before it."""
    found = None
    try:
        container.seek(int(at * 1_000_000), backward=True)
        for index, frame in enumerate(container.decode(film)):
            found = frame
            late = time.monotonic() - began > POSTER_SECONDS + PREVIEW_SECONDS
            if late or index >= FRAMES_BETWEEN or (frame.time is not None and frame.time >= at):
                break
    except BROKEN:
        return found
    return found


def _is_dark(frame: Any) -> bool:
    small = frame.reformat(width=32, height=18, format="gray")
    plane = bytes(small.planes[0])
    return sum(plane) < DARK * len(plane)


def _rotation(film: Any, frame: Any | None) -> int:
    """Degrees clockwise, from the display matrix of a frame, or from an old tag."""
    turn = -int(getattr(frame, "rotation", 0) or 0) if frame is not None else 0
    if not turn:
        tag = dict(film.metadata or {}).get("rotate", "0")
        turn = int(tag) if TURN.fullmatch(tag) else 0
    return turn % 360 // 90 * 90


def _picture(frame: Any, turn: int) -> Image.Image | None:
    try:
        scale = min(1.0, PREVIEW_PIXELS / max(frame.width, frame.height, 1))
        size = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
        image: Image.Image = frame.reformat(width=size[0], height=size[1], format="rgb24").to_image()
    except (*BROKEN, MemoryError):
        return None
    return image.rotate(-turn, expand=True) if turn else image


def _derive(pictures: list[Image.Image], job: Job) -> list[Derived]:
    derived = [
        draw(pictures[0], "poster", job.workdir, PREVIEW_PIXELS),
        draw(pictures[0], "thumbnail", job.workdir, THUMBNAIL_PIXELS),
    ]
    if len(pictures) > 2:
        small = [picture.copy() for picture in pictures[1:]]
        for picture in small:
            picture.thumbnail((PREVIEW_BOX, PREVIEW_BOX))
        path = job.workdir / "preview.webp"
        small[0].save(
            path,
            "WEBP",
            save_all=True,
            append_images=small[1:],
            duration=PREVIEW_FRAME_MS,
            loop=0,
            quality=70,
            method=2,
        )
        derived.append(Derived(name="preview", path=path, content_type="image/webp"))
    return derived
