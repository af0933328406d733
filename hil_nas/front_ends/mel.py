"""What front ends of mel bins have in common: window, power spectrum, triangular filters, logarithm, and their tables.

Conventions are torchaudio's with `mel_scale="htk"`, `norm=None` and `log_mels=True`: periodic Hann window, power
spectrum, filters of height 1, ln(energy + 1e-6). All tables are computed in float64 and stored as float32.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hil_nas.errors import InputError
from hil_nas.front_ends.base import Counts, FrontEnd
from hil_nas.front_ends.packing import Tables

LOW_HZ = 20.0
"""Lowest frequency of the filters, as in Kaldi and TensorFlow's speech_commands: hum and DC offset lie below."""
LOG_FLOOR = 1e-6
"""Added to every mel energy before the logarithm, as torchaudio does."""
HEADER = struct.Struct("<2I f 4I 4x")
"""struct mel_header of boards/src/front_ends/mel.h, behind the common one."""
FFT_SIZES = (128, 256, 512, 1024, 2048)
"""That the C source has; the highest frequency of the filters is Nyquist, where the last has reached 0."""


@dataclass(frozen=True)
class MelFrontEnd(FrontEnd):
    """Window, hop and mel bins, and what the kind adds.

    Raises:
        InputError: for a value that no front end has.
    """

    mel_bins: int

    counted: ClassVar[dict[str, str]] = {
        "calls": "once for each call",
        "windowed_samples": "samples windowed",
        "cleared_samples": "samples of zero padding",
        **{f"fft_{x}": f"complex FFTs of {x} points" for x in FFT_SIZES},
        "spectrum_bins": "bins of the power spectrum",
        "mel_bins": "mel bins: sums and logarithms",
        "columns": "features quantised",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 4 <= self.mel_bins <= 128:
            raise InputError(f"{self.mel_bins} mel bins are not in 4 to 128")

    @property
    def fft_size(self) -> int:
        """The smallest power of two that holds the window, at least 128."""
        return max(128, 1 << (self.window_samples - 1).bit_length())

    @property
    def scratch_bytes(self) -> int:
        """One complex spectrum and the mel energies of two frames, float32."""
        return 2 * 4 * (self.fft_size + self.mel_bins)

    def tables(self) -> Tables:
        starts, weights = self._slopes()
        order = fft_order(self.fft_size)[starts[0] - 1 : starts[-1]]
        tables = [
            _half_window(self.window_samples).astype("<f4").tobytes(),
            starts.astype("<u2").tobytes(),
            weights.astype("<f4").tobytes(),
            order.astype("<u2").tobytes(),
        ]
        return Tables(HEADER, (self.fft_size, self.mel_bins, LOG_FLOOR), tables)

    def work(self) -> Counts:
        """Two frames go through one complex FFT: per pair a windowed copy, the FFT, the power of every bin between the
        lowest and the highest mel corner, sums and a logarithm per mel bin, what the kind adds, the quantisation. Each
        FFT size is a feature of its own, as it takes its own radix steps."""
        pairs = (self.frames + 1) // 2
        per_pair = {
            "windowed_samples": self.window_samples,
            "cleared_samples": self.fft_size - self.window_samples,
            **{f"fft_{size}": int(self.fft_size == size) for size in FFT_SIZES},
            "spectrum_bins": len(self._slopes()[1]),
            "mel_bins": self.mel_bins,
            **self.own_work(),
            "columns": self.columns,
        }
        return {"calls": 1.0, **{name: float(pairs * count) for name, count in per_pair.items()}}

    def own_work(self) -> Counts:
        """What the kind does with the logarithms of two frames."""
        return {}

    def filters(self) -> NDArray[np.float64]:
        """(mel_bins, fft_size / 2 + 1), see `mel_filters`."""
        return mel_filters(self.fft_size, self.mel_bins, self.clip.sample_rate_hz)

    def _slopes(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        return mel_slopes(self.fft_size, self.mel_bins, self.clip.sample_rate_hz)


def hann_window(samples: int) -> NDArray[np.float64]:
    """Periodic Hann window (samples,): 0.5 - 0.5 cos(2 pi n / samples) (torch.hann_window)."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(samples) / samples)


def hz_to_mel(hz: float) -> float:
    """HTK's mel scale: 2595 log10(1 + f / 700) (Young et al., The HTK Book, eq. 5.13)."""
    return 2595.0 * math.log10(1.0 + hz / 700.0)


def mel_points_hz(mel_bins: int, sample_rate_hz: int) -> NDArray[np.float64]:
    """Corners of the filters in Hz (mel_bins + 2,), equidistant in mel; filter m spans corners m to m + 2."""
    high_hz = sample_rate_hz / 2
    mels = np.linspace(hz_to_mel(LOW_HZ), hz_to_mel(high_hz), mel_bins + 2)
    points = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    points[0], points[-1] = LOW_HZ, high_hz  # exact, so that the bin at Nyquist belongs to no filter
    return points


@lru_cache(maxsize=4096)
def mel_slopes(fft_size: int, mel_bins: int, sample_rate_hz: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The filters as one rising slope per interval between corners.

    Between two corners the falling filter has 1 minus the weight of the rising one, so one weight per FFT bin
    describes all triangles.

    Returns:
        starts: (mel_bins + 2,) first FFT bin at or above each corner; interval j holds bins starts[j] to
            starts[j + 1] - 1.
        weights: (starts[-1] - starts[0],) of each of those bins in the rising filter, which is j in interval j.
    """
    points = mel_points_hz(mel_bins, sample_rate_hz)
    bins_hz = np.arange(fft_size // 2 + 1) * (sample_rate_hz / fft_size)
    starts = np.searchsorted(bins_hz, points, side="left")
    bins = np.arange(starts[0], starts[-1])
    interval = np.searchsorted(starts, bins, side="right") - 1
    weights = (bins_hz[bins] - points[interval]) / (points[interval + 1] - points[interval])
    return starts, weights


def mel_filters(fft_size: int, mel_bins: int, sample_rate_hz: int) -> NDArray[np.float64]:
    """Filters as a matrix (mel_bins, fft_size / 2 + 1): torchaudio's `melscale_fbanks` transposed."""
    starts, weights = mel_slopes(fft_size, mel_bins, sample_rate_hz)
    filters = np.zeros((mel_bins + 2, fft_size // 2 + 1))  # row m + 1 is filter m
    for j in range(mel_bins + 1):
        bins = slice(starts[j], starts[j + 1])
        rising = weights[starts[j] - starts[0] : starts[j + 1] - starts[0]]
        filters[j + 1, bins] = rising
        filters[j, bins] = 1.0 - rising
    return filters[1:-1]


def fft_order(size: int) -> NDArray[np.int64]:
    """Where bin k stands in the output of CMSIS-DSP's arm_cfft_f32 without bit reversal, (size,).

    Its stages are of radix 2 or 4 where the size needs it, then of radix 8, each putting its digit first.
    """
    radices, rest = [], size
    while rest % 8 == 0:
        radices.append(8)
        rest //= 8
    indices, left, block = np.zeros(size, np.int64), np.arange(size), size
    for radix in [rest] * (rest > 1) + radices:
        block //= radix
        indices += left % radix * block
        left //= radix
    return indices


def _half_window(samples: int) -> NDArray[np.float64]:
    """The window up to its middle, divided by 32768 for int16 and by 2, since the C source halves as it separates two
    frames."""
    return hann_window(samples)[: samples // 2 + 1] / 32768.0 / 2.0
