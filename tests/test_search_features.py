"""The features that a supernet learns from: of which front ends, and of which clips."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hil_nas.audio.augment import AS_RECORDED, Augmentation
from hil_nas.audio.clips import Clips
from hil_nas.audio.datasets import KeywordData
from hil_nas.front_ends import FrontEnd, parse_front_end
from hil_nas.nas.darts.settings import DartsSettings
from hil_nas.nas.tiny.settings import TinySettings
from hil_nas.progress import silent
from hil_nas.workflows import search_data
from hil_nas.workflows.search_data import search_features
from tests.test_whole_training import data  # noqa: F401  (a fixture)

CONFIGS = tuple(map(parse_front_end, ("mfcc:480/320/24/13/256", "mfcc:640/320/40/20", "mfcc:480/320/24/20/256")))


def test_what_cannot_hold_the_limits_is_not_heard_and_changes_no_other_features(data) -> None:  # noqa: F811, ANN001
    def features(configs: tuple[FrontEnd, ...], feasible: tuple[int, ...]) -> list[tuple[torch.Tensor | None, ...]]:
        return [x.features for x in search_features(data, configs, feasible, Augmentation(), TinySettings(), 0, silent)]

    for every, fewer in zip(features(CONFIGS, (0, 1, 2)), features(CONFIGS, (0,)), strict=True):
        first, second = every  # the first and the last differ in coefficients alone
        assert first is not None and second is not None and first.shape[2] == 20
        assert fewer[0] is not None and torch.equal(fewer[0], first) and fewer[1] is None


def test_what_decides_shares_no_half_of_a_clip_with_what_trains_weights(
    data: KeywordData,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A recording of another word may be there twice, and cuts of long recordings overlap by half."""
    long = np.random.default_rng(0).normal(0, 1000, 16000 * 41).astype(np.int16)
    cuts = np.stack([long[x : x + 16000] for x in range(0, 16000 * 40, 8000)])
    more = np.concatenate([data.train.samples, cuts, data.train.samples[:40]])
    labels = np.concatenate([data.train.labels, np.full(len(cuts), 2), data.train.labels[:40]])
    heard: list[tuple[Clips, Augmentation]] = []

    def features(clips: Clips, background: Any, kept: Any, augmentation: Augmentation, *args: Any) -> Any:
        heard.append((clips, augmentation))
        return augmented_features(clips, background, kept, augmentation, *args)

    augmented_features = search_data.augmented_features
    monkeypatch.setattr(search_data, "augmented_features", features)
    doubled = replace(data, train=Clips(more, labels), offset_ms=250.0)
    search_features(doubled, CONFIGS[:1], (0,), Augmentation(), TinySettings(), 0, silent)
    (weights, moved), (decisions, as_far) = heard
    halves = [{y.tobytes() for x in part.samples for y in np.split(x, 2)} for part in (weights, decisions)]
    assert halves[0].isdisjoint(halves[1]) and len(decisions) > 30
    assert {2} < set(weights.labels.tolist()) == set(decisions.labels.tolist())
    first, second, third = np.split(weights.samples, 3)  # each is heard thrice
    assert np.array_equal(first, second) and np.array_equal(second, third) and len(first) > len(decisions)
    assert moved == as_far == Augmentation(shift_ms=250.0)


def test_what_is_searched_as_the_paper_does_is_heard_once_and_halved(data: KeywordData) -> None:  # noqa: F811
    weights, decisions = search_features(data, CONFIGS[:1], (0,), AS_RECORDED, DartsSettings(), 0, silent)
    assert len(weights.labels) == len(decisions.labels) == 48


def test_a_class_of_one_sound_that_was_copied_trains_weights_too(data: KeywordData) -> None:  # noqa: F811
    labels, samples = data.train.labels, data.train.samples.copy()
    samples[labels == 0] = samples[labels == 0][0]
    weights, decisions = search_features(
        replace(data, train=Clips(samples, labels)), CONFIGS[:1], (0,), Augmentation(), TinySettings(), 0, silent
    )
    assert set(weights.labels.tolist()) == set(decisions.labels.tolist()) == {0, 1, 2}
