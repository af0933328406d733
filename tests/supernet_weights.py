"""A network's weights out of a supernet, given to the module that trains the built network: both must answer alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from hil_nas.nas.tiny.space import Choice
from hil_nas.nas.tiny.supernet import TinySupernet
from hil_nas.training.network_module import Convolution, Dense, NetworkModule


class Weights(NamedTuple):
    """In torch's order, and the scale and shift behind them; None: as they are."""

    weight: Tensor
    scale: Tensor | None = None
    shift: Tensor | None = None


def take_over(module: NetworkModule, net: TinySupernet, choice: Choice, spread: Tensor) -> None:
    """
    Args:
        module: of the network that `choice` is.
        spread: (columns,) of the front end's features, by which the supernet's were divided.
    """
    parts = list(_parts(net, choice, spread))
    weighted = [x for x in module.layers if isinstance(x, Convolution | Dense)]
    with torch.no_grad():
        for layer, given in zip(weighted, parts, strict=True):
            layer.weight.copy_(given.weight.reshape(layer.weight.shape))
            if isinstance(layer, Dense):
                assert given.shift is not None
                layer.bias.copy_(given.shift)
            elif given.scale is not None and given.shift is not None:
                layer.norm.weight.copy_(given.scale)
                layer.norm.bias.copy_(given.shift)


def _parts(net: TinySupernet, choice: Choice, spread: Tensor) -> Iterator[Weights]:
    """A layer each; the batch norm of an alignment, which the supernet has not, is left as it begins."""
    operation, width = net._stem_of(choice)
    stem = net._stem(choice.config, operation)
    weight = stem.weight[:width]
    if str(choice.config) in net.alignment.kernels:  # its batch norm takes the spread away
        yield Weights(net.alignment.kernels[str(choice.config)][:, None])
    elif net.space.arrangement == "channels":
        weight = weight / spread[:, None, None]
    yield Weights(weight, stem.scale[:width], stem.shift[:width])
    for step in net._steps(choice):
        if step.operation.kind == "separable":
            layer = net._depthwise(choice.config, step)
            yield Weights(layer.weight[:width, None], layer.scale[:width], layer.shift[:width])
        if step.operation.kind != "pool":
            shared, after = net.pointwise[step.depth], step.width
            yield Weights(shared.weight[:after, :width, None, None], shared.scale[:after], shared.shift[:after])
            width = after
    yield Weights(net.head.weight[:, :width], None, net.head.bias)
