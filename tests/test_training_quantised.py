"""Quantisation-aware tuning against TensorFlow Lite's converter and TFLM's kernels."""

from __future__ import annotations

import copy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hil_nas.audio.augment import Augmentation
from hil_nas.audio.clips import Clips
from hil_nas.audio.datasets import KeywordData
from hil_nas.deploy.convert import to_tflite
from hil_nas.deploy.reference import Tflm
from hil_nas.errors import InputError
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.front_ends.scale import FeatureScale
from hil_nas.network import INPUT, Layer, Network
from hil_nas.training import tune
from hil_nas.training.network_module import NetworkModule
from hil_nas.training.quantised import QuantisedNetwork
from hil_nas.training.recipe import Recipe, learning_rate
from hil_nas.training.result import Epoch, TrainResult
from hil_nas.training.tune import tune_for_int8

CONFIG = Mfcc(640, 640, 20, 8)
SCALE = FeatureScale(0.5, 0)
SHAPE = (CONFIG.frames, CONFIG.coefficients, 1)


def network(classes: int = 4) -> Network:
    layers = (
        Layer("conv", (INPUT,), 8, (5, 3), (2, 2), relu=True),
        Layer("depthwise", (0,), kernel=(3, 3), relu=True),
        Layer("conv", (1,), 8),
        Layer("conv", (2,), 8, (3, 1), relu=True),
        Layer("average_pool", (3,), kernel=(3, 1), stride=(2, 2)),
        Layer("max_pool", (4,), kernel=(2, 1)),
        Layer("fully_connected", (5,), classes),
    )
    return Network(SHAPE, layers)


def module_with_statistics(seed: int, description: Network | None = None) -> NetworkModule:
    generator = torch.Generator().manual_seed(seed)
    module = NetworkModule(description or network(), generator)
    module.train()
    for _ in range(60):
        module(features(32, int(torch.randint(2**31, (), generator=generator))))
    return module.eval()


def features(count: int, seed: int) -> torch.Tensor:
    """Values on the int8 grid of `SCALE` that reach both of its ends."""
    steps = np.clip(np.random.default_rng(seed).normal(0, 40, (count, *SHAPE)).round(), -128, 127)
    steps[0, 0, :2, 0] = (-128, 127)
    return torch.from_numpy(SCALE.real(steps.astype(np.int8)))


@pytest.mark.parametrize("seed", range(2))
def test_rounding_is_that_of_the_converted_network(seed: int) -> None:
    module, representative = module_with_statistics(seed), features(64, 100)
    quantised = QuantisedNetwork(module, representative).eval()
    oracle = Tflm(to_tflite(network(), quantised.fold(), representative.numpy()))
    assert (oracle.input_scale, oracle.input_zero_point) == (pytest.approx(SCALE.scale), SCALE.zero_point)
    fresh = features(100, 101)
    answers = oracle.run(SCALE.quantise(fresh.numpy())).astype(np.float32)
    device = (answers - oracle.output_zero_point) * oracle.output_scale
    with torch.no_grad():
        actual, exact = quantised(fresh).numpy(), module(fresh).numpy()
    steps = np.abs(actual - device) / oracle.output_scale
    assert steps.max() <= 3.01  # TFLM rounds halves of averages away from zero, torch to even
    assert np.abs(actual - device).mean() < 0.6 * np.abs(exact - device).mean()


def test_convolutions_round_as_the_device_does() -> None:
    first = Network(SHAPE, network().layers[:3])
    module, representative = module_with_statistics(0, first), features(64, 100)
    quantised = QuantisedNetwork(module, representative).eval()
    oracle = Tflm(to_tflite(first, quantised.fold(), representative.numpy()))
    fresh = features(50, 101)
    answers = oracle.run(SCALE.quantise(fresh.numpy())).astype(np.float32)
    with torch.no_grad():
        actual = quantised(fresh).numpy() / oracle.output_scale + oracle.output_zero_point
    wrong = np.abs(actual - answers) > 0.5
    assert wrong.mean() < 0.03 and np.abs(actual - answers).max() < 1.1


def test_without_rounding_it_is_the_network_it_was() -> None:
    module = module_with_statistics(0)
    quantised = QuantisedNetwork(module, features(8, 0))
    for before, after in zip(module.fold(), quantised.fold(), strict=True):
        assert (before is None) == (after is None)
        if before is not None and after is not None:
            assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_gradients_reach_every_weight() -> None:
    quantised = QuantisedNetwork(module_with_statistics(0), features(8, 0))
    quantised(features(16, 1)).square().mean().backward()
    for parameter in (*quantised.weights.values(), *quantised.biases.values()):
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0


@pytest.fixture
def data() -> KeywordData:
    rng = np.random.default_rng(0)

    def clips(count: int) -> Clips:
        labels = np.arange(count) % 4
        tones = np.sin(2 * np.pi * (300 + 900 * labels)[:, None] * np.arange(16000) / 16000)
        samples = 3000 * tones + rng.normal(0, 300, (count, 16000))
        return Clips(samples.astype(np.int16), labels)

    noise = rng.normal(0, 300, 20000).astype(np.int16)
    return KeywordData("toy", ("a", "b", "c", "silence"), clips(96), clips(48), clips(4), noise)


def test_tuning_mends_weights_that_rounding_spoils(data: KeywordData) -> None:
    recipe = Recipe(batch=16, augmentation=Augmentation(shift_ms=10, quiet_share=0))
    module = NetworkModule(network(), torch.Generator().manual_seed(0))
    trained = TrainResult(module.eval(), SCALE, (), Epoch(1, 1.0, 0.0, False))
    before = copy.deepcopy(module.state_dict())
    tuned, again = (
        tune_for_int8(trained, CONFIG, data, features(32, 0), recipe, epochs=3, highest_rate=3e-3) for _ in range(2)
    )
    assert isinstance(tuned.module, QuantisedNetwork) and tuned.best.accuracy > 0.8
    assert all(torch.equal(before[k], module.state_dict()[k]) for k in before), "what went in is untouched"
    for first, second in zip(tuned.module.fold(), again.module.fold(), strict=True):
        assert first is None or (second is not None and np.array_equal(first[0], second[0]))
    with pytest.raises(InputError, match="tuned to int8 already"):
        tune_for_int8(replace(trained, module=tuned.module), CONFIG, data, features(32, 0), recipe)


def tuned_by_script(
    monkeypatch: pytest.MonkeyPatch, accuracies: list[float], losses: list[float], **more: Any
) -> tuple[TrainResult, list[Any]]:
    """Tuning whose epochs fill the weights with their number and end with these losses and validation accuracies."""
    rates: list[Any] = []
    left = iter(accuracies)
    feed: Any = SimpleNamespace(steps_per_epoch=lambda: 5, validation=object(), validation_labels=object())
    recipe = Recipe(weight_decay=0.5)
    module = NetworkModule(network(), torch.Generator().manual_seed(0)).eval()
    trained = TrainResult(module, SCALE, (), Epoch(7, 1.0, 0.99, True))
    data, front_end, representative = (object() for _ in range(3))
    calibrated: list[Any] = []

    def run_epoch(learners: Any, fed: Any, used: Any, *, number: int, rate: Any, **rest: Any) -> list[float]:
        (learner,) = learners
        assert fed is feed and used is recipe and all(x["weight_decay"] == 0 for x in learner.optimizer.param_groups)
        assert len(calibrated) == 1 + number  # once to begin with, and behind every epoch
        rates.append((number, rest, [rate(5 * number + x) for x in range(5)]))
        with torch.no_grad():
            for x in learner.module.parameters():
                x.fill_(number + 1.0)
        return [losses[number]]

    def fed(*args: Any) -> Any:
        assert args == (CONFIG, data, recipe, SCALE, front_end, torch.device("cpu"))
        return feed

    def evaluated(module: Any, features: Any, labels: Any) -> Any:
        assert (features, labels) == (feed.validation, feed.validation_labels)
        return SimpleNamespace(accuracy=next(left))

    monkeypatch.setattr(tune, "run_epoch", run_epoch)
    monkeypatch.setattr(tune, "Feed", fed)
    monkeypatch.setattr(tune, "evaluate", evaluated)
    monkeypatch.setattr(QuantisedNetwork, "calibrate", lambda self, x: calibrated.append(x))
    shown: Any = SimpleNamespace(to=lambda device: representative)
    result = tune_for_int8(
        trained, CONFIG, data, shown, recipe, front_end=front_end, device=torch.device("cpu"), **more  # type: ignore
    )
    assert next(left, None) is None and result.best.epoch == 7 and not result.module.training
    assert calibrated[1:] == [representative] * (len(accuracies) - 1)
    return result, rates


@pytest.mark.parametrize(
    ("accuracies", "losses", "kept"),
    [
        ([0.5, 0.7, 0.9, 0.6], [1.0, 1.0, 1.0], 2),  # the best and not the last
        ([0.5, 0.9, 0.9, 0.9], [1.0, 1.0, 1.0], 1),
        ([0.5, 0.5, 0.5, 0.4], [1.0, 1.0, 1.0], 0),  # what went in, where nothing was better
        ([0.5, 0.7], [1.0, float("nan"), 1.0], 1),  # what went before, where one diverged
        ([0.5], [float("inf")], 0),
    ],
)
def test_the_weights_best_on_validation_are_kept(
    monkeypatch: pytest.MonkeyPatch, accuracies: list[float], losses: list[float], kept: int
) -> None:
    result, _ = tuned_by_script(monkeypatch, accuracies, losses, epochs=3)
    values = {float(x.detach().reshape(-1)[0]) for x in result.module.parameters()}
    assert values == {float(kept)} if kept else len(values) > 1
    assert result.best.accuracy == accuracies[kept]


def test_tuning_has_rates_and_a_randomness_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    _, requests = tuned_by_script(monkeypatch, [0.5] * 4, [1.0] * 3, epochs=3, highest_rate=0.2, seed=4)
    rates = [learning_rate(x, 15, 2, 0.2) for x in range(15)]  # half an epoch of 5 steps to warm up
    assert requests == [(i, {"seed": 5, "device_features": True}, rates[5 * i : 5 * i + 5]) for i in range(3)]
