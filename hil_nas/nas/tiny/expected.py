"""Expected cost of a distribution over chains.

The choices of a chain are independent but for two things that they hand on: the place (the scale, and in a stream how
far its rows reach) and the width at which the next position reads. Following the joint distribution of these two along
the chain makes the expectation exact: it is the mean cost of networks drawn from the probabilities, multilinear in
them, with exact gradients.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hil_nas.nas.costs.multipliers import Expectation
from hil_nas.nas.tiny.architecture import Architecture, Probabilities
from hil_nas.nas.tiny.cost_table import CostTable, Floats
from hil_nas.nas.tiny.places import Places

_SHARPNESS = 20.0  # of the smooth maximum over positions: the worst position weighs e^20 times one of size 0


class ExpectedCost(nn.Module):
    """The cost table as tensors.

    Args:
        table: of the space that the probabilities are about.
    """

    def __init__(self, table: CostTable, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        space, places = table.space, Places.of(table.space)
        tables = (("cycles", table.cycles), ("ram", table.ram), ("state", table.state), ("flash", table.flash))
        own = places.groups == places.group[:, None]  # (configs, places)
        for name, costs in tables:
            for part in ("front_end", "align", "stem", "chain"):
                self._keep(f"{name}_{part}", np.asarray(getattr(costs, part)), dtype)
            at = np.moveaxis(costs.head[:, places.scale, :, places.rows], 0, 1)  # (configs, places, widths)
            self._keep(f"{name}_head", at * own[:, :, None], dtype)
        count, operations = len(places.scale), range(len(space.operations))
        moves = np.zeros((len(operations), count, count))
        for o in operations:
            moves[o, np.arange(count), places.after[:, o]] = 1.0
        starts = np.zeros((count, len(space.stems)))
        for row in places.stem:
            starts[row, np.arange(len(space.stems))] = 1.0
        keeps = np.array([x.keeps_width for x in space.operations])
        standing = np.zeros((len(places.stem), len(space.scales), count))
        standing[places.groups, places.scale, np.arange(count)] = 1.0
        self._keep("moves", moves, dtype)
        self._keep("starts", starts, dtype)
        self._keep("keeps", (places.skipped | keeps).T, dtype)  # (operations, places)
        self._keep("paid", ~places.skipped.T, dtype)
        self._keep("standing", standing, dtype)
        self.register_buffer("group", torch.from_numpy(places.group), persistent=False)

    def _keep(self, name: str, values: NDArray[Any], dtype: torch.dtype) -> None:
        self.register_buffer(name, torch.from_numpy(values).to(dtype), persistent=False)

    def forward(self, chosen: Probabilities) -> Expectation:
        states = self._states(chosen)
        cycles, flash = (self._added(x, chosen, states) for x in ("cycles", "flash"))
        return Expectation(chosen.configs, (cycles, self._ram(chosen, states), flash))

    def _states(self, chosen: Probabilities) -> list[Tensor]:
        """Before every position and behind the last: (places, widths), the probability of reading there; those of a
        group sum to 1."""
        moves, keeps = self.get_buffer("moves"), self.get_buffer("keeps")
        states = [torch.einsum("tp,p,w->tw", self.get_buffer("starts"), chosen.stem, chosen.widths[0])]
        for operations, widths in zip(chosen.operations, chosen.widths[1:], strict=True):
            moved = operations[:, None] * keeps
            kept = torch.einsum("ot,otz->tz", moved, moves).t() @ states[-1]
            new = torch.einsum("ot,otz,t->z", operations[:, None] - moved, moves, states[-1].sum(1))
            states.append(kept + torch.outer(new, widths))
        return states

    def _parts(self, name: str, chosen: Probabilities, states: list[Tensor]) -> list[Tensor]:
        """Expected cost by configuration, (configs,), of alignment, stem, every position and head."""
        get = self.get_buffer
        parts = [get(f"{name}_align"), torch.einsum("gpw,p,w->g", get(f"{name}_stem"), chosen.stem, chosen.widths[0])]
        for state, operations, widths in zip(states, chosen.operations, chosen.widths[1:], strict=False):
            taken = operations[:, None] * get("paid")
            at = torch.einsum("kst,ot,tv->ksov", get("standing"), taken, state)[get("group")]
            parts.append(torch.einsum("gsovw,gsov,w->g", get(f"{name}_chain"), at, widths))
        return [*parts, torch.einsum("gtw,tw->g", get(f"{name}_head"), states[-1])]

    def _added(self, name: str, chosen: Probabilities, states: list[Tensor]) -> Tensor:
        return torch.stack(self._parts(name, chosen, states)).sum(0) + self.get_buffer(f"{name}_front_end")

    def _ram(self, chosen: Probabilities, states: list[Tensor]) -> Tensor:
        """A smooth maximum of the positions' expected RAM, beside what all of them keep in a stream; the exact one is
        found at derivation."""
        parts = torch.stack(self._parts("ram", chosen, states))  # (parts, configs)
        top = parts.detach().max(0).values
        weights = torch.softmax(_SHARPNESS * parts / top, 0)
        return (weights * parts).sum(0) + self.get_buffer("ram_front_end") + self._added("state", chosen, states)


def average_cycles(table: CostTable) -> Floats:
    """Of the networks of each configuration before anything is learned, without the front end, (configs,)."""
    space = table.space
    with torch.no_grad():
        even = Architecture(space).double().probabilities(torch.zeros(len(space.configs), dtype=torch.float64))
        cycles: Floats = ExpectedCost(table, torch.float64)(even).by_config[0].numpy()
    return cycles - table.cycles.front_end
