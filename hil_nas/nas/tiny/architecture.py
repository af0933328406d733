"""alpha: the parameters of a `tiny` search, their probabilities, and the samples that the supernet runs.

An operation is drawn in three questions: does the position skip, pool or convolve; if it convolves, pointwise
or separable; if separable, with which kernel and stride. Every question is a Gumbel-softmax (arXiv:1611.01144)
whose temperature falls during the search, as in FBNetV2 (arXiv:2004.05565): hot samples are mixtures in which
the weights learn fast, cold ones are nearly single networks. Without the noise the weights would undo every mask
and every mixed kernel by growing, and leave alpha no gradient.

Widths are drawn hard, with the gradient of the soft sample (straight through): in a mixture of masks every channel
stays within the weights' reach, so that narrow layers would cost nothing but look cheap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from hil_nas.nas.tiny.space import Choice, TinySpace

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
    """Rows of answers that sum to 1: one network where they are one-hot, else a mixture.

    Attributes:
        stem: (stems,).
        widths: (1 + positions, widths), one-hot always.
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
        """A Gumbel-softmax sample."""

        def answer(logits: Tensor) -> Tensor:
            uniform = torch.rand(logits.shape, generator=generator).to(logits.device)
            noise = -torch.log(-torch.log(uniform.clamp(1e-9, 1 - 1e-7)))
            return torch.softmax((logits + noise) / temperature, -1)

        widths = answer(self.widths)
        hard = torch.nn.functional.one_hot(widths.argmax(-1), widths.shape[-1]).to(widths)
        separable, pointwise = self._logits("separable"), self._logits("pointwise")
        kinds = [torch.logsumexp(x, 1) for x in (pointwise, separable)]
        convolve = torch.logaddexp(*kinds)
        others = [torch.logsumexp(self._logits(x), 1) for x in ("skip", "pool")]
        return Draw(
            answer(self.stem),
            hard + (widths - widths.detach()),
            answer(torch.stack([*others, convolve], 1)),
            answer(torch.stack(kinds, 1)),
            answer(separable),
        )

    def _logits(self, name: str) -> Tensor:
        group = self.group(name)
        if len(group):
            return self.operations[:, group]
        return torch.full((self.space.positions, 1), _NEVER, device=self.operations.device)

    def operations_of(self, draw: Draw, position: int) -> Tensor:
        """(operations,): the draw's three answers as one."""
        weights = torch.zeros(len(self.space.operations), device=draw.outer.device)
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
                weights = weights.index_add(0, self.group(name), part)
        return weights

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
