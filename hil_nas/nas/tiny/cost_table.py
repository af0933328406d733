"""What every choice of a `tiny` space costs, as tables: asked for once, before the search. No torch.

The tables are exact. Cycles and flash of a network are sums over its operators, and the arena of a chain is the
largest that one of its operators needs (`cost.arena`), so that a path through the tables gives the figures of
the network it stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hil_nas.cost.arena import arena_bytes
from hil_nas.cost.blob import HEADER_BYTES, plan_bytes
from hil_nas.cost.macs import operator_macs, operator_parameters
from hil_nas.errors import InputError
from hil_nas.front_ends import FrontEnd
from hil_nas.nas.costs.network_limits import Cost
from hil_nas.nas.input_space import align_layers, head_layers
from hil_nas.nas.tiny.genotype import ChainStep, step_layers
from hil_nas.nas.tiny.space import Choice, TinySpace
from hil_nas.network import INPUT, Layer, Network, Operator, Shape
from hil_nas.operators.table import runs

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
_NONE = -1  # no operator in this place


@dataclass(frozen=True)
class CostRequests:
    """Every operator that a supernet can contain on one front end, each once, and where it stands.

    Attributes:
        operators: to be priced, in this order.
        align: (2,) indices into `operators`, -1 for none; the others likewise in their last axis.
        stem: (stems, widths, 2).
        chain: (scales, operations, widths in, widths out, 2).
        head: (scales, widths, 2).
    """

    operators: tuple[Operator, ...]
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
        head: (configs, scales, widths), with what every network has.
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
    """What all adds up along a chain, but for RAM: that is the largest on it plus the front end's."""

    space: TinySpace
    cycles: ChoiceCosts
    ram: ChoiceCosts
    flash: ChoiceCosts
    macs: ChoiceCosts
    parameters: ChoiceCosts

    def cost(self, choice: Choice) -> Cost:
        """The cost of a point, front end included."""
        g = choice.config
        cycles = self.network_cycles(choice) + float(self.cycles.front_end[g])
        ram = max(self._along(self.ram, choice)) + self.ram.front_end[g]
        flash = sum(self._along(self.flash, choice)) + self.flash.front_end[g]
        return Cost(cycles, int(ram), int(flash))

    def network_cycles(self, choice: Choice) -> float:
        """Cycles without the front end."""
        return sum(self._along(self.cycles, choice))

    def network_macs(self, choice: Choice) -> int:
        return int(sum(self._along(self.macs, choice)))

    def network_parameters(self, choice: Choice) -> int:
        return int(sum(self._along(self.parameters, choice)))

    def corrected(self, ratio: float) -> CostTable:
        """The network's cycles times a ratio that a measurement gave."""
        return replace(self, cycles=self.cycles.scaled(ratio))

    def _along(self, tables: ChoiceCosts, choice: Choice) -> list[float]:
        """The entries of one network, from its alignment to its head."""
        space, g = self.space, choice.config
        scale, width = space.stems[choice.stem[0]].stride, choice.stem[1]
        entries = [tables.align[g], tables.stem[g, choice.stem[0], width]]
        for index, width_out in choice.chain:
            operation = space.operations[index]
            after = width if operation.keeps_width else width_out
            entries.append(tables.chain[g, space.scales.index(scale), index, width, after])
            scale, width = space.scale_after(scale, operation), after
        return [float(x) for x in (*entries, tables.head[g, space.scales.index(scale), width])]


def cost_requests(space: TinySpace, config: FrontEnd) -> CostRequests:
    """Every operator that the supernet can contain on the features of `config`."""
    index_of: dict[Operator, int] = {}

    def indices(layers: Sequence[Layer], source: Shape) -> list[int]:
        row = [index_of.setdefault(x, len(index_of)) for x in _operators(layers, source)]
        return row + [_NONE] * (2 - len(row))

    count, scales = len(space.widths), space.scales
    source = (*config.shape, 1)
    align = np.array(indices(align_layers(space.arrangement, space.align_operation(config), source), source))
    stem = np.full((len(space.stems), count, 2), _NONE)
    chain = np.full((len(scales), len(space.operations), count, count, 2), _NONE)
    head = np.full((len(scales), count, 2), _NONE)
    for p, operation in enumerate(space.stems):
        for w, width in enumerate(space.widths):
            stem[p, w] = indices(step_layers(ChainStep(operation, width), INPUT), space.aligned_shape(config))
    for s, scale in enumerate(scales):
        for v, width_in in enumerate(space.widths):
            source = space.shape_at(config, scale, width_in)
            head[s, v] = indices(head_layers(source, space.classes, INPUT), source)
            for o, w, step in _steps(space, scale):
                chain[s, o, v, w] = indices(step_layers(step, INPUT), source)
    return CostRequests(tuple(index_of), align, stem, chain, head)


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
        front_end_cycles: cycles of one clip's front end.
        overhead_cycles: of every network, beside its operators'.
        front_end_ram_bytes, front_end_flash_bytes: what a configuration takes beside the network.

    Raises:
        InputError: where a cost is negative or no number.
    """
    requests = [cost_requests(space, x) for x in space.configs]
    every = {x: i for i, x in enumerate(dict.fromkeys(x for request in requests for x in request.operators))}
    operator_indices = [np.array([every[x] for x in request.operators]) for request in requests]

    def by_config(values: NDArray[np.generic]) -> list[NDArray[np.generic]]:
        return [values[x] for x in operator_indices]

    cycles = by_config(np.asarray(operator_cycles(tuple(every)), dtype=np.float64))
    front_end = [float(front_end_cycles(x)) for x in space.configs]
    for config, operator_costs, own in zip(space.configs, cycles, front_end, strict=True):
        _check(config, np.append(operator_costs, own))
    alone = [_alone(x) for x in every]
    ram = by_config(np.array([arena_bytes(x) for x in alone]))
    flash = by_config(np.array([plan_bytes(x) - HEADER_BYTES for x in alone]))
    macs = by_config(np.array([operator_macs(x) for x in every]))
    weights = by_config(np.array([sum(operator_parameters(x)) for x in every]))
    return CostTable(
        space,
        _tables(requests, cycles, front_end, every_network=overhead_cycles),
        _tables(requests, ram, map(front_end_ram_bytes, space.configs), largest=True),
        _tables(requests, flash, map(front_end_flash_bytes, space.configs), every_network=HEADER_BYTES),
        _tables(requests, macs, [0] * len(requests)),
        _tables(requests, weights, [0] * len(requests)),
    )


def _steps(space: TinySpace, scale: tuple[int, int]) -> Iterator[tuple[int, int, ChainStep]]:
    """(operation, width out, what it does at this scale); a pool at the largest scale does nothing."""
    for o, operation in enumerate(space.operations):
        stride = space.stride_at(scale, operation)
        if operation.kind == "pool" and stride != operation.stride:
            continue
        for w, width in enumerate(space.widths):
            yield o, w, ChainStep(replace(operation, stride=stride), width)


def _operators(layers: Sequence[Layer], source: Shape) -> list[Operator]:
    """The layers with their shapes, reshapes left out: they run nothing."""
    if not layers:
        return []
    operators = Network(source, tuple(layers)).operators()
    return [_anonymous(x) for x in operators if runs(x.layer.kind)]


def _anonymous(operator: Operator) -> Operator:
    """The operator without its place in a network, so that equal ones are priced once."""
    return replace(operator, layer=replace(operator.layer, inputs=(INPUT,)))


def _alone(operator: Operator) -> Network:
    return Network(operator.inputs[0], (operator.layer,))


def _tables(
    requests: Sequence[CostRequests],
    values: Sequence[NDArray[np.generic]],
    front_end: Iterable[float],
    *,
    every_network: float = 0.0,
    largest: bool = False,
) -> ChoiceCosts:
    """Spreads the operators' values over the choices, summed or the largest of each choice's operators."""

    def spread(name: str) -> Floats:
        rows = []
        for request, value in zip(requests, values, strict=True):
            padded = np.append(value.astype(np.float64), 0.0)  # index -1 finds the 0
            each = padded[getattr(request, name)]
            rows.append(each.max(-1) if largest else each.sum(-1))
        return np.stack(rows)

    own = np.array([float(x) for x in front_end])
    return ChoiceCosts(own, spread("align"), spread("stem"), spread("chain"), spread("head") + every_network)


def _check(config: FrontEnd, cycles: Floats) -> None:
    if not np.all(np.isfinite(cycles)) or cycles.min() < 0:
        bad = cycles[~(np.isfinite(cycles) & (cycles >= 0))][0]
        raise InputError(f"a cost at {config} is {bad} cycles, expected a number of 0 or more")
