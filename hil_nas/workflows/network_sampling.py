"""Networks drawn at random: of both spaces at many sizes, and with what neither has."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from hil_nas.config import Space
from hil_nas.front_ends import FrontEnd, paper_grid
from hil_nas.nas.darts.genotype import CHOICES, Cell, DartsGenotype, Edge
from hil_nas.nas.darts.space import CELL_INPUTS, DartsSpace
from hil_nas.nas.input_space import Align, Arrangement
from hil_nas.nas.tiny.space import TinySpace
from hil_nas.network import INPUT, Layer, Network, Pair, Shape

WIDTHS = (8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 72, 80, 84, 96, 112, 128, 160, 196)
COEFFICIENTS = (10, 13, 20, 40)
CLASSES = (3, 12, 35)
ARRANGEMENTS: tuple[Arrangement, ...] = ("channels", "plane")
ALIGNMENTS: tuple[Align, ...] = ("conv", "pad")
CELLS, NODES, CHANNELS = (3, 8), (2, 4), (4, 24)  # the least and the most of a `darts` space


def sample_networks(rng: np.random.Generator) -> Iterator[Network]:
    """Networks without end: half of them of `tiny`, a quarter of `darts`, a quarter with what both lack."""
    kinds = (tiny_network, tiny_network, darts_network, mixed_network)
    while True:
        yield kinds[rng.integers(len(kinds))](rng)


def tiny_network(rng: np.random.Generator) -> Network:
    """A network of a `tiny` space with eight neighbouring widths."""
    first = int(rng.integers(len(WIDTHS) - 7))
    config = _config(rng)
    space = TinySpace(
        configs=paper_grid(config.columns),
        classes=int(rng.choice(CLASSES)),
        arrangement=ARRANGEMENTS[rng.integers(2)],
        align=ALIGNMENTS[rng.integers(2)],
        widths=WIDTHS[first : first + 8],
    )
    return space.sample(rng, config)


def darts_network(rng: np.random.Generator) -> Network:
    """A network of a `darts` space of any size; every edge of a cell is equally likely."""
    config = _config(rng)
    space = DartsSpace(
        configs=paper_grid(config.columns),
        classes=int(rng.choice(CLASSES)),
        align=ALIGNMENTS[rng.integers(2)],
        cells=_between(rng, CELLS),
        nodes=_between(rng, NODES),
        channels=_between(rng, CHANNELS, step=4),
    )
    normal, reduction = _darts_cell(rng, space.nodes), _darts_cell(rng, space.nodes)
    align = space.align_operation(config)
    return DartsGenotype(normal, reduction, space.cells, space.channels, align, space.classes).build(config)


def mixed_network(rng: np.random.Generator) -> Network:
    """A stem and some cells of odd widths, with whole convolutions between joins, on a map of any configuration."""
    config = _config(rng)
    shape: Shape = (*config.shape, 1)
    width = 4 * int(rng.integers(2, 17)) if rng.integers(2) else int(rng.integers(6, 40))
    stem: Pair = (3, 3) if rng.integers(2) else (10, 4)
    layers = [Layer("conv", (INPUT,), width, stem, (2, 2), relu=True)]
    for _ in range(int(rng.integers(1, 4))):
        layers += _mixed_cell(rng, len(layers) - 1, width)
        width = Network(shape, tuple(layers)).output_shape[2]
    height, breadth, _ = Network(shape, tuple(layers)).output_shape
    last = len(layers) - 1
    pool = Layer("average_pool", (last,), kernel=(height, breadth), stride=(height, breadth), padding="valid")
    head = [pool, Layer("fully_connected", (last + 1,), int(rng.choice(CLASSES)))]
    return Network(shape, (*layers, *head, *([Layer("softmax", (last + 2,))] if rng.integers(2) else [])))


OF_SPACE: dict[Space, Callable[[np.random.Generator], Network]] = {"tiny": tiny_network, "darts": darts_network}


def _config(rng: np.random.Generator) -> FrontEnd:
    return paper_grid(int(rng.choice(COEFFICIENTS)))[rng.integers(8)]


def _between(rng: np.random.Generator, ends: Pair, step: int = 1) -> int:
    return ends[0] + step * int(rng.integers((ends[1] - ends[0]) // step + 1))


def _darts_cell(rng: np.random.Generator, nodes: int) -> Cell:
    edges = []
    for node in range(nodes):
        one, other = sorted(int(x) for x in rng.choice(node + CELL_INPUTS, 2, replace=False))
        edges.append((_darts_edge(rng, one), _darts_edge(rng, other)))
    return Cell(tuple(edges))


def _darts_edge(rng: np.random.Generator, source: int) -> Edge:
    return Edge(source, CHOICES[rng.integers(len(CHOICES))])


def _mixed_cell(rng: np.random.Generator, source: int, width: int) -> list[Layer]:
    """Two branches from one map, joined."""
    stride: Pair = ((1, 1), (1, 1), (2, 2))[rng.integers(3)]
    first = _branch(rng, source, source + 1, width, stride)
    second = _branch(rng, source, source + 1 + len(first), width, stride)
    ends = (source + len(first), source + len(first) + len(second))
    return [*first, *second, Layer("add" if rng.integers(2) else "concatenation", ends)]


def _branch(rng: np.random.Generator, source: int, start: int, width: int, stride: Pair) -> list[Layer]:
    """Layers numbered from `start` that keep the width and apply the stride once."""
    size = int(rng.choice((3, 5)))
    choice = int(rng.integers(6))
    if choice < 2:  # separable, plain or dilated
        depthwise = Layer("depthwise", (source,), kernel=(size, size), stride=stride, dilation=((1, 1), (2, 2))[choice])
        return [depthwise, Layer("conv", (start,), width, relu=bool(rng.integers(2)))]
    if choice < 4:
        return [Layer("max_pool" if choice == 2 else "average_pool", (source,), kernel=(3, 3), stride=stride)]
    kernel: Pair = ((1, 1), (3, 3))[choice - 4]
    return [Layer("conv", (source,), width, kernel, stride, relu=True)]
