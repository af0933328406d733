"""Networks that are trained on the same batches, so that features, most of the work of a small network's step, are
computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hil_nas.learning import checkpoint as checkpoints
from hil_nas.training.feed import Feed
from hil_nas.training.network_module import NetworkModule
from hil_nas.training.recipe import Recipe, learning_rate
from hil_nas.training.step import Learner, make_optimizer, run_epoch


def train_side_by_side(
    modules: Sequence[NetworkModule],
    feed: Feed,
    recipe: Recipe,
    *,
    seed: int,
    identity: dict[str, Any],
    told: Callable[[int], None],
    checkpoint: Path | None = None,
    resume: bool = False,
) -> None:
    """Trains them where they are, all on torch's features, which lie within half an int8 step of the device's.

    Args:
        seed: of the batches.
        identity: what the checkpoint must be of.
        told: called after every epoch, with how many lie behind.
        checkpoint: written after every epoch.
        resume: go on from the checkpoint, if there is one.

    Raises:
        RunError: for a checkpoint that is damaged or of another training.
    """
    learners, done = [Learner(x, make_optimizer(x, recipe)) for x in modules], 0
    if resume and checkpoint is not None and checkpoint.exists():
        done = _restore(learners, checkpoints.load(checkpoint, identity))
    steps = feed.steps_per_epoch()
    warmup = round(recipe.warmup_epochs * steps)
    for number in range(done, recipe.epochs):
        run_epoch(
            learners, feed, recipe, seed=seed, number=number, device_features=False,
            rate=lambda step: learning_rate(step, recipe.epochs * steps, warmup, recipe.learning_rate),
        )  # fmt: skip
        if checkpoint is not None:
            checkpoints.save(checkpoint, identity, _dump(learners, number + 1))
        told(number + 1)


def _dump(learners: Sequence[Learner], epochs: int) -> dict[str, Any]:
    states = [(x.module.state_dict(), x.optimizer.state_dict()) for x in learners]
    return {"epochs": epochs, "learners": [{"module": m, "optimizer": o} for m, o in states]}


def _restore(learners: Sequence[Learner], saved: dict[str, Any]) -> int:
    """The epochs that lie behind."""
    for learner, state in zip(learners, saved["learners"], strict=True):
        learner.module.load_state_dict(state["module"])
        learner.optimizer.load_state_dict(state["optimizer"])
    return int(saved["epochs"])
