"""Accuracy and confusion of a network on features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

_BATCH = 500


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Counts of what was said for what was spoken.

    Attributes:
        confusion: int64 (classes, classes), a row per true class, a column per answer.
    """

    confusion: npt.NDArray[np.int64]

    @property
    def clips(self) -> int:
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0 to 1; 0 where there are no clips."""
        return float(np.trace(self.confusion)) / max(1, self.clips)


def evaluate(module: Callable[[Tensor], Tensor], features: Tensor, labels: Tensor) -> Evaluation:
    """Runs a network in evaluation mode over all features and leaves it in the mode it had.

    Args:
        module: float (n, H, W, C) to logits (n, classes).
        features: float (n, H, W, C).
        labels: int64 (n,).
    """
    logits = logits_of(module, features)
    return count(labels.cpu().numpy(), logits.argmax(1).cpu().numpy(), logits.shape[1])


def logits_of(module: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
    """What a network answers in evaluation mode, left in the mode it had: (n, H, W, C) to (n, classes)."""
    was_training = isinstance(module, nn.Module) and module.training
    if isinstance(module, nn.Module):
        module.eval()
    try:
        with torch.no_grad():
            return torch.cat([module(x) for x in torch.split(features, _BATCH)])
    finally:
        if isinstance(module, nn.Module):
            module.train(was_training)


def count(labels: npt.NDArray[np.int64], answers: npt.NDArray[np.int64], classes: int) -> Evaluation:
    """The confusion of answers (n,) against labels (n,)."""
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, answers), 1)
    return Evaluation(confusion)
