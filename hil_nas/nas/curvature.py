"""How sharply the validation loss bends along alpha, and the early stop that follows from it.

Where the dominant eigenvalue of the loss' Hessian rises, the search overfits its architecture and ends in skips
(RobustDARTS, arXiv:1909.09656): it stops then, and takes the architecture from before the rise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_PRODUCTS = 8  # of the Hessian with a vector: an estimate from below, near enough to watch a rise
_WINDOW = 3  # epochs that are averaged, and that lie between the averages compared


def dominant_eigenvalue(
    loss: Callable[[], Tensor], alphas: Sequence[nn.Parameter], generator: torch.Generator, products: int = _PRODUCTS
) -> float:
    """The Hessian's eigenvalue of the largest magnitude by power iteration on exact products.

    Args:
        loss: of the alphas' values, the same at each call.
        generator: of the first direction.
    """
    slopes = torch.autograd.grad(loss(), list(alphas), create_graph=True)
    direction = [torch.randn(x.shape, generator=generator).to(x) for x in alphas]
    value = 0.0
    for _ in range(products):
        length = _dot(direction, direction) ** 0.5
        if length == 0.0:
            return 0.0
        direction = [x / length for x in direction]
        product = torch.autograd.grad(slopes, list(alphas), direction, retain_graph=True)
        value = _dot(direction, product)
        direction = list(product)
    return value


class EarlyStop:
    """Watches the eigenvalue epoch by epoch.

    Args:
        rise: stop once the mean of some epochs is this many times the mean of as many epochs before.
    """

    def __init__(self, rise: float) -> None:
        self._rise = rise
        self._values: list[float] = []
        self._kept: list[dict[str, Tensor]] = []

    def look(self, eigenvalue: float, architecture: dict[str, Tensor]) -> dict[str, Tensor] | None:
        """The architecture to go back to where the search must stop; else None."""
        self._values.append(eigenvalue)
        self._kept = [*self._kept[-_WINDOW:], {k: v.detach().clone() for k, v in architecture.items()}]
        if len(self._values) < 2 * _WINDOW:
            return None
        now, before = sum(self._values[-_WINDOW:]), sum(self._values[-2 * _WINDOW : -_WINDOW])
        return self._kept[0] if now > self._rise * before > 0 else None

    def state_dict(self) -> dict[str, Any]:
        return {"values": list(self._values), "kept": self._kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._values, self._kept = list(state["values"]), list(state["kept"])


def _dot(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    return float(sum(((a * b).double().sum() for a, b in zip(one, other, strict=True)), torch.zeros(()).double()))
