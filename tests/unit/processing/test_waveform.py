"""A waveform is that of all channels, in the same memory however long the sound is."""

import array
import math
import random

import pytest

from apps.processing.waveform import STRETCHES, Waveform


def taken(samples: list[float], channels: int = 1, piece: int = 1000) -> Waveform:
    """What was heard of the samples, given in pieces."""
    waveform = Waveform()
    for start in range(0, len(samples), piece * channels):
        waveform.take(memoryview(array.array("f", samples[start : start + piece * channels])).cast("B"), channels)
    return waveform


@pytest.mark.parametrize(
    ("count", "piece"), [(1, 1), (999, 7), (1999, 64), (2000, 64), (50_001, 1024), (50_000, 33_333)]
)
def test_no_extreme_is_lost(count, piece):
    """Wherever it lies, and however the samples come."""
    chance = random.Random(count)
    samples = [chance.uniform(-0.5, 0.5) for _ in range(count)]
    samples[count // 3] = -0.75
    waveform = taken(samples, piece=piece)
    peaks = waveform.peaks(1000)
    assert waveform.peak == 0.75
    assert len(peaks) == min(1000, count)
    assert len(waveform._stretches) < STRETCHES
    assert min(low for low, _ in peaks) == -0.75
    assert max(high for _, high in peaks) == pytest.approx(max(samples))


def test_channels_of_opposite_phase_do_not_silence_each_other():
    """The least of one and the greatest of the other are both there."""
    waveform = taken([0.5, -0.25] * 5000, channels=2)
    assert waveform.peak == 0.5
    assert waveform.peaks(10) == [(-0.25, 0.5)] * 10


@pytest.mark.parametrize("sample", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_silence(sample):
    """As floats in a file may be."""
    waveform = taken([sample] * 10)
    assert waveform.peak == 0.0


def test_nothing_has_no_peaks():
    """Nor has a piece that holds no whole frame."""
    waveform = taken([0.5], channels=2)
    assert (waveform.peak, waveform.peaks(1000)) == (0.0, [])
