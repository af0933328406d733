"""Genotypes of the `darts` space and the networks they stand for. No torch.

Every convolution is followed by batch norm, and what feeds an edge's end by ReLU, so that all fold and fuse; there is
no channel shuffle and no softmax. TFLite has no dilated convolution with a stride: where a reduction cell has one,
the depthwise convolution runs at full rate and the 1x1 behind it takes the stride.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from hil_nas.cost.duplicates import without_duplicates
from hil_nas.errors import InputError
from hil_nas.front_ends import FrontEnd
from hil_nas.nas.darts.space import (
    CELL_INPUTS,
    OPERATORS,
    STEM_KERNEL,
    STEM_STRIDE,
    CellKind,
    CellShapes,
    cell_shapes,
    check_sizes,
)
from hil_nas.nas.input_space import Operation, align_layers, head_layers
from hil_nas.network import Layer, Network

CHOICES = OPERATORS[1:]  # a derived edge does something


@dataclass(frozen=True)
class Edge:
    """What a node reads: a source (0 and 1 are the cell's inputs, then its nodes) through an operator."""

    source: int
    operator: str


@dataclass(frozen=True)
class Cell:
    """Two edges of every node, the earlier source first."""

    nodes: tuple[tuple[Edge, Edge], ...]

    @property
    def operators(self) -> tuple[str, ...]:
        """Of all edges."""
        return tuple(x.operator for node in self.nodes for x in node)


@dataclass(frozen=True)
class DartsGenotype:
    """Chosen cells: all that decides the network but the size of the input.

    Raises:
        InputError: where the cells are none of the space.
    """

    normal: Cell
    reduction: Cell
    cells: int
    channels: int
    align: Operation | None
    classes: int

    def __post_init__(self) -> None:
        if len(self.normal.nodes) != len(self.reduction.nodes):
            raise InputError("both cells of a genotype have the same number of nodes")
        for cell in (self.normal, self.reduction):
            for node, (one, other) in enumerate(cell.nodes):
                if not 0 <= one.source < other.source < node + CELL_INPUTS:
                    raise InputError(f"node {node} cannot read sources {one.source} and {other.source}")
                if one.operator not in CHOICES or other.operator not in CHOICES:
                    raise InputError(f"node {node} has {one.operator} and {other.operator}, expected {CHOICES}")
        check_sizes(self.cells, len(self.normal.nodes), self.channels, self.classes)

    def cell(self, kind: CellKind) -> Cell:
        return self.normal if kind == "normal" else self.reduction

    @property
    def skips(self) -> int:
        """Skip connections in both cells: the sign of a collapsed search."""
        return sum(x == "skip_connect" for x in (*self.normal.operators, *self.reduction.operators))

    def build(self, config: FrontEnd) -> Network:
        """The network on the features of `config`: input (frames, coefficients, 1), output (1, 1, classes).

        Equal layers without weights are one, as the converter has it.
        """
        source = (*config.shape, 1)
        layers = align_layers("plane", self.align, source)
        aligned = Network(source, tuple(layers)).output_shape if layers else source
        layers.append(stem_layer(self.channels, len(layers) - 1))
        before = last = len(layers) - 1
        by_cell = cell_shapes(self.cells, len(self.normal.nodes), self.channels, aligned)
        for shapes in by_cell:
            before, last = last, _add_cell(layers, shapes, self.cell(shapes.kind), (before, last))
        end = (*by_cell[-1].node[:2], len(self.normal.nodes) * by_cell[-1].channels)
        layers += head_layers(end, self.classes, last)
        return without_duplicates(Network(source, tuple(layers)))[0]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> DartsGenotype:
        """The inverse of `to_json`.

        Raises:
            InputError: for anything else.
        """
        try:
            values = dict(data)
            normal, reduction = (_cell(values.pop(x)) for x in ("normal", "reduction"))
            align = values.pop("align")
            if any(type(values[x]) is not int for x in ("cells", "channels", "classes")):
                raise InputError(f"not a genotype of the darts space: {values}")
            return cls(normal, reduction, align=None if align is None else _operation(align), **values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"not a genotype of the darts space: {error}") from None


def stem_layer(channels: int, source: int) -> Layer:
    return Layer("conv", (source,), channels, STEM_KERNEL, STEM_STRIDE, relu=True)


def entry_layer(shapes: CellShapes, which: int, source: int) -> Layer:
    """The 1x1 convolution of one of a cell's inputs."""
    stride = shapes.strides[which]
    return Layer("conv", (source,), shapes.channels, stride=(stride, stride), relu=True)


def edge_layers(operator: str, source: int, channels: int, stride: int) -> list[Layer]:
    """The layers of an edge, the first of them reading layer `source`; a skip without stride has none."""
    steps = (stride, stride)
    if operator == "skip_connect":
        return [] if stride == 1 else [Layer("conv", (source,), channels, stride=steps, relu=True)]
    size = int(operator[-1])
    kernel = (size, size)
    if operator.startswith("max_pool"):
        return [Layer("max_pool", (source,), kernel=kernel, stride=steps)]
    if operator.startswith("avg_pool"):
        return [Layer("average_pool", (source,), kernel=kernel, stride=steps)]
    if operator.startswith("dil_conv"):
        wide = Layer("depthwise", (source,), kernel=kernel, dilation=(2, 2))
        return [wide, Layer("conv", (source + 1,), channels, stride=steps, relu=True)]
    if operator.startswith("sep_conv"):
        return [
            Layer("depthwise", (source,), kernel=kernel, stride=steps),
            Layer("conv", (source + 1,), channels, relu=True),
            Layer("depthwise", (source + 2,), kernel=kernel),
            Layer("conv", (source + 3,), channels, relu=True),
        ]
    raise InputError(f"'{operator}' is no operator of an edge, expected one of {', '.join(CHOICES)}")


def _add_cell(layers: list[Layer], shapes: CellShapes, cell: Cell, inputs: tuple[int, int]) -> int:
    """Appends a cell; the number of its last layer."""
    states = []
    for which, source in enumerate(inputs):
        layers.append(entry_layer(shapes, which, source))
        states.append(len(layers) - 1)
    for edges in cell.nodes:
        ends = []
        for edge in edges:
            stride = 2 if shapes.kind == "reduction" and edge.source < CELL_INPUTS else 1
            ends.append(_add_edge(layers, edge.operator, states[edge.source], shapes.channels, stride))
        layers.append(Layer("add", (ends[0], ends[1])))
        states.append(len(layers) - 1)
    layers.append(Layer("concatenation", tuple(states[CELL_INPUTS:])))
    return len(layers) - 1


def _add_edge(layers: list[Layer], operator: str, source: int, channels: int, stride: int) -> int:
    """Appends an edge; the number of the layer at its end, its source where it has none of its own."""
    # edge_layers numbers its layers from behind its source: the first reads it, each other the one before
    for position, layer in enumerate(edge_layers(operator, source, channels, stride)):
        layers.append(layer if position == 0 else replace(layer, inputs=(len(layers) - 1,)))
        source = len(layers) - 1
    return source


def _cell(data: Any) -> Cell:
    if set(data) != {"nodes"}:
        raise InputError(f"not a cell: {data!r}")
    nodes = []
    for one, other in data["nodes"]:
        nodes.append((_edge(one), _edge(other)))
    return Cell(tuple(nodes))


def _edge(data: Any) -> Edge:
    if set(data) != {"source", "operator"} or type(data["source"]) is not int:
        raise InputError(f"not an edge: {data!r}")
    return Edge(data["source"], data["operator"])


def _operation(data: Any) -> Operation:
    kernel, stride = (tuple(data[x]) for x in ("kernel", "stride"))
    whole = all(type(x) is int and x > 0 for x in (*kernel, *stride))
    if data["kind"] != "conv" or len(data) != 3 or (len(kernel), len(stride)) != (2, 2) or not whole:
        raise InputError(f"not an alignment: {data!r}")
    return Operation("conv", (kernel[0], kernel[1]), (stride[0], stride[1]))
