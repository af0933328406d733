"""What a network is shown: batches of augmented features, and the features of the validation split."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hil_nas.audio.augment import augment_waveforms
from hil_nas.audio.clips import Labels
from hil_nas.audio.datasets import KeywordData, balanced_indices, word_count
from hil_nas.audio.features import DeviceFeatures, Features, TorchFeatures, features_of, to_waveforms
from hil_nas.front_ends import FrontEnd
from hil_nas.front_ends.host import HostFrontEnd
from hil_nas.front_ends.scale import FeatureScale
from hil_nas.training.recipe import Recipe

# Clips of which a batch is made at a time on a CPU. With a whole batch every intermediate tensor is larger than what
# malloc keeps, so that the kernel clears fresh pages for each: 16 to 17 ms became 20 to 45 a batch of 100.
_CUT = 20


class Feed:
    """The data of one training.

    Args:
        device: where batches are made and left.

    Attributes:
        validation: features (n, frames, coefficients, 1), by the C source where there is one.
        validation_labels: int64 (n,).
    """

    def __init__(
        self,
        config: FrontEnd,
        data: KeywordData,
        recipe: Recipe,
        scale: FeatureScale,
        front_end: HostFrontEnd | None,
        device: torch.device,
    ) -> None:
        self.data, self.recipe, self.device = data, recipe, device
        self.torch: Features = TorchFeatures(config, scale, device)
        self.host: Features | None = None if front_end is None else DeviceFeatures(config, scale, front_end)
        self.background = to_waveforms(data.background).to(device)
        self.validation = features_of(data.validation, self.host or self.torch).to(device)
        self.validation_labels = torch.from_numpy(data.validation.labels).to(device)

    def steps_per_epoch(self) -> int:
        return max(1, len(self.order(np.random.default_rng(0))) // self.recipe.batch)

    def order(self, rng: np.random.Generator) -> Labels:
        return balanced_indices(self.data.train.labels, word_count(self.data.classes), rng)

    def batch(self, indices: Labels, generator: torch.Generator, device_features: bool) -> tuple[Tensor, Tensor]:
        """Augmented features (n, frames, coefficients, 1) and labels (n,) of these clips."""
        settings = self.recipe.augmentation.reaching(self.data.offset_ms)
        clips = to_waveforms(self.data.train.samples[indices]).to(self.device)
        extract = self.host if device_features and self.host is not None else self.torch
        rate_hz = self.data.clip.sample_rate_hz
        cuts = torch.split(clips, _CUT if self.device.type == "cpu" else len(clips))
        parts = [extract(augment_waveforms(x, self.background, settings, generator, rate_hz)) for x in cuts]
        return torch.cat(parts), torch.from_numpy(self.data.train.labels[indices]).to(self.device)
