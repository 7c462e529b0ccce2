"""The least and the greatest samples of a sound, stretch by stretch, in the same memory however long it is."""

from __future__ import annotations

import math
from typing import Final, cast

from PIL import Image

STRETCHES: Final = 2000  # that are kept at most; then each two become one
SAMPLE_BYTES: Final = 4


class Waveform:
    """Samples as they come, of all channels together: what one of them has, no other takes away."""

    def __init__(self) -> None:
        self._stretches: list[tuple[float, float]] = []
        self._frames = 1  # of a stretch
        self._low, self._high, self._missing = math.inf, -math.inf, 1

    def take(self, data: memoryview, channels: int) -> None:
        """Floats of this machine, one a channel, frame after frame."""
        frame = SAMPLE_BYTES * max(1, channels)
        at, end = 0, len(data) - len(data) % frame
        while at < end:
            stop = min(end, at + self._missing * frame)
            low, high = _extremes(data[at:stop])
            self._low, self._high = min(self._low, low), max(self._high, high)
            self._missing -= (stop - at) // frame
            at = stop
            if not self._missing:
                self._end_stretch()

    @property
    def peak(self) -> float:
        """The sample that is farthest from silence; 1 is full scale."""
        return max((max(-low, high) for low, high in self._all()), default=0.0)

    def peaks(self, most: int) -> list[tuple[float, float]]:
        """The least and the greatest sample of at most so many stretches, each as long as the others."""
        every = self._all()
        count = min(most, len(every))
        parts = [every[len(every) * at // count : len(every) * (at + 1) // count] for at in range(count)]
        return [(min(low for low, _ in part), max(high for _, high in part)) for part in parts]

    def _all(self) -> list[tuple[float, float]]:
        return [*self._stretches, (self._low, self._high)] if self._low <= self._high else self._stretches

    def _end_stretch(self) -> None:
        self._stretches.append((self._low, self._high))
        if len(self._stretches) == STRETCHES:
            pairs = zip(self._stretches[::2], self._stretches[1::2], strict=True)
            self._stretches = [(min(one[0], two[0]), max(one[1], two[1])) for one, two in pairs]
            self._frames *= 2
        self._low, self._high, self._missing = math.inf, -math.inf, self._frames


def _extremes(data: memoryview) -> tuple[float, float]:
    """Found by Pillow, in C: an image of one line whose pixels are the samples. What is no number is silence."""
    line = Image.frombytes("F", (len(data) // SAMPLE_BYTES, 1), bytes(data), "raw", "F;32NF")
    low, high = cast(tuple[float, float], line.getextrema())
    return (low, high) if math.isfinite(low) and math.isfinite(high) else (0.0, 0.0)
