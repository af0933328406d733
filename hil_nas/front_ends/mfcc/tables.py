"""MFCC's own table, the cosine transform, and what its loops do."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hil_nas.front_ends.base import Counts

_FLOAT_BYTES = 4
_CACHE_LINE_BYTES, _CACHE_LINES = 32, 8  # of the data cache in front of an STM32L4's flash (RM0432)


def dct_matrix(coefficients: int, mel_bins: int) -> NDArray[np.float64]:
    """Orthonormal DCT-II (coefficients, mel_bins): sqrt(2/M) cos(pi k (2n + 1) / (2M)), row 0 over sqrt(2)."""
    k = np.arange(coefficients)[:, None]
    n = np.arange(mel_bins)[None, :]
    matrix = np.cos(np.pi * k * (2 * n + 1) / (2 * mel_bins)) * math.sqrt(2.0 / mel_bins)
    matrix[0] /= math.sqrt(2.0)
    return matrix


def dct_tables(coefficients: int, mel_bins: int) -> NDArray[np.float64]:
    """What mfcc.c needs for `coefficients` rows of the DCT-II of `mel_bins` inputs, (count,).

    With t = pi (2 i + 1) / (2 n), the rows X[k] = sum x[i] cos(k t) of an even length n come from two DCT of half the
    length: X[2k] from the sums x[i] + x[n-1-i], and by cos((2k+1) t) + cos((2k-1) t) = 2 cos(t) cos(2k t),
    X[2k+1] + X[2k-1] from the differences times 2 cos(t) (Hou, IEEE Trans. ASSP 35, 1987). The factors 2 cos(t) of
    each halving come first, then the matrix of the odd length that is left, with the factor sqrt(2 / mel_bins) of the
    orthonormal DCT.
    """
    tables, length = [], mel_bins
    while length % 2 == 0:
        tables.append(2.0 * np.cos(np.pi * (2 * np.arange(length // 2) + 1) / (2 * length)))
        length //= 2
    rows = -(-coefficients * length // mel_bins)
    k, i = np.arange(rows)[:, None], np.arange(length)[None, :]
    tables.append(np.cos(np.pi * k * (2 * i + 1) / (2 * length)).ravel() * math.sqrt(2.0 / mel_bins))
    return np.concatenate(tables)


def cosine_transform_work(length: int, coefficients: int) -> Counts:
    """Loop counts of the DCT: halved while even, each half folded; a matrix on what is left; then the rows joined
    again, step by step. The factors of a fold and the matrix are read anew for every block."""
    folded = joined = 0
    blocks, values, lines = 1, length, 0
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


def _lines_missed(floats: int, passes: int) -> int:
    """Lines of flash that passes over a table miss: a table larger than the cache is missed anew by each."""
    lines = -(-_FLOAT_BYTES * floats // _CACHE_LINE_BYTES)
    return lines if lines <= _CACHE_LINES else lines * passes
