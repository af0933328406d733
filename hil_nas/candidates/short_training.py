"""Candidates trained side by side for a few epochs: what a supernet's shared weights cannot tell, a short training can.

All candidates of one front end see the same batches, so that a difference between two of them is one of networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from hil_nas.audio.datasets import KeywordData
from hil_nas.audio.features import training_scale
from hil_nas.front_ends import FrontEnd
from hil_nas.learning import checkpoint as checkpoints
from hil_nas.learning.accelerator import accelerator
from hil_nas.network import Network
from hil_nas.progress import Progress, Reporter, silent
from hil_nas.training.evaluate import logits_of
from hil_nas.training.feed import Feed
from hil_nas.training.network_module import NetworkModule
from hil_nas.training.recipe import Recipe, learning_rate
from hil_nas.training.step import Learner, make_optimizer, run_epoch
from hil_nas.training.whole_training import fingerprint


@dataclass(frozen=True)
class Score:
    """How a candidate did on the validation split.

    Attributes:
        loss: mean cross entropy; what candidates are ranked by, as it is less a matter of luck than the accuracy;
            infinite where the candidate diverged, which puts it last and ends no other's training.
    """

    loss: float
    accuracy: float


def short_trainings(
    networks: Sequence[Network],
    config: FrontEnd,
    data: KeywordData,
    recipe: Recipe,
    *,
    seed: int,
    progress: Reporter = silent,
    checkpoint: Path | None = None,
    resume: bool = False,
    device: torch.device | None = None,
) -> list[Score]:
    """Trains networks of one configuration side by side; how each did, in their order.

    Args:
        networks: read (frames, coefficients, 1) of `config` and give a logit for each class of `data`.
        recipe: its epochs are those of the short training, whose rate falls to zero as in a whole one; all on torch's
            features, which lie within half an int8 step of the device's.
        checkpoint: written after every epoch.
        resume: go on from the checkpoint, if there is one.
        device: where they are trained; None: a GPU where there is one.

    Raises:
        RunError: for a checkpoint that is damaged or of other networks.
    """
    device = device or accelerator()
    scale = training_scale(config, data.train)
    modules = [NetworkModule(x, torch.Generator().manual_seed(seed)).to(device) for x in networks]
    learners, done = [Learner(x, make_optimizer(x, recipe)) for x in modules], 0
    identity = fingerprint(networks, config, data, recipe, seed, scale, False)
    if resume and checkpoint is not None and checkpoint.exists():
        done = _restore(learners, checkpoints.load(checkpoint, identity))
    feed = Feed(config, data, recipe, scale, None, device)
    steps = feed.steps_per_epoch()
    warmup = round(recipe.warmup_epochs * steps)
    for number in range(done, recipe.epochs):
        run_epoch(
            learners, feed, recipe, seed=seed, number=number, device_features=False,
            rate=lambda step: learning_rate(step, recipe.epochs * steps, warmup, recipe.learning_rate),
        )  # fmt: skip
        if checkpoint is not None:
            checkpoints.save(checkpoint, identity, _dump(learners, number + 1))
        progress(Progress("training candidates", number + 1, recipe.epochs, f"{len(networks)} networks at {config}"))
    return [_score(x, feed) for x in modules]


def _dump(learners: Sequence[Learner], epochs: int) -> dict[str, Any]:
    states = [(x.module.state_dict(), x.optimizer.state_dict()) for x in learners]
    return {"epochs": epochs, "learners": [{"module": m, "optimizer": o} for m, o in states]}


def _restore(learners: Sequence[Learner], saved: dict[str, Any]) -> int:
    """The epochs that lie behind."""
    for learner, state in zip(learners, saved["learners"], strict=True):
        learner.module.load_state_dict(state["module"])
        learner.optimizer.load_state_dict(state["optimizer"])
    return int(saved["epochs"])


def _score(module: NetworkModule, feed: Feed) -> Score:
    logits, labels = logits_of(module, feed.validation), feed.validation_labels
    accuracy = float((logits.argmax(1) == labels).float().mean())
    loss = float(F.cross_entropy(logits, labels))
    return Score(loss if isfinite(loss) else inf, accuracy)
