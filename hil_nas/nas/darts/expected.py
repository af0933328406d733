"""Expected cost of cells drawn from alpha, beta and gamma.

A network is drawn by choosing a configuration by gamma, two edges of every node one after the other by beta, and on
each an operator by alpha, `none` excluded: derived cells have two edges a node that do something. The mean of what
drawn networks cost is linear in gamma, in alpha and in the edges' shares, and its gradients are exact.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hil_nas.nas.costs.multipliers import Expectation
from hil_nas.nas.darts.cost_table import DartsCostTable
from hil_nas.nas.darts.space import SKIP, DartsSpace
from hil_nas.nas.darts.supernet import DartsProbabilities

_SHARPNESS = 20.0  # of the smooth maximum: the fattest edge weighs e^20 times one that needs nothing
_LEAST = 1e-6  # keeps quotients finite where one edge or `none` has all the weight


class DartsExpectedCost(nn.Module):
    """The cost table as tensors.

    Args:
        cost_table: of the space that the probabilities are about.
    """

    def __init__(self, cost_table: DartsCostTable, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.space = cost_table.space
        for name, table in (("cycles", cost_table.cycles), ("flash", cost_table.flash)):
            always = torch.from_numpy(table.front_end + table.fixed).to(dtype)
            self.register_buffer(f"{name}_always", always, persistent=False)
            self.register_buffer(f"{name}_edges", torch.from_numpy(table.edges).to(dtype), persistent=False)
        self.register_buffer("arena", torch.from_numpy(cost_table.arena).to(dtype), persistent=False)
        self.register_buffer("front_end_ram", torch.from_numpy(cost_table.front_end_ram).to(dtype), persistent=False)

    def forward(self, chosen: DartsProbabilities) -> Expectation:
        edges, operators = edge_shares(self.space, chosen.beta), operator_shares(chosen.alpha)
        cycles, flash = (self._sums(x, edges[..., None] * operators) for x in ("cycles", "flash"))
        return Expectation(chosen.configs, (cycles, self._largest(edges, operators), flash))

    def _largest(self, edges: Tensor, operators: Tensor) -> Tensor:
        """(configs,): a smooth maximum of the arenas that edges need; the exact one is found at derivation."""
        arena = self.get_buffer("arena")
        least = arena.amin((1, 2, 3))
        more = torch.einsum("gkeo,keo->gke", arena - least[:, None, None, None], operators)
        parts = (least[:, None, None] + edges * more).flatten(1)
        weights = torch.softmax(_SHARPNESS * parts / parts.detach().amax(1, keepdim=True), 1)
        return (weights * parts).sum(1) + self.get_buffer("front_end_ram")

    def _sums(self, name: str, shares: Tensor) -> Tensor:
        """(configs,)"""
        edges = torch.einsum("gkeo,keo->g", self.get_buffer(f"{name}_edges"), shares)
        return self.get_buffer(f"{name}_always") + edges


def operator_shares(alpha: Tensor) -> Tensor:
    """(kinds, edges, operators): probabilities of the operators that do something, 0 for `none`."""
    kept = torch.cat([torch.zeros_like(alpha[..., :1]), alpha[..., 1:]], -1)
    return kept / kept.sum(-1, keepdim=True).clamp_min(_LEAST)


def edge_shares(space: DartsSpace, beta: Tensor) -> Tensor:
    """(kinds, edges): how likely an edge is one of the two that are drawn; 2 in sum over a node."""
    sizes = [len(space.edges_of(n)) for n in range(space.nodes)]
    return torch.cat([_either(x) for x in torch.split(beta, sizes, -1)], -1)


def _either(p: Tensor) -> Tensor:
    """(..., edges): drawn first, or second behind any other."""
    behind = p / (1 - p).clamp_min(_LEAST)
    return p * (1 + behind.sum(-1, keepdim=True) - behind)


def skip_share(space: DartsSpace, chosen: DartsProbabilities) -> float:
    """Skip connections among the edges of drawn cells, as a share: what grows when a search collapses."""
    edges, operators = edge_shares(space, chosen.beta), operator_shares(chosen.alpha)
    return float(((edges * operators[..., SKIP]).sum() / edges.sum()).detach())
