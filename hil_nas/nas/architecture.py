"""alpha: the parameters of a `tiny` search, their probabilities, and hard samples with a gradient.

An operation is drawn in three questions: does the position skip, pool or convolve; if it convolves, pointwise
or separable; if separable, with which kernel and stride. Every question is a Gumbel-softmax drawn hard, its
gradient straight through (arXiv:1611.01144), so that forward always runs one real network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from hil_nas.nas.space import Choice, TinySpace

_EXPECTED_STRIDES = 1.5  # how many strides the chain has on average before anything is learned
_NEVER = -1e9  # the logit of an answer that the space does not have


@dataclass(frozen=True)
class Probabilities:
    """Soft probabilities of every choice: what the expected cost is bilinear in.

    Attributes:
        configs: (configs,).
        stem: (stems,).
        widths: (1 + positions, widths), the stem's first.
        operations: (positions, operations).
    """

    configs: Tensor
    stem: Tensor
    widths: Tensor
    operations: Tensor


@dataclass(frozen=True)
class Draw:
    """One-hot answers (with gradients, when drawn for the alphas).

    Attributes:
        stem: (stems,).
        widths: (1 + positions, widths).
        outer: (positions, 3): skip, pool, convolve.
        inner: (positions, 2): pointwise, separable.
        kernel: (positions, separable operations).
    """

    stem: Tensor
    widths: Tensor
    outer: Tensor
    inner: Tensor
    kernel: Tensor


class Architecture(nn.Module):
    """The alphas of a space."""

    def __init__(self, space: TinySpace) -> None:
        super().__init__()
        self.space = space
        self.stem = nn.Parameter(torch.zeros(len(space.stems)))
        self.widths = nn.Parameter(torch.zeros(1 + space.positions, len(space.widths)))
        self.operations = nn.Parameter(_few_strides(space).repeat(space.positions, 1))
        kinds = [x.kind for x in space.operations]
        for name in ("skip", "pool", "pointwise", "separable"):
            self.register_buffer(name, torch.tensor([i for i, x in enumerate(kinds) if x == name], dtype=torch.long))

    def group(self, name: str) -> Tensor:
        """Indices of the operations of a kind."""
        return cast(Tensor, getattr(self, name))

    def probabilities(self, configs: Tensor) -> Probabilities:
        stem, widths = torch.softmax(self.stem, 0), torch.softmax(self.widths, 1)
        return Probabilities(configs, stem, widths, torch.softmax(self.operations, 1))

    def draw(self, generator: torch.Generator, temperature: float) -> Draw:
        """One hard sample, its gradient that of the softmax at the temperature."""

        def hard(logits: Tensor) -> Tensor:
            uniform = torch.rand(logits.shape, generator=generator).to(logits.device)
            noise = -torch.log(-torch.log(uniform.clamp(1e-9, 1 - 1e-7)))
            soft = torch.softmax((logits + noise) / temperature, -1)
            answer = torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)
            return answer + soft - soft.detach()

        separable, pointwise = self._logits("separable"), self._logits("pointwise")
        kinds = [torch.logsumexp(x, 1) for x in (pointwise, separable)]
        convolve = torch.logaddexp(*kinds)
        others = [torch.logsumexp(self._logits(x), 1) for x in ("skip", "pool")]
        return Draw(
            hard(self.stem),
            hard(self.widths),
            hard(torch.stack([*others, convolve], 1)),
            hard(torch.stack(kinds, 1)),
            hard(separable),
        )

    def _logits(self, name: str) -> Tensor:
        group = self.group(name)
        if len(group):
            return self.operations[:, group]
        return torch.full((self.space.positions, 1), _NEVER, device=self.operations.device)

    def operations_of(self, draw: Draw, position: int) -> Tensor:
        """(operations,): the draw's three answers as one."""
        found = torch.zeros(len(self.space.operations), device=draw.outer.device)
        skip, pool, convolve = draw.outer[position]
        straight, separable = draw.inner[position]
        parts = {
            "skip": skip[None],
            "pool": pool[None],
            "pointwise": (convolve * straight)[None],
            "separable": convolve * separable * draw.kernel[position],
        }
        for name, part in parts.items():
            if len(self.group(name)):
                found = found.index_add(0, self.group(name), part)
        return found

    def choice(self, draw: Draw, config: int) -> Choice:
        """The point that a draw stands for."""
        widths = draw.widths.argmax(1).tolist()
        found = [int(self.operations_of(draw, i).argmax()) for i in range(self.space.positions)]
        chain = tuple(zip(found, widths[1:], strict=True))
        return Choice(config, (int(draw.stem.argmax()), widths[0]), chain)

    def draw_of(self, choice: Choice) -> Draw:
        """The one-hot draw of a point; answers that it leaves open are the first."""
        kinds = [self.space.operations[o].kind for o, _ in choice.chain]
        separable = self.group("separable").tolist()
        outer = [{"skip": 0, "pool": 1}.get(kind, 2) for kind in kinds]
        inner = [int(kind == "separable") for kind in kinds]
        kernel = [separable.index(o) if o in separable else 0 for o, _ in choice.chain]
        widths = [choice.stem[1], *(w for _, w in choice.chain)]
        return Draw(
            _rows([choice.stem[0]], len(self.space.stems))[0],
            _rows(widths, len(self.space.widths)),
            _rows(outer, 3),
            _rows(inner, 2),
            _rows(kernel, max(1, len(separable))),
        )


def _rows(answers: list[int], count: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(answers), count).float()


def _few_strides(space: TinySpace) -> Tensor:
    """Logits of operations that stride `_EXPECTED_STRIDES` times a chain, all others alike."""
    strides = torch.tensor([x.stride != (1, 1) for x in space.operations])
    if not strides.any() or strides.all():
        return torch.zeros(len(strides))
    share = min(0.5, _EXPECTED_STRIDES / space.positions)
    weights = torch.where(strides, share / strides.sum(), (1 - share) / (~strides).sum())
    return weights.log() - weights.log().mean()
