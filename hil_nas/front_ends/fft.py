"""What boards/src/front_ends/fft.c needs and gives: its twiddles, and the order of its bins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIZES = (64, 128, 256, 512, 1024)
"""Complex points that it has; a frame of real samples is one FFT of half as many points."""


def fft_place(points: int) -> NDArray[np.int64]:
    """Where bin k stands in the output, (points,): at k with its bits reversed."""
    places = np.zeros(1, np.int64)
    while len(places) < points:
        places = np.concatenate([2 * places, 2 * places + 1])
    return places


def fft_tables(points: int) -> NDArray[np.int16]:
    """Twiddles exp(-2 pi i j place / points), j = 1 to 7, of each block of the last pass, int16 (points / 8, 7, 2), re
    and im with 15 bits behind the binary point. The other passes use the first rows.
    """
    turns = np.outer(fft_place(points // 8), np.arange(1, 8)) / points
    values = np.exp(-2j * np.pi * turns)
    scaled = np.rint(np.stack([values.real, values.imag], -1) * 32768)
    fitting: NDArray[np.int16] = np.clip(scaled, -32768, 32767).astype(np.int16)
    return fitting
