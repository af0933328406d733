"""The training loop. Every epoch's randomness follows from the seed and the epoch's number alone, so that a run that
was cut off goes on to the same bits."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from hil_nas.audio.datasets import KeywordData
from hil_nas.audio.features import training_scale
from hil_nas.errors import InputError
from hil_nas.front_ends import FrontEnd
from hil_nas.front_ends.host import HostFrontEnd
from hil_nas.front_ends.scale import FeatureScale
from hil_nas.learning import checkpoint as checkpoints
from hil_nas.learning.accelerator import accelerator
from hil_nas.learning.gradients import finite
from hil_nas.network import Network
from hil_nas.progress import Progress, Reporter, silent
from hil_nas.training.branches import BranchedConvolution
from hil_nas.training.evaluate import evaluate
from hil_nas.training.feed import Feed
from hil_nas.training.network_module import Convolution, NetworkModule
from hil_nas.training.recipe import Recipe, learning_rate
from hil_nas.training.result import Epoch, TrainResult
from hil_nas.training.step import Learner, make_optimizer, run_epoch

__all__ = ["Epoch", "TrainResult", "train"]


def train(
    network: Network,
    config: FrontEnd,
    data: KeywordData,
    recipe: Recipe,
    *,
    seed: int = 0,
    front_end: HostFrontEnd | None = None,
    progress: Reporter = silent,
    on_epoch: Callable[[Epoch], None] | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    device: torch.device | None = None,
) -> TrainResult:
    """Trains a network from scratch.

    Args:
        network: reads (frames, coefficients, 1) of `config` and gives one logit per class of `data`.
        front_end: the device's C source; without it no epoch trains on its features.
        on_epoch: called after every epoch, before the checkpoint that skips it: a kill between the two tells an epoch
            twice and loses none.
        checkpoint: written after every epoch.
        resume: go on from the checkpoint, if there is one.
        device: where the network is trained; None: a GPU where there is one. The result lies on the CPU.

    Raises:
        InputError: where network, configuration and data do not fit together.
        RunError: for a checkpoint that is damaged or of another training.
        DivergedError: where the loss of an epoch is not finite.
    """
    device = device or accelerator()
    _check(network, config, data)
    scale = training_scale(config, data.train)
    state = _State(network, recipe, seed, device)
    what = fingerprint([network], config, data, recipe, seed, scale, front_end is not None)
    if resume and checkpoint is not None and checkpoint.exists():
        state.restore(checkpoints.load(checkpoint, what))
    feed = Feed(config, data, recipe, scale, front_end, device)
    while len(state.epochs) < recipe.epochs:
        epoch = _run_epoch(state, feed, recipe, seed)
        state.keep(epoch)
        if on_epoch is not None:
            on_epoch(epoch)
        if checkpoint is not None:
            checkpoints.save(checkpoint, what, state.dump())
        note = f"loss {epoch.loss:.3f}, validation {epoch.accuracy:.1%}"
        progress(Progress("training", len(state.epochs), recipe.epochs, note))
    return state.result(scale)


@dataclass
class _State:
    """Everything that changes while training."""

    network: Network
    recipe: Recipe
    seed: int
    device: torch.device
    epochs: list[Epoch] = field(default_factory=list)
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        convolution = BranchedConvolution if self.recipe.branches else Convolution
        self.module = NetworkModule(self.network, generator, convolution).to(self.device)
        self.optimizer = make_optimizer(self.module, self.recipe)

    @property
    def best(self) -> Epoch:
        """The last of those that rank highest."""
        return max(reversed(self.epochs), key=_rank)

    def keep(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)
        if self.best is epoch:
            self.best_weights = copy.deepcopy(self.module.state_dict())

    def dump(self) -> dict[str, Any]:
        return {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best_weights": self.best_weights,
            "epochs": [asdict(x) for x in self.epochs],
        }

    def restore(self, saved: dict[str, Any]) -> None:
        self.module.load_state_dict(saved["module"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.best_weights = saved["best_weights"]
        self.epochs = [Epoch(**x) for x in saved["epochs"]]

    def result(self, scale: FeatureScale) -> TrainResult:
        self.module.load_state_dict(self.best_weights)
        return TrainResult(self.module.cpu().eval(), scale, tuple(self.epochs), self.best)


def _run_epoch(state: _State, feed: Feed, recipe: Recipe, seed: int) -> Epoch:
    number, steps = len(state.epochs), feed.steps_per_epoch()
    device = feed.host is not None and number >= recipe.epochs - recipe.device_epochs
    warmup = round(recipe.warmup_epochs * steps)
    (mean,) = run_epoch(
        [Learner(state.module, state.optimizer)],
        feed,
        recipe,
        seed=seed,
        number=number,
        device_features=device,
        rate=lambda step: learning_rate(step, recipe.epochs * steps, warmup, recipe.learning_rate),
    )
    loss = finite(torch.tensor(mean), f"epoch {number + 1} of {recipe.epochs} of the training")
    accuracy = evaluate(state.module, feed.validation, feed.validation_labels).accuracy
    return Epoch(number + 1, loss, accuracy, device)


def _rank(epoch: Epoch) -> tuple[bool, float]:
    return (epoch.device_features, epoch.accuracy)


def _check(network: Network, config: FrontEnd, data: KeywordData) -> None:
    expected = (*config.shape, 1)
    if network.input_shape != expected:
        raise InputError(f"the network reads {network.input_shape}, {config} gives {expected}")
    if config.clip != data.clip:
        raise InputError(f"the data has clips of {data.clip}, {config} hears {config.clip}")
    classes = math.prod(network.output_shape)
    if classes != len(data.classes):
        raise InputError(f"the network has {classes} outputs, the data {len(data.classes)} classes")


def fingerprint(
    networks: Sequence[Network],
    config: FrontEnd,
    data: KeywordData,
    recipe: Recipe,
    seed: int,
    scale: FeatureScale,
    has_front_end: bool,
) -> dict[str, Any]:
    """What a checkpoint must agree with before a training goes on from it."""
    return {
        "network": [x.to_json() for x in networks],
        "front end": str(config),
        "data": data.digest,
        "recipe": asdict(recipe),
        "seed": seed,
        "feature scale": asdict(scale),
        "features": "C source" if has_front_end else "torch",
    }
