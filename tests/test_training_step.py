"""One epoch of training by hand: the loss, the rate of every step, what decays, and which epoch counts as the best."""

from __future__ import annotations

import copy
import json
import threading
from dataclasses import replace
from math import cos, exp, log, pi
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hil_nas.audio.augment import AS_RECORDED, augment_waveforms
from hil_nas.errors import InputError
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.front_ends.scale import FeatureScale
from hil_nas.network import INPUT, Layer, Network
from hil_nas.training import whole_training as loop
from hil_nas.training.network_module import NetworkModule
from hil_nas.training.recipe import Recipe, learning_rate
from hil_nas.training.result import Epoch
from hil_nas.training.step import Learner, make_optimizer, run_epoch
from hil_nas.training.whole_training import _State, fingerprint

RECIPE = Recipe(epochs=2, batch=4)
NETWORK = Network((1, 1, 3), (Layer("fully_connected", (INPUT,), 3),))
LOGITS = torch.tensor([2.0, 0.0, -1.0])


class Feed:
    """Clips whose features are 1, all of class 0, in three batches; remembers what they were asked with."""

    def __init__(self, clips: int = 12) -> None:
        self.clips = clips
        self.requests: list[tuple[int, int, bool]] = []  # the order's draw, the batch's, and whose features
        self.device = torch.device("cpu")

    def order(self, rng: np.random.Generator) -> Any:
        self.drawn = int(rng.integers(2**62))
        return np.arange(self.clips)

    def steps_per_epoch(self) -> int:
        return 3

    def batch(self, indices: Any, generator: torch.Generator, device_features: bool) -> Any:
        drawn = int(torch.randint(2**62, (), generator=generator))
        self.requests.append((self.drawn, drawn, device_features))
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


class Numbered(Feed):
    """Its batches hold their number; the one with the number of `fails` cannot be made."""

    def __init__(self, fails: int | None = None) -> None:
        super().__init__()
        self.fails, self.threads = fails, set[str]()

    def batch(self, indices: Any, generator: torch.Generator, device_features: bool) -> Any:
        number = len(self.requests)
        features, labels = super().batch(indices, generator, device_features)
        self.threads.add(threading.current_thread().name)
        if number == self.fails:
            raise OSError("a clip is gone")
        return features * number, labels


class Seen(Constant):
    """Remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[float] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.numbers.append(float(x[0, 0]))
        return super().forward(x)


def shown(feed: Any) -> list[float]:
    module = Seen()
    learner = Learner(module, torch.optim.SGD(module.parameters(), 0.0))
    run_epoch([learner], feed, RECIPE, seed=0, number=0, device_features=False, rate=lambda step: 0.0)
    return module.numbers


def test_batches_are_made_aside_and_come_in_their_order() -> None:
    """On a GPU, which works aside by itself, they are made where they are learned."""
    aside, here = Numbered(), Numbered()
    here.device = torch.device("meta")
    assert shown(aside) == shown(here) == [0.0, 1.0, 2.0] and aside.requests == here.requests
    assert here.threads == {threading.current_thread().name} != aside.threads and len(aside.threads) == 1
    assert not any(x.name in aside.threads for x in threading.enumerate())


def test_a_batch_that_cannot_be_made_ends_the_epoch() -> None:
    with pytest.raises(OSError, match="a clip is gone"):
        shown(Numbered(fails=1))


def test_an_epoch_is_gradient_descent_and_its_loss_the_mean_over_clips() -> None:
    """By hand: the gradient of cross entropy in the logits is what was said minus what was spoken."""
    feed: Any = Feed(clips=13)  # in batches of 5, 4 and 4
    module = Constant()
    learner = Learner(module.eval(), torch.optim.SGD(module.parameters(), 9.0))
    (loss,) = run_epoch([learner], feed, RECIPE, seed=0, number=0, device_features=False, rate=lambda step: 0.5)
    logits, target, total = np.array(LOGITS.tolist()), np.array([0.9 + 0.1 / 3, 0.1 / 3, 0.1 / 3]), 0.0
    for clips in (5, 4, 4):
        said = np.exp(logits) / np.exp(logits).sum()
        total += clips * -float(target @ np.log(said))
        logits = logits - 0.5 * (said - target)
    assert loss == pytest.approx(total / 13, rel=1e-5)
    np.testing.assert_allclose(module.logits.detach().numpy(), logits, rtol=1e-5)
    assert module.training  # whatever mode the last evaluation left it in


def test_learners_side_by_side_learn_as_alone() -> None:
    feed: Any = Feed()
    modules = [Constant(), Constant()]
    with torch.no_grad():
        modules[1].logits.copy_(torch.tensor([0.0, 1.0, 5.0]))
    alone = [Constant(), Constant()]
    alone[1].load_state_dict(modules[1].state_dict())
    losses = run_epoch(
        [Learner(x, torch.optim.SGD(x.parameters(), 1.0)) for x in modules], feed, RECIPE,
        seed=0, number=0, device_features=False, rate=lambda step: 0.5,
    )  # fmt: skip
    expected = [epoch(Learner(x, torch.optim.SGD(x.parameters(), 1.0)), lambda step: 0.5) for x in alone]
    assert losses == expected and losses[0] != losses[1]
    assert all(torch.equal(x.logits, y.logits) for x, y in zip(modules, alone, strict=True))


@pytest.mark.parametrize("device_features", [False, True])
def test_seed_and_number_decide_an_epochs_randomness(device_features: bool) -> None:
    def requests(seed: int, number: int) -> list[tuple[int, int, bool]]:
        feed: Any = Feed()
        module = Constant()
        learner = Learner(module, torch.optim.SGD(module.parameters(), 0.0))
        run_epoch(
            [learner], feed, RECIPE, seed=seed, number=number, device_features=device_features, rate=lambda step: 0.0
        )
        return feed.requests  # type: ignore[no-any-return]

    every = [requests(seed, number) for seed, number in ((0, 0), (0, 1), (1, 0), (1, 1))]
    assert every[0] == requests(0, 0) and all(used is device_features for epoch in every for _, _, used in epoch)
    for column in (0, 1):  # the order of the clips, and what becomes of them
        assert len({epoch[0][column] for epoch in every}) == 4
    assert len({drawn for _, drawn, _ in every[0]}) == 3


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
    layers = (Layer("conv", (INPUT,), 3, (2, 2), relu=True), Layer("fully_connected", (0,), 2))
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
    trained = [x for group in optimizer.param_groups for x in group["params"]]
    assert sorted(map(id, trained)) == sorted(map(id, module.parameters()))  # every one, once


def test_a_rate_without_warm_up_falls_from_its_highest_along_half_a_cosine() -> None:
    rates = [learning_rate(step, 8, 0, 0.4) for step in range(9)]
    assert rates == pytest.approx([0.2 * (1 + cos(pi * x / 8)) for x in range(9)]) and rates[0] == 0.4
    rates = [learning_rate(step, 12, 4, 0.4) for step in range(13)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, *(0.2 * (1 + cos(pi * x / 8)) for x in range(9))])
    assert [learning_rate(x, 2, 1, 0.4) for x in range(3)] == pytest.approx([0.4, 0.4, 0.0])
    assert learning_rate(0, 1, 1, 0.4) == learning_rate(1, 1, 1, 0.4) == 0.4  # one step, all of it warm-up


def test_a_recipe_refuses_what_no_training_has() -> None:
    least_of = {"epochs": 1, "device_epochs": 0, "batch": 2}  # one clip has no batch statistics
    for name, least in least_of.items():
        assert getattr(Recipe(**{name: least}), name) == least
        with pytest.raises(InputError, match=f"{name} is {least - 1}, expected at least {least}"):
            Recipe(**{name: least - 1})


def test_the_papers_recipe_trains_on_clips_as_they_are() -> None:
    recipe = Recipe.plain(100)
    assert (recipe.epochs, recipe.batch, recipe.label_smoothing, recipe.branches) == (100, 96, 0.0, False)
    clips, generator = torch.rand(4, 16000) - 0.5, torch.Generator().manual_seed(0)
    assert torch.equal(augment_waveforms(clips, torch.ones(20000), recipe.augmentation, generator, 16000), clips)


@pytest.mark.parametrize(("device_epochs", "front_end"), [(0, True), (2, True), (2, False)])
def test_a_training_asks_for_its_rates_and_its_last_epochs_for_the_devices_features(
    monkeypatch: pytest.MonkeyPatch, device_epochs: int, front_end: bool
) -> None:
    recipe = Recipe(epochs=5, device_epochs=device_epochs, warmup_epochs=1.5, learning_rate=0.4)
    feed: Any = Feed()
    feed.host, feed.validation = object() if front_end else None, torch.ones(4, 1, 1, 3)
    feed.validation_labels = torch.zeros(4, dtype=torch.int64)
    requests: list[tuple[int, bool]] = []
    rates: list[float] = []

    def counted(learners: Any, feed: Any, recipe: Any, *, number: int, rate: Any, **more: Any) -> list[float]:
        requests.append((number, more["device_features"]))
        rates.extend(rate(3 * number + x) for x in range(3))
        assert more["seed"] == 7
        return [float(number)]

    monkeypatch.setattr(loop, "run_epoch", counted)
    state = _State(NETWORK, recipe, 0, torch.device("cpu"))
    for _ in range(5):
        state.keep(loop._run_epoch(state, feed, recipe, 7))
    used = [False] * (5 - device_epochs) + [front_end] * device_epochs
    assert requests == list(enumerate(used))
    assert [(x.epoch, x.loss, x.device_features) for x in state.epochs] == [(i + 1, i, x) for i, x in enumerate(used)]
    assert rates == [learning_rate(x, 15, 4, 0.4) for x in range(15)]  # 1.5 epochs of 3 steps, halves to even


def test_the_weights_of_the_best_epoch_outlive_later_ones_and_a_resume() -> None:
    def filled(state: _State, value: float, accuracy: float) -> None:
        with torch.no_grad():
            for x in state.module.parameters():
                x.fill_(value)  # in place, as an optimizer does
        state.keep(Epoch(len(state.epochs) + 1, 1.0, accuracy, False))

    scale, cpu = FeatureScale(0.5, 3), torch.device("cpu")
    state, resumed = (_State(NETWORK, RECIPE, 0, cpu) for _ in range(2))
    filled(state, 1.0, 0.8)
    filled(state, 2.0, 0.9)
    filled(state, 3.0, 0.7)
    resumed.restore(copy.deepcopy(state.dump()))
    for one in (state, resumed):
        assert all(bool((x == 3.0).all()) for x in one.module.parameters())  # it goes on from the last
        filled(one, 4.0, 0.6)
        result = one.result(scale)
        assert result.best == Epoch(2, 1.0, 0.9, False) and not result.module.training and result.scale == scale
        assert all(bool((x == 2.0).all()) for x in result.module.parameters())
        assert [x.accuracy for x in result.epochs] == [0.8, 0.9, 0.7, 0.6]


def test_a_checkpoint_belongs_to_everything_that_decides_a_training() -> None:
    data: Any = SimpleNamespace(digest="d")
    config = Mfcc(640, 320, 20, 6)
    base: dict[str, Any] = {
        "networks": [NETWORK], "config": config, "data": data, "recipe": RECIPE, "seed": 0,
        "scale": FeatureScale(0.5, 0), "has_front_end": True,
    }  # fmt: skip
    others = {
        "networks": [NETWORK, NETWORK], "config": Mfcc(640, 320, 40, 6), "data": SimpleNamespace(digest="e"),
        "recipe": replace(RECIPE, augmentation=AS_RECORDED), "seed": 1, "scale": FeatureScale(0.5, 1),
        "has_front_end": False,
    }  # fmt: skip
    every = [fingerprint(**base), *(fingerprint(**{**base, key: other}) for key, other in others.items())]
    assert fingerprint(**base) == every[0]
    assert all(sum(a[key] != every[0][key] for key in a) == 1 for a in every[1:])
    assert len({json.dumps(x) for x in every}) == len(every) == 1 + len(base)


def test_the_best_epoch_has_the_devices_features_if_any_epoch_had() -> None:
    state = _State(NETWORK, RECIPE, 0, torch.device("cpu"))
    epochs = [
        Epoch(1, 1.0, 0.95, False), Epoch(2, 1.0, 0.97, False), Epoch(3, 1.0, 0.93, True), Epoch(4, 1.0, 0.94, True),
        Epoch(5, 1.0, 0.90, True),
    ]  # fmt: skip
    best = []
    for one in epochs:
        state.keep(one)
        best.append(state.best.epoch)
    assert best == [1, 2, 3, 4, 4]
