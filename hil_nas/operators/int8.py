"""One operator of an int8 graph: what a .tflite says of it, without its container. Weights are symmetric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hil_nas.operators.layer import Pair, Shape

Activation = Literal["none", "relu", "relu6", "relu_n1_to_1"]


@dataclass(frozen=True, eq=False)
class Weights:
    """int8 weights and their scales: one, or one per output channel.

    Attributes:
        values: conv (out, height, width, in), depthwise (height, width, out), fully connected (out, in).
        scales: float32 of shape (1,) or (out,).
        bias: int32 of shape (out,), zeros where the model has none.
    """

    values: NDArray[np.int8]
    scales: NDArray[np.float32]
    bias: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Constant:
    """An input that does not depend on the model's.

    Attributes:
        values: int8 (height, width, channels).
        position: among the operator's inputs, 0 or 1.
    """

    values: NDArray[np.int8]
    scale: float
    zero_point: int
    position: int


@dataclass(frozen=True)
class Moved:
    """Where a copy finds its values: number `start` of the input, then so many further for each step of the output.

    Attributes:
        steps: along the output's height, width and channels.
    """

    start: int
    steps: Shape


@dataclass(frozen=True, eq=False)
class QuantOperator:
    """One operator.

    Attributes:
        inputs, output: tensor numbers; constants are not tensors.
        padding: rows above and columns left of the map, resolved from SAME or VALID, or those that a pad adds.
        axis: of a concatenation, in the tensors' own rank, not negative.
        pad_value: quantised.
        beta: of a softmax.
        alpha: of a leaky ReLU, the slope below 0.
        constant: of add, sub and mul, the input that is no tensor.
        reduced: of mean, sum and reduce_max, the input as (times, values that become one, values beside each other).
        axes: of the same, in the input's own rank.
        moved: of transpose and strided_slice.
        label: its number and name in the file.
    """

    kind: str
    inputs: tuple[int, ...]
    output: int
    weights: Weights | None = None
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Pair = (0, 0)
    activation: Activation = "none"
    axis: int = 3
    pad_value: int = 0
    beta: float = 1.0
    alpha: float = 0.0
    constant: Constant | None = None
    reduced: Shape = (0, 0, 0)
    axes: tuple[int, ...] = ()
    moved: Moved = Moved(0, (0, 0, 0))
    label: str = ""

    @property
    def name(self) -> str:
        """What a message calls it."""
        return self.label or f"the {self.kind} that writes tensor {self.output}"
