"""alpha: the parameters of a `tiny` search, their probabilities, and the chains that are drawn by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from hil_nas.nas.tiny.band import Chains
from hil_nas.nas.tiny.space import TinySpace

_EXPECTED_STRIDES = 1.5  # how many strides the chain has on average before anything is learned


@dataclass(frozen=True)
class Probabilities:
    """Probabilities of every choice: what the expected cost is bilinear in.

    Attributes:
        configs: (configs,).
        stem: (stems,).
        widths: (1 + positions, widths), the stem's first.
        operations: (positions, operations).
    """

    configs: Tensor
    stem: Tensor
    widths: Tensor
    operations: Tensor

    def drawn(self, count: int, generator: torch.Generator) -> Chains:
        """So many chains, every choice by itself."""

        def indices(rows: Tensor) -> Tensor:
            return torch.multinomial(rows.detach().cpu(), count, replacement=True, generator=generator)

        # (choices of a kind, count) -> (count, choices of a kind)
        widths, operations = (indices(x).t().contiguous().numpy() for x in (self.widths, self.operations))
        return Chains(indices(self.stem).numpy(), widths, operations)


class Architecture(nn.Module):
    """The alphas of a space."""

    def __init__(self, space: TinySpace) -> None:
        super().__init__()
        self.space = space
        self.stem = nn.Parameter(torch.zeros(len(space.stems)))
        self.widths = nn.Parameter(torch.zeros(1 + space.positions, len(space.widths)))
        self.operations = nn.Parameter(_few_strides(space).repeat(space.positions, 1))
        keeps = torch.tensor([x.keeps_width for x in space.operations])
        self.register_buffer("keeps", keeps, persistent=False)

    def probabilities(self, configs: Tensor) -> Probabilities:
        stem, widths = torch.softmax(self.stem, 0), torch.softmax(self.widths, 1)
        return Probabilities(configs, stem, widths, torch.softmax(self.operations, 1))

    def scores(self, chains: Chains) -> Tensor:
        """(chains,): the sum of each one's logits, without its front end; where the width is kept, none is chosen.

        Not of log-probabilities: each layer more would cost a chain that of a width, so that before anything is learned
        the deepest would be 50,000 times less likely than the shallowest.
        """
        stem, widths, operations = (torch.from_numpy(x).to(self.stem.device) for x in
                                    (chains.stem, chains.widths, chains.operations))  # fmt: skip
        positions = torch.arange(operations.shape[1], device=self.stem.device)
        wide = self.widths[1:][positions, widths[:, 1:]] * ~cast(Tensor, self.keeps)[operations]
        return self.stem[stem] + self.widths[0, widths[:, 0]] + (self.operations[positions, operations] + wide).sum(1)


def _few_strides(space: TinySpace) -> Tensor:
    """Logits of operations that stride `_EXPECTED_STRIDES` times a chain, all others alike."""
    strides = torch.tensor([x.stride != (1, 1) for x in space.operations])
    if not strides.any() or strides.all():
        return torch.zeros(len(strides))
    share = min(0.5, _EXPECTED_STRIDES / space.positions)
    weights = torch.where(strides, share / strides.sum(), (1 - share) / (~strides).sum())
    return weights.log() - weights.log().mean()
