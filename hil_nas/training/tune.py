"""Quantisation-aware tuning: for networks that lose too much when they are converted to int8."""

from __future__ import annotations

import copy
from dataclasses import replace
from math import isfinite

import torch
from torch import Tensor

from hil_nas.audio.datasets import KeywordData
from hil_nas.errors import InputError
from hil_nas.front_ends import FrontEnd
from hil_nas.front_ends.host import HostFrontEnd
from hil_nas.learning.accelerator import accelerator
from hil_nas.progress import Progress, Reporter, silent
from hil_nas.training.evaluate import evaluate
from hil_nas.training.feed import Feed
from hil_nas.training.network_module import NetworkModule
from hil_nas.training.quantised import QuantisedNetwork
from hil_nas.training.recipe import Recipe, learning_rate
from hil_nas.training.result import TrainResult
from hil_nas.training.step import Learner, make_optimizer, run_epoch


def tune_for_int8(
    trained: TrainResult,
    config: FrontEnd,
    data: KeywordData,
    representative: Tensor,
    recipe: Recipe,
    *,
    epochs: int = 5,
    highest_rate: float = 3e-4,
    seed: int = 0,
    front_end: HostFrontEnd | None = None,
    progress: Reporter = silent,
    device: torch.device | None = None,
) -> TrainResult:
    """A few epochs of the recipe with rounding; what comes out folds, converts and evaluates as what went in.

    Args:
        trained: what `train` gave; stays as it is.
        representative: float (n, frames, coefficients, 1), the features the converter will calibrate on.
        recipe: the one it was trained with; its rates and number of epochs are not used.
        device: where it is tuned; None: a GPU where there is one. The result lies on the CPU.

    Returns:
        The weights best on validation with rounding; those that went in, if tuning did not help.

    Raises:
        InputError: for a network that is tuned already.
    """
    if not isinstance(trained.module, NetworkModule):
        raise InputError("this network is tuned to int8 already, expected one as training gives it")
    device = device or accelerator()
    module = QuantisedNetwork(trained.module, representative).to(device)
    representative = representative.to(device)
    feed = Feed(config, data, recipe, trained.scale, front_end, device)
    learner = Learner(module, make_optimizer(module, replace(recipe, weight_decay=0.0)))
    steps = feed.steps_per_epoch()
    best = evaluate(module, feed.validation, feed.validation_labels).accuracy
    kept = copy.deepcopy(module.state_dict())
    for number in range(epochs):
        (loss,) = run_epoch(
            [learner], feed, recipe,
            seed=seed + 1, number=number, device_features=True,
            rate=lambda step: learning_rate(step, epochs * steps, steps // 2, highest_rate),
        )  # fmt: skip
        if not isfinite(loss):
            progress(Progress("tuning to int8", number + 1, epochs, f"the loss is {loss}: what went before is kept"))
            break
        module.calibrate(representative)
        accuracy = evaluate(module, feed.validation, feed.validation_labels).accuracy
        if accuracy > best:
            best, kept = accuracy, copy.deepcopy(module.state_dict())
        progress(Progress("tuning to int8", number + 1, epochs, f"validation {accuracy:.1%}"))
    module.load_state_dict(kept)
    return replace(trained, module=module.cpu().eval(), best=replace(trained.best, accuracy=best))
