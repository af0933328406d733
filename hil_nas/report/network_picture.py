"""A network drawn: a chain in rows to be read like text, one with branches by how far each layer is from the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from hil_nas.network import INPUT, Layer, Network
from hil_nas.operators.table import layer_rules
from hil_nas.report.heat import scrolled
from hil_nas.report.svg import picture, tag

_WIDTH, _HEIGHT, _ACROSS, _DOWN, _EDGE = 132.0, 46.0, 150.0, 68.0, 8.0
_IN_A_ROW = 3  # layers of a chain
_LANE, _HEAD = 16.0, "m-3,-5l3,5l3,-5"  # for a wire that passes a row; the head of an arrow downwards

Place = tuple[float, float]  # of a box's upper left corner


@dataclass(frozen=True)
class Node:
    """A layer as it is drawn and listed; the network's input is the first.

    Attributes:
        inputs: places of what it reads, in the list of nodes.
        share: of all cycles, as text; empty where nothing runs or nothing was counted.
    """

    name: str
    geometry: str
    shape: str
    inputs: tuple[int, ...]
    share: str = ""


def nodes_of(network: Network, shares: Sequence[str]) -> list[Node]:
    """
    Args:
        shares: of each layer.
    """
    nodes = [Node("input", "", _shape(network.input_shape), ())]
    for operator, share in zip(network.operators(), shares, strict=True):
        layer = operator.layer
        inputs, name = tuple(i + 1 if i != INPUT else 0 for i in layer.inputs), layer.kind.replace("_", " ")
        nodes.append(Node(name, geometry(layer), _shape(operator.output), inputs, share))
    return nodes


def geometry(layer: Layer) -> str:
    """Kernel and stride of a layer with windows: `3×3`, `5×1 /2×1`."""
    if not layer_rules(layer.kind).windowed:
        return ""
    kernel, stride = layer.kernel, layer.stride
    step = "" if stride == (1, 1) else f" /{stride[0]}×{stride[1]}"
    return f"{kernel[0]}×{kernel[1]}{step}"


def is_chain(nodes: Sequence[Node]) -> bool:
    """Whether every layer reads the one before it alone."""
    return all(x.inputs == (i - 1,) for i, x in enumerate(nodes) if i)


def network_picture(nodes: Sequence[Node]) -> Markup:
    """A chain in rows of three; anything else in rows by the longest way from the input, in its natural size."""
    chain = is_chain(nodes)
    places, wires = _in_rows(len(nodes)) if chain else _by_depth(nodes)
    width = max(x for x, _ in places) + _WIDTH + _EDGE
    height = max(y for _, y in places) + _HEIGHT + _EDGE
    boxes = [_box(node, *place, index) for index, (node, place) in enumerate(zip(nodes, places, strict=True))]
    form = "a chain" if chain else "with branches"
    label = f"a network of {len(nodes) - 1} layers, {form}; the table behind it lists them"
    drawn = picture(width, height, label, *wires, *boxes)
    if chain:
        return tag("div", drawn, class_="chart")
    return scrolled(tag("div", drawn, class_="wide", style=f"width: {width:.0f}px"), label)


def _in_rows(count: int) -> tuple[list[Place], list[Markup]]:
    places = [(_EDGE / 2 + _ACROSS * (i % _IN_A_ROW), _EDGE / 2 + _DOWN * (i // _IN_A_ROW)) for i in range(count)]
    wires = []
    for (x0, y0), (x1, y1) in pairwise(places):
        if y0 == y1:
            path = f"M{x0 + _WIDTH:.1f},{y0 + _HEIGHT / 2:.1f}H{x1 - 1:.1f}m-5,-3l5,3l-5,3"
        else:  # from the end of a row to the beginning of the next
            middle = (_DOWN - _HEIGHT) / 2
            path = f"M{x0 + _WIDTH / 2:.1f},{y0 + _HEIGHT:.1f}v{middle:g}H{x1 + _WIDTH / 2:.1f}V{y1 - 1:.1f}{_HEAD}"
        wires.append(tag("path", d=path, class_="wire"))
    return places, wires


def _by_depth(nodes: Sequence[Node]) -> tuple[list[Place], list[Markup]]:
    """Rows by depth. A wire over several rows has a lane of its own in each, so that it runs behind no box (the dummy
    nodes of Sugiyama, Tagawa and Toda, 1981); within a row all stand in the order of what they come from."""
    depth: list[int] = []
    for node in nodes:
        depth.append(1 + max((depth[i] for i in node.inputs), default=-1))
    last = [max((depth[j] for j, x in enumerate(nodes) if i in x.inputs), default=d) for i, d in enumerate(depth)]
    middles: dict[tuple[int, int], float] = {}  # of a node and a row: of its box, or of its lane
    for row in range(max(depth) + 1):
        order = [i for i in range(len(nodes)) if depth[i] == row or depth[i] < row < last[i]]
        wanted = {
            i: middles[i, row - 1] if depth[i] < row else _mean([middles[j, row - 1] for j in nodes[i].inputs])
            for i in order
        }  # fmt: skip
        order.sort(key=lambda i, wanted=wanted: (wanted[i], i))  # type: ignore[misc]
        spans = [_ACROSS if depth[i] == row else _LANE for i in order]
        x = _mean([wanted[i] for i in order]) - sum(spans) / 2
        for i, span in zip(order, spans, strict=True):
            middles[i, row], x = x + span / 2, x + span
    left = min(middles[i, d] for i, d in enumerate(depth)) - _WIDTH / 2 - _EDGE / 2
    left = min(left, min(middles.values()) - _EDGE)
    places = [(middles[i, d] - left - _WIDTH / 2, _EDGE / 2 + _DOWN * d) for i, d in enumerate(depth)]
    wires = []
    for index, node in enumerate(nodes):
        for source in dict.fromkeys(node.inputs):
            rows = range(depth[source], depth[index])
            lanes = [middles[source, row] - left for row in rows]
            path = _lane(lanes, middles[index, depth[index]] - left, depth[source])
            wires.append(tag("path", d=path, class_="wire"))
    return places, wires


def _lane(lanes: Sequence[float], end: float, row: int) -> str:
    """From the foot of a box through its lanes to the head of another."""
    y = _EDGE / 2 + _DOWN * row + _HEIGHT
    path, gap = f"M{lanes[0]:.1f},{y:.1f}", _DOWN - _HEIGHT
    for x0, x1 in pairwise([*lanes, end]):
        path += f"C{x0:.1f},{y + gap / 2:.1f} {x1:.1f},{y + gap / 2:.1f} {x1:.1f},{y + gap - 1:.1f}"
        y += _DOWN
        path += f"V{y:.1f}"
    return path[: path.rindex("V")] + _HEAD


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _box(node: Node, x: float, y: float, index: int) -> Markup:
    middle = x + _WIDTH / 2
    look = "plain" if not node.share else f"net-{'ab'[node.name == 'depthwise']}"
    share = f" · {node.share}" if node.share else ""
    first = f"{node.name} {node.geometry}".strip()
    return tag(
        "g",
        tag("rect", x=x, y=y, width=_WIDTH, height=_HEIGHT, rx=4, class_=f"box {look}"),
        tag("text", first if len(first) <= 20 else node.name, x=middle, y=y + 18, text_anchor="middle", class_="name"),
        tag("text", f"{node.shape}{share}", x=middle, y=y + 35, text_anchor="middle"),
    )  # fmt: skip


def _shape(shape: tuple[int, int, int]) -> str:
    return " × ".join(map(str, shape))
