"""One epoch of training by hand: the loss, the rate of every step, what decays, and which epoch counts as the best."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hil_nas.network import INPUT, Layer, Network
from hil_nas.training.loop import _State
from hil_nas.training.module import NetworkModule
from hil_nas.training.recipe import Recipe
from hil_nas.training.result import Epoch
from hil_nas.training.step import Learner, make_optimizer, run_epoch

RECIPE = Recipe(epochs=2, batch=4)
LOGITS = torch.tensor([2.0, 0.0, -1.0])


class Feed:
    """Twelve clips whose features are 1, all of class 0."""

    def order(self, rng: np.random.Generator) -> Any:
        return np.arange(12)

    def steps_per_epoch(self) -> int:
        return 3

    def batch(self, indices: Any, generator: torch.Generator, device_features: bool) -> Any:
        return torch.ones(len(indices), 1), torch.zeros(len(indices), dtype=torch.int64)


class Constant(nn.Module):
    """Answers the same logits to everything."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(LOGITS.clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.logits[None]


def epoch(learner: Learner, rate: Any, recipe: Recipe = RECIPE, number: int = 0) -> float:
    feed: Any = Feed()
    (loss,) = run_epoch([learner], feed, recipe, seed=0, number=number, device_features=False, rate=rate)
    return loss


def test_the_loss_is_smoothed_cross_entropy() -> None:
    """0.9 of the target on the true class, a tenth spread over all three."""
    module = Constant()
    loss = epoch(Learner(module, torch.optim.SGD(module.parameters(), 0.0)), lambda step: 0.0)
    normaliser = log(sum(exp(x) for x in LOGITS.tolist()))
    true, mean = normaliser - 2.0, normaliser - 1.0 / 3
    assert loss == pytest.approx(0.9 * true + 0.1 * mean, rel=1e-5)
    plain = replace(RECIPE, label_smoothing=0.0)
    again = epoch(Learner(module, torch.optim.SGD(module.parameters(), 0.0)), lambda step: 0.0, plain)
    assert again == pytest.approx(true, rel=1e-5)


def test_every_step_has_the_rate_of_its_place_in_the_whole_training() -> None:
    module, used = Constant(), []

    class Recorded(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            used.append(self.param_groups[0]["lr"])

    learner = Learner(module, Recorded(module.parameters(), 9.0))
    for number in range(2):
        epoch(learner, lambda step: 0.5 / (step + 1), number=number)
    assert used == [0.5 / (x + 1) for x in range(6)]


def test_kernels_decay_and_biases_and_norms_do_not() -> None:
    layers = (Layer("conv", (INPUT,), 3, (2, 2), relu=True), Layer("dense", (0,), 2))
    module = NetworkModule(Network((4, 4, 1), layers), torch.Generator().manual_seed(0))
    recipe = Recipe(weight_decay=0.5, learning_rate=0.1)
    optimizer = make_optimizer(module, recipe)
    before = {name: x.detach().clone() for name, x in module.named_parameters()}
    for x in module.parameters():
        x.grad = torch.zeros_like(x)
    optimizer.step()
    # AdamW's decay is decoupled: with no gradient a step multiplies by 1 - rate * decay, and by 1 without decay
    for name, x in module.named_parameters():
        kept = 1 - 0.1 * 0.5 if x.ndim > 1 else 1.0
        torch.testing.assert_close(x.detach(), kept * before[name], rtol=1e-6, atol=0.0)
    assert any(x.ndim == 1 and bool((before[n] != 0).any()) for n, x in module.named_parameters())
    assert any(x.ndim > 1 for x in module.parameters())


def test_the_best_epoch_has_the_devices_features_if_any_epoch_had() -> None:
    state = _State(Network((1, 1, 3), (Layer("dense", (INPUT,), 3),)), RECIPE, 0, torch.device("cpu"))
    epochs = [
        Epoch(1, 1.0, 0.95, False), Epoch(2, 1.0, 0.97, False), Epoch(3, 1.0, 0.93, True), Epoch(4, 1.0, 0.94, True),
        Epoch(5, 1.0, 0.90, True),
    ]  # fmt: skip
    best = []
    for one in epochs:
        state.keep(one)
        assert state.best is not None
        best.append(state.best.epoch)
    assert best == [1, 2, 3, 4, 4]
