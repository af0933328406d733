"""The `tiny` space as a graph: a network is a path from the source through (scale, width) states to the sink."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from hil_nas.nas.tiny.cost_table import CostTable
from hil_nas.nas.tiny.places import Places
from hil_nas.nas.tiny.space import Choice

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
_FIELDS = 5  # how many fields of a row are whole numbers


@dataclass(frozen=True)
class Preference:
    """Log-probabilities of every choice, and what a network's size is worth beside them.

    Attributes:
        configs: (configs,).
        stem: (stems,).
        widths: (1 + positions, widths).
        operations: (positions, operations).
        parameter: of every parameter, as a log-probability.
    """

    configs: Floats
    stem: Floats
    widths: Floats
    operations: Floats
    parameter: float = 0.0

    @classmethod
    def none(cls, table: CostTable) -> Preference:
        """Every choice alike."""
        space = table.space
        return cls(
            np.zeros(len(space.configs)),
            np.zeros(len(space.stems)),
            np.zeros((1 + space.positions, len(space.widths))),
            np.zeros((space.positions, len(space.operations))),
        )

    def of(self, choice: Choice, table: CostTable) -> float:
        """The log-probability of a network; a position that keeps its width adds nothing for one."""
        total = self.configs[choice.config] + self.stem[choice.stem[0]] + self.widths[0, choice.stem[1]]
        for position, (operation, width) in enumerate(choice.chain):
            total += self.operations[position, operation]
            if not table.space.operations[operation].keeps_width:
                total += self.widths[position + 1, width]
        return float(total) + (self.parameter and self.parameter * table.network_parameters(choice))


@dataclass(frozen=True)
class Arcs:
    """Every arc of one configuration's graph, all fields (arcs,), in the order of their layers.

    Attributes:
        layer: 0 for the stem's, 1 to positions for the chain's, then the head's.
        tail, head: nodes; 0 is the source, the last one the sink.
        operation: into the space's stems in layer 0, into its operations in the chain.
        width: the width given.
        value: log-probability.
        cycles, ram_bytes, flash_bytes: the cost, of the network alone, without what a stream keeps:
        state_bytes: which adds up.
        reach: frames of a stream's window by which the arc's operation reaches further; of the head's none.
        map_frames: of the head's arcs, that the rows of the map it reads stand for; of whole clips 0.
    """

    layer: Indices
    tail: Indices
    head: Indices
    operation: Indices
    width: Indices
    value: Floats
    cycles: Floats
    ram_bytes: Floats
    flash_bytes: Floats
    state_bytes: Floats
    reach: Floats
    map_frames: Floats

    def kept(self, keep: NDArray[np.bool_] | Indices) -> Arcs:
        """Only some of the arcs, by a mask or by indices."""
        return Arcs(*(getattr(self, f.name)[keep] for f in fields(self)))

    def resource(self, index: int) -> Floats:
        """In the order of `Cost`'s fields."""
        return (self.cycles, self.ram_bytes, self.flash_bytes)[index]

    def choice(self, config: int, path: Indices) -> Choice:
        """The network of a path, given as its arcs in order."""
        steps = [(int(self.operation[i]), int(self.width[i])) for i in path]
        return Choice(config, steps[0], tuple(steps[1:-1]))


def arcs_of(table: CostTable, preference: Preference, config: int) -> Arcs:
    """The graph of a configuration; operations whose stride a scale cannot take any more are left out.

    A node is a scale and a width alone. How far a stream's kernels reach, and how many rows they leave of a window for
    the average, are sums along a path, which it must bring together: see `window_shares`.
    """
    space = table.space
    scales, widths, front_end = space.scales, range(len(space.widths)), space.configs[config]
    count = len(widths)
    tables = (table.cycles, table.ram, table.flash, table.state)
    size, worth = table.parameters, preference.parameter
    rows: list[tuple[float, ...]] = []

    def node(layer: int, scale: int, width: int) -> int:
        return 1 + (layer * len(scales) + scale) * count + width

    for p, stem in enumerate(space.stems):
        if space.stem_at(front_end, stem) != stem:
            continue
        reach = space.reach_of((1, 1), stem)
        for w in widths:
            costs = [x.stem[config, p, w] for x in tables]
            aligned = [x.align[config] for x in tables]
            paid = (costs[0] + aligned[0], max(costs[1], aligned[1]), costs[2] + aligned[2], costs[3])
            value = preference.stem[p] + preference.widths[0, w]
            value += worth * (size.stem[config, p, w] + size.align[config])
            rows.append((0, 0, node(0, scales.index(stem.stride), w), p, w, value, *paid, reach, 0))
    for layer in range(1, space.positions + 1):
        for s, scale in enumerate(scales):
            for o, operation in enumerate(space.operations):
                if not space.allowed(front_end, scale, operation):
                    continue
                after = scales.index(space.scale_after(front_end, scale, operation))
                liked, reach = preference.operations[layer - 1, o], space.reach_of(scale, operation)
                for v in widths:
                    for w in (v,) if operation.keeps_width else widths:
                        value = liked + (0.0 if operation.keeps_width else preference.widths[layer, w])
                        value += worth * size.chain[config, s, o, v, w]
                        paid = tuple(x.chain[config, s, o, v, w] for x in tables)
                        ends = (node(layer - 1, s, v), node(layer, after, w))
                        rows.append((layer, *ends, o, w, value, *paid, reach, 0))
    sink = node(space.positions + 1, 0, 0)
    for s, kept in Places.of(space).heads(config):
        for v in widths:
            paid = tuple(x.head[config, s, v, kept] for x in tables)
            ends = (node(space.positions, s, v), sink)
            value = worth * size.head[config, s, v, kept]
            rows.append((space.positions + 1, *ends, 0, v, value, *paid, 0, kept * scales[s][0]))
    columns = np.array(rows, dtype=np.float64).T
    whole = (x.astype(np.int64) for x in columns[:_FIELDS])
    return Arcs(*whole, *columns[_FIELDS:])


def window_shares(table: CostTable, config: int, arcs: Arcs) -> Floats:
    """What makes a path through a stream's graph one network, as shares that sum along it to no more than 1.

    Its kernels reach over no more than the window, and its head reads all rows that they leave. (With less reach there
    are more: rows times frames apart and reach, together, are the window's frames or more.) (constraints, arcs); none
    for whole clips.
    """
    space, front_end = table.space, table.space.configs[config]
    if space.period_samples is None:
        return np.zeros((0, len(arcs.layer)))
    first, frames = arcs.layer == 0, front_end.frames  # the first arc of every path carries what is subtracted from
    between = 0.5  # all are whole numbers: as far from the last that is allowed as from the next
    missing = 2 * frames * first - arcs.reach - arcs.map_frames
    return np.stack([arcs.reach / (space.most_reach(front_end) + between), missing / (frames + between)])


def distances(arcs: Arcs, weight: Floats, nodes: int, *, backward: bool = False) -> Floats:
    """(nodes,): the least sum of weights from the source to a node, or from a node to the sink."""
    start, end = (arcs.head, arcs.tail) if backward else (arcs.tail, arcs.head)
    best = np.full(nodes, np.inf)
    best[-1 if backward else 0] = 0.0
    layers = range(int(arcs.layer.max()) + 1)
    for layer in reversed(layers) if backward else layers:
        here = np.flatnonzero(arcs.layer == layer)
        np.minimum.at(best, end[here], best[start[here]] + weight[here])
    return best


def shortest(arcs: Arcs, weight: Floats, nodes: int, *, largest: bool = False) -> Indices | None:
    """The path of the least weight, summed or its largest, as its arcs in order; None where there is no path."""
    best = np.full(nodes, np.inf)
    best[0] = 0.0
    came = np.full(nodes, -1, dtype=np.int64)
    for layer in range(int(arcs.layer.max()) + 1):
        here = np.flatnonzero(arcs.layer == layer)
        before = best[arcs.tail[here]]
        total = np.maximum(before, weight[here]) if largest else before + weight[here]
        order = np.argsort(-total, kind="stable")  # the last write to a node is the least
        order = order[np.isfinite(total[order])]
        best[arcs.head[here][order]] = total[order]
        came[arcs.head[here][order]] = here[order]
    if came[-1] < 0:
        return None
    path = [int(came[-1])]
    while arcs.tail[path[-1]] != 0:
        path.append(int(came[arcs.tail[path[-1]]]))
    return np.array(path[::-1])
