"""Steps of weights and of alpha, and DARTS' second order: the gradient of the validation loss by alpha where the
weights answer alpha with one step.

With w' = w - rate * dL_train/dw, the gradient of L_val(w', alpha) by alpha is (arXiv:1806.09055, equations 7 and 8)

    dL_val/dalpha (w', alpha) - rate * d2L_train/(dalpha dw) (w, alpha) * dL_val/dw (w', alpha)

whose last product is (p - n) / (2 eps), p and n being dL_train/dalpha at w +- eps * dL_val/dw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

_REACH = 1e-4  # length of the step in the weights; over the 0.01 of the paper, ReLUs of a small network bend too often

Loss = Callable[[], Tensor]


def first_order(alphas: Sequence[nn.Parameter], validation_loss: Tensor) -> list[Tensor]:
    """The gradient at the weights as they are; zeros where a parameter has no part in the loss."""
    found = torch.autograd.grad(validation_loss, list(alphas), allow_unused=True)
    return [torch.zeros_like(a) if g is None else g for a, g in zip(alphas, found, strict=True)]


def second_order(
    weights: Sequence[nn.Parameter],
    alphas: Sequence[nn.Parameter],
    train_loss: Loss,
    validation_loss: Loss,
    rate: float,
) -> tuple[list[Tensor], Tensor]:
    """The gradient behind one step of the weights, and the validation loss there; the weights are left as they were.

    Args:
        train_loss, validation_loss: of the parameters' values as they stand when called; the same batch each time.
        rate: of the step.
    """
    kept = [x.detach().clone() for x in weights]
    try:
        slopes = _gradients(train_loss(), weights)
        _shift(weights, kept, slopes, -rate)
        loss = validation_loss()
        found = _gradients(loss, [*weights, *alphas])
        direction, direct = found[: len(weights)], found[len(weights) :]
        length = float(torch.sqrt(sum((x.double().square().sum() for x in direction), torch.zeros(()).double())))
        if length == 0.0:
            return direct, loss.detach()
        eps = _REACH / length
        sides = []
        for sign in (1.0, -1.0):
            _shift(weights, kept, direction, sign * eps)
            sides.append(_gradients(train_loss(), alphas))
    finally:
        _shift(weights, kept, kept, 0.0)
    behind = [d - rate * (p - n) / (2 * eps) for d, p, n in zip(direct, *sides, strict=True)]
    return behind, loss.detach()


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


def _gradients(loss: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    return first_order(parameters, loss)


def _shift(weights: Sequence[nn.Parameter], kept: Sequence[Tensor], direction: Sequence[Tensor], size: float) -> None:
    with torch.no_grad():
        for weight, start, step in zip(weights, kept, direction, strict=True):
            weight.copy_(start + size * step if size else start)
