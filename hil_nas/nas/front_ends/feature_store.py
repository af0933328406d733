"""What a search learns from: the same clips under every front end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import torch
from torch import Tensor
from torch.nn import functional as F

from hil_nas.errors import InputError
from hil_nas.front_ends import FrontEnd, transforms
from hil_nas.nas.input_space import InputSpace


@dataclass(frozen=True)
class FeatureSet:
    """The same clips under every configuration of a space.

    Attributes:
        features: (clips, frames, coefficients), float, of each of `transforms` of the configurations; None of those
            that no search reads.
        labels: (clips,), int64.

    Raises:
        InputError: where the numbers of clips differ.
    """

    features: tuple[Tensor | None, ...]
    labels: Tensor

    def __post_init__(self) -> None:
        counts = {len(x) for x in (*self.features, self.labels) if x is not None}
        if len(counts) != 1 or 0 in counts:
            raise InputError(f"features and labels must be of the same clips, found {sorted(counts)} of them")

    def digest(self) -> str:
        """Changes where the clips, their order or their features change."""
        total = crc32(self.labels.cpu().numpy().tobytes())
        for x in self.features:
            if x is not None:
                total = crc32(x.float().sum((1, 2)).cpu().numpy().tobytes(), total)
        return f"{len(self.labels)} clips, {total:08x}"

    def check(self, space: InputSpace) -> None:
        """Raises InputError where the features are not those of the space's configurations."""
        configs = transforms(space.configs)
        if len(self.features) != len(configs):
            raise InputError(f"{len(self.features)} sets of features for {len(configs)} configurations")
        for config, x in zip(configs, self.features, strict=True):
            if x is not None and tuple(x.shape[1:]) != config.shape:
                expected = config.shape
                raise InputError(f"features of {config} are {tuple(x.shape[1:])} a clip, expected {expected}")
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= space.classes:
            raise InputError(f"labels run from {low} to {high}, expected 0 to {space.classes - 1}")


class FeatureStore:
    """Features as the supernet reads them: standardised, and in memory so that a batch is gathered fast, in 16 bits.

    Args:
        data: the clips.
        configs: all of a space, in its order.
        like: the store whose mean and spread are used; None: those of `data` itself.
    """

    def __init__(
        self,
        data: FeatureSet,
        configs: Sequence[FrontEnd],
        device: torch.device,
        like: FeatureStore | None = None,
    ) -> None:
        indices = {x.transform: i for i, x in enumerate(transforms(configs))}
        self._sources = [(indices[x.transform], x.columns) for x in configs]
        self.labels = data.labels.to(device)
        read = {i: x for i, x in enumerate(data.features) if x is not None}
        self._moments: dict[int, tuple[Tensor, Tensor]] = (
            {i: _moments(x) for i, x in read.items()} if like is None else like._moments
        )
        self._features: dict[int, Tensor] = {}
        for i, x in read.items():
            mean, spread = self._moments[i]
            standard = ((x.float() - mean) / spread).half()
            self._features[i] = standard.permute(2, 0, 1).contiguous().to(device)  # (coefficients, clips, frames)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, clips: Tensor, configs: Sequence[int]) -> tuple[list[Tensor], Tensor]:
        """Per configuration (coefficients, batch, frames), and the labels (batch,)."""
        gathered: dict[int, Tensor] = {}
        features_of = []
        for config in configs:
            source, coefficients = self._sources[config]
            if source not in gathered:
                gathered[source] = self._features[source].index_select(1, clips).float()
            features_of.append(gathered[source][:coefficients])
        return features_of, self.labels[clips]


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread of every coefficient; one that never changes is left as large as it is."""
    spread, mean = torch.std_mean(x.float(), dim=(0, 1), correction=0)
    return mean, torch.where(spread > 1e-6, spread, torch.ones_like(spread))


class Batches:
    """Endless batches over shuffled clips: every clip once before any comes again.

    Args:
        clips: how many there are.
        batch: clips a batch, at most `clips`.
        generator: of the order; its state is the owner's to keep.
    """

    def __init__(self, clips: int, batch: int, generator: torch.Generator) -> None:
        if not 0 < batch <= clips:
            raise InputError(f"a batch of {batch} clips out of {clips}", hint="take smaller batches or more clips")
        self._clips, self._batch, self._generator = clips, batch, generator
        self._order, self._next = torch.empty(0, dtype=torch.long), 0

    def __next__(self) -> Tensor:
        """(batch,) indices; a rest too small for a batch goes in front of the next order."""
        if self._next + self._batch > len(self._order):
            rest = self._order[self._next :]
            self._order = torch.cat([rest, torch.randperm(self._clips, generator=self._generator)])
            self._next = 0
        self._next += self._batch
        return self._order[self._next - self._batch : self._next]

    def state_dict(self) -> dict[str, Any]:
        return {"order": self._order.clone(), "next": self._next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._order, self._next = state["order"], state["next"]


def shifted(features: Sequence[Tensor], configs: Sequence[FrontEnd], shift_s: float) -> list[Tensor]:
    """Features (..., frames) of clips moved in time, silence (the mean) moving in.

    Args:
        shift_s: later where positive.
    """
    moved = []
    for x, config in zip(features, configs, strict=True):
        frames = round(shift_s * config.clip.sample_rate_hz / config.hop_samples)
        if frames > 0:
            x = F.pad(x[..., :-frames], (frames, 0))
        elif frames < 0:
            x = F.pad(x[..., -frames:], (0, -frames))
        moved.append(x)
    return moved
