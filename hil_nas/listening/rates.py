"""How many false accepts an hour a count of them in so many hours allows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rate:
    """Events of a Poisson process.

    Attributes:
        count: how many were seen.
        hours: in how long.
    """

    count: int
    hours: float

    @property
    def per_hour(self) -> float:
        return self.count / self.hours

    @property
    def interval(self) -> tuple[float, float]:
        """The rates an hour that the count allows, with 95 % confidence: the exact interval, of which 2.5 % lie on
        either side. Where none was seen it is one-sided and the rule of three: 0 to 3 / hours.

        Source: F. Garwood, "Fiducial limits for the Poisson distribution", Biometrika 28 (1936).
        """
        if self.count == 0:
            return 0.0, -math.log(1 - CONFIDENCE) / self.hours
        side = (1 - CONFIDENCE) / 2
        low, high = _mean_with(self.count - 1, 1 - side), _mean_with(self.count, side)
        return low / self.hours, high / self.hours

    def __str__(self) -> str:
        low, high = self.interval
        if self.count == 0:
            return f"none in {self.hours:.2f} h: below {high:.2g}/h (rule of three)"
        return f"{self.count} in {self.hours:.2f} h: {self.per_hour:.2g}/h ({low:.2g} to {high:.2g})"

    def to_json(self) -> dict[str, Any]:
        low, high = self.interval
        return {
            "count": self.count, "hours": self.hours, "per_hour": self.per_hour, "low_per_hour": low,
            "high_per_hour": high, "text": str(self),
        }  # fmt: skip


def hours_for(per_hour: float) -> float:
    """Hours in which none must be seen before a rate is shown to be below this one."""
    return -math.log(1 - CONFIDENCE) / per_hour


def _mean_with(count: int, probability: float) -> float:
    """The mean of the Poisson distribution that has this probability of at most `count`."""
    low, high = 0.0, count + 10.0 * math.sqrt(count + 1.0) + 10.0
    for _ in range(100):
        middle = (low + high) / 2
        if _at_most(count, middle) > probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _at_most(count: int, mean: float) -> float:
    """The probability of at most `count` events, by logarithms so that no power overflows."""
    if mean == 0:
        return 1.0
    return math.fsum(math.exp(i * math.log(mean) - mean - math.lgamma(i + 1)) for i in range(count + 1))
