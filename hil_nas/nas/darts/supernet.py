"""The supernet of the `darts` space: mixed operators on a part of the channels, edges that share a node's weight.

Every edge mixes its operators on 1/4 of its channels and lets the others pass, then shuffles the channels so that
each part is mixed on some edge (PC-DARTS, arXiv:1907.05737). On all channels, with one operator an edge and two edges
a node, the supernet is the derived network. Batch norm uses the batch's own statistics.

A mixture runs all operators weighted by softmax(alpha), or some drawn by it: each drawn weight is divided by its own
value, so that the forward pass is that of the drawn operators and the gradient's mean is the full mixture's.

Maps are (batch, channels, time, frequency) here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hil_nas.nas.blocks.shared_weights import BATCH_NORM_EPSILON
from hil_nas.nas.darts.space import (
    CELL_INPUTS,
    CELL_KINDS,
    NONE,
    OPERATORS,
    SKIP,
    STEM_KERNEL,
    STEM_STRIDE,
    CellShapes,
    DartsSpace,
)
from hil_nas.nas.front_ends.alignment import Alignment, Supernet
from hil_nas.network import same_padding

PARTS = 4  # one in so many channels is mixed
_FIRST_SPREAD = 1e-3  # of alpha and beta before anything is learned


@dataclass(frozen=True)
class Mixture:
    """Weights of all operators and edges, by kind of cell.

    Attributes:
        operators: (kinds, edges, operators); what is exactly 0 in `run` is not computed.
        edges: (kinds, edges); 1 in sum over the edges of a node.
        run: (kinds, edges) lists of the operators to compute.
    """

    operators: Tensor
    edges: Tensor
    run: tuple[tuple[tuple[int, ...], ...], ...]


@dataclass(frozen=True)
class DartsProbabilities:
    """What the expected cost depends on: (configs,), (kinds, edges, operators) and (kinds, edges)."""

    configs: Tensor
    alpha: Tensor
    beta: Tensor


class DartsArchitecture(nn.Module):
    """alpha and beta of both kinds of cells."""

    def __init__(self, space: DartsSpace, generator: torch.Generator) -> None:
        super().__init__()
        self.space = space
        shape = (len(CELL_KINDS), len(space.edges))
        self.alpha = nn.Parameter(_FIRST_SPREAD * torch.randn(*shape, len(OPERATORS), generator=generator))
        self.beta = nn.Parameter(_FIRST_SPREAD * torch.randn(*shape, generator=generator))

    def probabilities(self, configs: Tensor) -> DartsProbabilities:
        return DartsProbabilities(configs, torch.softmax(self.alpha, -1), self.edge_weights())

    def edge_weights(self) -> Tensor:
        """(kinds, edges): softmax(beta) over the edges of every node."""
        sizes = [len(self.space.edges_of(n)) for n in range(self.space.nodes)]
        return torch.cat([torch.softmax(x, -1) for x in torch.split(self.beta, sizes, 1)], 1)

    def mixture(self) -> Mixture:
        """All operators by softmax(alpha)."""
        every = tuple(i for i in range(len(OPERATORS)) if i != NONE)
        run = ((every,) * len(self.space.edges),) * len(CELL_KINDS)
        return Mixture(torch.softmax(self.alpha, -1), self.edge_weights(), run)

    def draw(self, generator: torch.Generator, count: int) -> Mixture:
        """`count` operators of every edge, drawn by softmax(alpha); alike in all cells of a kind."""
        soft = torch.softmax(self.alpha, -1)
        flat = soft.detach().flatten(0, 1).cpu()
        drawn = torch.multinomial(flat, count, generator=generator).sort(1).values  # (kinds * edges, count)
        mask = torch.zeros_like(flat).scatter_(1, drawn, 1.0).reshape(soft.shape).to(soft)
        kept = soft * mask
        weights = kept / kept.sum(-1, keepdim=True).detach()
        rows = [tuple(i for i in row if i != NONE) for row in drawn.tolist()]
        edges = len(self.space.edges)
        run = tuple(tuple(rows[k * edges : (k + 1) * edges]) for k in range(len(CELL_KINDS)))
        return Mixture(weights, self.edge_weights(), run)


class DartsSupernet(Supernet):
    """Weights, alpha, beta and gamma of a space.

    Args:
        generator: where all first weights come from.
        feasible: configurations that can hold the limits.
        parts: 1/parts of an edge's channels is mixed.
    """

    def __init__(
        self,
        space: DartsSpace,
        generator: torch.Generator,
        feasible: Sequence[int] | None = None,
        *,
        parts: int = PARTS,
    ) -> None:
        super().__init__()
        self.space = space
        self.alignment = Alignment(space, generator, feasible)
        self.architecture = DartsArchitecture(space, generator)
        self.stem = _Convolution(1, space.channels, STEM_KERNEL[0], STEM_STRIDE[0], generator)
        # channels and strides are those of every configuration
        by_cell = space.shapes_of_cells(space.aligned_shape(space.configs[0]))
        self.cells = nn.ModuleList(_Cell(space, x, parts, generator) for x in by_cell)
        self.head = nn.Linear(space.nodes * by_cell[-1].channels, space.classes)
        with torch.no_grad():
            self.head.weight.normal_(0.0, self.head.in_features**-0.5, generator=generator)
            self.head.bias.zero_()

    def forward(self, x: Tensor, mixture: Mixture) -> Tensor:
        """Logits (B, classes) of a mixture.

        Args:
            x: the stem's input (1, B, F, T), as `alignment` gives it.
        """
        before = last = self.stem(x.permute(1, 0, 3, 2))  # (B, channels, T, F)
        for cell in self.cells:
            before, last = last, cell(before, last, mixture)
        return cast(Tensor, self.head(last.mean((2, 3))))


class _Cell(nn.Module):
    """Both inputs through a 1x1 convolution, then the nodes."""

    def __init__(self, space: DartsSpace, shapes: CellShapes, parts: int, generator: torch.Generator) -> None:
        super().__init__()
        self.space, self.kind = space, CELL_KINDS.index(shapes.kind)
        self.entries = nn.ModuleList(
            _Convolution(source[2], shapes.channels, 1, stride, generator)
            for source, stride in zip(shapes.sources, shapes.strides, strict=True)
        )
        strides = [space.stride(shapes.kind, e) for e in range(len(space.edges))]
        self.edges = nn.ModuleList(_Edge(shapes.channels, x, parts, generator) for x in strides)

    def forward(self, before: Tensor, last: Tensor, mixture: Mixture) -> Tensor:
        states = [entry(x) for entry, x in zip(self.entries, (before, last), strict=True)]
        operators, edges = mixture.operators[self.kind], mixture.edges[self.kind]
        run = mixture.run[self.kind]
        for node in range(self.space.nodes):
            parts = [
                edges[e] * self.edges[e](states[source], operators[e], run[e])
                for source, e in enumerate(self.space.edges_of(node))
            ]
            states.append(torch.stack(parts).sum(0))
        return torch.cat(states[CELL_INPUTS:], 1)


class _Edge(nn.Module):
    """All operators on the first channels; the others pass, through a pool where the edge has a stride."""

    def __init__(self, channels: int, stride: int, parts: int, generator: torch.Generator) -> None:
        super().__init__()
        self.mixed, self.stride, self.parts = channels // parts, stride, parts
        self.operators = nn.ModuleDict(
            {str(i): _operator(name, self.mixed, stride, generator) for i, name in enumerate(OPERATORS) if i != NONE}
        )

    def forward(self, x: Tensor, weights: Tensor, run: Sequence[int]) -> Tensor:
        part, rest = x[:, : self.mixed], x[:, self.mixed :]
        if run:
            y = torch.stack([weights[i] * self.operators[str(i)](part) for i in run]).sum(0)
        else:
            y = torch.zeros_like(part[:, :, :: self.stride, :: self.stride])
        if self.parts == 1:
            return y
        passed = rest if self.stride == 1 else F.max_pool2d(rest, 2, 2, ceil_mode=True)
        return shuffled(torch.cat([y, passed], 1), self.parts)


def shuffled(x: Tensor, groups: int) -> Tensor:
    """Channels of all groups in turn: (B, C, T, F) to the same."""
    batch, channels, *size = x.shape
    # (B, groups, C / groups, ...) -> (B, C / groups, groups, ...)
    return x.reshape(batch, groups, channels // groups, *size).transpose(1, 2).reshape(x.shape)


class _Convolution(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = _weights((outputs, inputs, size, size), inputs * size * size, generator)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return _finished(convolution(x, self.weight, self.stride))


class _Separable(nn.Module):
    """A depthwise convolution and a 1x1 behind it, batch norm, ReLU.

    The built network has a batch norm between the two as well. The 1x1 can learn what it would do, as both are linear.
    """

    def __init__(
        self, channels: int, size: int, strides: tuple[int, int], dilation: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.depthwise = _weights((channels, 1, size, size), size * size, generator)
        self.pointwise = _weights((channels, channels, 1, 1), channels, generator)
        self.strides, self.dilation = strides, dilation

    def forward(self, x: Tensor) -> Tensor:
        x = convolution(x, self.depthwise, self.strides[0], self.dilation, groups=x.shape[1])
        return _finished(convolution(x, self.pointwise, self.strides[1]))


class _Pool(nn.Module):
    """3x3 with TFLite's SAME padding; the average is over what lies inside."""

    def __init__(self, largest: bool, stride: int) -> None:
        super().__init__()
        self.largest, self.stride = largest, stride

    def forward(self, x: Tensor) -> Tensor:
        pads, even = _pads(x, 3, self.stride, 1)
        if self.largest:
            if even:
                return F.max_pool2d(x, 3, self.stride, padding=pads[2::-2])
            return F.max_pool2d(F.pad(x, pads, value=-torch.inf), 3, self.stride)
        if even:
            return F.avg_pool2d(x, 3, self.stride, padding=pads[2::-2], count_include_pad=False)
        inside = F.avg_pool2d(F.pad(torch.ones_like(x[:1, :1]), pads), 3, self.stride)
        return F.avg_pool2d(F.pad(x, pads), 3, self.stride) / inside


def convolution(x: Tensor, weight: Tensor, stride: int, dilation: int = 1, groups: int = 1) -> Tensor:
    """With TFLite's SAME padding; x is (B, C, T, F)."""
    pads, even = _pads(x, weight.shape[-1], stride, dilation)
    if even:
        return F.conv2d(x, weight, None, stride, (pads[2], pads[0]), dilation, groups)
    return F.conv2d(F.pad(x, pads), weight, None, stride, 0, dilation, groups)


def _operator(name: str, channels: int, stride: int, generator: torch.Generator) -> nn.Module:
    if name == OPERATORS[SKIP]:
        return nn.Identity() if stride == 1 else _Convolution(channels, channels, 1, stride, generator)
    if "pool" in name:
        return _Pool(name.startswith("max"), stride)
    size = int(name[-1])
    if name.startswith("dil"):
        return _Separable(channels, size, (1, stride), 2, generator)
    one, other = (_Separable(channels, size, (s, 1), 1, generator) for s in (stride, 1))
    return nn.Sequential(one, other)


def _weights(shape: tuple[int, ...], reads: int, generator: torch.Generator) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape, generator=generator) * (2.0 / reads) ** 0.5)


def _finished(x: Tensor) -> Tensor:
    return F.relu(F.batch_norm(x, None, None, training=True, eps=BATCH_NORM_EPSILON))


def _pads(x: Tensor, size: int, stride: int, dilation: int) -> tuple[tuple[int, int, int, int], bool]:
    """TFLite's SAME padding as `F.pad` wants it, and whether it is the same before and behind."""
    (top, bottom), (left, right) = (same_padding(x.shape[i], size, stride, dilation) for i in (2, 3))
    return (left, right, top, bottom), top == bottom and left == right
