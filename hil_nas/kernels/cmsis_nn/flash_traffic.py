"""What CMSIS-NN's kernels read from flash: the order of weights, biases and requantisation tables.

A plan puts an operator's constants one behind the other, each at the beginning of a cache line: weights,
biases, multipliers, shifts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from hil_nas.kernels.flash_cache import LINE_BYTES, FlashCache, Misses, SweepMisses, aligned, sectors_of, sweep
from hil_nas.network import Pair

WORD_BYTES = 4
PAIRS_PER_LINE = LINE_BYTES // (2 * WORD_BYTES)  # of channels, in a table of words

Taps = tuple[Pair, ...]  # per output position along one axis: first tap inside, end of those inside


@lru_cache(maxsize=4096)
def pointwise_misses(depth: int, outputs: int, rows: int) -> Misses:
    """arm_nn_mat_mult_nt_t_s8.c over `rows` pixels: two weight rows at a time, swept once per tile of two pixels.

    Before its tiles a pair of channels is read once for the sums of its weights.
    """
    tiles, pairs = rows // 2 + rows % 2, outputs // 2
    period = PAIRS_PER_LINE if 2 * depth * PAIRS_PER_LINE % LINE_BYTES == 0 else LINE_BYTES
    simulated = pairs if pairs <= 2 * period else period + pairs % period
    cache, total = FlashCache(), Misses(0.0, 0.0)
    later = Misses(0.0, 0.0)
    for pair in range(simulated):
        misses = _pair_misses(cache, depth, outputs, pair, tiles)
        total += misses
        if pair >= simulated - period:
            later += misses
    total += later.times((pairs - simulated) / period)
    if outputs % 2:
        trace = [x for i in range(depth) for x in sectors_of((outputs - 1) * depth + i, 1)]
        total += sweep(trace).times(rows) + Misses(3, 3)
    return total


def _pair_misses(cache: FlashCache, depth: int, outputs: int, pair: int, tiles: int) -> Misses:
    bias, multiplier, shift = _tables(depth * outputs, outputs)
    first, second = 2 * pair * depth, (2 * pair + 1) * depth
    weights = [x for i in range(0, depth, 4) for row in (first, second) for x in sectors_of(row + i, min(4, depth - i))]
    tables = [x for y in (multiplier, shift) for x in sectors_of(y + 2 * WORD_BYTES * pair, 2 * WORD_BYTES)]
    sums = cache.read([*weights, *sectors_of(bias + 2 * WORD_BYTES * pair, 2 * WORD_BYTES)])
    once = cache.read([*weights, *tables])
    return sums + once + (cache.read([*weights, *tables]).times(tiles - 1) if tiles > 1 else Misses(0.0, 0.0))


@lru_cache(maxsize=4096)
def rows_sweep(column: int, outputs: int) -> SweepMisses:
    return sweep(_rows_trace(column, outputs))


def _rows_trace(column: int, outputs: int) -> Iterator[int]:
    """Sectors read for one pair of columns: per two channels the biases, two weight rows, requantisation."""
    bias, multiplier, shift = _tables(column * outputs, outputs)
    for channel in range(0, outputs, 2):
        count = min(2, outputs - channel)
        yield from sectors_of(bias + WORD_BYTES * channel, WORD_BYTES * count)
        rows = [sectors_of((channel + i) * column, column) for i in range(count)]
        for step in range(max(len(x) for x in rows)):
            yield from (x[step] for x in rows if step < len(x))
        yield from sectors_of(multiplier + WORD_BYTES * channel, WORD_BYTES * count)
        yield from sectors_of(shift + WORD_BYTES * channel, WORD_BYTES * count)


def depthwise_misses(rows: Taps, columns: Taps, kernel: Pair, channels: int, block: int) -> Misses:
    """Every output pixel sweeps over all constants; pixels with the same taps inside cost the same."""
    total = Misses(0.0, 0.0)
    for row, row_count in Counter(rows).items():
        for column, column_count in Counter(columns).items():
            total += _pixel_sweep(row, column, kernel, channels, block).steady.times(row_count * column_count)
    whole = _pixel_sweep((0, kernel[0]), (0, kernel[1]), kernel, channels, block)
    return total + whole.cold + whole.steady.times(-1)


@lru_cache(maxsize=4096)
def _pixel_sweep(row: Pair, column: Pair, kernel: Pair, channels: int, block: int) -> SweepMisses:
    return sweep(_pixel_trace(row, column, kernel, channels, block))


def _pixel_trace(row: Pair, column: Pair, kernel: Pair, channels: int, block: int) -> Iterator[int]:
    """Sectors read for one pixel: per block of channels the biases, the taps inside, requantisation."""
    bias, multiplier, shift = _tables(kernel[0] * kernel[1] * channels, channels)
    taps = [y * kernel[1] + x for y in range(*row) for x in range(*column)]
    channel = 0
    while channel < channels:
        count = block if channels - channel >= block else 1
        yield from sectors_of(bias + WORD_BYTES * channel, WORD_BYTES * count)
        for tap in taps:
            yield from sectors_of(tap * channels + channel, count)
        yield from sectors_of(multiplier + WORD_BYTES * channel, WORD_BYTES * count)
        yield from sectors_of(shift + WORD_BYTES * channel, WORD_BYTES * count)
        channel += count


def _tables(weights_bytes: int, channels: int) -> tuple[int, int, int]:
    """Where biases, multipliers and shifts begin behind weights at address 0."""
    step = aligned(WORD_BYTES * channels)
    start = aligned(weights_bytes)
    return start, start + step, start + 2 * step
