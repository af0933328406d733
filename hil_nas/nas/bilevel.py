"""Steps of weights and of alpha: each by its own gradient at the other as it stands (DARTS' first order)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def first_order(alphas: Sequence[nn.Parameter], validation_loss: Tensor) -> list[Tensor]:
    """The gradient at the weights as they are; zeros where a parameter has no part in the loss."""
    found = torch.autograd.grad(validation_loss, list(alphas), allow_unused=True)
    return [torch.zeros_like(a) if g is None else g for a, g in zip(alphas, found, strict=True)]


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
