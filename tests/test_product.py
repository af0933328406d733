"""Which clips decide what of a product: figures by split, calibration, and the better of two conversions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hil_nas.audio.clips import Clips
from hil_nas.training import product
from hil_nas.training.evaluate import Evaluation
from hil_nas.training.product import CALIBRATION_CLIPS, calibration_features, make_product


def clips(count: int, first: int = 0) -> Clips:
    """Clip i is all i, so that what is made of it tells which it was."""
    return Clips(np.repeat(np.arange(first, first + count, dtype=np.int16)[:, None], 16000, 1), np.zeros(count, int))


DATA: Any = SimpleNamespace(train=clips(1200), validation=clips(10, 2000), test=clips(10, 3000), classes=("a", "b"))


def right(share: float) -> Evaluation:
    return Evaluation(np.array([[round(100 * share), 100 - round(100 * share)], [0, 0]]))


def made(
    monkeypatch: pytest.MonkeyPatch, accuracies: dict[tuple[bytes, int], tuple[float, float]]
) -> tuple[product.Product, list[str]]:
    """A product whose (float, int8) accuracies depend on the model and the first clip alone; and what was done."""
    done: list[str] = []
    results = {"train": SimpleNamespace(epochs=(), scale=None), "tune": SimpleNamespace(epochs=(), scale=None)}

    def tuned(*args: Any, **more: Any) -> Any:
        done.append("tune")
        return results["tune"]

    monkeypatch.setattr(product, "train", lambda *args, **more: results["train"])
    monkeypatch.setattr(product, "tune_for_int8", tuned)
    monkeypatch.setattr(product, "calibration_features", lambda *args: torch.zeros(1))
    models = {id(results["train"]): b"plain", id(results["tune"]): b"tuned"}
    monkeypatch.setattr(product, "convert", lambda network, config, trained, representative: models[id(trained)])
    monkeypatch.setattr(
        product, "_both",
        lambda model, c, h, trained, heard: tuple(map(right, accuracies[model, int(heard.samples[0, 0])])),
    )  # fmt: skip
    run: Any = SimpleNamespace(path=lambda name: SimpleNamespace(exists=lambda: False), log=lambda line: None)
    nothing: Any = None
    return make_product(nothing, nothing, DATA, nothing, run, nothing, seed=0, report=lambda _: None), done


def test_every_figure_is_of_its_own_split(monkeypatch: pytest.MonkeyPatch) -> None:
    found, done = made(monkeypatch, {(b"plain", 2000): (0.90, 0.90), (b"plain", 3000): (0.80, 0.70)})
    assert [x.accuracy for x in (found.float_validation, found.int8_validation)] == [0.90, 0.90]
    assert [x.accuracy for x in (found.float_test, found.int8_test)] == [0.80, 0.70]
    assert found.model == b"plain" and not done  # nothing was lost, so nothing was tuned


@pytest.mark.parametrize(("tuned", "kept"), [(0.88, b"tuned"), (0.85, b"plain"), (0.82, b"plain")])
def test_the_better_model_on_validation_is_kept_after_tuning(
    monkeypatch: pytest.MonkeyPatch, tuned: float, kept: bytes
) -> None:
    """By validation: on the test split it is the other way round, and that decides nothing."""
    found, done = made(monkeypatch, {
        (b"plain", 2000): (0.90, 0.85), (b"tuned", 2000): (0.90, tuned),
        (b"plain", 3000): (0.8, 0.50 if kept == b"plain" else 0.99),
        (b"tuned", 3000): (0.8, 0.99 if kept == b"plain" else 0.50),
    })  # fmt: skip
    assert done == ["tune"] and found.model == kept
    assert found.int8_validation.accuracy == max(tuned, 0.85) and found.int8_test.accuracy == 0.50


def test_the_converter_calibrates_on_clips_from_all_over_the_training_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "DeviceFeatures", lambda *args: None)
    monkeypatch.setattr(product, "features_of", lambda heard, extract: torch.from_numpy(heard.samples[:, 0]))
    trained: Any = SimpleNamespace(scale=None)
    heard = calibration_features(DATA, None, None, trained)  # type: ignore[arg-type]
    assert len(heard) == len(set(heard.tolist())) == CALIBRATION_CLIPS
    assert (int(heard[0]), int(heard[-1])) == (0, 1199) and int(heard.diff().max()) <= 3
