"""What a network is shown: batches of augmented features, and the features of the validation split."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hil_nas.audio.augment import augment_waveforms, mask_features
from hil_nas.audio.clips import Labels
from hil_nas.audio.datasets import KeywordData, balanced_indices, word_count
from hil_nas.audio.features import DeviceFeatures, Features, TorchFeatures, features_of, to_waveforms
from hil_nas.front_ends import FrontEnd
from hil_nas.front_ends.host import HostFrontEnd
from hil_nas.front_ends.scale import FeatureScale
from hil_nas.training.recipe import Recipe


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
        settings = self.recipe.augmentation
        clips = to_waveforms(self.data.train.samples[indices]).to(self.device)
        waveforms = augment_waveforms(clips, self.background, settings, generator, self.data.clip.sample_rate_hz)
        extract = self.host if device_features and self.host is not None else self.torch
        features = mask_features(extract(waveforms).squeeze(-1), settings, generator).unsqueeze(-1)
        return features, torch.from_numpy(self.data.train.labels[indices]).to(self.device)
