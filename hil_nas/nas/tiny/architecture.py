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

    def log_probabilities(self, chains: Chains) -> Tensor:
        """(chains,): of drawing each, without its front end; where the width is kept, none is chosen."""
        stem, widths, operations = (torch.from_numpy(x).to(self.stem.device) for x in
                                    (chains.stem, chains.widths, chains.operations))  # fmt: skip
        positions = torch.arange(operations.shape[1], device=self.stem.device)
        logs = torch.log_softmax(self.widths, 1)
        chosen = torch.log_softmax(self.operations, 1)[positions, operations]
        wide = logs[1:][positions, widths[:, 1:]] * ~cast(Tensor, self.keeps)[operations]
        return torch.log_softmax(self.stem, 0)[stem] + logs[0, widths[:, 0]] + (chosen + wide).sum(1)


def _few_strides(space: TinySpace) -> Tensor:
    """Logits of operations that stride `_EXPECTED_STRIDES` times a chain, all others alike."""
    strides = torch.tensor([x.stride != (1, 1) for x in space.operations])
    if not strides.any() or strides.all():
        return torch.zeros(len(strides))
    share = min(0.5, _EXPECTED_STRIDES / space.positions)
    weights = torch.where(strides, share / strides.sum(), (1 - share) / (~strides).sum())
    return weights.log() - weights.log().mean()
