"""The `tiny` space: chains of depthwise-separable convolutions for microcontrollers. No torch.

    input (frames, coefficients, 1)
      -> alignment: an optional strided convolution that brings long inputs near the shortest grid
      -> stem: a convolution, its kernel, stride and width chosen
      -> `positions` times one of: skip, pool, pointwise, depthwise-separable of some kernel and stride;
         every convolution with a width of its own
      -> average over the whole map -> dense

For a stream (`period_samples`) nothing is padded along time: each kernel reaches over more of the window, all of them
together over no more than its frames, and a stride divides the frames that are new in a decision.

With the arrangement "channels" the input is read as (frames, 1, coefficients), so that every convolution runs
along time alone, as in TC-ResNet (arXiv:1904.03814); with "plane" it stays a map of time and frequency, as in
DS-CNN (arXiv:1711.07128). An expansion is a pointwise position before a separable one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from hil_nas.errors import InputError
from hil_nas.front_ends import FrontEnd, paper_grid
from hil_nas.nas.input_space import Align, Arrangement, Operation, align_stride
from hil_nas.nas.tiny.genotype import ChainStep, TinyGenotype
from hil_nas.network import Network, Pair, Shape

Scale = Pair  # by how much (time, frequency) have been reduced since the aligned input
Place = tuple[Scale, int]  # and over how many frames beyond its first a row reaches; of whole clips, as padded, 0
SKIP = Operation("skip")


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
    return (SKIP, *pools[:1], Operation("pointwise"), *separable)


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
        period_samples: from one decision of a stream to the next; None: networks read whole clips.

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
    period_samples: int | None = None

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
        self._check_stream()

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

    def _check_stream(self) -> None:
        if self.period_samples is None:
            return
        if self.arrangement != "channels" or self.align != "pad":
            raise InputError(f"a stream has channels and aligns nothing, found '{self.arrangement}', '{self.align}'")
        for x in self.configs:
            if not x.steps_by(self.period_samples):
                raise InputError(f"{x} has no whole number of frames in {self.period_samples} samples of a stream")

    @property
    def padding(self) -> Literal["same", "valid"]:
        """Of all that goes along time."""
        return "same" if self.period_samples is None else "valid"

    def step_frames(self, config: FrontEnd) -> int:
        """Frames that one run of a network reads anew: those of a stream's decision, or of a whole clip."""
        return config.frames if self.period_samples is None else self.period_samples // config.hop_samples

    def most_reach(self, config: FrontEnd) -> int:
        """Frames beyond its first that a row may reach over, so that a window's map has all new rows of a decision."""
        return config.frames - self.step_frames(config)

    @cached_property
    def scales(self) -> tuple[Scale, ...]:
        """Every scale that a position can find, ascending."""
        return tuple(sorted({scale for config in self.configs for scale in self.scales_of(config)}))

    def scales_of(self, config: FrontEnd) -> set[Scale]:
        """Those that a position can find on a configuration."""
        scales = {self.stem_at(config, x).stride for x in self.stems}
        while True:
            more = {self.scale_after(config, s, x) for s in scales for x in self.operations} | scales
            if more == scales:
                return scales
            scales = more

    def scale_after(self, config: FrontEnd, scale: Scale, operation: Operation) -> Scale:
        """The scale behind an operation, with the stride that it has there."""
        stride = self.stride_at(config, scale, operation)
        return (scale[0] * stride[0], scale[1] * stride[1])

    def stride_at(self, config: FrontEnd, scale: Scale, operation: Operation) -> Pair:
        """The stride that an operation has at a scale; one that would pass `max_scale`, or would not divide the new
        frames of a decision, does nothing."""
        stride = operation.stride
        after = (scale[0] * stride[0], scale[1] * stride[1])
        fits = after[0] <= self.max_scale[0] and after[1] <= self.max_scale[1]
        if self.period_samples is not None:
            fits = fits and self.step_frames(config) % after[0] == 0
        return stride if fits else (1, 1)

    def allowed(self, config: FrontEnd, scale: Scale, operation: Operation) -> bool:
        """Whether an operation keeps its stride at a scale; the supernet counts the others at stride 1."""
        return self.stride_at(config, scale, operation) == operation.stride

    def reach_of(self, scale: Scale, operation: Operation) -> int:
        """Frames by which an operation reaches further than what it reads."""
        return 0 if self.period_samples is None else (operation.kernel[0] - 1) * scale[0]

    def stem_at(self, config: FrontEnd, stem: Operation) -> Operation:
        """What a stem does on a configuration: with no stride where that does nothing, and with a kernel of one row
        where its own reaches beyond the window."""
        stem = replace(stem, stride=self.stride_at(config, (1, 1), stem))
        return stem if self._inside(config, self.reach_of((1, 1), stem)) else replace(stem, kernel=(1, stem.kernel[1]))

    def taken(self, config: FrontEnd, place: Place, operation: Operation) -> Operation:
        """What an operation does at a place: a pool without its stride, and a kernel that would reach beyond the
        window, do nothing."""
        scale, reach = place
        taken = replace(operation, stride=self.stride_at(config, scale, operation))
        idle = operation.kind == "pool" and taken != operation
        return SKIP if idle or not self._inside(config, reach + self.reach_of(scale, operation)) else taken

    def place_after(self, config: FrontEnd, place: Place, taken: Operation) -> Place:
        """Where the next position reads."""
        return self.scale_after(config, place[0], taken), place[1] + self.reach_of(place[0], taken)

    def stem_place(self, config: FrontEnd, stem: Operation) -> Place:
        """Where the first position reads."""
        stem = self.stem_at(config, stem)
        return stem.stride, self.reach_of((1, 1), stem)

    def kept_rows(self, config: FrontEnd, place: Place) -> int:
        """Rows of the map that a stream's average reads, and so keeps; of whole clips, whose maps say it, 0."""
        (scale, _), reach = place
        return 0 if self.period_samples is None else (config.frames - 1 - reach) // scale + 1

    def _inside(self, config: FrontEnd, reach: int) -> bool:
        return self.period_samples is None or reach <= self.most_reach(config)

    def align_operation(self, config: FrontEnd) -> Operation | None:
        """The convolution that brings `config` near the shortest grid; None where none is needed."""
        stride = align_stride(config, self.configs) if self.align == "conv" else 1
        if stride < 2:
            return None
        return Operation("conv", (2 * stride - 1, 1 if self.arrangement == "channels" else 3), (stride, 1))

    def aligned_shape(self, config: FrontEnd) -> Shape:
        """The map that the stem reads in one run, without what a stream kept: (time, frequency, channels)."""
        operation = self.align_operation(config)
        frames = -(-self.step_frames(config) // (operation.stride[0] if operation else 1))
        if self.arrangement == "channels":
            return (frames, 1, config.columns)
        return (frames, config.columns, 1)

    def shape_at(self, config: FrontEnd, scale: Scale, width: int) -> Shape:
        """The map at a scale; SAME padding makes it independent of how the scale was reached, as are a stream's new
        rows."""
        frames, coefficients, _ = self.aligned_shape(config)
        return (-(-frames // scale[0]), -(-coefficients // scale[1]), width)

    def genotype(self, config: FrontEnd, stem: ChainStep, chain: Sequence[ChainStep]) -> TinyGenotype:
        """The chain without its skips."""
        kept = tuple(x for x in chain if x.operation.kind != "skip")
        return TinyGenotype(self.arrangement, self.align_operation(config), stem, kept, self.classes, self.padding)

    def at(self, choice: Choice) -> tuple[TinyGenotype, FrontEnd]:
        """What stands at a point, as it is taken there."""
        config, operation = self.configs[choice.config], self.stems[choice.stem[0]]
        width, place, chain = self.widths[choice.stem[1]], self.stem_place(config, operation), []
        stem = ChainStep(self.stem_at(config, operation), width)
        for index, width_index in choice.chain:
            operation = self.taken(config, place, self.operations[index])
            width = width if operation.keeps_width else self.widths[width_index]
            chain.append(ChainStep(operation, width))
            place = self.place_after(config, place, operation)
        return self.genotype(config, stem, chain), config

    def contains(self, genotype: TinyGenotype, config: FrontEnd) -> bool:
        """Whether the search can end in this genotype on this configuration."""
        own = (self.arrangement, self.classes, self.padding)
        if (genotype.arrangement, genotype.classes, genotype.padding) != own:
            return False
        if config not in self.configs or genotype.align != self.align_operation(config):
            return False
        if genotype.stem.operation not in self.stems or genotype.stem.width not in self.widths:
            return False
        skips = self.positions - len(genotype.chain)
        if skips < 0 or (skips and SKIP not in self.operations):
            return False
        if self.stem_at(config, genotype.stem.operation) != genotype.stem.operation:
            return False
        place = self.stem_place(config, genotype.stem.operation)
        for step in genotype.chain:
            if step.operation not in self.operations or step.width not in self.widths:
                return False
            if self.taken(config, place, step.operation) != step.operation:
                return False
            place = self.place_after(config, place, step.operation)
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

        stems = [x for x in self.stems if self.stem_at(config, x) == x]
        stem = ChainStep(stems[rng.integers(len(stems))], width())
        place, chain = self.stem_place(config, stem.operation), [stem]
        for _ in range(int(rng.integers(1, self.positions + 1))):
            choices = [x for x in self.operations if x.kind != "skip" and self.taken(config, place, x) == x]
            operation = choices[rng.integers(len(choices))]
            chain.append(ChainStep(operation, chain[-1].width if operation.keeps_width else width()))
            place = self.place_after(config, place, operation)
        return self.genotype(config, stem, chain[1:])

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "configs": [str(x) for x in self.configs]}
