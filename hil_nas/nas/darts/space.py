"""The `darts` space: the cells of PC-DARTS (arXiv:1907.05737) over the front ends of arXiv 2507.15545. No torch.

    input (frames, coefficients, 1)
      -> alignment: an optional strided convolution that brings long inputs near the shortest grid
      -> stem: a 3x3 convolution with stride 2
      -> cells; those at 1/3 and 2/3 of the depth halve the map and double the channels
      -> average over the whole map -> dense

A cell reads the two before it, each through a 1x1 convolution. Every node adds two edges that come from the cell's
inputs or from earlier nodes; a cell gives the concatenation of its nodes. All normal cells are alike, and so are
both reduction cells. TFLite's SAME padding rounds every halved size up, so that no map shrinks to nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

from hil_nas.errors import InputError
from hil_nas.front_ends import FrontEnd, paper_grid
from hil_nas.nas.input_space import Align, Arrangement, Operation, align_stride
from hil_nas.network import Pair, Shape

CellKind = Literal["normal", "reduction"]
CELL_KINDS: tuple[CellKind, CellKind] = ("normal", "reduction")
OPERATORS = (
    "none",
    "skip_connect",
    "max_pool_3x3",
    "avg_pool_3x3",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
NONE, SKIP = OPERATORS.index("none"), OPERATORS.index("skip_connect")
CELL_INPUTS = 2
STEM_KERNEL: Pair = (3, 3)
STEM_STRIDE: Pair = (2, 2)


@dataclass(frozen=True)
class CellShapes:
    """One cell at the shapes it has in a network.

    Attributes:
        kind: whose edges it has.
        channels: of its nodes.
        sources: the maps it reads, of the cell before the last and of the last.
        strides: of the 1x1 convolutions that bring both to one size.
        entered: the map of an input behind its 1x1 convolution.
        node: the map of every node.
    """

    kind: CellKind
    channels: int
    sources: tuple[Shape, Shape]
    strides: tuple[int, int]
    entered: Shape
    node: Shape


@dataclass(frozen=True)
class DartsSpace:
    """What a search may choose from.

    Attributes:
        configs: the front ends.
        classes: of the task, silence and unknown included.
        align: how inputs of different lengths meet: zeros behind the shorter, or a convolution on the longer.
        cells: at least 3, so that there are two reductions.
        nodes: of every cell, at least 2.
        channels: of the first cell's nodes, a multiple of 4; doubled by every reduction.

    The default size is small: its average network takes 25 M cycles of a Cortex-M4 at 400/200. Of 5 cells of 3 nodes
    (37 M), a limit of 12.5 M leaves skips and pools alone, whatever alpha says.

    Raises:
        InputError: for choices that make no network.
    """

    configs: tuple[FrontEnd, ...] = field(default_factory=paper_grid)
    classes: int = 12
    align: Align = "conv"
    cells: int = 4
    nodes: int = 2
    channels: int = 8

    def __post_init__(self) -> None:
        if not self.configs:
            raise InputError("a search needs at least one front end")
        check_sizes(self.cells, self.nodes, self.channels, self.classes)

    @property
    def arrangement(self) -> Arrangement:
        """Cells work on maps of time and frequency."""
        return "plane"

    @property
    def reductions(self) -> tuple[int, int]:
        """The cells at 1/3 and 2/3 of the depth."""
        return reductions(self.cells)

    @cached_property
    def edges(self) -> tuple[Pair, ...]:
        """(node, source) of every edge; sources 0 and 1 are the cell's inputs, then come its nodes."""
        return tuple((node, source) for node in range(self.nodes) for source in range(node + CELL_INPUTS))

    def edges_of(self, node: int) -> range:
        """The places in `edges` of those that lead to a node."""
        start = sum(range(CELL_INPUTS, CELL_INPUTS + node))
        return range(start, start + CELL_INPUTS + node)

    def stride(self, kind: CellKind, edge: int) -> int:
        """Of an edge: a reduction cell halves the maps of its inputs."""
        return 2 if kind == "reduction" and self.edges[edge][1] < CELL_INPUTS else 1

    def align_operation(self, config: FrontEnd) -> Operation | None:
        """The convolution that brings `config` near the shortest grid; None where none is needed."""
        stride = align_stride(config, self.configs) if self.align == "conv" else 1
        return None if stride < 2 else Operation("conv", (2 * stride - 1, 3), (stride, 1))

    def aligned_shape(self, config: FrontEnd) -> Shape:
        """The map that the stem reads: (time, frequency, 1)."""
        operation = self.align_operation(config)
        return (-(-config.frames // (operation.stride[0] if operation else 1)), config.columns, 1)

    def shapes_of_cells(self, aligned: Shape) -> tuple[CellShapes, ...]:
        """Every cell in order, behind a stem that reads `aligned`."""
        return cell_shapes(self.cells, self.nodes, self.channels, aligned)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "configs": [str(x) for x in self.configs]}


def check_sizes(cells: int, nodes: int, channels: int, classes: int) -> None:
    """Raises InputError for sizes that make no network."""
    if cells < 3 or nodes < 2 or classes < 2:
        raise InputError(f"{cells} cells of {nodes} nodes for {classes} classes, expected at least 3, 2 and 2")
    if channels < 4 or channels % 4:
        raise InputError(f"channels are a multiple of 4, found {channels}")


def reductions(cells: int) -> tuple[int, int]:
    """The cells at 1/3 and 2/3 of the depth."""
    return (cells // 3, 2 * cells // 3)


def cell_shapes(cells: int, nodes: int, channels: int, aligned: Shape) -> tuple[CellShapes, ...]:
    """Every cell in order, behind a stem that reads `aligned`; `channels` are the stem's."""
    before = last = _smaller(aligned, channels, STEM_STRIDE[0])
    shapes: list[CellShapes] = []
    for index in range(cells):
        kind: CellKind = "reduction" if index in reductions(cells) else "normal"
        channels *= 2 if kind == "reduction" else 1
        strides = (2 if shapes and shapes[-1].kind == "reduction" else 1, 1)
        entered = _smaller(last, channels, 1)
        node = _smaller(entered, channels, 2 if kind == "reduction" else 1)
        shapes.append(CellShapes(kind, channels, (before, last), strides, entered, node))
        before, last = last, (*node[:2], nodes * channels)
    return tuple(shapes)


def _smaller(shape: Shape, channels: int, stride: int) -> Shape:
    """A map behind a layer with TFLite's SAME padding."""
    return (-(-shape[0] // stride), -(-shape[1] // stride), channels)
