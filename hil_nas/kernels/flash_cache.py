"""What a small data cache in front of flash misses while a kernel sweeps over its constants.

Weights, biases and requantisation tables lie in flash. The STM32L4's data cache (RM0432, embedded flash; the
costs of a miss stand in `boards/*/board.toml`) holds eight lines of 32 bytes, each filled by sectors of 8 bytes,
and gives up the least recently used line. A kernel reads the same addresses once per *sweep* (an output
pixel, a pair of columns), so that its constants either stay resident or are missed again every time; which
of the two decides up to a third of a layer's cycles.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

LINE_BYTES = 32
SECTOR_BYTES = 8
LINES = 8
ALIGNMENT_BYTES = LINE_BYTES  # of every constant in a plan


class Misses(NamedTuple):
    """Sectors fetched from flash, and lines that had to be given up for them."""

    sectors: float
    lines: float

    def __add__(self, other: object) -> Misses:
        if not isinstance(other, Misses):
            return NotImplemented
        return Misses(self.sectors + other.sectors, self.lines + other.lines)

    def times(self, count: float) -> Misses:
        return Misses(self.sectors * count, self.lines * count)


class SweepMisses(NamedTuple):
    """Misses of the first pass over a kernel's constants, and of each pass after it."""

    cold: Misses
    steady: Misses

    def times(self, passes: int) -> Misses:
        return Misses(0.0, 0.0) if passes < 1 else self.cold + self.steady.times(passes - 1)


class FlashCache:
    """The data cache, empty at first."""

    def __init__(self) -> None:
        self._lines: OrderedDict[int, int] = OrderedDict()  # line -> bit mask of its valid sectors

    def read(self, sectors: Iterable[int]) -> Misses:
        """What reading sector numbers (address // 8), in this order, misses."""
        lines = self._lines
        missed_sectors = missed_lines = 0
        for sector in sectors:
            line, bit = sector >> 2, 1 << (sector & 3)
            valid = lines.get(line)
            if valid is None:
                missed_lines += 1
                missed_sectors += 1
                lines[line] = bit
                if len(lines) > LINES:
                    lines.popitem(last=False)
                continue
            lines.move_to_end(line)
            if not valid & bit:
                missed_sectors += 1
                lines[line] = valid | bit
        return Misses(float(missed_sectors), float(missed_lines))


def sweep(sectors: Iterable[int]) -> SweepMisses:
    """What equal passes over sectors miss, from a cold cache.

    The second pass is the steady state: under LRU the lines left behind by a pass depend on that pass alone.
    """
    cache, trace = FlashCache(), tuple(sectors)
    return SweepMisses(cache.read(trace), cache.read(trace))


def sectors_of(address: int, size_bytes: int) -> range:
    """The sectors that `size_bytes` bytes from `address` lie in."""
    return range(address // SECTOR_BYTES, (address + size_bytes - 1) // SECTOR_BYTES + 1)


def aligned(address: int) -> int:
    """The next place where a plan puts a constant."""
    return -(-address // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
