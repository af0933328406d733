"""What every choice of a `tiny` space costs, as tables: asked for once, before the search. No torch.

The tables are exact. Cycles and flash of a network are sums over its operators, and the arena of a chain is the
largest that one of its operators needs (`cost.arena`), so that a path through the tables gives the figures of
the network it stands for.

For a stream they are those of one decision: of the network that takes one step (`hil_nas.streaming`). Its delay lines
add up beside what its operators work in. How many rows come in and go out depends on the scale alone, but for those
that the average reads, which are as many as the kernels before it leave of a window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hil_nas.cost.arena import aligned, network_plan
from hil_nas.cost.blob import HEADER_BYTES, plan_bytes
from hil_nas.cost.macs import operator_macs, operator_parameters
from hil_nas.errors import InputError
from hil_nas.front_ends import FrontEnd
from hil_nas.nas.costs.network_limits import Cost
from hil_nas.nas.input_space import align_layers, head_layers
from hil_nas.nas.tiny.genotype import ChainStep, step_layers
from hil_nas.nas.tiny.places import Places
from hil_nas.nas.tiny.space import SKIP, Choice, TinySpace
from hil_nas.network import INPUT, Layer, Network, Operator, Shape
from hil_nas.operators.table import runs

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
_NONE = -1  # nothing in this place


@dataclass(frozen=True)
class CostRequests:
    """Everything that a supernet can contain on one front end, each once, and where it stands.

    Attributes:
        parts: what stands in one place of a chain, as a network of its own.
        align: index into `parts`, -1 for none; the others likewise.
        stem: (stems, widths).
        chain: (scales, operations, widths in, widths out).
        head: (scales, widths, rows), by what `TinySpace.kept_rows` says.
    """

    parts: tuple[Network, ...]
    align: Indices
    stem: Indices
    chain: Indices
    head: Indices


@dataclass(frozen=True)
class ChoiceCosts:
    """One kind of cost of every choice, by configuration.

    Attributes:
        front_end: (configs,).
        align: (configs,).
        stem: (configs, stems, widths).
        chain: (configs, scales, operations, widths in, widths out).
        head: (configs, scales, widths, rows), with what every network has.
    """

    front_end: Floats
    align: Floats
    stem: Floats
    chain: Floats
    head: Floats

    def scaled(self, ratio: float) -> ChoiceCosts:
        """The network's part times a ratio; the front end's stays."""
        parts = (x * ratio for x in (self.align, self.stem, self.chain, self.head))
        return ChoiceCosts(self.front_end, *parts)


@dataclass(frozen=True)
class CostTable:
    """What all adds up along a chain, but for RAM: that is the largest on it, plus all that a stream keeps, plus the
    front end's.

    Attributes:
        ram, state: of what is worked in and of a stream's delay lines; their sum, rounded up, is the arena.
    """

    space: TinySpace
    cycles: ChoiceCosts
    ram: ChoiceCosts
    state: ChoiceCosts
    flash: ChoiceCosts
    macs: ChoiceCosts
    parameters: ChoiceCosts

    def cost(self, choice: Choice) -> Cost:
        """The cost of a point, front end included."""
        g = choice.config
        cycles = self.network_cycles(choice) + float(self.cycles.front_end[g])
        arena = aligned(int(max(self._along(self.ram, choice)) + sum(self._along(self.state, choice))))
        flash = sum(self._along(self.flash, choice)) + self.flash.front_end[g]
        return Cost(cycles, arena + int(self.ram.front_end[g]), int(flash))

    def network_cycles(self, choice: Choice) -> float:
        """Cycles without the front end."""
        return sum(self._along(self.cycles, choice))

    def network_macs(self, choice: Choice) -> int:
        return int(sum(self._along(self.macs, choice)))

    def network_parameters(self, choice: Choice) -> int:
        return int(sum(self._along(self.parameters, choice)))

    @property
    def most_parameters(self) -> float:
        """An upper bound of a chain's: every position the largest."""
        return self.space.positions * float(self.parameters.chain.max())

    def corrected(self, ratio: float) -> CostTable:
        """The network's cycles times a ratio that a measurement gave."""
        return replace(self, cycles=self.cycles.scaled(ratio))

    def _along(self, tables: ChoiceCosts, choice: Choice) -> list[float]:
        """The entries of one network, from its alignment to its head."""
        space, g = self.space, choice.config
        config = space.configs[g]
        place, width = space.stem_place(config, space.stems[choice.stem[0]]), choice.stem[1]
        entries = [tables.align[g], tables.stem[g, choice.stem[0], width]]
        for index, width_out in choice.chain:
            taken = space.taken(config, place, space.operations[index])
            after = width if taken.keeps_width else width_out
            if taken != SKIP:
                entries.append(tables.chain[g, space.scales.index(place[0]), index, width, after])
            place, width = space.place_after(config, place, taken), after
        entries.append(tables.head[g, space.scales.index(place[0]), width, space.kept_rows(config, place)])
        return [float(x) for x in entries]


def cost_requests(space: TinySpace, number: int) -> CostRequests:
    """Everything that the supernet can contain on the features of a configuration, by its number."""
    config, heads = space.configs[number], Places.of(space).heads(number)
    index_of: dict[tuple[Shape, tuple[Layer, ...]], int] = {}

    def index(layers: Sequence[Layer], source: Shape) -> int:
        if not any(runs(x.kind) for x in layers):
            return _NONE
        return index_of.setdefault((source, tuple(layers)), len(index_of))

    count, scales, own = len(space.widths), space.scales, space.scales_of(config)
    source = (*config.shape, 1)
    align = np.array(index(align_layers(space.arrangement, space.align_operation(config), source), source))
    stem = np.full((len(space.stems), count), _NONE)
    chain = np.full((len(scales), len(space.operations), count, count), _NONE)
    head = np.full((len(scales), count, 1 + max(rows for _, rows in heads)), _NONE)
    for p, operation in enumerate(space.stems):
        for w, width in enumerate(space.widths):
            source = space.aligned_shape(config)
            stem[p, w] = index(_one_run(space, ChainStep(space.stem_at(config, operation), width), source), source)
    for s, scale in enumerate(scales):
        if scale not in own:
            continue
        for v, width_in in enumerate(space.widths):
            source = space.shape_at(config, scale, width_in)
            for o, w, step in _steps(space, config, scale):
                chain[s, o, v, w] = index(_one_run(space, step, source), source)
            for rows in (rows for at, rows in heads if at == s):
                head[s, v, rows] = index(_one_head(space, source, rows), source)
    return CostRequests(tuple(Network(*x) for x in index_of), align, stem, chain, head)


def tabulate(
    space: TinySpace,
    operator_cycles: Callable[[Sequence[Operator]], Floats],
    front_end_cycles: Callable[[FrontEnd], float],
    *,
    overhead_cycles: float = 0.0,
    front_end_ram_bytes: Callable[[FrontEnd], int] = lambda config: 0,
    front_end_flash_bytes: Callable[[FrontEnd], int] = lambda config: 0,
) -> CostTable:
    """Asks once for the cost of everything that a search may choose.

    Args:
        operator_cycles: cycles of operators, such as `LatencyModel.operator_cycles`.
        front_end_cycles: cycles of one clip's front end, or of one decision's.
        overhead_cycles: of every network, beside its operators'.
        front_end_ram_bytes, front_end_flash_bytes: what a configuration takes beside the network.

    Raises:
        InputError: where a cost is negative or no number.
    """
    requests = [cost_requests(space, x) for x in range(len(space.configs))]
    parts = {x: i for i, x in enumerate(dict.fromkeys(x for request in requests for x in request.parts))}
    part_indices = [np.array([parts[x] for x in request.parts]) for request in requests]
    contents = [_operators(x) for x in parts]
    every = {x: i for i, x in enumerate(dict.fromkeys(x for operators in contents for x in operators))}
    cycles = np.asarray(operator_cycles(tuple(every)), dtype=np.float64)
    front_end = [float(front_end_cycles(x)) for x in space.configs]
    for config, own, indices in zip(space.configs, front_end, part_indices, strict=True):
        _check(config, np.append(cycles[[every[x] for i in indices for x in contents[i]]], own))

    def spread(values: Iterable[float], front_end: Iterable[float] | None = None, each: float = 0.0) -> ChoiceCosts:
        by_part = np.array(list(values), dtype=np.float64)
        own = [0.0] * len(requests) if front_end is None else front_end
        return _tables(requests, [by_part[x] for x in part_indices], own, every_network=each)

    arenas = [network_plan(x) for x in parts]
    return CostTable(
        space,
        spread((cycles[[every[y] for y in x]].sum() for x in contents), front_end, overhead_cycles),
        spread((x.working_bytes for x in arenas), map(front_end_ram_bytes, space.configs)),
        spread(x.state_bytes for x in arenas),
        spread((plan_bytes(x) - HEADER_BYTES for x in parts), map(front_end_flash_bytes, space.configs), HEADER_BYTES),
        spread(sum(map(operator_macs, x)) for x in contents),
        spread(sum(sum(operator_parameters(y)) for y in x) for x in contents),
    )


def _steps(space: TinySpace, config: FrontEnd, scale: tuple[int, int]) -> Iterator[tuple[int, int, ChainStep]]:
    """(operation, width out, what it does at this scale); a pool at the largest scale does nothing."""
    for o, operation in enumerate(space.operations):
        stride = space.stride_at(config, scale, operation)
        if operation.kind == "pool" and stride != operation.stride:
            continue
        for w, width in enumerate(space.widths):
            yield o, w, ChainStep(replace(operation, stride=stride), width)


def _one_run(space: TinySpace, step: ChainStep, source: Shape) -> list[Layer]:
    """The layers of a position in one run; in a stream behind the rows that it keeps."""
    kept = max(step.operation.kernel[0] - step.operation.stride[0], 0) if space.period_samples is not None else 0
    before = _delay(source, kept + source[0])
    return [*before, *step_layers(step, len(before) - 1, space.padding)]


def _one_head(space: TinySpace, source: Shape, rows: int) -> list[Layer]:
    shape = (rows or source[0], *source[1:])
    before = _delay(source, shape[0])
    return [*before, *head_layers((shape[0], shape[1], shape[2]), space.classes, len(before) - 1)]


def _delay(source: Shape, rows: int) -> list[Layer]:
    """A delay line of so many rows; none where all of them are new."""
    return [] if rows == source[0] else [Layer("delay", (INPUT,), shape=(rows, *source[1:]))]


def _operators(part: Network) -> list[Operator]:
    """The layers with their shapes, reshapes left out: they run nothing. Without their places in a network, so that
    equal ones are priced once."""
    return [replace(x, layer=replace(x.layer, inputs=(INPUT,))) for x in part.operators() if runs(x.layer.kind)]


def _tables(
    requests: Sequence[CostRequests],
    values: Sequence[Floats],
    front_end: Iterable[float],
    *,
    every_network: float = 0.0,
) -> ChoiceCosts:
    """Spreads the parts' values over the choices."""

    def spread(name: str) -> Floats:
        rows = []
        for request, value in zip(requests, values, strict=True):
            padded = np.append(value, 0.0)  # index -1 finds the 0
            rows.append(padded[getattr(request, name)])
        if name == "head":  # as many rows as the longest window has
            most = max(x.shape[2] for x in rows)
            rows = [np.pad(x, ((0, 0), (0, 0), (0, most - x.shape[2]))) for x in rows]
        return np.stack(rows)

    own = np.array([float(x) for x in front_end])
    return ChoiceCosts(own, spread("align"), spread("stem"), spread("chain"), spread("head") + every_network)


def _check(config: FrontEnd, cycles: Floats) -> None:
    if not np.all(np.isfinite(cycles)) or cycles.min() < 0:
        bad = cycles[~(np.isfinite(cycles) & (cycles >= 0))][0]
        raise InputError(f"a cost at {config} is {bad} cycles, expected a number of 0 or more")
