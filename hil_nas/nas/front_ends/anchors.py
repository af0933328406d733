"""What any front end of a kind costs, window, hop and coefficients being real numbers: interpolated between anchors.

A network's cost on the anchors' features is asked for exactly, by number of frames and of coefficients, and is close
to a straight line between neighbours. A front end's is one line in the number of frames for every window, since each
frame takes the same; between windows lies another, but for the two where the FFT doubles: that step is spread over
some samples, so that a gradient sees it. What is found at the end is priced exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hil_nas.errors import InfeasibleError, InputError
from hil_nas.front_ends import FrontEnd, search_grid
from hil_nas.nas.costs.multipliers import Expectation
from hil_nas.nas.costs.network_limits import Cost, Limits
from hil_nas.nas.protocols import digest
from hil_nas.nas.tiny.architecture import Probabilities
from hil_nas.nas.tiny.cost_table import CostTable, Floats, tabulate
from hil_nas.nas.tiny.derive import feasible_configs
from hil_nas.nas.tiny.expected import ExpectedCost
from hil_nas.nas.tiny.space import TinySpace
from hil_nas.network import Operator

_WINDOW = 400  # of the anchors that networks are priced on: only their frames count


@dataclass(frozen=True)
class FrontEndSpace:
    """Where window, hop and coefficients are looked for; ends are included.

    Attributes:
        windows: in samples, ascending: what the front end is priced at. The FFT doubles behind 256 and 512.
        hops: in samples, ascending: what networks are priced at.
        coefficients: fewest and most.
        like: every configuration but for its window, hop and columns.
        start: window, hop and coefficients that a search begins with.

    Raises:
        InputError: for anchors that span nothing, or a start outside.
    """

    windows: tuple[int, ...] = (200, 256, 288, 512, 576, 1024)
    hops: tuple[int, ...] = (100, 125, 160, 200, 250, 320, 400)
    coefficients: tuple[int, int] = (12, 40)
    like: FrontEnd = field(default_factory=lambda: search_grid()[0])
    start: tuple[int, int, int] = (400, 200, 28)

    def __post_init__(self) -> None:
        for name, anchors in (("windows", self.windows), ("hops", self.hops), ("coefficients", self.coefficients)):
            if len(anchors) < 2 or list(anchors) != sorted(set(anchors)):
                raise InputError(f"{name} are {anchors}, expected two or more, ascending")
        for value, (low, high) in zip(self.start, self.bounds, strict=True):
            if not low <= value <= high:
                raise InputError(f"the start {self.start} lies outside {self.bounds}")

    @property
    def bounds(self) -> tuple[tuple[int, int], ...]:
        """Lowest and highest window, hop and coefficients."""
        return tuple((x[0], x[-1]) for x in (self.windows, self.hops, self.coefficients))

    @property
    def cheapest(self) -> FrontEnd:
        return self.at(self.windows[0], self.hops[-1], self.coefficients[0])

    def at(self, window: int, hop: int, columns: int) -> FrontEnd:
        """The configuration of whole numbers."""
        return replace(self.like, window_samples=window, hop_samples=hop).with_columns(columns)

    def config(self, window: float, hop: float, coefficients: float) -> FrontEnd:
        """The nearest configuration that a device has: whole samples, coefficients in fours as kernels take them."""
        low, high = self.coefficients
        return self.at(round(window), round(hop), min(max(4 * round(coefficients / 4), low), high))

    def roundings(self, window: float, hop: float, coefficients: float) -> tuple[FrontEnd, ...]:
        """The nearest configuration and, unless it lies below all windows, the one whose window fills half the FFT."""
        nearest = self.config(window, hop, coefficients)
        halved = nearest.fft_size // 2
        return (nearest, replace(nearest, window_samples=halved)) if halved >= self.windows[0] else (nearest,)

    def cheaper_than(self, hop: float) -> Iterator[FrontEnd]:
        """Ever longer hops, with the shortest window and the fewest coefficients."""
        return (replace(self.cheapest, hop_samples=x) for x in self.hops if x > hop)


@dataclass(frozen=True)
class FrontEndCosts:
    """Exact costs of any configuration.

    Attributes:
        operator_cycles: of operators, such as `LatencyModel.operator_cycles`.
        overhead_cycles: of every network, beside its operators'.
        front_end: of a configuration with all that is neither network nor arena, such as the firmware.
    """

    operator_cycles: Callable[[Sequence[Operator]], Floats]
    overhead_cycles: float
    front_end: Callable[[FrontEnd], Cost]

    def table(self, space: TinySpace) -> CostTable:
        return tabulate(
            space,
            self.operator_cycles,
            lambda x: self.front_end(x).cycles,
            overhead_cycles=self.overhead_cycles,
            front_end_ram_bytes=lambda x: self.front_end(x).ram_bytes,
            front_end_flash_bytes=lambda x: self.front_end(x).flash_bytes,
        )


class AnchorCosts(nn.Module):
    """Expected cost at any point of a data space, with gradients of the point and of the probabilities.

    Args:
        tiny: the networks; its configurations are not used.
    """

    def __init__(self, space: FrontEndSpace, tiny: TinySpace, costs: FrontEndCosts) -> None:
        super().__init__()
        hops = sorted(space.hops, reverse=True)
        configs = tuple(space.at(_WINDOW, x, c) for c in space.coefficients for x in hops)
        self.table = table = _networks(costs.table(replace(tiny, configs=configs, align="pad")))
        self.networks = ExpectedCost(table)
        lines = [[_line(costs.front_end, space, w, c) for c in space.coefficients] for w in space.windows]
        self._keep("lines", np.array(lines))  # (windows, coefficients, 2, resources)
        self._keep("windows", space.windows)
        self._keep("frames", [x.frames for x in configs[: len(hops)]])
        self._keep("coefficients", space.coefficients)
        self.samples = space.like.clip.samples
        parts = [p for x in (table.cycles, table.ram, table.flash) for p in (x.stem, x.chain, x.head)]
        self.digest = digest([np.array(lines), *parts])

    def _keep(self, name: str, values: Any) -> None:
        self.register_buffer(name, torch.tensor(values, dtype=torch.float32), persistent=False)

    def forward(self, point: Tensor, chosen: Probabilities) -> Expectation:
        """Of the drawn networks on one configuration.

        Args:
            point: window and hop in samples, and coefficients, (3,).
            chosen: of which the configurations' probabilities are not read.
        """
        on_frames, on_coefficients = self._between(point)
        costs = torch.stack(self.networks(chosen).by_config)
        costs = costs.reshape(len(costs), len(on_coefficients), len(on_frames))
        network = torch.einsum("rcf,f,c->r", costs, on_frames, on_coefficients)
        total = network + self.front_end(point)
        return Expectation(torch.ones(1).to(total), (total[:1], total[1:2], total[2:]))

    def front_end(self, point: Tensor) -> Tensor:
        """Cycles, RAM and flash of the front end alone, (3,)."""
        on_window = between(point[0], self.get_buffer("windows"))
        line = torch.einsum("wckr,w,c->kr", self.get_buffer("lines"), on_window, self._between(point)[1])
        return line[0] + line[1] * self._frames(point)

    def nearest(self, point: Tensor) -> int:
        """The configuration of `table` whose networks cost most like those at the point."""
        on_frames, on_coefficients = self._between(point.detach())
        return int(on_coefficients.argmax()) * len(on_frames) + int(on_frames.argmax())

    def _frames(self, point: Tensor) -> Tensor:
        return 1 + (self.samples - point[0]) / point[1]

    def _between(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of the anchors' frames and coefficients."""
        on_frames = between(self._frames(point), self.get_buffer("frames"))
        return on_frames, between(point[2], self.get_buffer("coefficients"))


def holds(table: CostTable, limits: Limits) -> bool:
    """Whether a network of the table holds every limit."""
    try:
        feasible_configs(table, limits)
    except InfeasibleError:
        return False
    return True


def between(value: Tensor, anchors: Tensor) -> Tensor:
    """Weights of ascending anchors that interpolate linearly, (anchors,); beyond the ends, the end's."""
    inside = value.clamp(anchors[0], anchors[-1])
    left = int((torch.searchsorted(anchors, inside.detach(), right=True) - 1).clamp(0, len(anchors) - 2))
    share = (inside - anchors[left]) / (anchors[left + 1] - anchors[left])
    hot = F.one_hot(torch.tensor([left, left + 1]), len(anchors)).to(anchors)
    return (1 - share) * hot[0] + share * hot[1]


def _networks(table: CostTable) -> CostTable:
    """The table with zero for the cost of every front end."""
    none = np.zeros(len(table.space.configs))
    cycles, ram, flash = (replace(x, front_end=none) for x in (table.cycles, table.ram, table.flash))
    return replace(table, cycles=cycles, ram=ram, flash=flash)


def _line(front_end: Callable[[FrontEnd], Cost], space: FrontEndSpace, window: int, coefficients: int) -> list[Floats]:
    """Cost of a front end as a line in its number of frames, through the space's shortest and longest hop: the cost at
    no frame, and per frame. The C source takes frames in pairs, so that an odd number costs as much as the next."""
    ends = []
    for hop in space.bounds[1]:
        config = space.at(window, hop, coefficients)
        ends.append((config.frames + config.frames % 2, np.array(front_end(config).values())))
    (many, dear), (few, cheap) = ends
    each = (dear - cheap) / (many - few)
    return [cheap - few * each, each]
