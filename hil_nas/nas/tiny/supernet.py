"""The supernet of the `tiny` space: one set of weights, of which every network takes its part and runs as it is built.

One network is run at a time, with sliced weights and real strides. Which weights it takes goes by how many convolutions
lie before, not by position, since a chain of two convolutions stands at fifteen places among six positions and is one
network; depthwise ones go by how far the rows lie apart in time too, that a kernel learns one span of speech whatever
front end and strides it stands behind. Kernels of each size are their own: as windows of the largest, small ones were
judged by what suits large ones, and Kendall's tau over 36 regular chains that nobody chose was 0.54, not 0.69. Every
front end has stems of its own, with their batch norms, so that gamma compares front ends and not how well one stem
suits all of them.
Batch norm uses the batch's own statistics, since one set of running averages fits no two networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hil_nas.nas.blocks.banded import averaging, depthwise
from hil_nas.nas.blocks.shared_weights import SharedConvolution, convolution, pointwise
from hil_nas.nas.front_ends.alignment import Alignment, Supernet
from hil_nas.nas.input_space import Operation
from hil_nas.nas.tiny.architecture import Architecture
from hil_nas.nas.tiny.space import SKIP, Choice, TinySpace
from hil_nas.network import Pair


@dataclass(frozen=True)
class _Step:
    """What one position of a network does, and how many convolutions lie before it."""

    operation: Operation
    scale: Pair
    depth: int
    width: int


class TinySupernet(Supernet):
    """Weights, alphas and gamma of a space.

    Args:
        generator: where all first weights come from.
        feasible: configurations that can hold the limits; the others have no stem.
        like: the supernet whose weights these are, of limits that are as wide or wider; None: its own.
    """

    stems: nn.ModuleDict
    depthwise: nn.ModuleList
    pointwise: nn.ModuleList
    head: nn.Linear

    def __init__(
        self, space: TinySpace, generator: torch.Generator, feasible: Sequence[int] | None = None,
        like: TinySupernet | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.space = space
        self.alignment = Alignment(space, generator, feasible)
        self.architecture = Architecture(space)
        if like is not None:
            self.alignment.kernels, self.stems, self.head = like.alignment.kernels, like.stems, like.head
            self.depthwise, self.pointwise = like.depthwise, like.pointwise
            return
        most, chain = space.widths[-1], range(space.positions)
        self.stems = nn.ModuleDict()
        for index in self.alignment.configs:
            config = space.configs[index]
            kernels = {space.stem_at(config, x).kernel: None for x in space.stems}
            source = space.aligned_shape(config)[2]
            self.stems[str(index)] = nn.ModuleDict(
                {_name(x): SharedConvolution((most, source, *x), generator) for x in kernels}
            )
        kernels = {x.kernel: None for x in space.operations if x.kind == "separable"}
        taken = [(x, scale) for x in self.alignment.configs for scale in sorted(space.scales_of(space.configs[x]))]
        shapes = {self._apart(*x, kernel): (most, *kernel) for x in taken for kernel in kernels}
        self.depthwise = nn.ModuleList(
            nn.ModuleDict({x: SharedConvolution(y, generator) for x, y in shapes.items()}) for _ in chain
        )
        self.pointwise = nn.ModuleList(SharedConvolution((most, most), generator) for _ in chain)
        self.head = nn.Linear(most, space.classes)
        with torch.no_grad():
            self.head.weight.normal_(0.0, most**-0.5, generator=generator)
            self.head.bias.zero_()

    def forward(self, x: Tensor, choice: Choice) -> Tensor:
        """Logits of one network.

        Args:
            x: features of the choice's front end, (columns, B, frames).

        Returns:
            (B, classes).
        """
        operation, width = self._stem_of(choice)
        layer = self._stem(choice.config, operation)
        x = self.alignment.aligned(choice.config, x)
        padding = self.space.padding
        x = layer.finish(convolution(x, layer.weight[:width], operation.stride, padding))
        for step in self._steps(choice):
            stride = step.operation.stride
            if step.operation.kind == "pool":
                x = x @ averaging(x.shape[3], stride[0], stride[0], padding, x.device)
                continue
            if step.operation.kind == "separable":
                layer = self._depthwise(choice.config, step)
                x = layer.finish(depthwise(x, layer.weight[: len(x)], stride, padding))
            layer = cast(SharedConvolution, self.pointwise[step.depth])
            x = layer.finish(pointwise(x, layer.weight[: step.width, : len(x)]))
        return F.linear(x.mean((2, 3)).t(), self.head.weight[:, : len(x)], self.head.bias)

    def _stem_of(self, choice: Choice) -> tuple[Operation, int]:
        stem = self.space.stem_at(self.space.configs[choice.config], self.space.stems[choice.stem[0]])
        return stem, self.space.widths[choice.stem[1]]

    def _steps(self, choice: Choice) -> Iterator[_Step]:
        """What stands behind the stem, without what does nothing."""
        space, config, depth = self.space, self.space.configs[choice.config], 0
        place = space.stem_place(config, space.stems[choice.stem[0]])
        for index, width in choice.chain:
            operation = space.taken(config, place, space.operations[index])
            if operation != SKIP:
                yield _Step(operation, place[0], depth, space.widths[width])
            depth += not operation.keeps_width
            place = space.place_after(config, place, operation)

    def _stem(self, config: int, operation: Operation) -> SharedConvolution:
        return cast(SharedConvolution, cast(nn.ModuleDict, self.stems[str(config)])[_name(operation.kernel)])

    def _depthwise(self, config: int, step: _Step) -> SharedConvolution:
        name = self._apart(config, step.scale, step.operation.kernel)
        return cast(SharedConvolution, cast(nn.ModuleDict, self.depthwise[step.depth])[name])

    def _apart(self, config: int, scale: Pair, kernel: Pair) -> str:
        """A kernel, and the samples and the bins between two values of the map at a scale."""
        front_end = self.space.configs[config]
        aligned = self.space.align_operation(front_end)
        rows = front_end.hop_samples * (aligned.stride[0] if aligned else 1)
        return f"{_name(kernel)}_{_name((rows * scale[0], scale[1]))}"


def _name(pair: Pair) -> str:
    return "x".join(map(str, pair))
