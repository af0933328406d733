"""gamma: a softmax over MFCC configurations whose aligned features are mixed into one input.

Source: arXiv 2507.15545 (data-aware NAS), which aligns by zero padding or by a learned convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hil_nas.errors import InputError
from hil_nas.nas.banded import depthwise
from hil_nas.nas.space import TinySpace


@dataclass(frozen=True)
class FeatureSet:
    """The same clips under every configuration of a space.

    Attributes:
        features: per configuration (clips, frames, coefficients), float.
        labels: (clips,), int64.

    Raises:
        InputError: where the numbers of clips differ.
    """

    features: tuple[Tensor, ...]
    labels: Tensor

    def __post_init__(self) -> None:
        found = {len(x) for x in (*self.features, self.labels)}
        if len(found) != 1 or 0 in found:
            raise InputError(f"features and labels must be of the same clips, found {sorted(found)} of them")

    def check(self, space: TinySpace) -> None:
        """Raises InputError where the features are not those of the space's configurations."""
        if len(self.features) != len(space.configs):
            raise InputError(f"{len(self.features)} sets of features for {len(space.configs)} configurations")
        for config, x in zip(space.configs, self.features, strict=True):
            if tuple(x.shape[1:]) != (config.frames, config.coefficients):
                expected = (config.frames, config.coefficients)
                raise InputError(f"features of {config} are {tuple(x.shape[1:])} a clip, expected {expected}")
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= space.classes:
            raise InputError(f"labels run from {low} to {high}, expected 0 to {space.classes - 1}")


class FeatureStore:
    """Features as the supernet reads them: standardised, and in memory so that a batch is gathered fast.

    Args:
        data: the clips.
        like: the store whose mean and spread are used; None: those of `data` itself.
    """

    def __init__(self, data: FeatureSet, device: torch.device, like: FeatureStore | None = None) -> None:
        self.labels = data.labels.to(device)
        self._moments: list[tuple[Tensor, Tensor]] = (
            [_moments(x) for x in data.features] if like is None else like._moments
        )
        self._features: list[Tensor | None] = []
        for x, (mean, spread) in zip(data.features, self._moments, strict=True):
            standard = (x.float() - mean) / spread
            self._features.append(standard.permute(2, 0, 1).contiguous().to(device))  # (coefficients, clips, frames)

    def __len__(self) -> int:
        return len(self.labels)

    def drop_all_but(self, config: int) -> None:
        """Frees the features of the other configurations."""
        self._features = [x if i == config else None for i, x in enumerate(self._features)]

    def batch(self, clips: Tensor, configs: Sequence[int]) -> tuple[list[Tensor], Tensor]:
        """Per configuration (coefficients, batch, frames), and the labels (batch,)."""
        found = []
        for config in configs:
            features = self._features[config]
            assert features is not None, f"the features of configuration {config} were dropped"
            found.append(features.index_select(1, clips))
        return found, self.labels[clips]


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread of every coefficient; one that never changes is left as large as it is."""
    spread, mean = torch.std_mean(x.float(), dim=(0, 1), correction=0)
    return mean, torch.where(spread > 1e-6, spread, torch.ones_like(spread))


class Alignment(nn.Module):
    """Brings every configuration to one size and mixes them by softmax(gamma).

    Args:
        generator: where the convolutions' first weights come from.
        allowed: configurations that can hold the limits; the others keep gamma 0.
    """

    def __init__(self, space: TinySpace, generator: torch.Generator, allowed: Sequence[int] | None = None) -> None:
        super().__init__()
        self.space = space
        self.gamma = nn.Parameter(torch.zeros(len(space.configs)))
        barred = torch.ones(len(space.configs), dtype=torch.bool)
        barred[list(range(len(space.configs)) if allowed is None else allowed)] = False
        self.register_buffer("barred", barred)
        self.chosen: int | None = None
        self.kernels = nn.ParameterDict()
        for index, config in enumerate(space.configs):
            operation = space.align_operation(config)
            if operation is not None:
                channels = config.coefficients if space.arrangement == "channels" else 1
                self.kernels[str(index)] = nn.Parameter(_smoothing(channels, operation.kernel, generator))

    @property
    def configs(self) -> tuple[int, ...]:
        """The configurations that still take part."""
        if self.chosen is not None:
            return (self.chosen,)
        barred = cast(Tensor, self.barred)
        return tuple(i for i in range(len(self.space.configs)) if not barred[i])

    def weights(self) -> Tensor:
        """(configs,): softmax(gamma), or the chosen configuration alone."""
        if self.chosen is not None:
            return F.one_hot(torch.tensor(self.chosen), len(self.gamma)).to(self.gamma)
        return torch.softmax(self.gamma.masked_fill(cast(Tensor, self.barred), -torch.inf), 0)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features of `configs`, each (coefficients, batch, frames), to the stem's input (C, B, F, T)."""
        aligned = [self.aligned(i, x) for i, x in zip(self.configs, features, strict=True)]
        if len(aligned) == 1:
            return aligned[0]
        frames = max(x.shape[3] for x in aligned)
        weights = self.weights()
        mixed = torch.zeros(())
        for index, x in zip(self.configs, aligned, strict=True):
            mixed = mixed + weights[index] * F.pad(x, (0, frames - x.shape[3]))
        return mixed

    def aligned(self, config: int, features: Tensor) -> Tensor:
        """One configuration (coefficients, batch, frames) as (C, B, F, T), not yet padded."""
        # channels: (coefficients, B, 1, T); plane: (1, B, coefficients, T)
        x = features[:, :, None] if self.space.arrangement == "channels" else features.permute(1, 0, 2)[None]
        operation = self.space.align_operation(self.space.configs[config])
        return x if operation is None else depthwise(x, self.kernels[str(config)], operation.stride)


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
