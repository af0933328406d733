"""What the spaces share: how networks read the features of several front ends, and how they end. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from hil_nas.front_ends import FrontEnd
from hil_nas.network import INPUT, Layer, Pair, Shape

Align = Literal["pad", "conv"]
Arrangement = Literal["channels", "plane"]
OperationKind = Literal["skip", "pool", "pointwise", "separable", "conv"]


@dataclass(frozen=True)
class Operation:
    """What one position does; `conv` is a stem's, the others the chain's."""

    kind: OperationKind
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)

    @property
    def keeps_width(self) -> bool:
        """Whether the channels pass through as they are."""
        return self.kind in ("skip", "pool")

    def __str__(self) -> str:
        size = f" {self.kernel[0]}x{self.kernel[1]}" if self.kernel != (1, 1) else ""
        stride = f" /{self.stride[0]}x{self.stride[1]}" if self.stride != (1, 1) else ""
        return f"{self.kind}{size}{stride}"


class InputSpace(Protocol):
    """What every space says of the data that its networks read."""

    @property
    def configs(self) -> tuple[FrontEnd, ...]: ...
    @property
    def classes(self) -> int: ...
    @property
    def arrangement(self) -> Arrangement: ...
    def align_operation(self, config: FrontEnd) -> Operation | None: ...


def align_stride(config: FrontEnd, configs: Sequence[FrontEnd]) -> int:
    """The largest stride that leaves a map no shorter than that of the shortest grid, and 20 ms or less between rows.

    Rounding to the nearest instead would take frames from a network that it needs: 79 would become 40 beside a grid
    of 49.
    """
    shortest = min(x.frames for x in configs)
    slow_enough = config.clip.sample_rate_hz // 50 // config.hop_samples
    return max(1, min((config.frames - 1) // max(1, shortest - 1), slow_enough))


def align_layers(arrangement: Arrangement, align: Operation | None, shape: Shape) -> list[Layer]:
    """What stands before the stem: frequency read as channels, and the alignment, without ReLU."""
    layers: list[Layer] = []
    if arrangement == "channels":
        layers.append(Layer("reshape", (INPUT,), shape=(shape[0], 1, shape[1] * shape[2])))
    if align is not None:
        source = len(layers) - 1
        kind: Literal["conv", "depthwise"] = "depthwise" if arrangement == "channels" else "conv"
        layers.append(Layer(kind, (source,), 0 if kind == "depthwise" else 1, align.kernel, align.stride))
    return layers


def head_layers(shape: Shape, classes: int, source: int) -> list[Layer]:
    """An average over the whole map and the logits."""
    kernel = shape[:2]
    return [
        Layer("average_pool", (source,), kernel=kernel, stride=kernel, padding="valid"),
        Layer("fully_connected", (source + 1,), classes),
    ]
