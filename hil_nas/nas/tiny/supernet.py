"""The supernet of the `tiny` space: one set of weights, those of the largest network, for every network in it.

`path` runs one network as it would be built: sliced weights, real strides. `mixture` runs what a draw stands for
with a gradient for every choice, at the cost of about one pass of the largest network:
- widths are masks, applied where channels mix, so that a masked channel adds exactly nothing;
- kernels are masked windows of the largest one;
- strides are not taken: everything runs at full rate, and what stands behind strides reads with dilation, which
  gives the strided network's values at every phase; the final average runs over all phases.
Batch norm uses the batch's own statistics, since one set of running averages fits no two networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hil_nas.nas.blocks.banded import averaging, depthwise, dilated_averaging, dilated_depthwise
from hil_nas.nas.blocks.shared_weights import (
    SharedConvolution,
    common,
    convolution,
    largest,
    mixed_convolution,
    pointwise,
    window,
    window_masks,
)
from hil_nas.nas.front_ends.alignment import Alignment, Supernet
from hil_nas.nas.input_space import Operation
from hil_nas.nas.tiny.architecture import Architecture, Draw
from hil_nas.nas.tiny.space import Choice, TinySpace
from hil_nas.network import Pair


class TinySupernet(Supernet):
    """Weights, alphas and gamma of a space.

    Args:
        generator: where all first weights come from.
        feasible: configurations that can hold the limits.
    """

    def __init__(self, space: TinySpace, generator: torch.Generator, feasible: Sequence[int] | None = None) -> None:
        super().__init__()
        self.space = space
        self.alignment = Alignment(space, generator, feasible)
        self.architecture = Architecture(space)
        most, source = space.widths[-1], max(space.aligned_shape(x)[2] for x in space.configs)
        stem, chain = largest([x.kernel for x in space.stems]), range(space.positions)
        self.kernels = [x.kernel for x in space.operations if x.kind == "separable"]
        size = largest(self.kernels) if self.kernels else (1, 1)
        self.stem = SharedConvolution((most, source, *stem), source * stem[0] * stem[1], generator)
        self.depthwise = nn.ModuleList(SharedConvolution((most, *size), size[0] * size[1], generator) for _ in chain)
        self.pointwise = nn.ModuleList(SharedConvolution((most, most), most, generator) for _ in chain)
        self.head = nn.Linear(most, space.classes)
        with torch.no_grad():
            self.head.weight.normal_(0.0, most**-0.5, generator=generator)
            self.head.bias.zero_()
        base = common([x.stride for x in space.stems])
        self.base = base  # the stride that every stem takes is taken, also in a mixture
        self.distances = [(s[0] // base[0], s[1] // base[1]) for s in space.scales]
        self.register_buffer("windows", window_masks(self.kernels, size), persistent=False)
        self._register_choices()

    def _register_choices(self) -> None:
        space, scales = self.space, self.space.scales
        moves = torch.zeros(len(space.operations), len(scales), len(scales))
        for o, operation in enumerate(space.operations):
            for s, scale in enumerate(scales):
                moves[o, s, scales.index(space.scale_after(scale, operation))] = 1.0
        starts = torch.tensor([[float(x.stride == s) for s in scales] for x in space.stems])
        masks = torch.arange(space.widths[-1]) < torch.tensor(space.widths)[:, None]
        self.register_buffer("moves", moves, persistent=False)  # (operations, scales before, after)
        self.register_buffer("starts", starts, persistent=False)  # (stems, scales)
        self.register_buffer("masks", masks.float(), persistent=False)  # (widths, channels)

    def path(self, x: Tensor, choice: Choice) -> Tensor:
        """Logits of one network.

        Args:
            x: the stem's input (C, B, F, T), as `alignment` gives it.

        Returns:
            (B, classes).
        """
        space = self.space
        operation, width = space.stems[choice.stem[0]], space.widths[choice.stem[1]]
        kernel = window(self.stem.weight[:width, : len(x)], operation.kernel)
        x = self.stem.finish(convolution(x, kernel, operation.stride))
        scale = operation.stride
        for position, (index, width_index) in enumerate(choice.chain):
            operation = space.operations[index]
            stride = space.stride_at(scale, operation)
            x = self._step(x, position, operation, stride, space.widths[width_index])
            scale = space.scale_after(scale, operation)
        return F.linear(x.mean((2, 3)).t(), self.head.weight[:, : len(x)], self.head.bias)

    def _step(self, x: Tensor, position: int, operation: Operation, stride: Pair, width: int) -> Tensor:
        if operation.kind == "skip":
            return x
        if operation.kind == "pool":
            return x if stride == (1, 1) else x @ averaging(x.shape[3], stride[0], stride[0], x.device)
        if operation.kind == "separable":
            layer = cast(SharedConvolution, self.depthwise[position])
            x = layer.finish(depthwise(x, window(layer.weight[: len(x)], operation.kernel), stride))
        layer = cast(SharedConvolution, self.pointwise[position])
        return layer.finish(pointwise(x, layer.weight[:width, : len(x)]))

    def mixture(self, x: Tensor, draw: Draw) -> Tensor:
        """Logits of the network that was drawn, with a gradient for every choice.

        Args:
            x: the stem's input (C, B, F, T).
            draw: one-hot rows.

        Returns:
            (B, classes).
        """
        space = self.space
        masks = draw.widths @ cast(Tensor, self.masks)  # (1 + positions, channels): 1 for one that is there
        kernels = [o.kernel for o in space.stems]
        x = self.stem.finish(mixed_convolution(x, self.stem.weight[:, : len(x)], kernels, self.base, draw.stem))
        mask, scales = masks[0], draw.stem @ cast(Tensor, self.starts)
        for position in range(space.positions):
            skip, pool, convolve = draw.outer[position]
            y = self._convolved(x, position, draw, mask, scales)
            x = skip * x + pool * self._pooled(x, scales) + convolve * y
            mask = (skip + pool) * mask + convolve * masks[position + 1]
            operations = self.architecture.operations_of(draw, position)
            scales = torch.einsum("o,s,ost->t", operations, scales, cast(Tensor, self.moves))
        # (channels, B, F, T) -> (B, channels): the average over all phases
        return F.linear(x.mean((2, 3)).t() * mask, self.head.weight, self.head.bias)

    def _convolved(self, x: Tensor, position: int, draw: Draw, mask: Tensor, scales: Tensor) -> Tensor:
        """A position's convolutions. x holds every channel as if it were there; the mask takes effect on the
        pointwise convolution's input, the only place where channels meet."""
        if self.kernels:
            layer = cast(SharedConvolution, self.depthwise[position])
            share = torch.einsum("k,kuf->uf", draw.kernel[position], cast(Tensor, self.windows))
            y = layer.finish(dilated_depthwise(x, layer.weight * share, self.distances, scales))
            straight, separable = draw.inner[position]
            x = straight * x + separable * y
        layer = cast(SharedConvolution, self.pointwise[position])
        return layer.finish(pointwise(x * mask[:, None, None, None], layer.weight))

    def _pooled(self, x: Tensor, scales: Tensor) -> Tensor:
        """The pool, read at every scale; where its stride would pass the largest scale it does nothing."""
        operation = next((o for o in self.space.operations if o.kind == "pool"), None)
        if operation is None:
            return x
        frames = x.shape[3]
        matrix = torch.zeros(frames, frames, device=x.device)
        for share, scale, distance in zip(scales, self.space.scales, self.distances, strict=True):
            taps = self.space.stride_at(scale, operation)[0]
            matrix = matrix + share * dilated_averaging(frames, taps, distance[0], x.device)
        return x @ matrix
