"""Scales of axes: from values to shares of the axis, and the values that are written at it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_MOST_TICKS = 6


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high`; what a value becomes before it is drawn, and the ticks as values."""

    low: float
    high: float
    ticks: tuple[float, ...]
    bent: Callable[[float], float] = lambda value: value

    def share(self, value: float) -> float:
        """0 at the axis' beginning, 1 at its end."""
        first, last = self.bent(self.low), self.bent(self.high)
        return (self.bent(value) - first) / (last - first)


def linear(values: Iterable[float], *, room: float = 0.05) -> Scale:
    """Around finite values, with that share of their range as room on both sides."""
    known = [x for x in values if math.isfinite(x)] or [0.0]
    low, high = min(known), max(known)
    spare = (high - low) * room or abs(high) * 0.1 or 1.0
    return linear_between(low - spare, high + spare)


def linear_between(low: float, high: float) -> Scale:
    step = _step(high - low)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return Scale(low, high, tuple(x for i in range(first, last + 1) if low <= (x := round(i * step, 12)) <= high))


def counted(length: int) -> Scale:
    """1 to `length`, as epochs are."""
    last = max(length, 2)
    step = max(1, round(_step(last - 1)))
    return Scale(1, last, tuple(x for x in range(1, last + 1) if x == 1 or x % step == 0))


def logarithmic(values: Iterable[float]) -> Scale:
    """Around values above 0."""
    known = list(values)
    low, high = min(known) / 1.15, max(known) * 1.15
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1,) if math.log10(high / low) > 3 else (1, 2, 5)
    ticks = [m * 10.0**d for d in decades for m in steps if low <= m * 10.0**d <= high]
    if not ticks:  # less than a factor of two
        ticks = [x for x in linear_between(low, high).ticks if x > 0]
    return Scale(low, high, tuple(ticks[:: -(-len(ticks) // (_MOST_TICKS + 2))]), math.log10)


def symmetric(values: Iterable[float]) -> Scale:
    """Linear from -1 to 1, logarithmic beyond: errors of very different sizes, in either direction."""
    most = max((abs(x) for x in values), default=1.0)
    decades = max(0, math.ceil(math.log10(max(most, 1.0))))
    edge = 10.0**decades
    outer = [10.0**x for x in range(decades + 1)]
    return Scale(-edge, edge, (*(-x for x in reversed(outer)), 0.0, *outer), _bent_symmetric)


def shown(value: float) -> str:
    """A tick as people write it: 0.5, 20, 1.2 M."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= factor:
            return f"{value / factor:g} {unit}"
    return f"{value:g}"


def _bent_symmetric(value: float) -> float:
    return value if abs(value) <= 1 else math.copysign(1 + math.log10(abs(value)), value)


def _step(span: float) -> float:
    """1, 2 or 5 times a power of ten, so that at most six fit."""
    rough = span / _MOST_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
