"""What runs on a GPU where there is one, beside the same on the CPU: CUDA_VISIBLE_DEVICES=0 pytest tests/test_gpu.py"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from hil_nas.audio.augment import Augmentation, augment_waveforms
from hil_nas.audio.datasets import KeywordData
from hil_nas.audio.features import TorchFeatures, features_of, to_waveforms, training_scale
from hil_nas.candidates.short_training import short_trainings
from hil_nas.learning.accelerator import accelerator
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.darts.strategy import DartsStrategy
from hil_nas.nas.front_ends.feature_store import FeatureSet
from hil_nas.nas.grid_search import GridSearch, SearchResult, search
from hil_nas.nas.tiny.cost_table import tabulate
from hil_nas.nas.tiny.strategy import TinyStrategy
from hil_nas.training.evaluate import evaluate
from hil_nas.training.tune import tune_for_int8
from hil_nas.training.whole_training import train
from tests import test_darts_search as darts
from tests import test_nas_continuous as continuous
from tests import test_nas_search as tiny
from tests.test_nas_space import toy_cycles
from tests.test_whole_training import CONFIG, SMALL, data, network  # noqa: F401  (data is a fixture)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU in CUDA_VISIBLE_DEVICES")
GPU, CPU = torch.device("cuda"), torch.device("cpu")
CELLS = darts.tabulate_darts(darts.SPACE, toy_cycles, lambda config: config.frames * 1e3)
CHAIN = tabulate(tiny.SPACE, toy_cycles, lambda config: config.frames * 1e3)
ALL = replace(darts.QUICK, drawn=0)
STRATEGIES: dict[str, Any] = {
    "tiny": partial(TinyStrategy, CHAIN, tiny.QUICK),
    "cells, one drawn": partial(DartsStrategy, CELLS, darts.QUICK),
    "cells, all operators": partial(DartsStrategy, CELLS, ALL),
}


def sets(name: str) -> tuple[FeatureSet, FeatureSet]:
    return (tiny.clips(1, (1,)), tiny.clips(2, (1,))) if name == "tiny" else (darts.clips(1), darts.clips(2))


@pytest.mark.parametrize("name", STRATEGIES)
def test_losses_and_gradients_of_a_step_are_the_cpu_s(name: str) -> None:
    """In bfloat16, which holds 8 bits: a step in the same direction, not of the same bits."""
    by_device = {}
    for device in (CPU, GPU):
        generator = torch.Generator().manual_seed(0)
        limits = Limits(cycles=1e9)
        run = GridSearch(STRATEGIES[name](limits, generator, device), *sets(name), limits, generator, device).loop
        loss = run.loss(run.front_end.read("validation", 0), "validation")
        alphas = torch.autograd.grad(loss, run.decisions)
        taught = run.loss(run.front_end.read("train", 0), "train")
        weights = [x for x in torch.autograd.grad(taught, run.weights, allow_unused=True) if x is not None]
        slopes = [torch.cat([x.flatten().float().cpu() for x in part]) for part in (alphas, weights)]
        by_device[device] = [float(loss.detach()), *slopes]
    (loss, *here), (other, *there) = by_device[CPU], by_device[GPU]
    assert other == pytest.approx(loss, rel=0.03)
    for one, another in zip(here, there, strict=True):
        assert torch.cosine_similarity(one, another, dim=0) > 0.97


def searched(name: str, device: torch.device, settings: Any = None, **more: Any) -> SearchResult:
    start = STRATEGIES[name] if settings is None else partial(STRATEGIES[name].func, STRATEGIES[name].args[0], settings)
    return search(start, *sets(name), [more.pop("limits", Limits())], seed=0, device=device, **more)[0].result()


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_search_learns_and_holds_its_limits(name: str) -> None:
    settings = replace(STRATEGIES[name].args[1], epochs=12, warmup_epochs=3)
    there, here = (searched(name, device, settings) for device in (GPU, CPU))
    losses = [x.history[-1]["validation_loss"] for x in (there, here)]
    assert losses[0] == pytest.approx(losses[1], abs=0.25) and losses[0] < 1.0  # guesses: 1.1
    limits = Limits(cycles=0.8 * there.cost.cycles)
    assert limits.held_by(searched(name, GPU, settings, limits=limits).cost)


@pytest.mark.parametrize("devices", [(GPU, CPU), (CPU, GPU)])
def test_a_checkpoint_goes_on_elsewhere(tmp_path: Path, devices: tuple[torch.device, torch.device]) -> None:
    class Stopped(Exception):
        pass

    def stop(epoch: dict[str, Any]) -> None:
        if epoch["epoch"] == 3:
            raise Stopped

    path, name = tmp_path / "search.pt", "tiny"
    with pytest.raises(Stopped):
        searched(name, devices[0], checkpoint=path, on_epoch=stop)
    resumed = searched(name, devices[1], checkpoint=path, resume=True)
    assert [x["epoch"] for x in resumed.history] == list(range(1, tiny.QUICK.epochs + 1))


def test_a_configuration_is_found() -> None:
    here, there = (continuous.run(device=x, best=530.0, limits=Limits(cycles=1e9)) for x in (CPU, GPU))
    assert there.history[0]["train_loss"] == pytest.approx(here.history[0]["train_loss"], rel=1e-3)
    assert abs(there.config.window_samples - here.config.window_samples) < 0.2 * here.config.window_samples


def test_augmented_features_are_the_cpu_s_within_rounding(data: KeywordData) -> None:  # noqa: F811
    scale, by_device = training_scale(CONFIG, data.train), []
    for device in (CPU, GPU):
        generator = torch.Generator().manual_seed(0)
        waves, noise = (to_waveforms(x).to(device) for x in (data.train.samples, data.background))
        waves = augment_waveforms(waves, noise, Augmentation(), generator, 16000)
        by_device.append((waves.cpu(), TorchFeatures(CONFIG, scale, device)(waves).cpu()))
    (waves, features), (other_waves, others) = by_device
    assert torch.allclose(waves, other_waves, atol=1e-3)
    steps = (features - others).abs() / scale.scale
    assert float(steps.max()) < 1.01 and float((steps > 0.5).float().mean()) < 0.01


def test_a_network_trains_as_on_the_cpu(data: KeywordData) -> None:  # noqa: F811
    recipe = replace(SMALL, epochs=8)
    here, there = (train(network(), CONFIG, data, recipe, device=x) for x in (CPU, GPU))
    assert there.epochs[0].loss == pytest.approx(here.epochs[0].loss, rel=0.02)
    assert there.best.accuracy >= 0.9 and next(there.module.parameters()).device.type == "cpu"
    features = features_of(data.validation, TorchFeatures(CONFIG, there.scale))
    labels = torch.from_numpy(data.validation.labels)
    assert evaluate(there.module, features, labels).accuracy == pytest.approx(there.best.accuracy, abs=0.03)
    tuned = tune_for_int8(there, CONFIG, data, features, recipe, epochs=1, device=GPU)
    assert tuned.best.accuracy >= 0.9 and next(tuned.module.parameters()).device.type == "cpu"


def test_a_training_goes_on_on_the_cpu(data: KeywordData, tmp_path: Path) -> None:  # noqa: F811
    path = tmp_path / "train.pt"

    def stop(progress: Any) -> None:
        if progress.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(network(), CONFIG, data, SMALL, checkpoint=path, progress=stop, device=GPU)
    assert len(train(network(), CONFIG, data, SMALL, checkpoint=path, resume=True, device=CPU).epochs) == SMALL.epochs


def test_a_race_ranks_as_on_the_cpu(data: KeywordData) -> None:  # noqa: F811
    here, there = (short_trainings([network()], CONFIG, data, SMALL, seed=0, device=x)[0] for x in (CPU, GPU))
    assert there.loss == pytest.approx(here.loss, abs=0.1)


def test_the_default_is_the_gpu() -> None:
    assert accelerator() == GPU
