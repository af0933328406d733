"""The operators of a converted model in the order of the network that it was made from.

The converter lists operators in an order of its own. Memory depends on the order, and so do the counters that a
device reports: both must be the network's.
"""

from __future__ import annotations

import struct

from hil_nas.deploy.graph import QuantGraph
from hil_nas.errors import UnsupportedError
from hil_nas.network import INPUT, Network
from hil_nas.tflite import schema
from hil_nas.tflite.model_file import ModelFile


def in_network_order(model: bytes, network: Network, graph: QuantGraph) -> bytes:
    """The model with its operators sorted by the layers they compute.

    Args:
        graph: what `read_tflite` makes of the model.

    Raises:
        UnsupportedError: where an operator computes no layer.
    """
    rank = _layers_of(network, graph)
    missing = [x.kind for i, x in enumerate(graph.operators) if i not in rank]
    if missing:
        raise UnsupportedError(f"the converter added operators: {', '.join(missing)}")
    order = sorted(range(len(graph.operators)), key=lambda i: (rank[i], i))
    return _permuted(model, order)


def _layers_of(network: Network, graph: QuantGraph) -> dict[int, int]:
    """Operator -> the first layer it computes, found from the output backwards."""
    writer = {x.output: i for i, x in enumerate(graph.operators)}
    rank: dict[int, int] = {}
    pending, seen = [(graph.output, len(network.layers) - 1)], set()
    while pending:
        tensor, layer = pending.pop()
        if (tensor, layer) in seen:
            continue
        seen.add((tensor, layer))
        index = writer.get(tensor, -1)
        kind = graph.operators[index].kind if index >= 0 else "input"
        described = network.layers[layer] if layer != INPUT else None
        if described and kind == described.kind:
            rank[index] = min(layer, rank.get(index, layer))
            pending += zip(graph.operators[index].inputs, described.inputs, strict=True)
        elif kind in ("reshape", "requantize"):  # flattening before a dense layer, one scale for a concatenation
            rank[index] = min(layer, rank.get(index, layer))
            pending.append((graph.operators[index].inputs[0], layer))
        elif described and described.kind == "reshape":  # folded by the converter
            pending.append((tensor, described.inputs[0]))
        elif described or kind != "input":
            what = f"layer {layer} ({described.kind})" if described else "the input"
            raise UnsupportedError(f"the converter made {what} a {kind}")
    return rank


def _permuted(model: bytes, order: list[int]) -> bytes:
    """The file with its vector of operators permuted; each entry is the distance from itself to its table."""
    start, length = ModelFile.open(model).subgraph.vector(schema.SUBGRAPH_OPERATORS, 4)
    offsets = range(start, start + 4 * length, 4)
    tables = [x + struct.unpack_from("<I", model, x)[0] for x in offsets]
    changed = bytearray(model)
    for offset, index in zip(offsets, order, strict=True):
        struct.pack_into("<I", changed, offset, tables[index] - offset)
    return bytes(changed)
