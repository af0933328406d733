"""Words as a product hears them: somewhere in noise or in other people's speech."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hil_nas.audio.decode import Samples
from hil_nas.audio.noise import Float, to_int16

_FULL_SCALE = 32767.0
_SILENT_RMS = 1e-4  # of full scale: nothing quieter is brought to a signal-to-noise ratio
_FRAME_S, _WORD_DB = 0.02, 20.0  # frames of a word are at most so much below its loudest


def embedded(
    clips: Samples, beds: Sequence[Samples], snr_db: float, starts: NDArray[np.int64], samples: int,
    rng: np.random.Generator,
) -> Samples:  # fmt: skip
    """Streams (n, samples) that each hold one clip, from its start on, over a bed that goes on before and behind it.

    Args:
        clips: int16 (n, m).
        beds: int16 recordings (k,) that are cut at random places; a shorter one is repeated. None: digital silence.
        snr_db: the clip's RMS against that of the bed's cut.
        starts: (n,), at most samples - m.
    """
    out = np.empty((len(clips), samples), np.int16)
    for row, clip, start in zip(out, clips, starts.tolist(), strict=True):
        speech = clip.astype(np.float64) / _FULL_SCALE
        mixed = _bed(beds, samples, rng)
        mixed *= max(_rms(speech), _SILENT_RMS) / max(_rms(mixed), _SILENT_RMS) * 10 ** (-snr_db / 20)
        mixed[start : start + len(clip)] += speech
        row[:] = to_int16(mixed)
    return out


def word_span(clip: Samples, sample_rate_hz: int) -> tuple[int, int]:
    """Where the word in a clip (m,) begins and ends, in samples: frames within 20 dB of the loudest, and between."""
    size = round(_FRAME_S * sample_rate_hz)
    frames = clip[: len(clip) // size * size].astype(np.float64).reshape(-1, size)
    levels = np.sqrt(np.mean(frames**2, axis=1))
    loud = np.flatnonzero(levels >= levels.max() * 10 ** (-_WORD_DB / 20))
    return int(loud[0]) * size, int(loud[-1] + 1) * size


def _bed(beds: Sequence[Samples], samples: int, rng: np.random.Generator) -> Float:
    if not beds:
        return np.zeros(samples)
    bed = beds[int(rng.integers(len(beds)))]
    bed = np.resize(bed, max(len(bed), samples))
    start = int(rng.integers(len(bed) - samples + 1))
    return bed[start : start + samples].astype(np.float64) / _FULL_SCALE


def _rms(x: Float) -> float:
    return float(np.sqrt(np.mean(x**2)))
