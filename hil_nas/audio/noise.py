"""Noise made from numbers: for data sets without recordings of their own, and for synthetic speech."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hil_nas.audio.decode import Samples
from hil_nas.front_ends import ClipFormat

Float = npt.NDArray[np.float64]

_COLOURS = {"white": 0.0, "pink": 0.5, "brown": 1.0}  # the amplitude falls with frequency to this power
_RMS = 0.05  # of full scale
_FULL_SCALE = 32767
_SILENCE_DB = (-70.0, -10.0)  # RMS against full scale


def coloured(rng: np.random.Generator, samples: int, exponent: float, sample_rate_hz: int) -> Float:
    """Noise (samples,) of unit RMS whose amplitude spectrum falls as 1 / f**exponent above 20 Hz."""
    spectrum = rng.normal(size=samples // 2 + 1) + 1j * rng.normal(size=samples // 2 + 1)
    frequencies = np.maximum(np.fft.rfftfreq(samples, 1 / sample_rate_hz), 20.0)
    return unit_rms(np.fft.irfft(spectrum / frequencies**exponent, samples))


def hum(rng: np.random.Generator, samples: int, sample_rate_hz: int) -> Float:
    """Mains hum (samples,) of unit RMS: 50 or 60 Hz with falling harmonics, over a little white noise."""
    time_s = np.arange(samples) / sample_rate_hz
    base_hz = rng.choice([50.0, 60.0])
    tones = [
        rng.uniform(0.3, 1.0) / k * np.sin(2 * np.pi * (base_hz * k * time_s + rng.uniform())) for k in range(1, 9)
    ]
    return unit_rms(np.sum(tones, axis=0) + 0.1 * rng.normal(size=samples))


def flutter(rng: np.random.Generator, samples: int, sample_rate_hz: int) -> Float:
    """Pink noise (samples,) of unit RMS that swells and fades a few times a second, as wind does."""
    points = rng.uniform(0.05, 1.0, size=2 + samples * 4 // sample_rate_hz)
    envelope = np.interp(np.linspace(0, len(points) - 1, samples), np.arange(len(points)), points)
    return unit_rms(envelope * coloured(rng, samples, 0.5, sample_rate_hz))


def generated_noise(rng: np.random.Generator, sample_rate_hz: int, seconds: int = 30) -> list[Samples]:
    """One recording of each sort, int16 (seconds * sample_rate_hz,): white, pink, brown, hum, flutter."""
    samples = seconds * sample_rate_hz
    sorts = [coloured(rng, samples, exponent, sample_rate_hz) for exponent in _COLOURS.values()]
    sorts += [hum(rng, samples, sample_rate_hz), flutter(rng, samples, sample_rate_hz)]
    return [to_int16(_RMS * x) for x in sorts]


def silence_clips(rng: np.random.Generator, recordings: list[Samples], count: int, clip: ClipFormat) -> Samples:
    """Cuts of noise recordings, int16 (count, samples), at every level from a quiet room to a machine beside the
    microphone: how loud a recording came out says little about how loud the noise will be."""
    out = np.empty((count, clip.samples), np.int16)
    for row in out:
        recording = recordings[int(rng.integers(len(recordings)))]
        start = int(rng.integers(len(recording) - clip.samples + 1))
        cut = unit_rms(recording[start : start + clip.samples].astype(np.float64))
        row[:] = to_int16(cut * 10 ** (rng.uniform(*_SILENCE_DB) / 20))
    return out


def unit_rms(x: Float) -> Float:
    """The signal at an RMS of 1; digital silence stays as it is."""
    rms = float(np.sqrt(np.mean(x**2)))
    return x / rms if rms > 0 else x


def to_int16(x: Float) -> Samples:
    """-1..1 as int16, clipped."""
    return np.clip(np.rint(x * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE).astype(np.int16)
