"""Layers that compute the same twice, which no converter keeps."""

from __future__ import annotations

from dataclasses import replace

from hil_nas.network import INPUT, Layer, Network
from hil_nas.operators.table import layer_rules


def without_duplicates(network: Network) -> tuple[Network, tuple[int, ...]]:
    """Merges layers without weights that read the same and do the same, as two pools of one node in a cell.

    Returns:
        The network, itself where nothing was merged, and the numbers of the layers that were kept.
    """
    renumbered: dict[int, int] = {INPUT: INPUT}
    seen: dict[Layer, int] = {}
    kept: list[int] = []
    layers: list[Layer] = []
    for index, layer in enumerate(network.layers):
        moved = replace(layer, inputs=tuple(renumbered[i] for i in layer.inputs))
        if moved in seen and layer_rules(moved.kind).weights is None:
            renumbered[index] = seen[moved]
            continue
        renumbered[index] = seen[moved] = len(layers)
        layers.append(moved)
        kept.append(index)
    if renumbered[len(network.layers) - 1] != len(layers) - 1 or len(layers) == len(network.layers):
        return network, tuple(range(len(network.layers)))
    return Network(network.input_shape, tuple(layers)), tuple(kept)
