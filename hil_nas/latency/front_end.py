"""From an MFCC configuration to how often each loop of `boards/src/mfcc.c` turns for one clip.

Two frames go through one complex FFT: per pair a windowed copy, the FFT, the power of every bin between the
lowest and the highest mel corner, sums and a logarithm per mel bin, a recursive DCT and the quantisation.
"""

from __future__ import annotations

from functools import lru_cache

from hil_nas.audio.tables import mel_slopes
from hil_nas.latency.features import Counts
from hil_nas.latency.flash_cache import sectors_of, sweep
from hil_nas.mfcc import MfccConfig

FLOAT_BYTES = 4
FFT_SIZES = (128, 256, 512, 1024, 2048)


@lru_cache(maxsize=4096)
def front_end_work(config: MfccConfig) -> Counts:
    """Loop counts of one clip; each FFT size is a feature of its own, as it takes its own radix steps."""
    pairs = (config.frames + 1) // 2
    _, weights = mel_slopes(config)
    per_pair = {
        "windowed_samples": config.window_samples,
        "cleared_samples": config.fft_size - config.window_samples,
        **{f"fft_{size}": int(config.fft_size == size) for size in FFT_SIZES},
        "spectrum_bins": len(weights),
        "mel_bins": config.mel_bins,
        **_cosine_transform(config.mel_bins, config.coefficients),
        "coefficients": config.coefficients,
    }
    return {"calls": 1.0, **{name: float(pairs * count) for name, count in per_pair.items()}}


def _cosine_transform(length: int, coefficients: int) -> Counts:
    """Halved while even, each half folded; a matrix on what is left; then the rows joined again, step by step.

    The factors of a fold and the matrix are read anew for every block.
    """
    folded = joined = 0
    blocks, values, lines = 1, length, 0.0
    while length % 2 == 0:
        length //= 2
        folded += values
        lines += _lines_missed(length, blocks)
        blocks *= 2
    rows = -(-coefficients // blocks)
    lines += _lines_missed(rows * length, blocks)
    counts = {
        "folds": blocks - 1,  # 1 + 2 + ... + blocks / 2
        "folded_values": folded,
        "dct_products": blocks * rows * length,
        "dct_rows": blocks * rows,
    }
    while blocks > 1:
        joined += blocks // 2 * -(-coefficients // blocks)
        blocks //= 2
    return {**counts, "joined_rows": joined, "dct_flash_lines": lines}


def _lines_missed(floats: int, passes: int) -> float:
    """Lines of flash that passes over a table miss; each is then read whole."""
    return sweep(sectors_of(0, FLOAT_BYTES * floats)).times(passes).lines
