"""gamma: a softmax over front ends whose aligned features are mixed into one input.

Source: arXiv 2507.15545 (data-aware NAS), which aligns by zero padding or by a learned convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hil_nas.nas.blocks.banded import depthwise
from hil_nas.nas.input_space import InputSpace


class Alignment(nn.Module):
    """Brings every configuration to one size and mixes them by softmax(gamma).

    Args:
        generator: where the convolutions' first weights come from.
        feasible: configurations that can hold the limits; the others keep gamma 0.
    """

    def __init__(self, space: InputSpace, generator: torch.Generator, feasible: Sequence[int] | None = None) -> None:
        super().__init__()
        self.space = space
        self.gamma = nn.Parameter(torch.zeros(len(space.configs)))
        masked = torch.ones(len(space.configs), dtype=torch.bool)
        masked[list(range(len(space.configs)) if feasible is None else feasible)] = False
        self.register_buffer("masked", masked)
        self.chosen: int | None = None
        self.kernels = nn.ParameterDict()
        for index, config in enumerate(space.configs):
            operation = space.align_operation(config)
            if operation is not None:
                channels = config.columns if space.arrangement == "channels" else 1
                self.kernels[str(index)] = nn.Parameter(_smoothing(channels, operation.kernel, generator))

    @property
    def configs(self) -> tuple[int, ...]:
        """The configurations that still take part."""
        if self.chosen is not None:
            return (self.chosen,)
        masked = cast(Tensor, self.masked)
        return tuple(i for i in range(len(self.space.configs)) if not masked[i])

    def weights(self) -> Tensor:
        """(configs,): softmax(gamma), or the chosen configuration alone."""
        if self.chosen is not None:
            return F.one_hot(torch.tensor(self.chosen), len(self.gamma)).to(self.gamma)
        return self.unsettled()

    def unsettled(self) -> Tensor:
        """(configs,): softmax(gamma), of those that were given up too."""
        return torch.softmax(self.gamma.masked_fill(cast(Tensor, self.masked), -torch.inf), 0)

    def log_weights(self) -> Tensor:
        """(configs,): the logarithms of `weights`, with a gradient where those are 0."""
        if self.chosen is not None:
            return self.weights().log()
        return torch.log_softmax(self.gamma.masked_fill(cast(Tensor, self.masked), -torch.inf), 0)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features of `configs`, each (coefficients, batch, frames), to the stem's input (C, B, F, T)."""
        aligned = [self.aligned(i, x) for i, x in zip(self.configs, features, strict=True)]
        if len(aligned) == 1:
            return aligned[0]
        channels, _, bands, frames = (max(sizes) for sizes in zip(*(x.shape for x in aligned), strict=True))
        weights = self.weights()
        mixed = torch.zeros(())
        for index, x in zip(self.configs, aligned, strict=True):
            # fewer coefficients are the first of more, so that zeros stand where they end
            padded = F.pad(x, (0, frames - x.shape[3], 0, bands - x.shape[2], 0, 0, 0, channels - x.shape[0]))
            mixed = mixed + weights[index] * padded
        return mixed

    def aligned(self, config: int, features: Tensor) -> Tensor:
        """One configuration (coefficients, batch, frames) as (C, B, F, T), not yet padded."""
        # channels: (coefficients, B, 1, T); plane: (1, B, coefficients, T)
        x = features[:, :, None] if self.space.arrangement == "channels" else features.permute(1, 0, 2)[None]
        operation = self.space.align_operation(self.space.configs[config])
        return x if operation is None else depthwise(x, self.kernels[str(config)], operation.stride)


class Supernet(nn.Module):
    """What the supernets of all spaces have: gamma, and parameters in two halves."""

    alignment: Alignment

    def architecture_parameters(self) -> dict[str, nn.Parameter]:
        """alpha, beta and gamma: what the validation half decides."""
        return {k: v for k, v in self.named_parameters() if _decides(k)}

    def weight_parameters(self) -> dict[str, nn.Parameter]:
        """All others, the alignment's convolutions among them."""
        return {k: v for k, v in self.named_parameters() if not _decides(k)}


def decided(gammas: Tensor, ratio: float) -> int | None:
    """The configuration whose gamma is at least `ratio` times every other's; None where there is none."""
    if len(gammas) == 1:
        return 0
    best, second = torch.topk(gammas, 2).values
    return int(gammas.argmax()) if best >= ratio * second else None


def _smoothing(channels: int, kernel: tuple[int, int], generator: torch.Generator) -> Tensor:
    """(channels, time, frequency): an average over time at the middle frequency, slightly disturbed."""
    taps = torch.zeros(channels, *kernel)
    taps[:, :, (kernel[1] - 1) // 2] = 1 / kernel[0]
    return taps + 0.1 * torch.randn(taps.shape, generator=generator) / kernel[0]


def _decides(name: str) -> bool:
    return name.startswith("architecture.") or name == "alignment.gamma"
