"""From an MFCC configuration to how often each loop of `boards/src/mfcc.c` turns for one clip.

Per frame: a windowed copy, a real FFT, the power of every bin between the lowest and the highest mel
corner, two sums and a logarithm per mel bin, the folded DCT and the quantisation.
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
    frames = config.frames
    _, weights = mel_slopes(config)
    return {
        "calls": 1.0,
        "windowed_samples": frames * config.window_samples,
        **{f"fft_{size}": frames * (config.fft_size == size) for size in FFT_SIZES},
        "spectrum_bins": frames * len(weights),
        "mel_bins": frames * config.mel_bins,
        "folded_values": frames * _folded_values(config.mel_bins),
        "dct_products": frames * folded_dct(config.coefficients, config.mel_bins).size,
        "coefficients": frames * config.coefficients,
    }


def _folded_values(length: int) -> int:
    total = 0
    while length % 2 == 0:
        length //= 2
        total += length
    return total
