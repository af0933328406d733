"""The features that a supernet learns from: of the front ends that can hold the limits, and of no others."""

from __future__ import annotations

import torch

from hil_nas.audio.augment import Augmentation
from hil_nas.front_ends import FrontEnd, parse_front_end
from hil_nas.progress import silent
from hil_nas.workflows.search_data import search_features
from tests.test_whole_training import data  # noqa: F401  (a fixture)

CONFIGS = tuple(map(parse_front_end, ("mfcc:480/320/24/13/256", "mfcc:640/320/40/20", "mfcc:480/320/24/20/256")))


def test_what_cannot_hold_the_limits_is_not_heard_and_changes_no_other_features(data) -> None:  # noqa: F811, ANN001
    def features(configs: tuple[FrontEnd, ...], feasible: tuple[int, ...]) -> list[tuple[torch.Tensor | None, ...]]:
        return [x.features for x in search_features(data, configs, feasible, Augmentation(), 0, silent)]

    for every, fewer in zip(features(CONFIGS, (0, 1, 2)), features(CONFIGS, (0,)), strict=True):
        first, second = every  # the first and the last differ in coefficients alone
        assert first is not None and second is not None and first.shape[2] == 20
        assert fewer[0] is not None and torch.equal(fewer[0], first) and fewer[1] is None
