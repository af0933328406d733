"""The front end's tables and the blob that holds them: one generator for the C source and for torch.

Conventions are torchaudio's MFCC with `norm=None`, `mel_scale="htk"`, `log_mels=True`: periodic Hann window,
power spectrum, triangular filters of height 1, ln(energy + 1e-6), orthonormal DCT-II. All tables are computed in
float64 and stored as float32. The blob's layout is that of boards/include/mfcc.h; the two change together.
"""

from __future__ import annotations

import math
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from hil_nas.errors import InputError
from hil_nas.mfcc import CLIP_SAMPLES, SAMPLE_RATE_HZ, MfccConfig

LOW_HZ = 20.0
"""Lowest frequency of the filters, as in Kaldi and TensorFlow's speech_commands: hum and DC offset lie below."""
HIGH_HZ = 8000.0
"""Highest frequency: Nyquist, where the last filter has reached 0."""
LOG_FLOOR = 1e-6
"""Added to every mel energy before the logarithm, as torchaudio does."""

MAGIC = b"HMFC"
VERSION = 1
HEADER = struct.Struct("<4sHHII 6I f i f 5I 2I")
HEADER_BYTES = 80
ALIGNMENT = 16


def hann_window(samples: int) -> NDArray[np.float64]:
    """Periodic Hann window (samples,): 0.5 - 0.5 cos(2 pi n / samples) (torch.hann_window)."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(samples) / samples)


def hz_to_mel(hz: float) -> float:
    """HTK's mel scale: 2595 log10(1 + f / 700) (Young et al., The HTK Book, eq. 5.13)."""
    return 2595.0 * math.log10(1.0 + hz / 700.0)


def mel_points_hz(mel_bins: int) -> NDArray[np.float64]:
    """Corners of the filters in Hz (mel_bins + 2,), equidistant in mel; filter m spans corners m to m + 2."""
    mels = np.linspace(hz_to_mel(LOW_HZ), hz_to_mel(HIGH_HZ), mel_bins + 2)
    points = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    points[0], points[-1] = LOW_HZ, HIGH_HZ  # exact, so that the bin at Nyquist belongs to no filter
    return points


def mel_slopes(config: MfccConfig) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The filters as one rising slope per interval between corners.

    Between two corners the falling filter has 1 minus the weight of the rising one, so one weight per FFT bin
    describes all triangles.

    Returns:
        starts: (mel_bins + 2,) first FFT bin at or above each corner; interval j holds bins starts[j] to
            starts[j + 1] - 1.
        weights: (starts[-1] - starts[0],) of each of those bins in the rising filter, which is j in interval j.
    """
    points = mel_points_hz(config.mel_bins)
    bins_hz = np.arange(config.fft_size // 2 + 1) * (SAMPLE_RATE_HZ / config.fft_size)
    starts = np.searchsorted(bins_hz, points, side="left")
    bins = np.arange(starts[0], starts[-1])
    interval = np.searchsorted(starts, bins, side="right") - 1
    weights = (bins_hz[bins] - points[interval]) / (points[interval + 1] - points[interval])
    return starts, weights


def mel_filters(config: MfccConfig) -> NDArray[np.float64]:
    """Filters as a matrix (mel_bins, fft_size / 2 + 1): torchaudio's `melscale_fbanks` transposed."""
    starts, weights = mel_slopes(config)
    filters = np.zeros((config.mel_bins + 2, config.fft_size // 2 + 1))  # row m + 1 is filter m
    for j in range(config.mel_bins + 1):
        bins = slice(starts[j], starts[j + 1])
        rising = weights[starts[j] - starts[0] : starts[j + 1] - starts[0]]
        filters[j + 1, bins] = rising
        filters[j, bins] = 1.0 - rising
    return filters[1:-1]


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


def int8_quantisation(low: float, high: float) -> tuple[float, int]:
    """Scale and zero point with which int8 spans [low, high], widened to hold 0 as TFLite does.

    Returns:
        scale: of one int8 step, in float32's values.
        zero_point: the int8 that stands for 0, -128 to 127.

    Raises:
        InputError: where the range is empty or not finite.
    """
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if not (math.isfinite(low) and math.isfinite(high) and high > low):
        raise InputError(f"no int8 quantisation for the range {low} to {high}", hint="give a finite range, low < high")
    scale = float(np.float32((high - low) / 255.0))
    if scale < np.finfo(np.float32).tiny:
        raise InputError(f"the range {low} to {high} is too narrow for an int8 scale in float32")
    return scale, int(np.clip(round(-128.0 - low / scale), -128, 127))


def quantise(features: NDArray[np.floating], scale: float, zero_point: int) -> NDArray[np.int8]:
    """Float features of any shape to int8, rounding halves away from zero, as mfcc.c does it in float32."""
    steps = np.asarray(features, np.float32) * np.float32(1.0 / scale)
    whole = np.trunc(np.clip(steps, -512.0, 512.0))
    rest = np.clip(steps, -512.0, 512.0) - whole
    rounded = whole + (rest >= 0.5) - (rest <= -0.5)
    steps8: NDArray[np.int8] = np.clip(rounded + zero_point, -128, 127).astype(np.int8)
    return steps8


def fft_order(size: int) -> NDArray[np.int64]:
    """Where bin k stands in the output of CMSIS-DSP's arm_cfft_f32 without bit reversal, (size,).

    Its stages are of radix 2 or 4 where the size needs it, then of radix 8, each putting its digit first.
    """
    radices, rest = [], size
    while rest % 8 == 0:
        radices.append(8)
        rest //= 8
    places, left, block = np.zeros(size, np.int64), np.arange(size), size
    for radix in [rest] * (rest > 1) + radices:
        block //= radix
        places += left % radix * block
        left //= radix
    return places


def _half_window(samples: int) -> NDArray[np.float64]:
    """The window up to its middle, with the scale of int16 and the half of mfcc.c's way to part two frames."""
    return hann_window(samples)[: samples // 2 + 1] / 32768.0 / 2.0


def scratch_bytes(config: MfccConfig) -> int:
    """RAM that mfcc.c works in: one complex spectrum and the mel energies of two frames, float32."""
    return 2 * 4 * (config.fft_size + config.mel_bins)


def front_end_blob(config: MfccConfig, scale: float, zero_point: int) -> bytes:
    """The front end of `config` as mfcc.c reads it, with int8 = round(feature / scale) + zero_point.

    Raises:
        InputError: for a scale or zero point that int8 does not have, or an FFT size beyond 2048.
    """
    _check_quantisation(scale, zero_point)
    starts, weights = mel_slopes(config)
    tables = [
        _half_window(config.window_samples).astype("<f4").tobytes(),
        starts.astype("<u2").tobytes(),
        weights.astype("<f4").tobytes(),
        fft_order(config.fft_size)[starts[0] - 1 : starts[-1]].astype("<u2").tobytes(),
        dct_tables(config.coefficients, config.mel_bins).astype("<f4").tobytes(),
    ]
    offsets, body = _lay_out(tables)
    shape = (
        CLIP_SAMPLES,
        config.window_samples,
        config.hop_samples,
        config.fft_size,
        config.mel_bins,
        config.coefficients,
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
