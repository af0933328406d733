"""From an MFCC configuration to how often each loop of `boards/src/mfcc.c` turns for one clip.

Two frames go through one complex FFT: per pair a windowed copy, the FFT, the power of every bin between the
lowest and the highest mel corner, sums and a logarithm per mel bin, the folded DCT and the quantisation.
"""

from __future__ import annotations

from functools import lru_cache

from hil_nas.audio.tables import folded_dct, mel_slopes
from hil_nas.latency.features import Counts
from hil_nas.mfcc import MfccConfig

FFT_SIZES = (128, 256, 512, 1024, 2048)


@lru_cache(maxsize=4096)
def front_end_work(config: MfccConfig) -> Counts:
    """Loop counts of one clip; each FFT size is a feature of its own, as it takes its own radix steps."""
    pairs = (config.frames + 1) // 2
    _, weights = mel_slopes(config)
    return {
        "calls": 1.0,
        "windowed_samples": pairs * config.window_samples,
        "cleared_samples": pairs * (config.fft_size - config.window_samples),
        **{f"fft_{size}": pairs * (config.fft_size == size) for size in FFT_SIZES},
        "spectrum_bins": pairs * len(weights),
        "mel_bins": pairs * config.mel_bins,
        "folded_values": pairs * _folded_values(config.mel_bins),
        "dct_products": pairs * folded_dct(config.coefficients, config.mel_bins).size,
        "coefficients": pairs * config.coefficients,
    }


def _folded_values(length: int) -> int:
    total = 0
    while length % 2 == 0:
        length //= 2
        total += length
    return total
