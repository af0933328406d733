"""What a measurement plan holds: networks that between them cover the kernels, and front ends of every kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice, product
from typing import TypeVar

import numpy as np

from hil_nas.baselines import ds_cnn, micronet_kws_s
from hil_nas.cost.macs import network_macs
from hil_nas.front_ends import KINDS, FrontEnd, paper_grid
from hil_nas.latency.choose import farthest_networks, spanning_networks
from hil_nas.latency.model import SLACK
from hil_nas.nas.darts.genotype import Cell, DartsGenotype, Edge
from hil_nas.nas.darts.space import DartsSpace
from hil_nas.nas.tiny.genotype import ChainStep, TinyGenotype
from hil_nas.nas.tiny.space import TinySpace
from hil_nas.network import INPUT, Layer, Network, Shape
from hil_nas.workflows.network_sampling import (
    ALIGNMENTS,
    ARRANGEMENTS,
    CELLS,
    CHANNELS,
    CLASSES,
    COEFFICIENTS,
    NODES,
    sample_networks,
)

Value = TypeVar("Value")

MACS_PER_NETWORK = 2_000_000  # uploading a network and preparing it take as long as running so many
CANDIDATES = 600  # sampled before any is chosen: the most that a plan can hold


def front_ends() -> tuple[FrontEnd, ...]:
    """The front ends that every kind wants measured."""
    return tuple(x for kind in KINDS.values() for x in kind.to_measure())


def networks(count: int, seed: int, fits: Callable[[Network], bool]) -> list[Network]:
    """Networks to measure: published ones, those that span the spaces, then what adds most to all before.

    The list depends on the seed and the board's memory alone and a shorter one is the beginning of a longer
    one, so that measuring can be interrupted and prolonged.

    Args:
        count: how many, at most `CANDIDATES`.
        fits: whether the board has the memory for a network.
    """
    ends = [x for x in corners() if fits(x)]
    spanning = [ends[i] for i in spanning_networks(ends, SLACK)]
    first = list(dict.fromkeys([*(x for x in (*published(), *smallest(), *delay_lines()) if fits(x)), *spanning]))
    drawn = islice((x for x in sample_networks(np.random.default_rng(seed)) if fits(x)), CANDIDATES)
    candidates = [x for x in dict.fromkeys(drawn) if x not in first]
    measured = [operator for network in first for operator in network.operators()]
    costs = [MACS_PER_NETWORK + network_macs(x) for x in candidates]
    order = farthest_networks(candidates, count - len(first), measured, costs=costs)
    return [*first, *(candidates[i] for i in order)][:count]


def published() -> list[Network]:
    """Networks that everybody compares with."""
    return [ds_cnn(), micronet_kws_s(), ds_cnn((98, 40, 1))]


def every_kernel() -> list[Network]:
    """Small networks that between them run every kernel path, channels in fours and with some left over.

    The first have windows or inputs too large for our own kernels: CMSIS-NN's run them, as they run weights that ours
    refuse.
    """
    wide = [Network(shape, (layer,)) for shape, layer in (
        ((1, 1, 1028), Layer("conv", (INPUT,), 4)),
        ((3, 3, 116), Layer("conv", (INPUT,), 4, (3, 3))),
        ((1, 1, 1028), Layer("fully_connected", (INPUT,), 4)),
    )]  # fmt: skip
    return [*wide, _kernels((10, 8, 1), 16), _kernels((10, 8, 1), 7)]


def smallest() -> list[Network]:
    """Every kernel path with less to do than in any network of a space: the low end of what was measured.

    Two of each kind, so that an error is known there too: one held out is predicted with the other. Other kernels run
    channels that are no multiple of 4, and another path windows in a map of a word's width.
    """
    kinds = ((2, 4), (2, 3), (4, 4))  # columns, channels
    return [_kernels((rows, x, 1), width, classes=rows) for x, width in kinds for rows in (2, 3)]


def _kernels(shape: Shape, width: int, classes: int = 12) -> Network:
    layers = (
        Layer("conv", (INPUT,), width, (3, 3), relu=True),
        Layer("depthwise", (0,), kernel=(3, 3)),
        Layer("conv", (1,), width, relu=True),
        Layer("depthwise", (2,), kernel=(5, 5)),
        Layer("depthwise", (3,), kernel=(3, 3), dilation=(2, 2)),
        Layer("add", (2, 4)),
        Layer("max_pool", (5,), kernel=(3, 3)),
        Layer("concatenation", (5, 6)),
        Layer("average_pool", (7,), kernel=shape[:2], stride=shape[:2], padding="valid"),
        Layer("delay", (8,), shape=(3, 1, 2 * width)),
        Layer("average_pool", (9,), kernel=(3, 1), stride=(3, 1), padding="valid"),
        Layer("fully_connected", (10,), classes),
        Layer("softmax", (11,)),
    )
    return Network(shape, layers)


def delay_lines() -> list[Network]:
    """Streams of rows that are kept longer and longer, at last as long as a window's map is kept for its average, with
    channels in fours and without; behind them a convolution, so that a network is more than its overhead."""
    networks = []
    for channels in (8, 10, 13, 16, 20, 24, 32, 40, 48, 63, 64, 80, 96):
        kept = (3, 8, 21, 50, 160)
        layers = [Layer("delay", (i - 1,), shape=(rows, 1, channels)) for i, rows in enumerate(kept)]
        networks.append(Network((1, 1, channels), (*layers, Layer("conv", (len(kept) - 1,), channels))))
    return networks


def corners() -> list[Network]:
    """Few of the spaces' own operations at their narrowest and widest on the shortest and longest maps."""
    return list(dict.fromkeys([*_tiny_corners(), *_darts_corners()]))


def _tiny_corners() -> Iterator[Network]:
    ragged_columns = max(COEFFICIENTS) - 1  # a copy of windows takes four values at a time, then what is left
    for arrangement, align, columns in product(ARRANGEMENTS, ALIGNMENTS, (*COEFFICIENTS, ragged_columns)):
        space = TinySpace(paper_grid(columns), arrangement=arrangement, align=align)
        ragged = max(x for x in space.widths if x % 16)  # a kernel's widest loop takes 16 channels
        lowest, highest = space.widths[0], space.widths[-1]
        operations = [x for x in space.operations if x.kind != "skip"]
        configs = _ends(sorted(space.configs, key=lambda x: x.frames))
        for config, widths in product(configs, ((lowest, lowest), (highest, highest), (highest, ragged))):
            for first in range(max(len(space.stems), len(operations))):
                yield _corner(space, first, widths).build(config)


def _darts_corners() -> Iterator[Network]:
    """The fewest cells, whose nodes have every operator on the cell's inputs: no map of the space is larger. And one
    cell more without operators, of which the last reads maps as small and as wide as they become.

    On every number of frames: weights that do not fit beside a small map are read in parts, again and again.
    """
    pairs = (
        ("sep_conv_5x5", "dil_conv_5x5"), ("max_pool_3x3", "avg_pool_3x3"), ("sep_conv_3x3", "dil_conv_3x3"),
        ("skip_connect", "skip_connect"),
    )  # fmt: skip
    nodes = range(NODES[0], NODES[1] + 1)
    channels = range(CHANNELS[0], CHANNELS[1] + 1, 4)  # which of a kernel's loops run depends on them modulo 16
    configs = [x for y in COEFFICIENTS for x in {x.frames: x for x in paper_grid(y)}.values()]
    for align, count, width, config in product(ALIGNMENTS, nodes, channels, configs):
        space = DartsSpace(paper_grid(config.columns), align=align)
        for cells, used in ((CELLS[0], pairs[:count]), (CELLS[0] + 1, pairs[-1:] * count)):
            cell = Cell(tuple((Edge(0, one), Edge(1, other)) for one, other in used))
            align_by = space.align_operation(config)
            yield DartsGenotype(cell, cell, cells, width, align_by, max(CLASSES)).build(config)


def _corner(space: TinySpace, first: int, widths: tuple[int, int]) -> TinyGenotype:
    """A stem and two operations, counted from `first` on, the widths taking turns."""
    operations = [x for x in space.operations if x.kind != "skip"]
    stem = space.stems[first % len(space.stems)]
    steps, scale = [ChainStep(stem, widths[0])], stem.stride
    for number, operation in enumerate(
        (operations[first % len(operations)], operations[(first + 1) % len(operations)])
    ):
        if space.allowed(space.configs[0], scale, operation):
            width = steps[-1].width if operation.keeps_width else widths[(number + 1) % 2]
            steps.append(ChainStep(operation, width))
            scale = space.scale_after(space.configs[0], scale, operation)
    return space.genotype(space.configs[0], steps[0], steps[1:])


def _ends(values: Sequence[Value]) -> tuple[Value, Value]:
    """The first and the last."""
    return values[0], values[-1]
