"""The training loop. Every epoch's randomness follows from the seed and the epoch's number alone, so that a run that
was cut off goes on to the same bits."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hil_nas.audio.augment import augment_waveforms, mask_features
from hil_nas.audio.datasets import KeywordData, balanced_indices, word_count
from hil_nas.audio.features import (
    DeviceFeatures,
    Features,
    TorchFeatures,
    features_of,
    to_waveforms,
    training_scale,
)
from hil_nas.audio.front_end import HostFrontEnd
from hil_nas.audio.scale import FeatureScale
from hil_nas.errors import InputError
from hil_nas.mfcc import MfccConfig
from hil_nas.network import Network
from hil_nas.progress import Progress, Reporter, silent
from hil_nas.training.checkpoint import load_checkpoint, save_checkpoint
from hil_nas.training.evaluate import evaluate
from hil_nas.training.module import NetworkModule
from hil_nas.training.recipe import Recipe, learning_rate


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave.

    Attributes:
        loss: mean training loss, on augmented clips.
        accuracy: on the validation split, 0 to 1.
        device_features: whether it trained on the C source's features.
    """

    epoch: int
    loss: float
    accuracy: float
    device_features: bool


@dataclass(frozen=True, eq=False)
class TrainResult:
    """A trained network.

    Attributes:
        module: with the weights of the best epoch, in evaluation mode.
        scale: of the int8 features it was trained on.
        epochs: one after the other.
        best: the epoch whose weights these are, the best on validation; with device features if any epoch had them.
    """

    module: NetworkModule
    scale: FeatureScale
    epochs: tuple[Epoch, ...]
    best: Epoch


def train(
    network: Network,
    config: MfccConfig,
    data: KeywordData,
    recipe: Recipe | None = None,
    *,
    seed: int = 0,
    front_end: HostFrontEnd | None = None,
    scale: FeatureScale | None = None,
    progress: Reporter = silent,
    checkpoint: Path | None = None,
    resume: bool = False,
) -> TrainResult:
    """Trains a network from scratch.

    Args:
        network: reads (frames, coefficients, 1) of `config` and gives one logit per class of `data`.
        front_end: the device's C source; without it no epoch trains on its features.
        scale: of the int8 features; measured on the training split where it is not given.
        checkpoint: written after every epoch.
        resume: go on from the checkpoint, if there is one.

    Raises:
        InputError: where network, configuration and data do not fit together.
        RunError: for a checkpoint that is damaged or of another training.
    """
    recipe = recipe or Recipe()
    _check(network, config, data)
    scale = scale or training_scale(config, data.train)
    state = _State(network, recipe, seed)
    what = _fingerprint(network, config, data, recipe, seed, scale, front_end is not None)
    if resume and checkpoint is not None and checkpoint.exists():
        state.restore(load_checkpoint(checkpoint, what))
    feed = _Feed(config, data, recipe, scale, front_end)
    while len(state.epochs) < recipe.epochs:
        epoch = _run_epoch(state, feed, recipe, seed)
        state.keep(epoch)
        if checkpoint is not None:
            save_checkpoint(checkpoint, what, state.dump())
        note = f"loss {epoch.loss:.3f}, validation {epoch.accuracy:.1%}"
        progress(Progress("training", len(state.epochs), recipe.epochs, note))
    return state.result(scale)


class _Feed:
    """Batches of features, and those of validation, for the epochs of one training."""

    def __init__(
        self,
        config: MfccConfig,
        data: KeywordData,
        recipe: Recipe,
        scale: FeatureScale,
        front_end: HostFrontEnd | None,
    ) -> None:
        self.data, self.recipe = data, recipe
        self.torch: Features = TorchFeatures(config, scale)
        self.device = None if front_end is None else DeviceFeatures(config, scale, front_end)
        self.background = to_waveforms(data.background)
        self.validation = features_of(data.validation, self.device or self.torch)
        self.validation_labels = torch.from_numpy(data.validation.labels)

    def on_device_features(self, epoch: int) -> bool:
        return self.device is not None and epoch >= self.recipe.epochs - self.recipe.device_epochs

    def steps_per_epoch(self) -> int:
        return max(1, len(self.order(np.random.default_rng(0))) // self.recipe.batch)

    def order(self, rng: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        return balanced_indices(self.data.train.labels, word_count(self.data.classes), rng)

    def batch(self, indices: np.ndarray[Any, Any], epoch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Augmented features (n, frames, coefficients, 1) and labels (n,) of these clips."""
        settings = self.recipe.augmentation
        clips = to_waveforms(self.data.train.samples[indices])
        waveforms = augment_waveforms(clips, self.background, settings, generator)
        extract = self.device if self.device is not None and self.on_device_features(epoch) else self.torch
        features = mask_features(extract(waveforms).squeeze(-1), settings, generator).unsqueeze(-1)
        return features, torch.from_numpy(self.data.train.labels[indices])


@dataclass
class _State:
    """Everything that changes while training."""

    network: Network
    recipe: Recipe
    seed: int
    epochs: list[Epoch] = field(default_factory=list)
    best: Epoch | None = None

    def __post_init__(self) -> None:
        self.module = NetworkModule(self.network, torch.Generator().manual_seed(self.seed))
        self.optimizer = make_optimizer(self.module, self.recipe)
        self.best_weights = copy.deepcopy(self.module.state_dict())

    def keep(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)
        if self.best is None or _rank(epoch) >= _rank(self.best):
            self.best, self.best_weights = epoch, copy.deepcopy(self.module.state_dict())

    def dump(self) -> dict[str, Any]:
        return {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best_weights": self.best_weights,
            "best": None if self.best is None else asdict(self.best),
            "epochs": [asdict(x) for x in self.epochs],
        }

    def restore(self, saved: dict[str, Any]) -> None:
        self.module.load_state_dict(saved["module"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.best_weights = saved["best_weights"]
        self.best = None if saved["best"] is None else Epoch(**saved["best"])
        self.epochs = [Epoch(**x) for x in saved["epochs"]]

    def result(self, scale: FeatureScale) -> TrainResult:
        assert self.best is not None
        self.module.load_state_dict(self.best_weights)
        return TrainResult(self.module.eval(), scale, tuple(self.epochs), self.best)


def make_optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW that decays kernels and leaves biases and batch norms alone."""
    kernels = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]
    groups = [{"params": kernels, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)


def _run_epoch(state: _State, feed: _Feed, recipe: Recipe, seed: int) -> Epoch:
    number = len(state.epochs)
    rng = np.random.default_rng([seed, number])
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    order = feed.order(rng)
    steps = feed.steps_per_epoch()
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    total = 0.0
    state.module.train()
    for index, indices in enumerate(np.array_split(order, steps)):
        step = number * steps + index
        rate = learning_rate(step, recipe.epochs * steps, round(recipe.warmup_epochs * steps), recipe.learning_rate)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        features, labels = feed.batch(indices, number, generator)
        loss = criterion(state.module(features), labels)
        state.optimizer.zero_grad()
        loss.backward()
        state.optimizer.step()
        total += loss.item() * len(labels)
    accuracy = evaluate(state.module, feed.validation, feed.validation_labels).accuracy
    return Epoch(number + 1, total / len(order), accuracy, feed.on_device_features(number))


def _rank(epoch: Epoch) -> tuple[bool, float]:
    return (epoch.device_features, epoch.accuracy)


def _check(network: Network, config: MfccConfig, data: KeywordData) -> None:
    expected = (config.frames, config.coefficients, 1)
    if network.input_shape != expected:
        raise InputError(f"the network reads {network.input_shape}, MFCC {config} gives {expected}")
    classes = math.prod(network.output_shape)
    if classes != len(data.classes):
        raise InputError(f"the network has {classes} outputs, the data {len(data.classes)} classes")


def _fingerprint(
    network: Network,
    config: MfccConfig,
    data: KeywordData,
    recipe: Recipe,
    seed: int,
    scale: FeatureScale,
    has_front_end: bool,
) -> dict[str, str]:
    """What a checkpoint must agree with before a training goes on from it."""
    return {
        "network": str(network),
        "MFCC configuration": str(config),
        "data": data.digest,
        "recipe": repr(recipe),
        "seed": str(seed),
        "feature scale": repr(scale),
        "front end": "C source" if has_front_end else "torch",
    }
