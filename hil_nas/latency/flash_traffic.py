"""What CMSIS-NN's kernels read from flash: the order of weights, biases and requantisation tables.

A plan puts an operator's constants one behind the other, each at a multiple of 16 bytes: weights, biases,
multipliers, shifts. Where the first begins is another matter in every network; address 0 stands for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from hil_nas.latency.flash_cache import LINES, Misses, Sweep, aligned, lines_of, sectors_of, sweep
from hil_nas.network import Pair

WORD_BYTES = 4

Taps = tuple[Pair, ...]  # per output position along one axis: first tap inside, end of those inside


@lru_cache(maxsize=4096)
def pointwise_misses(depth: int, outputs: int, rows: int) -> Misses:
    """Two weight rows and their requantisation are swept once per tile, after one pass for the sums."""
    total = Misses(0.0, 0.0)
    tiles = rows // 2 + rows % 2
    for pair in range(outputs // 2):
        address = pair * 2 * depth
        sectors, lines = len(sectors_of(address, 2 * depth)), lines_of(address, 2 * depth)
        resident = lines + 2 <= LINES  # two weight rows, a line of multipliers, a line of shifts
        sweeps = 1 if resident else 1 + tiles
        total += Misses(sectors, lines).times(sweeps) + Misses(3, 3)
        if not resident:
            total += Misses(2, 2).times(tiles - 1)
    if outputs % 2:
        address, size = (outputs - 1) * depth, depth
        sweeps = 1 if lines_of(address, size) + 3 <= LINES else rows
        total += Misses(len(sectors_of(address, size)), lines_of(address, size)).times(sweeps) + Misses(3, 3)
    return total


@lru_cache(maxsize=4096)
def rows_sweep(column: int, outputs: int) -> Sweep:
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
            total += _pixel_sweep(row, column, kernel, channels, block).times(row_count * column_count)
    return total


@lru_cache(maxsize=4096)
def _pixel_sweep(row: Pair, column: Pair, kernel: Pair, channels: int, block: int) -> Sweep:
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
