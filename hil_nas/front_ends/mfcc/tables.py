"""MFCC's own tables and the blob that holds all of them. Its layout is that of boards/include/mfcc.h; the two change
together."""

from __future__ import annotations

import math
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from hil_nas.errors import InputError
from hil_nas.front_ends.base import Counts
from hil_nas.front_ends.mel import LOG_FLOOR, MelFrontEnd, fft_order, half_window, mel_slopes

MAGIC = b"HMFC"
VERSION = 1
HEADER = struct.Struct("<4sHHII 6I f i f 5I 2I")
HEADER_BYTES = 80
ALIGNMENT = 16
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


def mfcc_blob(config: MelFrontEnd, coefficients: int, scale: float, zero_point: int) -> bytes:
    """The front end of `config` as mfcc.c reads it, with int8 = round(feature / scale) + zero_point.

    Raises:
        InputError: for a scale or zero point that int8 does not have, or an FFT size beyond 2048.
    """
    _check_quantisation(scale, zero_point)
    starts, weights = mel_slopes(config.fft_size, config.mel_bins, config.clip.sample_rate_hz)
    tables = [
        half_window(config.window_samples).astype("<f4").tobytes(),
        starts.astype("<u2").tobytes(),
        weights.astype("<f4").tobytes(),
        fft_order(config.fft_size)[starts[0] - 1 : starts[-1]].astype("<u2").tobytes(),
        dct_tables(coefficients, config.mel_bins).astype("<f4").tobytes(),
    ]
    offsets, body = _lay_out(tables)
    shape = (
        config.clip.samples,
        config.window_samples,
        config.hop_samples,
        config.fft_size,
        config.mel_bins,
        coefficients,
    )
    total_bytes = HEADER_BYTES + len(body)
    fields = (*shape, 1.0 / scale, zero_point, LOG_FLOOR, *offsets, 0, 0)
    checked = HEADER.pack(MAGIC, VERSION, HEADER_BYTES, total_bytes, 0, *fields)[16:] + body
    return struct.pack("<4sHHII", MAGIC, VERSION, HEADER_BYTES, total_bytes, zlib.crc32(checked)) + checked


def _check_quantisation(scale: float, zero_point: int) -> None:
    limits = np.finfo(np.float32)
    if not (scale > 0.0 and float(limits.tiny) <= 1.0 / scale <= float(limits.max)):
        raise InputError(f"an int8 scale of {scale} is not a positive number that float32 holds")
    if not -128 <= zero_point <= 127:
        raise InputError(f"an int8 zero point of {zero_point} is not in -128 to 127")


def _lay_out(tables: list[bytes]) -> tuple[list[int], bytes]:
    """Offsets from the start of the blob, and the tables padded to the alignment."""
    offsets, body = [], b""
    for table in tables:
        offsets.append(HEADER_BYTES + len(body))
        body += table + bytes(-len(table) % ALIGNMENT)
    return offsets, body

