"""MFCC's own table, the cosine transform, and what its loops do."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

ROWS = 4
"""Of the DCT, that mfcc.c takes together."""


def dct_matrix(coefficients: int, mel_bins: int) -> NDArray[np.float64]:
    """Orthonormal DCT-II (coefficients, mel_bins): sqrt(2/M) cos(pi k (2n + 1) / (2M)), row 0 over sqrt(2)."""
    k = np.arange(coefficients)[:, None]
    n = np.arange(mel_bins)[None, :]
    matrix = np.cos(np.pi * k * (2 * n + 1) / (2 * mel_bins)) * math.sqrt(2.0 / mel_bins)
    matrix[0] /= math.sqrt(2.0)
    return matrix


def dct_tables(coefficients: int, mel_bins: int, largest: int) -> tuple[NDArray[np.int16], float]:
    """What mfcc.c needs for `coefficients` rows of the DCT-II of `mel_bins` inputs.

    Even rows are even about the middle and take sums of what lies mirrored there, odd rows differences. All of row 0 is
    one number, which is made a whole one: the largest with which no sum of products overflows 32 bits.

    Args:
        largest: that a sum or difference can be.

    Returns:
        int16 (blocks, words, 4, 2): rows in blocks of four, zeros where there are fewer, even rows first; of each block
        two factors of each row, then the next two, as they are multiplied.
        What an orthonormal DCT-II is multiplied by.
    """
    half = (mel_bins + 1) // 2
    whole = dct_matrix(coefficients, mel_bins)[:, :half]  # (coefficients, half)
    first = 32767
    while True:
        unit = first * math.sqrt(mel_bins)
        rounded = np.rint(unit * whole)
        excess = max(np.abs(rounded).max() / 32767, np.abs(rounded).sum(axis=1).max() * largest / (2**31 - 1))
        if excess <= 1:
            break
        first = min(first - 1, int(first / excess))
    blocks = [_in_blocks(rounded[parity::2]) for parity in (0, 1)]
    return np.concatenate(blocks).astype(np.int16), unit


def _in_blocks(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """(blocks, words, 4, 2) of (rows, half)."""
    count, half = rows.shape
    blocks, words = -(-count // ROWS), -(-half // 2)
    padded = np.zeros((blocks * ROWS, 2 * words))
    padded[:count, :half] = rows
    return padded.reshape(blocks, ROWS, words, 2).transpose(0, 2, 1, 3)
