"""Expected cost of a distribution over chains.

The choices of a chain are independent but for two things that they hand on: the scale and the width at which the
next position reads. Following the joint distribution of these two along the chain makes the expectation exact:
it is the mean cost of networks drawn from the probabilities, multilinear in them, with exact gradients.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hil_nas.nas.costs.multipliers import Expectation
from hil_nas.nas.tiny.architecture import Architecture, Probabilities
from hil_nas.nas.tiny.cost_table import CostTable, Floats

_SHARPNESS = 20.0  # of the smooth maximum over positions: the worst position weighs e^20 times one of size 0


class ExpectedCost(nn.Module):
    """The cost table as tensors.

    Args:
        table: of the space that the probabilities are about.
    """

    def __init__(self, table: CostTable, dtype: torch.dtype = torch.float32) -> None:
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
        states = [torch.einsum("ps,p,w->sw", self.get_buffer("starts"), chosen.stem, chosen.widths[0])]
        for operations, widths in zip(chosen.operations, chosen.widths[1:], strict=True):
            kept = torch.einsum("o,osz,sw->zw", operations * keeps, moves, states[-1])
            scales = states[-1].sum(1)
            new = torch.einsum("o,osz,s->z", operations * (1 - keeps), moves, scales)
            states.append(kept + torch.outer(new, widths))
        return states

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


def average_cycles(table: CostTable) -> Floats:
    """Of the networks of each configuration before anything is learned, without the front end, (configs,)."""
    space = table.space
    with torch.no_grad():
        even = Architecture(space).double().probabilities(torch.zeros(len(space.configs), dtype=torch.float64))
        cycles: Floats = ExpectedCost(table, torch.float64)(even).by_config[0].numpy()
    return cycles - table.cycles.front_end
