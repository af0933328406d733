"""What a supernet learns from: every clip under every front end, computed once, or the clips themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from hashlib import blake2b

import numpy as np

from hil_nas.audio.augment import Augmentation
from hil_nas.audio.clips import Clips
from hil_nas.audio.datasets import KeywordData, balanced_indices, word_count
from hil_nas.audio.decode import Samples
from hil_nas.audio.features import augmented_features, augmented_samples, labels_of
from hil_nas.front_ends import FrontEnd, transforms
from hil_nas.nas.front_ends.feature_store import FeatureSet
from hil_nas.nas.front_ends.point import ClipSet
from hil_nas.nas.settings import GridSettings
from hil_nas.progress import Reporter

_RAW_CLIPS = 4096  # as many as a search among configurations of any kind hears


def search_features(
    data: KeywordData, configs: tuple[FrontEnd, ...], feasible: Sequence[int], augmentation: Augmentation,
    settings: GridSettings, seed: int, progress: Reporter,
) -> tuple[FeatureSet, FeatureSet]:  # fmt: skip
    """The training split in two parts, for the weights and for the architecture.

    Clips are augmented as in a training, those for the weights as often as settings say; classes are as even as in one
    of its epochs. The validation and test splits stay unseen, so that what they say of the derived network is of clips
    that chose nothing.

    Args:
        configs: of a space.
        feasible: those of them that can hold the limits; nothing reads features of the others.

    Returns:
        Features (clips, frames, coefficients) of each of the configurations' transforms, of each part.
    """
    rng = np.random.default_rng([seed, 1])
    weights, decisions = _parts(_drawn(data, rng), settings.learnt)
    weights = weights.take(np.tile(np.arange(len(weights)), settings.heard))
    read = {configs[i].transform for i in feasible}
    return (
        _features(weights, data, transforms(configs), read, augmentation, rng, progress),
        _features(decisions, data, transforms(configs), read, augmentation, rng, progress),
    )


def _features(
    clips: Clips, data: KeywordData, every: tuple[FrontEnd, ...], read: Set[FrontEnd], augmentation: Augmentation,
    rng: np.random.Generator, progress: Reporter,
) -> FeatureSet:  # fmt: skip
    seed, kept = int(rng.integers(2**62)), [x for x in every if x.transform in read]
    augmentation = augmentation.reaching(data.offset_ms)
    features = augmented_features(clips, data.background, kept, augmentation, seed, progress)
    found = dict(zip(kept, features, strict=True))
    return FeatureSet(tuple(map(found.get, every)), labels_of(clips))


def search_clips(data: KeywordData, seed: int, progress: Reporter) -> tuple[ClipSet, ClipSet]:
    """As `search_features`, the waveforms themselves."""
    rng = np.random.default_rng([seed, 1])
    clips = _drawn(data, rng)
    clips = clips.take(np.arange(min(len(clips), _RAW_CLIPS)))
    weights, decisions = _parts(clips, 0.5)
    return _raw(weights, data, rng, progress), _raw(decisions, data, rng, progress)


def _raw(clips: Clips, data: KeywordData, rng: np.random.Generator, progress: Reporter) -> ClipSet:
    augmentation, seed = Augmentation().reaching(data.offset_ms), int(rng.integers(2**62))
    samples = augmented_samples(clips, data.background, augmentation, seed, data.clip.sample_rate_hz, progress)
    return ClipSet(samples, labels_of(clips))


def _drawn(data: KeywordData, rng: np.random.Generator) -> Clips:
    drawn = balanced_indices(data.train.labels, word_count(data.classes), rng)
    order = drawn[np.sort(np.unique(drawn, return_index=True)[1])]  # a clip that was drawn twice is kept once
    return data.train.take(order)


def _parts(clips: Clips, learnt: float) -> tuple[Clips, Clips]:
    """Those for the weights, so large a share of them, and those that decide.

    A recording of another word may be there twice, and cuts of long recordings overlap by half: what shares half a clip
    with one that decides is left out, but where nothing of a class would be left, such as of one sound that was copied.
    """
    split = round(learnt * len(clips))
    weights, decisions = (clips.take(x) for x in np.split(np.arange(len(clips)), [split]))
    deciding = {x for row in decisions.samples for x in _halves(row)}
    apart = np.array([deciding.isdisjoint(_halves(row)) for row in weights.samples], bool)
    gone = np.setdiff1d(weights.labels, weights.labels[apart])
    return weights.take(np.flatnonzero(apart | np.isin(weights.labels, gone))), decisions


def _halves(row: Samples) -> Iterator[bytes]:
    """A hash of either half in which there is any sound."""
    half = len(row) // 2
    for part in (row[:half], row[half : 2 * half]):
        if part.any():
            yield blake2b(part.tobytes(), digest_size=8).digest()
