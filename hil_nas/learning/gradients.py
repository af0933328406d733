"""Gradients and steps of some parameters alone, by a loss that must be finite."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import torch
from torch import Tensor, nn

from hil_nas.errors import DivergedError


def gradients(loss: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor | None]:
    """Of each parameter at the others as they are; None where it has no part in the loss."""
    return list(torch.autograd.grad(loss, list(parameters), allow_unused=True))


def summed(one: Sequence[Tensor | None], other: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The gradients of a sum of two losses."""
    return [a if b is None else b if a is None else a + b for a, b in zip(one, other, strict=True)]


def finite(loss: Tensor, where: str) -> float:
    """A loss as a number.

    Raises:
        DivergedError: where it is not finite: no step is taken by it, and no checkpoint holds what it did.
    """
    value = float(loss.detach())
    if not isfinite(value):
        raise DivergedError(
            f"the loss is {value} in {where}, expected a finite number",
            hint="metrics.jsonl shows how it came to that; begin anew with another --seed",
        )
    return value


def step(
    optimizer: torch.optim.Optimizer,
    parameters: Sequence[nn.Parameter],
    gradients: Sequence[Tensor | None],
    clip: float | None = None,
) -> None:
    """One step of these parameters alone; no other parameter gets a gradient."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    if clip is not None:
        nn.utils.clip_grad_norm_(parameters, clip)
    optimizer.step()
