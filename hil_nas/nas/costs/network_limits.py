"""What a network with its front end needs, and what it may need. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

from hil_nas.errors import InfeasibleError
from hil_nas.front_ends import FrontEnd
from hil_nas.units import format_bytes_like, format_seconds_like

RESOURCES = ("cycles", "RAM", "flash")  # in the order of `Cost.values()`


@dataclass(frozen=True)
class Cost:
    """What one network and its front end need."""

    cycles: float
    ram_bytes: int
    flash_bytes: int

    def values(self) -> tuple[float, float, float]:
        return (self.cycles, float(self.ram_bytes), float(self.flash_bytes))


@dataclass(frozen=True)
class Limits:
    """What a network and its front end may need; None is no limit.

    Attributes:
        latency_s: `cycles` as a time, where the limit was given as one; values are then written as times too.
    """

    cycles: float | None = None
    ram_bytes: int | None = None
    flash_bytes: int | None = None
    latency_s: float | None = field(default=None, compare=False)

    def values(self) -> tuple[float, float, float]:
        """In the order of `Cost`'s; no limit is infinity."""
        first, second, third = (inf if x is None else float(x) for x in (self.cycles, self.ram_bytes, self.flash_bytes))
        return (first, second, third)

    def held_by(self, cost: Cost) -> bool:
        return all(needed <= limit for needed, limit in zip(cost.values(), self.values(), strict=True))

    def format_value(self, resource: int, value: float) -> str:
        """A value of the resource, an index into `values()`, in the unit of its limit."""
        limit = self.values()[resource]
        if resource:
            return format_bytes_like(value, limit if limit < inf else value)
        if self.latency_s is None:
            return f"{value:,.0f} cycles"
        return format_seconds_like(value / limit * self.latency_s, self.latency_s)

    def format_cost(self, cost: Cost) -> str:
        """All that a network needs, by name."""
        return ", ".join(f"{self.name_of(i)} {self.format_value(i, x)}" for i, x in enumerate(cost.values()))

    def name_of(self, resource: int) -> str:
        return "latency" if resource == 0 and self.latency_s is not None else RESOURCES[resource]


def infeasible(limits: Limits, nearest: Iterable[tuple[int, float, FrontEnd]]) -> InfeasibleError:
    """The error that names what is out of reach.

    Args:
        nearest: for each limit that no network holds: its index into `values()`, the least there is of it, and where.
    """
    values = limits.values()
    parts = [
        f"{limits.name_of(i)} {limits.format_value(i, least)} at least ({config}), "
        f"the limit is {limits.format_value(i, values[i])}"
        for i, least, config in nearest
    ]
    if parts:
        return InfeasibleError("no network holds the limits: " + "; ".join(parts), hint="raise the limit")
    wanted = ", ".join(f"{limits.name_of(i)} {limits.format_value(i, x)}" for i, x in enumerate(values) if x < inf)
    return InfeasibleError(
        f"every limit can be held alone, but no network was found that holds all: {wanted}",
        hint="raise one of the limits",
    )
