"""What every choice of a `darts` space costs: asked for once, before the search. No torch.

All cells of a kind share their edges, so that an edge's cost is the sum over the cells that have it. Sums of edges are
what a search follows; they lie above the exact figures only where layers are shared or read by nothing. `cost` gives
the exact figures of one network: cycles of its own operators, the arena and the plan as they are lowered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hil_nas.cost.arena import arena_bytes
from hil_nas.cost.blob import HEADER_BYTES, plan_bytes
from hil_nas.errors import InputError
from hil_nas.front_ends import FrontEnd
from hil_nas.nas.costs.network_limits import Cost
from hil_nas.nas.darts.genotype import CHOICES, Cell, DartsGenotype, Edge, edge_layers, entry_layer, stem_layer
from hil_nas.nas.darts.space import CELL_INPUTS, CELL_KINDS, OPERATORS, CellShapes, DartsSpace
from hil_nas.nas.input_space import align_layers, head_layers
from hil_nas.network import INPUT, Layer, Network, Operator, Shape
from hil_nas.operators.table import runs

Floats = NDArray[np.float64]
_LEAN = "max_pool_3x3"  # needs nothing beside its output


@dataclass(frozen=True)
class EdgeTable:
    """One kind of cost that adds up, by configuration.

    Attributes:
        front_end: (configs,).
        fixed: (configs,), what every network has: alignment, stem, 1x1 convolutions, additions, joins and head.
        edges: (configs, kinds of cells, edges, operators), over all cells of the kind; 0 for `none`.
    """

    front_end: Floats
    fixed: Floats
    edges: Floats

    def scaled(self, ratio: float) -> EdgeTable:
        """The network's part times a ratio; the front end's stays."""
        return EdgeTable(self.front_end, self.fixed * ratio, self.edges * ratio)

    def of(self, genotype: DartsGenotype, config: int, space: DartsSpace) -> float:
        """The sum for one network, without its front end."""
        total = float(self.fixed[config])
        for k, kind in enumerate(CELL_KINDS):
            for node, edges in enumerate(genotype.cell(kind).nodes):
                for edge in edges:
                    edge_index = space.edges_of(node)[edge.source]
                    total += float(self.edges[config, k, edge_index, OPERATORS.index(edge.operator)])
        return total


@dataclass(frozen=True)
class DartsCostTable:
    """The cost of everything in a space.

    Attributes:
        cycles, flash: of choices.
        front_end_ram: (configs,), beside the network's arena.
        arena: (configs, kinds of cells, edges, operators), of a lean network with one such edge.
        operators: cycles of every operator that a network of the space can have.
        overhead_cycles: of every network, in `cycles` too; below 0 where operators were measured with their probes.
        ratio: measured over predicted cycles of a network.
    """

    space: DartsSpace
    cycles: EdgeTable
    flash: EdgeTable
    front_end_ram: Floats
    arena: Floats
    operators: dict[Operator, float]
    overhead_cycles: float
    ratio: float = 1.0

    def cost(self, genotype: DartsGenotype, config: int) -> Cost:
        """The exact cost of a network on a configuration, front end included."""
        network = genotype.build(self.space.configs[config])
        cycles = self.network_cycles(network) + float(self.cycles.front_end[config])
        ram = arena_bytes(network) + int(self.front_end_ram[config])
        return Cost(cycles, ram, plan_bytes(network) + int(self.flash.front_end[config]))

    def network_cycles(self, network: Network) -> float:
        """Cycles of a network of the space, without the front end."""
        own = sum(self.operators[anonymous(x)] for x in network.operators() if runs(x.layer.kind))
        return self.ratio * (own + self.overhead_cycles)

    def corrected(self, ratio: float) -> DartsCostTable:
        """The network's predicted cycles times a ratio that measurements gave."""
        return replace(self, cycles=self.cycles.scaled(ratio / self.ratio), ratio=ratio)


def tabulate_darts(
    space: DartsSpace,
    operator_cycles: Callable[[Sequence[Operator]], Floats],
    front_end_cycles: Callable[[FrontEnd], float],
    *,
    overhead_cycles: float = 0.0,
    front_end_ram_bytes: Callable[[FrontEnd], int] = lambda config: 0,
    front_end_flash_bytes: Callable[[FrontEnd], int] = lambda config: 0,
) -> DartsCostTable:
    """Asks once for the cost of everything that a search may choose; arguments as of `nas.tiny.cost_table.tabulate`.

    Raises:
        InputError: where a cost is negative or no number.
    """
    parts = [_parts(space, x) for x in space.configs]
    operators = {x: None for fixed, edges in parts for x in [*fixed, *(y for row in edges.values() for y in row)]}
    values = np.asarray(operator_cycles(tuple(operators)), dtype=np.float64)
    front_end = np.array([float(front_end_cycles(x)) for x in space.configs])
    bad = [x for x in (*values, *front_end) if not (np.isfinite(x) and x >= 0)]
    if bad or len(values) != len(operators):
        raise InputError(f"a cost is {bad[:1]} cycles, expected {len(operators)} numbers of 0 or more")
    cycles = dict(zip(operators, map(float, values), strict=True))
    flash = {x: float(plan_bytes(_alone(x)) - HEADER_BYTES) for x in operators}
    arenas = {size: _edge_arenas(space, x) for size, x in {_size(x): x for x in space.configs}.items()}
    return DartsCostTable(
        space,
        _table(space, parts, cycles, front_end, overhead_cycles),
        _table(space, parts, flash, np.array([float(front_end_flash_bytes(x)) for x in space.configs]), HEADER_BYTES),
        np.array([float(front_end_ram_bytes(x)) for x in space.configs]),
        np.stack([arenas[_size(x)] for x in space.configs]),
        cycles,
        overhead_cycles,
    )


def anonymous(operator: Operator) -> Operator:
    """The operator without its place in a network, so that equal ones are priced once."""
    return replace(operator, layer=replace(operator.layer, inputs=(INPUT,) * len(operator.layer.inputs)))


Parts = tuple[list[Operator], dict[tuple[int, int, int], list[Operator]]]


def _parts(space: DartsSpace, config: FrontEnd) -> Parts:
    """Operators on one configuration: those of every network, and by (kind of cell, edge, operator)."""
    source = (*config.shape, 1)
    before = align_layers("plane", space.align_operation(config), source)
    fixed = _operators(source, [*before, stem_layer(space.channels, len(before) - 1)])
    edges: dict[tuple[int, int, int], list[Operator]] = {}
    by_cell = space.shapes_of_cells(space.aligned_shape(config))
    for shapes in by_cell:
        for which, read in enumerate(shapes.sources):
            fixed += _operators(read, [entry_layer(shapes, which, INPUT)])
        fixed += _joins(shapes, space.nodes)
        for edge, (_, origin) in enumerate(space.edges):
            shape = shapes.entered if origin < CELL_INPUTS else shapes.node
            for operator in CHOICES:
                layers = edge_layers(operator, INPUT, shapes.channels, space.stride(shapes.kind, edge))
                key = (CELL_KINDS.index(shapes.kind), edge, OPERATORS.index(operator))
                edges.setdefault(key, []).extend(_operators(shape, layers))
    end = (*by_cell[-1].node[:2], space.nodes * by_cell[-1].channels)
    return fixed + _operators(end, head_layers(end, space.classes, INPUT)), edges


def _joins(shapes: CellShapes, nodes: int) -> list[Operator]:
    """The additions of a cell and the concatenation at its end."""
    add = Operator(Layer("add", (INPUT, INPUT)), (shapes.node,) * 2, shapes.node)
    end = (*shapes.node[:2], nodes * shapes.channels)
    return [add] * nodes + [Operator(Layer("concatenation", (INPUT,) * nodes), (shapes.node,) * nodes, end)]


def _operators(shape: Shape, layers: Sequence[Layer]) -> list[Operator]:
    if not layers:
        return []
    return [anonymous(x) for x in Network(shape, tuple(layers)).operators()]


def _alone(operator: Operator) -> Network:
    """The operator as a network; where it reads several maps they are alike, and it reads one of them again."""
    return Network(operator.inputs[0], (operator.layer,))


def _table(
    space: DartsSpace, parts: Sequence[Parts], values: dict[Operator, float], front_end: Floats, every_network: float
) -> EdgeTable:
    fixed = np.array([sum(values[x] for x in own) + every_network for own, _ in parts])
    edges = np.zeros((len(parts), len(CELL_KINDS), len(space.edges), len(OPERATORS)))
    for config, (_, rows) in enumerate(parts):
        for row, operators in rows.items():
            edges[(config, *row)] = sum(values[x] for x in operators)
    return EdgeTable(front_end, fixed, edges)


def _size(config: FrontEnd) -> tuple[int, int]:
    """All of a configuration that an arena depends on."""
    return config.shape


def _edge_arenas(space: DartsSpace, config: FrontEnd) -> Floats:
    """(kinds, edges, operators): pools everywhere but on one edge, of the first node that its source reaches."""
    arenas: Floats = np.zeros((len(CELL_KINDS), len(space.edges), len(OPERATORS)))
    lean = Cell(((Edge(0, _LEAN), Edge(1, _LEAN)),) * space.nodes)
    sources = np.array([source for _, source in space.edges])
    for k, kind in enumerate(CELL_KINDS):
        for source in range(space.nodes + CELL_INPUTS - 1):
            for index, operator in enumerate(CHOICES, start=1):
                node, edge, other = max(0, source - 1), Edge(source, operator), Edge(0 if source else 1, _LEAN)
                pair = (other, edge) if source else (edge, other)
                cell = Cell((*lean.nodes[:node], pair, *lean.nodes[node + 1 :]))
                cells = (cell, lean) if kind == "normal" else (lean, cell)
                align = space.align_operation(config)
                genotype = DartsGenotype(*cells, space.cells, space.channels, align, space.classes)
                arenas[k, sources == source, index] = arena_bytes(genotype.build(config))
    arenas[:, :, 0] = arenas[:, :, 1:].min()
    return arenas
