"""A layer of a network as a frozen description, and the shapes that windows give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Shape = tuple[int, int, int]  # (height = frames, width = coefficients, channels)
Pair = tuple[int, int]  # (along height, along width)
INPUT = -1  # as a layer's input: the network's own input


@dataclass(frozen=True)
class Layer:
    """One operator; batch norm is folded and ReLU fused, as they are on the device.

    Attributes:
        kind: an operator of `hil_nas.operators.table` that networks have.
        inputs: indices of the layers read, `INPUT` for the network's input.
        out_channels: of conv and fully_connected; every other kind follows its inputs.
        kernel, stride, dilation: (height, width), for conv, depthwise and pools.
        padding: TFLite's SAME or VALID.
        relu: a fused ReLU.
        shape: what a reshape gives.
    """

    kind: str
    inputs: tuple[int, ...]
    out_channels: int = 0
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Literal["same", "valid"] = "same"
    relu: bool = False
    shape: Shape | None = None


@dataclass(frozen=True)
class Operator:
    """A layer at the shapes it has in one network: the unit that is measured and priced."""

    layer: Layer
    inputs: tuple[Shape, ...]
    output: Shape


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """TFLite's SAME padding before and after, along one axis."""
    reach = (kernel - 1) * dilation + 1
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2
