"""One epoch of training: the same for a first training, for tuning to int8 and for several networks side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hil_nas.learning.threads import Threads
from hil_nas.training.feed import Feed
from hil_nas.training.recipe import Recipe


def make_optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW that decays kernels and leaves biases and batch norms alone."""
    kernels = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]
    groups = [{"params": kernels, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)


@dataclass
class Learner:
    """A network in training."""

    module: nn.Module
    optimizer: torch.optim.Optimizer


def run_epoch(
    learners: Sequence[Learner],
    feed: Feed,
    recipe: Recipe,
    *,
    seed: int,
    number: int,
    device_features: bool,
    rate: Callable[[int], float],
) -> list[float]:
    """Trains through one balanced epoch, whose randomness follows from seed and number alone.

    Learners take their steps at the same time; each has the bits that it would have alone.

    Args:
        learners: see the same batches, none anything of the others.
        number: of the epoch, from 0.
        device_features: whether the C source computes the features.
        rate: the learning rate of a step, counted over all epochs.

    Returns:
        The mean loss of each.
    """
    rng = np.random.default_rng([seed, number])
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    order, steps = feed.order(rng), feed.steps_per_epoch()
    totals = np.zeros(len(learners))
    for learner in learners:
        learner.module.train()
    batches = (feed.batch(x, generator, device_features) for x in np.array_split(order, steps))
    with Threads(feed.device, len(learners)) as threads:
        for index, (features, labels) in enumerate(_one_ahead(batches) if feed.device.type == "cpu" else batches):
            learnt = partial(_learnt, rate(number * steps + index), features, labels, recipe)
            totals += threads.map(learnt, learners)
    return [float(x) / len(order) for x in totals]


def _learnt(rate: float, features: Tensor, labels: Tensor, recipe: Recipe, learner: Learner) -> float:
    """Takes a step; the summed loss of the batch before it."""
    for group in learner.optimizer.param_groups:
        group["lr"] = rate
    loss = F.cross_entropy(learner.module(features), labels, label_smoothing=recipe.label_smoothing)
    learner.optimizer.zero_grad()
    torch.autograd.backward(loss)
    learner.optimizer.step()
    return loss.item() * len(labels)


def _one_ahead(batches: Iterator[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Each batch is made on a thread of its own while its predecessor is learned: its features take about as long as a
    small network's step, which keeps one core busy."""
    with ThreadPoolExecutor(1, "batches") as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch
