"""The expected cost of drawn networks, and the multipliers that hold it inside the limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, log

from torch import Tensor

from hil_nas.nas.costs.network_limits import Limits

_LEAST = 1e-9  # keeps logs finite
_HELD = 0.01  # a mean violation up to this counts as none
_STIFFNESS = 10.0  # of the squared violation: 10 % too much pulls like a multiplier of 1
TIGHT = 0.7  # after this share of a search the limits are in force as they were given


@dataclass(frozen=True)
class Expectation:
    """Expected cost, front end included, with gradients.

    Attributes:
        configs: (configs,) probabilities.
        by_config: cycles, RAM and flash, each (configs,): of the drawn networks on every configuration.
    """

    configs: Tensor
    by_config: tuple[Tensor, Tensor, Tensor]

    @property
    def cycles(self) -> Tensor:
        return self.configs @ self.by_config[0]

    @property
    def ram_bytes(self) -> Tensor:
        return self.configs @ self.by_config[1]

    @property
    def flash_bytes(self) -> Tensor:
        return self.configs @ self.by_config[2]

    def values(self) -> tuple[Tensor, Tensor, Tensor]:
        return (self.cycles, self.ram_bytes, self.flash_bytes)


class Multipliers:
    """One multiplier for each limit, and one for the floor below the cycles, raised by dual ascent.

    A violation is the log of expected cost over limit, so that all limits are of one size. It is taken on every
    configuration by itself and only then averaged by their probabilities: were costs averaged first, a cheap
    configuration would lend its slack to a dear one, and the network would be found too large once that one is
    chosen. A multiplier grows by `rate` times the violation while there is one and shrinks while there is none; a
    squared violation beside it (the augmented Lagrangian) damps the swings. The band's floor is for the network
    alone: what must not collapse into skips is the chain, and no front end should grow to fill a budget.

    The limits close in from where the space begins. Were they in force at once, alpha would reach them in its first
    epoch by costs alone, before it has learned what is worth its cost, and hardly come back.

    Args:
        limits: the ceilings.
        floor: of the cycles, as a share of their limit; without one there is no floor.
        start: cycles, RAM and flash of the average network before anything is learned. The floor is never above, so
            that a loose limit does not buy cycles that nothing needs.
        rate: of ascent, per step.
    """

    def __init__(self, limits: Limits, floor: float, start: Sequence[float], rate: float) -> None:
        self._final, self._start = limits.values(), tuple(start)
        self._share, self._rate = floor, rate
        self.state = [0.0] * (len(self._final) + 1)  # cycles, RAM, flash, floor of the cycles
        self.tighten(1.0)

    def tighten(self, progress: float) -> None:
        """Sets the limits in force after this share of the search."""
        left = max(0.0, 1 - progress / TIGHT)
        pairs = zip(self._final, self._start, strict=True)
        self._limits = tuple(x * max(1.0, start / x) ** left for x, start in pairs)
        self._floor = min(self._share * self._limits[0], self._start[0]) if isfinite(self._limits[0]) else 0.0

    def penalty(self, expected: Expectation) -> Tensor:
        """What is added to the loss."""
        configs = expected.configs
        total = -self.state[-1] * (configs.detach() @ expected.by_config[0]).log()
        for costs, limit, multiplier in zip(expected.by_config, self._limits, self.state, strict=False):
            if isfinite(limit):
                broken = (costs / limit).log().clamp_min(0)
                total = total + configs @ (multiplier * broken + _STIFFNESS / 2 * broken**2)
        return total

    def ascend(self, expected: Expectation) -> None:
        """Raises the multipliers of broken limits and lowers the others, never below 0."""
        configs = expected.configs.detach()
        violations = []
        for costs, limit in zip(expected.by_config, self._limits, strict=True):
            logs = (costs.detach() / limit).clamp_min(_LEAST).log()
            broken = float(configs @ logs.clamp_min(0))
            violations.append(broken if broken > _HELD else min(0.0, float(configs @ logs)))
        cycles = max(float(expected.cycles.detach()), _LEAST)
        violations.append(log(max(self._floor, _LEAST) / cycles))
        self.state = [max(0.0, m + self._rate * v) for m, v in zip(self.state, violations, strict=True)]
