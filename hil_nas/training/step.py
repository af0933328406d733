"""One epoch of training: the same for a first training and for tuning to int8."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from hil_nas.training.feed import Feed
from hil_nas.training.recipe import Recipe


def make_optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW that decays kernels and leaves biases and batch norms alone."""
    kernels = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]
    groups = [{"params": kernels, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)


def run_epoch(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    feed: Feed,
    recipe: Recipe,
    *,
    seed: int,
    number: int,
    device_features: bool,
    rate: Callable[[int], float],
) -> float:
    """Trains through one balanced epoch, whose randomness follows from seed and number alone.

    Args:
        number: of the epoch, from 0.
        device_features: whether the C source computes the features.
        rate: the learning rate of a step, counted over all epochs.

    Returns:
        The mean loss.
    """
    rng = np.random.default_rng([seed, number])
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    order, steps = feed.order(rng), feed.steps_per_epoch()
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    total = 0.0
    module.train()
    for index, indices in enumerate(np.array_split(order, steps)):
        for group in optimizer.param_groups:
            group["lr"] = rate(number * steps + index)
        features, labels = feed.batch(indices, generator, device_features)
        loss = criterion(module(features), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
    return total / len(order)
