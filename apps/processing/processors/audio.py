"""Sound: its facts, its tags, how loud it is (EBU R 128), its waveform, and its cover.

Sources: EBU R 128 and ITU-R BS.1770-4 for loudness, as FFmpeg's `ebur128` measures it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import av
import av.filter

from ..contract import JSON, Derived, Job, Outcome, ProcessingFailed
from ..media import BROKEN, FORMATS, codec_of, ends_early, number, opened, seconds_of, tags_of
from ..pictures import redraw
from ..waveform import SAMPLE_BYTES, Waveform
from . import fallback

ANALYSED_SECONDS: Final = 600.0  # of sound that is decoded
WORK_SECONDS: Final = 20.0
PEAKS: Final = 1000
SILENCE: Final = 1e-10  # of full scale: -200 dB, less than 32 bits can tell
COVER_BYTES: Final = 16 * 1024 * 1024
BLOCK_FRAMES: Final = 32

SCHEMA: Final[Mapping[str, JSON]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "audio",
    "description": "A sound file's facts.",
    "type": "object",
    "properties": {
        "duration_seconds": {"type": ["number", "null"], "description": "As the file says; else as it was decoded."},
        "codec": {"type": ["string", "null"], "description": "FFmpeg's name of it."},
        "bit_rate": {"type": ["integer", "null"], "description": "Bits a second."},
        "sample_rate_hz": {"type": ["integer", "null"], "description": "Samples a second."},
        "channels": {"type": ["integer", "null"], "description": "How many channels."},
        "tags": {"type": "object", "additionalProperties": {"type": "string"}, "description": "At most 40 tags."},
        "loudness_lufs": {"type": ["number", "null"], "description": "Integrated loudness (EBU R 128), in LUFS."},
        "peak_dbfs": {"type": ["number", "null"], "description": "Any channel's highest sample, in dB of full scale."},
        "analysed_seconds": {"type": "number", "description": "How much was decoded for loudness, peak and waveform."},
        "truncated": {"type": "boolean", "description": "Whether it ends before its header says, or is damaged."},
    },
    "required": [
        "duration_seconds", "codec", "bit_rate", "sample_rate_hz", "channels", "tags", "loudness_lufs", "peak_dbfs",
        "analysed_seconds", "truncated",
    ],
    "additionalProperties": False,
}  # fmt: skip


@dataclass(kw_only=True)
class Heard:
    """What was heard of the sound: its waveform, and how loud it was."""

    waveform: Waveform = field(default_factory=Waveform)
    seconds: float = 0.0
    loudness: float | None = None
    broken: bool = False
    whole: bool = False


def process(job: Job) -> Outcome:
    """The facts and what was made. Raises ProcessingFailed where there is no sound that can be read."""
    if job.content_type not in FORMATS:
        return fallback.process(job)
    with opened(job, "audio") as container:
        stream = next(iter(container.streams.audio), None)
        if stream is None:
            raise ProcessingFailed("audio_broken", "There is no sound in the file.")
        if stream.codec_context is None:
            raise ProcessingFailed("audio_unsupported", "The codec in the file is not known.")
        told = seconds_of(container, stream)
        context = stream.codec_context
        facts: dict[str, JSON] = {
            "codec": codec_of(stream),
            "bit_rate": int(container.bit_rate or getattr(context, "bit_rate", 0) or 0) or None,
            "sample_rate_hz": int(getattr(context, "sample_rate", 0) or 0) or None,
            "channels": int(getattr(context, "channels", 0) or 0) or None,
            "tags": tags_of(container, stream),
        }
        cover = _cover(container)
        heard = listen(container, stream, told, job)
    if not heard.seconds and (heard.broken or told is None):
        raise ProcessingFailed("audio_broken")
    duration = told if told is not None else (round(heard.seconds, 3) if heard.whole else None)
    peak = heard.waveform.peak
    derived = [_waveform(job.workdir, heard)] if heard.seconds else []
    picture = redraw(cover, "cover", job.workdir) if cover else None
    derived += [picture] if picture else []
    job.report(100)
    short = heard.whole and told is not None and heard.seconds < told - max(1.0, 0.02 * told)
    return Outcome(
        result={
            "duration_seconds": duration,
            **facts,
            "loudness_lufs": heard.loudness,
            "peak_dbfs": round(20 * math.log10(peak), 2) if peak >= SILENCE else None,
            "analysed_seconds": round(heard.seconds, 3),
            "truncated": heard.broken or short or ends_early(job),
        },
        derived=tuple(derived),
    )


def listen(container: Any, stream: Any, told: float | None, job: Job) -> Heard:
    """Decode as much as the bounds allow. Never raises for what the file is."""
    heard = Heard()
    ends_at = time.monotonic() + WORK_SECONDS
    resampler = av.AudioResampler(format="flt")
    graph: Any = None
    source: Any = None
    try:
        stream.thread_type = "NONE"
        for number_, frame in enumerate(container.decode(stream)):
            if graph is None:
                graph, source = _meter(frame)
            source.push(frame)
            heard.loudness = _pull(graph, heard.loudness)
            for piece in resampler.resample(frame):
                channels = piece.layout.nb_channels
                samples = memoryview(piece.planes[0]).cast("B")[: piece.samples * channels * SAMPLE_BYTES]
                heard.waveform.take(samples, channels)
            heard.seconds += frame.samples / max(1, frame.sample_rate)
            if number_ % BLOCK_FRAMES == 0:
                job.report(int(95 * min(1.0, heard.seconds / min(told or ANALYSED_SECONDS, ANALYSED_SECONDS))))
                if heard.seconds >= ANALYSED_SECONDS or time.monotonic() > ends_at:
                    return heard
        heard.whole = True
    except BROKEN:
        heard.broken = True
    return heard


def _meter(frame: Any) -> tuple[Any, Any]:
    graph = av.filter.Graph()
    source = graph.add_abuffer(
        sample_rate=frame.sample_rate, format=frame.format.name, layout=frame.layout.name, time_base=frame.time_base
    )
    meter = graph.add("ebur128", "metadata=1:framelog=quiet")
    sink = graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    return graph, source


def _pull(graph: Any, last: float | None) -> float | None:
    while True:
        try:
            frame = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return last
        value = number(dict(frame.metadata).get("lavfi.r128.I")) if hasattr(frame, "metadata") else None
        if value is not None and value > -70:
            last = value


def _waveform(workdir: Path, heard: Heard) -> Derived:
    """The least and the greatest sample of a thousand stretches, as a player draws them: -127 to 127."""
    peaks = [
        [max(-127, math.floor(low * 128)), min(127, math.floor(high * 128))]
        for low, high in heard.waveform.peaks(PEAKS)
    ]
    path = workdir / "waveform.json"
    document = {"seconds": round(heard.seconds, 3), "peaks": peaks}
    path.write_text(json.dumps(document, separators=(",", ":")))
    return Derived(name="waveform", path=path, content_type="application/json")


def _cover(container: Any) -> bytes | None:
    for stream in container.streams.video:
        try:
            if not stream.disposition & av.stream.Disposition.attached_pic:
                continue
            packet = next((packet for packet in container.demux(stream) if packet.size), None)
            container.seek(0)
        except (AttributeError, *BROKEN):
            continue
        if packet is not None and packet.size <= COVER_BYTES:
            return bytes(packet)
    return None
