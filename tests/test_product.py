"""Which clips decide what of a product: figures by split, calibration, and the better of two conversions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from hil_nas.audio.clips import Clips
from hil_nas.audio.features import training_scale
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.tflite import read_front_end
from hil_nas.front_ends.host import HostFrontEnd, build_host_library
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.network import INPUT, Layer, Network
from hil_nas.runs import Run
from hil_nas.training import product
from hil_nas.training.evaluate import Evaluation
from hil_nas.training.network_module import NetworkModule
from hil_nas.training.product import CALIBRATION_CLIPS, calibration_features, make_product
from hil_nas.training.result import Epoch, TrainResult


def clips(count: int, first: int = 0) -> Clips:
    """Clip i is all i, so that what is made of it tells which it was."""
    return Clips(np.repeat(np.arange(first, first + count, dtype=np.int16)[:, None], 16000, 1), np.zeros(count, int))


DATA: Any = SimpleNamespace(train=clips(1200), validation=clips(10, 2000), test=clips(10, 3000), classes=("a", "b"))
EPOCHS = (Epoch(1, 2.0, 0.5, False), Epoch(2, 1.0, 0.75, True))


def right(share: float) -> Evaluation:
    return Evaluation(np.array([[round(1000 * share), 1000 - round(1000 * share)], [0, 0]]))


def made(
    monkeypatch: pytest.MonkeyPatch, folder: Path, accuracies: dict[tuple[bytes, int], tuple[float, float]]
) -> tuple[product.Product, list[str]]:
    """A product whose (float, int8) accuracies depend on the model and the first clip alone; and what was done.

    What reaches training, tuning and conversion is checked on the way.
    """
    done: list[str] = []
    network, config, host, recipe, progress = (Mock() for _ in range(5))
    trained, tuned = (SimpleNamespace(epochs=EPOCHS, scale=None) for _ in range(2))
    representative, models = torch.zeros(1), {id(trained): b"plain", id(tuned): b"tuned"}
    more = {"seed": 5, "front_end": host, "progress": progress}
    run = Run(folder)

    def train(*args: Any, checkpoint: Path, resume: bool, on_epoch: Callable[[Epoch], None], **rest: Any) -> Any:
        assert args == (network, config, DATA, recipe) and rest == more
        assert checkpoint == folder / "train.pt" and resume
        done.append("train")
        for number, epoch in enumerate(EPOCHS, start=1):
            on_epoch(epoch)
            assert len(run.metrics()) == number, "told while it trains"
        return trained

    def tune(*args: Any, **rest: Any) -> Any:
        assert args == (trained, config, DATA, representative, recipe) and rest == more
        done.append("tune")
        return tuned

    def calibrated(*args: Any) -> torch.Tensor:
        assert args == (DATA, config, host, trained)
        return representative

    def convert(*args: Any) -> bytes:
        assert (args[0], args[1], args[3]) == (network, config, representative)
        return models[id(args[2])]

    def both(*args: Any) -> tuple[Any, ...]:
        assert args[1:4] == (config, host, trained)
        return (*map(right, accuracies[args[0], int(args[4].samples[0, 0])]), np.array([[1, 2]], np.int8))

    stubs: dict[str, Any] = {
        "train": train, "tune_for_int8": tune, "calibration_features": calibrated, "convert": convert, "_both": both,
    }  # fmt: skip
    for name, stub in stubs.items():
        monkeypatch.setattr(product, name, stub)
    return make_product(network, config, DATA, host, run, recipe, seed=5, progress=progress), done


def test_a_training_goes_on_from_its_checkpoints_and_tells_every_epoch_as_it_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made(monkeypatch, tmp_path, {(b"plain", 2000): (0.90, 0.90), (b"plain", 3000): (0.80, 0.70)})
    assert Run(tmp_path).metrics() == [
        {"phase": "train", "epoch": 1, "loss": 2.0, "accuracy": 0.5, "device_features": False},
        {"phase": "train", "epoch": 2, "loss": 1.0, "accuracy": 0.75, "device_features": True},
    ]


@pytest.mark.parametrize(("lost", "tuned"), [(-0.01, False), (0.0, False), (0.002, False), (0.004, True), (0.1, True)])
def test_every_figure_is_of_its_own_split_and_more_than_three_in_a_thousand_lost_is_tuned(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lost: float, tuned: bool
) -> None:
    finished, done = made(monkeypatch, tmp_path, {
        (b"plain", 2000): (0.90, 0.90 - lost), (b"tuned", 2000): (0.10, 0.10),
        (b"plain", 3000): (0.80, 0.70), (b"tuned", 3000): (0.80, 0.75),
    })  # fmt: skip
    assert done == ["train", "tune"][: 1 + tuned] and finished.model == b"plain"
    figures = (finished.int8_validation, finished.float_test, finished.int8_test)
    assert [x.accuracy for x in figures] == [pytest.approx(0.90 - lost), 0.80, 0.70]


@pytest.mark.parametrize(("tuned", "kept"), [(0.88, b"tuned"), (0.85, b"plain"), (0.82, b"plain")])
def test_the_better_model_on_validation_is_kept_after_tuning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tuned: float, kept: bytes
) -> None:
    """By validation: on the test split it is the other way round, and that decides nothing."""
    finished, done = made(monkeypatch, tmp_path, {
        (b"plain", 2000): (0.90, 0.85), (b"tuned", 2000): (0.90, tuned),
        (b"plain", 3000): (0.8, 0.50 if kept == b"plain" else 0.99),
        (b"tuned", 3000): (0.8, 0.99 if kept == b"plain" else 0.50),
    })  # fmt: skip
    assert done == ["train", "tune"] and finished.model == kept
    assert finished.int8_validation.accuracy == max(tuned, 0.85) and finished.int8_test.accuracy == 0.50


def test_the_converter_calibrates_on_clips_from_all_over_the_training_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "DeviceFeatures", lambda *args: None)
    monkeypatch.setattr(product, "features_of", lambda heard, extract: torch.from_numpy(heard.samples[:, 0]))
    trained: Any = SimpleNamespace(scale=None)
    heard = calibration_features(DATA, None, None, trained)  # type: ignore[arg-type]
    assert len(heard) == len(set(heard.tolist())) == CALIBRATION_CLIPS
    assert (int(heard[0]), int(heard[-1])) == (0, 1199) and int(heard.diff().max()) <= 3


def test_figures_are_of_the_devices_own_features_and_the_model_says_which(boards_dir: Path, build_dir: Path) -> None:
    """Front end, network and TFLM's kernels called by hand, on tones in noise."""
    config, rng = Mfcc(640, 640, 20, 8), np.random.default_rng(0)
    labels = np.arange(40) % 4
    tones = np.sin(2 * np.pi * (300 + 900 * labels)[:, None] * np.arange(16000) / 16000)
    heard = Clips((rng.uniform(300, 9000, (40, 1)) * tones + rng.normal(0, 300, (40, 16000))).astype(np.int16), labels)
    host = HostFrontEnd(build_host_library(boards_dir, build_dir / "host"))
    layers = (Layer("conv", (INPUT,), 8, (5, 3), (2, 2), relu=True), Layer("fully_connected", (0,), 4))
    network = Network((config.frames, config.coefficients, 1), layers)
    module = NetworkModule(network, torch.Generator().manual_seed(0)).eval()
    trained = TrainResult(module, training_scale(config, heard), (), EPOCHS[1])
    scale, data = trained.scale, SimpleNamespace(train=heard)
    representative = calibration_features(data, config, host, trained)  # type: ignore[arg-type]
    blob = config.blob(scale.scale, scale.zero_point)
    features = scale.real(host.features(blob, heard.samples))
    assert np.array_equal(representative.numpy(), features[..., None])

    model = product.convert(network, config, trained, representative)
    assert read_front_end(model) == config
    oracle = Tflm(model)
    blob = config.blob(oracle.input_scale, oracle.input_zero_point)
    answers = oracle.run(host.features(blob, heard.samples)[..., None])
    with torch.no_grad():
        logits = module(representative).numpy()
    assert np.corrcoef(answers.ravel(), logits.ravel())[0, 1] > 0.99
    other = NetworkModule(network, torch.Generator().manual_seed(1)).eval()  # which answers differently
    with torch.no_grad():
        exact = other(representative).numpy().argmax(1)
    *figures, logits_int8 = product._both(model, config, host, replace(trained, module=other), heard)
    assert logits_int8.tolist() == answers.tolist()
    assert figures[0].confusion.tolist() != figures[1].confusion.tolist()
    for evaluation, said in zip(figures, (exact, answers.argmax(1)), strict=True):
        expected = np.zeros((4, 4), int)
        for true, answer in zip(labels, said, strict=True):
            expected[true, answer] += 1
        assert evaluation.confusion.tolist() == expected.tolist() and np.count_nonzero(expected.sum(0)) > 1
