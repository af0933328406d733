"""Expected cost of a distribution over networks, and the multipliers that hold it inside the limits.

The choices of a chain are independent but for two things that they hand on: the scale and the width at which the
next position reads. Following the joint distribution of these two along the chain makes the expectation exact:
it is the mean cost of networks drawn from the probabilities, multilinear in them, with exact gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, log

import numpy as np
import torch
from torch import Tensor, nn

from hil_nas.nas.architecture import Probabilities
from hil_nas.nas.prices import Limits, PriceTable

_LEAST = 1e-9  # keeps logs finite
_HELD = 0.01  # a mean violation so small is none
_STIFFNESS = 10.0  # of the squared violation: 10 % too much pulls like a multiplier of 1
TIGHT = 0.7  # the share of a search behind which the limits hold
_SHARPNESS = 20.0  # of the smooth maximum over positions: the worst position weighs e^20 times one of size 0


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


class ExpectedCost(nn.Module):
    """The price table as tensors.

    Args:
        table: of the space that the probabilities are about.
    """

    def __init__(self, table: PriceTable, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        space = table.space
        for name, tables in (("cycles", table.cycles), ("ram", table.ram), ("flash", table.flash)):
            for part in ("front_end", "align", "stem", "chain", "head"):
                values = torch.from_numpy(np.asarray(getattr(tables, part))).to(dtype)
                self.register_buffer(f"{name}_{part}", values, persistent=False)
        scales = space.scales
        moves = torch.zeros(len(space.operations), len(scales), len(scales), dtype=dtype)
        for o, operation in enumerate(space.operations):
            for s, scale in enumerate(scales):
                moves[o, s, scales.index(space.scale_after(scale, operation))] = 1.0
        self.register_buffer("moves", moves, persistent=False)
        starts = torch.tensor([[float(x.stride == s) for s in scales] for x in space.stems], dtype=dtype)
        self.register_buffer("starts", starts, persistent=False)
        keeps = torch.tensor([float(x.keeps_width) for x in space.operations], dtype=dtype)
        self.register_buffer("keeps", keeps, persistent=False)

    def forward(self, chosen: Probabilities) -> Expectation:
        states = self._states(chosen)
        cycles, flash = (self._added(x, chosen, states) for x in ("cycles", "flash"))
        return Expectation(chosen.configs, (cycles, self._largest(chosen, states), flash))

    def _states(self, chosen: Probabilities) -> list[Tensor]:
        """Before every position and behind the last: (scales, widths), the probability of reading there."""
        moves, keeps = self.get_buffer("moves"), self.get_buffer("keeps")
        found = [torch.einsum("ps,p,w->sw", self.get_buffer("starts"), chosen.stem, chosen.widths[0])]
        for operations, widths in zip(chosen.operations, chosen.widths[1:], strict=True):
            kept = torch.einsum("o,osz,sw->zw", operations * keeps, moves, found[-1])
            scales = found[-1].sum(1)
            new = torch.einsum("o,osz,s->z", operations * (1 - keeps), moves, scales)
            found.append(kept + torch.outer(new, widths))
        return found

    def _parts(self, name: str, chosen: Probabilities, states: list[Tensor]) -> list[Tensor]:
        """Expected cost by configuration, (configs,), of alignment, stem, every position and head."""
        get = self.get_buffer
        parts = [get(f"{name}_align"), torch.einsum("gpw,p,w->g", get(f"{name}_stem"), chosen.stem, chosen.widths[0])]
        for state, operations, widths in zip(states, chosen.operations, chosen.widths[1:], strict=False):
            parts.append(torch.einsum("gsovw,sv,o,w->g", get(f"{name}_chain"), state, operations, widths))
        return [*parts, torch.einsum("gsw,sw->g", get(f"{name}_head"), states[-1])]

    def _added(self, name: str, chosen: Probabilities, states: list[Tensor]) -> Tensor:
        return torch.stack(self._parts(name, chosen, states)).sum(0) + self.get_buffer(f"{name}_front_end")

    def _largest(self, chosen: Probabilities, states: list[Tensor]) -> Tensor:
        """A smooth maximum of the positions' expected RAM; the exact one is found at derivation."""
        parts = torch.stack(self._parts("ram", chosen, states))  # (parts, configs)
        top = parts.detach().max(0).values
        weights = torch.softmax(_SHARPNESS * parts / top, 0)
        return (weights * parts).sum(0) + self.get_buffer("ram_front_end")


class Multipliers:
    """One multiplier for each limit, and one for the floor below the cycles, raised by dual ascent.

    A violation is the log of expected cost over limit, so that all limits are of one size. It is taken on every
    configuration by itself and only then averaged by their probabilities: were costs averaged first, a cheap
    configuration would lend its slack to a dear one, and the network would be found too large once that one is
    chosen. A multiplier grows by `rate` times the violation while there is one and shrinks while there is none; a
    squared violation beside it (the augmented Lagrangian) damps the swings. The band's floor is for the network
    alone: what must not collapse into skips is the chain, and no front end should grow to fill a budget.

    The limits close in from where the space begins. Were they in force at once, alpha would reach them in its first
    epoch by prices alone, before it has learned what is worth its price, and hardly come back.

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
