"""Candidates side by side: each as if it were alone, and ranked as they deserve."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hil_nas.audio.datasets import KeywordData
from hil_nas.candidates import short_training
from hil_nas.candidates.short_training import short_trainings
from hil_nas.errors import RunError
from hil_nas.network import INPUT, Layer, Network
from hil_nas.progress import Progress
from hil_nas.training.network_module import NetworkModule
from hil_nas.training.recipe import Recipe
from hil_nas.training.whole_training import train
from tests.test_whole_training import CONFIG, SMALL, data, network  # noqa: F401  (data is a fixture)


def blind() -> Network:
    """Looks at nothing but the mean of one channel."""
    layers = (
        Layer("conv", (INPUT,), 1, (1, 1), relu=True),
        Layer("average_pool", (0,), kernel=(CONFIG.frames, CONFIG.coefficients), stride=(1, 1), padding="valid"),
        Layer("fully_connected", (1,), 3),
    )
    return Network((CONFIG.frames, CONFIG.coefficients, 1), layers)


def test_a_network_races_as_it_trains_alone(data: KeywordData) -> None:  # noqa: F811
    """The oracle is the whole training loop: without the device's features the last epoch is the best or its equal."""
    alone = train(network(), CONFIG, data, replace(SMALL, branches=False), seed=3)
    score = short_trainings([blind(), network()], CONFIG, data, SMALL, seed=3)[1]
    assert score.accuracy == pytest.approx(alone.epochs[-1].accuracy)


def test_one_that_cannot_tell_the_classes_loses(data: KeywordData) -> None:  # noqa: F811
    seen, unseen = short_trainings([network(), blind()], CONFIG, data, SMALL, seed=0)
    assert seen.loss < unseen.loss and seen.accuracy > unseen.accuracy


def test_a_race_that_was_cut_off_ends_in_the_same_standings(data: KeywordData, tmp_path: Path) -> None:  # noqa: F811
    networks, path = [blind(), network()], tmp_path / "candidates.pt"
    whole = short_trainings(networks, CONFIG, data, SMALL, seed=0)

    def cut(progress: Progress) -> None:
        if progress.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        short_trainings(networks, CONFIG, data, SMALL, seed=0, checkpoint=path, progress=cut)
    seen: list[int] = []
    for _ in range(2):  # then it is over, and nothing is trained again
        resumed = short_trainings(
            networks, CONFIG, data, SMALL, seed=0, checkpoint=path, resume=True, progress=lambda x: seen.append(x.done)
        )
        assert resumed == whole and seen == [SMALL.epochs]
    with pytest.raises(RunError, match="seed was 0, is 1"):
        short_trainings(networks, CONFIG, data, SMALL, seed=1, checkpoint=path, resume=True)


def test_one_that_diverges_comes_last_and_stops_no_other(
    data: KeywordData, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    alone = short_trainings([network()], CONFIG, data, SMALL, seed=0)
    made = short_training.make_optimizer

    def broken(module: NetworkModule, recipe: Recipe) -> torch.optim.Optimizer:
        optimizer = made(module, recipe)
        if module.network == blind():
            with torch.no_grad():
                next(module.parameters()).fill_(torch.nan)
        return optimizer

    monkeypatch.setattr(short_training, "make_optimizer", broken)
    diverged, other = short_trainings([blind(), network()], CONFIG, data, SMALL, seed=0)
    assert diverged.loss == math.inf and [other] == alone


def test_it_repeats_itself(data: KeywordData) -> None:  # noqa: F811
    one, other = (short_trainings([network()], CONFIG, data, SMALL, seed=0) for _ in range(2))
    assert one == other
