"""The `tiny` space: chains of depthwise-separable convolutions for microcontrollers. No torch.

    input (frames, coefficients, 1)
      -> alignment: an optional strided convolution that brings long inputs near the shortest grid
      -> stem: a convolution, its kernel, stride and width chosen
      -> `positions` times one of: skip, pool, pointwise, depthwise-separable of some kernel and stride;
         every convolution with a width of its own
      -> average over the whole map -> dense

With the arrangement "channels" the input is read as (frames, 1, coefficients), so that every convolution runs
along time alone, as in TC-ResNet (arXiv:1904.03814); with "plane" it stays a map of time and frequency, as in
DS-CNN (arXiv:1711.07128). An expansion is a pointwise position before a separable one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from hil_nas.errors import InputError
from hil_nas.front_ends import FrontEnd, paper_grid
from hil_nas.nas.input_space import Align, Arrangement, Operation, align_stride
from hil_nas.nas.tiny.genotype import ChainStep, TinyGenotype
from hil_nas.network import Network, Pair, Shape

Scale = Pair  # by how much (time, frequency) have been reduced since the aligned input


@dataclass(frozen=True)
class Choice:
    """One point of a space by indices.

    Attributes:
        config: into `TinySpace.configs`.
        stem: (into `stems`, into `widths`).
        chain: per position (into `operations`, into `widths`); the width of a skip or a pool says nothing.
    """

    config: int
    stem: Pair
    chain: tuple[Pair, ...]


def _operations(kernels: Sequence[Pair], strides: Sequence[Pair]) -> tuple[Operation, ...]:
    separable = [Operation("separable", kernel, stride) for stride in strides for kernel in kernels]
    pools = [Operation("pool", stride, stride) for stride in strides if stride != (1, 1)]
    return (Operation("skip"), *pools[:1], Operation("pointwise"), *separable)


def _stems(kernels: Sequence[Pair], strides: Sequence[Pair]) -> tuple[Operation, ...]:
    return tuple(Operation("conv", kernel, stride) for stride in strides for kernel in kernels)


_DEFAULT_OPERATIONS = {
    "channels": _operations(((3, 1), (5, 1), (9, 1), (15, 1)), ((1, 1), (2, 1))),
    "plane": _operations(((3, 3), (5, 3), (9, 3)), ((1, 1), (2, 1), (2, 2))),
}
_DEFAULT_STEMS = {
    "channels": _stems(((3, 1), (5, 1), (9, 1)), ((1, 1), (2, 1))),
    "plane": _stems(((3, 3), (5, 3), (10, 4)), ((2, 2),)),
}


@dataclass(frozen=True)
class TinySpace:
    """What a search may choose from.

    Attributes:
        configs: the front ends.
        classes: of the task, silence and unknown included.
        positions: length of the chain behind the stem; skips make it shorter.
        widths: channels, multiples of 4, ascending.
        max_scale: the most that time and frequency are reduced in all, the stem included.
        stems, operations: choices of the stem and of every position; empty for the arrangement's own.

    Raises:
        InputError: for choices that make no network.
    """

    configs: tuple[FrontEnd, ...] = field(default_factory=paper_grid)
    classes: int = 12
    arrangement: Arrangement = "channels"
    align: Align = "conv"
    positions: int = 6
    widths: tuple[int, ...] = (16, 24, 32, 40, 48, 64, 80, 96)
    max_scale: Pair = (4, 4)
    stems: tuple[Operation, ...] = ()
    operations: tuple[Operation, ...] = ()

    def __post_init__(self) -> None:
        if not self.stems:
            object.__setattr__(self, "stems", _DEFAULT_STEMS[self.arrangement])
        if not self.operations:
            object.__setattr__(self, "operations", _DEFAULT_OPERATIONS[self.arrangement])
        if not self.configs:
            raise InputError("a search needs at least one front end")
        good = all(w >= 4 and w % 4 == 0 for w in self.widths)
        if not self.widths or not good or list(self.widths) != sorted(set(self.widths)):
            raise InputError(f"widths are ascending multiples of 4, found {self.widths}")
        if self.positions < 1 or self.classes < 2:
            raise InputError(f"{self.positions} positions or {self.classes} classes make no network")
        self._check_operations()

    def _check_operations(self) -> None:
        if any(x.kind != "conv" for x in self.stems) or any(x.kind == "conv" for x in self.operations):
            raise InputError("a stem is a 'conv', and no other position is")
        if all(x.keeps_width for x in self.operations):
            raise InputError("the chain needs at least one operation that has weights")
        if all(x.stride != (1, 1) for x in self.operations):
            raise InputError("the chain needs at least one operation without a stride")
        for x in (*self.stems, *self.operations):
            if x.kind in ("skip", "pointwise") and (x.kernel, x.stride) != ((1, 1), (1, 1)):
                raise InputError(f"'{x}' has neither kernel nor stride")
            if x.kind == "pool" and (x.kernel != x.stride or x.stride[1] != 1 or x.stride[0] < 2):
                raise InputError(f"'{x}' does not average over its own stride in time")
            if self.arrangement == "channels" and (x.kernel[1], x.stride[1]) != (1, 1):
                raise InputError(f"'{x}' reaches along frequency, which are channels here")
        if any(x.stride[0] > self.max_scale[0] or x.stride[1] > self.max_scale[1] for x in self.stems):
            raise InputError(f"a stem's stride lies above the largest scale {self.max_scale}")

    @cached_property
    def scales(self) -> tuple[Scale, ...]:
        """Every scale that a position can find, ascending."""
        scales = {x.stride for x in self.stems}
        while True:
            more = {self.scale_after(s, x) for s in scales for x in self.operations} | scales
            if more == scales:
                return tuple(sorted(scales))
            scales = more

    def scale_after(self, scale: Scale, operation: Operation) -> Scale:
        """The scale behind an operation; a stride that would pass `max_scale` does nothing."""
        stride = self.stride_at(scale, operation)
        return (scale[0] * stride[0], scale[1] * stride[1])

    def stride_at(self, scale: Scale, operation: Operation) -> Pair:
        """The stride that an operation has at a scale."""
        stride = operation.stride
        fits = scale[0] * stride[0] <= self.max_scale[0] and scale[1] * stride[1] <= self.max_scale[1]
        return stride if fits else (1, 1)

    def allowed(self, scale: Scale, operation: Operation) -> bool:
        """Whether an operation keeps its stride at a scale; the supernet counts the others at stride 1."""
        return self.stride_at(scale, operation) == operation.stride

    def align_operation(self, config: FrontEnd) -> Operation | None:
        """The convolution that brings `config` near the shortest grid; None where none is needed."""
        stride = align_stride(config, self.configs) if self.align == "conv" else 1
        if stride < 2:
            return None
        return Operation("conv", (2 * stride - 1, 1 if self.arrangement == "channels" else 3), (stride, 1))

    def aligned_shape(self, config: FrontEnd) -> Shape:
        """The map that the stem reads: (time, frequency, channels)."""
        operation = self.align_operation(config)
        frames = -(-config.frames // (operation.stride[0] if operation else 1))
        if self.arrangement == "channels":
            return (frames, 1, config.columns)
        return (frames, config.columns, 1)

    def shape_at(self, config: FrontEnd, scale: Scale, width: int) -> Shape:
        """The map at a scale; SAME padding makes it independent of how the scale was reached."""
        frames, coefficients, _ = self.aligned_shape(config)
        return (-(-frames // scale[0]), -(-coefficients // scale[1]), width)

    def genotype(self, config: FrontEnd, stem: ChainStep, chain: Sequence[ChainStep]) -> TinyGenotype:
        """The chain without its skips."""
        kept = tuple(x for x in chain if x.operation.kind != "skip")
        return TinyGenotype(self.arrangement, self.align_operation(config), stem, kept, self.classes)

    def at(self, choice: Choice) -> tuple[TinyGenotype, FrontEnd]:
        """What stands at a point; a stride that would pass `max_scale` is not taken."""
        stem = ChainStep(self.stems[choice.stem[0]], self.widths[choice.stem[1]])
        scale, width, chain = stem.operation.stride, stem.width, []
        for index, width_index in choice.chain:
            operation = self.operations[index]
            stride = self.stride_at(scale, operation)
            width = width if operation.keeps_width else self.widths[width_index]
            if operation.kind != "pool" or stride == operation.stride:
                chain.append(ChainStep(replace(operation, stride=stride), width))
            scale = self.scale_after(scale, operation)
        config = self.configs[choice.config]
        return self.genotype(config, stem, chain), config

    def contains(self, genotype: TinyGenotype, config: FrontEnd) -> bool:
        """Whether the search can end in this genotype on this configuration."""
        if (genotype.arrangement, genotype.classes) != (self.arrangement, self.classes):
            return False
        if config not in self.configs or genotype.align != self.align_operation(config):
            return False
        if genotype.stem.operation not in self.stems or genotype.stem.width not in self.widths:
            return False
        skips = self.positions - len(genotype.chain)
        if skips < 0 or (skips and Operation("skip") not in self.operations):
            return False
        scale = genotype.stem.operation.stride
        for step in genotype.chain:
            if step.operation not in self.operations or step.width not in self.widths:
                return False
            if not self.allowed(scale, step.operation):
                return False
            scale = self.scale_after(scale, step.operation)
        return True

    def sample(self, rng: np.random.Generator, config: FrontEnd) -> Network:
        """A random network, its size spread over the space rather than gathered in the middle."""
        return self.sample_genotype(rng, config).build(config)

    def sample_genotype(self, rng: np.random.Generator, config: FrontEnd) -> TinyGenotype:
        """Widths around a random level, a random length, every operation alike."""
        level = rng.integers(len(self.widths))

        def width() -> int:
            near = int(np.clip(level + rng.integers(-2, 3), 0, len(self.widths) - 1))
            return self.widths[near]

        stem = ChainStep(self.stems[rng.integers(len(self.stems))], width())
        scale, chain = stem.operation.stride, [stem]
        for _ in range(int(rng.integers(1, self.positions + 1))):
            choices = [x for x in self.operations if x.kind != "skip" and self.allowed(scale, x)]
            operation = choices[rng.integers(len(choices))]
            chain.append(ChainStep(operation, chain[-1].width if operation.keeps_width else width()))
            scale = self.scale_after(scale, operation)
        return self.genotype(config, stem, chain[1:])

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "configs": [str(x) for x in self.configs]}
