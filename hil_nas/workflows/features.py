"""What the supernet reads: every clip under every MFCC configuration, computed once."""

from __future__ import annotations

import numpy as np
import torch

from hil_nas.audio.augment import Augmentation, augment_waveforms
from hil_nas.audio.clips import Clips
from hil_nas.audio.datasets import KeywordData, balanced_indices, word_count
from hil_nas.audio.features import to_waveforms
from hil_nas.audio.mfcc_torch import MfccBank
from hil_nas.mfcc import MfccConfig
from hil_nas.nas.features import FeatureSet
from hil_nas.progress import Progress, Reporter

_BATCH = 250


def search_features(
    data: KeywordData, configs: tuple[MfccConfig, ...], seed: int, report: Reporter
) -> tuple[FeatureSet, FeatureSet]:
    """The training split in two halves, for the weights and for the architecture.

    Each clip is heard once, augmented as in a training; classes are as even as in one of its epochs. The validation
    and test splits stay unseen, so that what they say of the derived network is of clips that chose nothing.

    Returns:
        Features (clips, frames, coefficients) by configuration, of each half.
    """
    rng = np.random.default_rng([seed, 1])
    order = balanced_indices(data.train.labels, word_count(data.classes), rng)
    order = order[np.sort(np.unique(order, return_index=True)[1])]  # a clip that was drawn twice is kept once
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    background = to_waveforms(data.background)
    done = 0

    def features(indices: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> FeatureSet:
        nonlocal done
        parts: list[list[torch.Tensor]] = []
        clips: Clips = data.train.take(indices)
        for batch in np.array_split(clips.samples, -(-len(clips) // _BATCH)):
            heard = augment_waveforms(to_waveforms(batch), background, Augmentation(), generator)
            with torch.no_grad():
                parts.append(bank(heard))
            done += len(batch)
            report(Progress("features of all configurations", done, len(order)))
        return FeatureSet(tuple(torch.cat(x) for x in zip(*parts, strict=True)), torch.from_numpy(clips.labels))

    bank = MfccBank(configs)
    return features(halves[0]), features(halves[1])
