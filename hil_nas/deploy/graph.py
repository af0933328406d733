"""A neutral int8 graph: what a .tflite says, without its container.

Quantisation is TFLite's: real = scale * (q - zero_point), weights symmetric.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hil_nas.errors import InputError
from hil_nas.network import Pair, Shape

GraphKind = Literal[
    "conv",
    "depthwise",
    "fully_connected",
    "average_pool",
    "max_pool",
    "add",
    "concatenation",
    "pad",
    "softmax",
    "reshape",
    "requantize",
]
Activation = Literal["none", "relu", "relu6", "relu_n1_to_1"]


@dataclass(frozen=True)
class QuantTensor:
    """One int8 activation; `shape` includes the batch, which is 1, but for a bare vector."""

    shape: tuple[int, ...]
    scale: float
    zero_point: int

    @property
    def map(self) -> Shape:
        """(height, width, channels); a vector is a map of 1 x 1."""
        padded = (1, 1, 1, *(self.shape[1:] or self.shape))[-3:]
        return padded[0], padded[1], padded[2]


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
class QuantOperator:
    """One operator.

    Attributes:
        inputs, output: tensor numbers; constants are not tensors.
        padding: rows above and columns left of the map, resolved from SAME or VALID, or those that a pad adds.
        axis: of a concatenation, in the tensors' own rank, not negative.
        pad_value: quantised.
        beta: of a softmax.
    """

    kind: GraphKind
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


@dataclass(frozen=True, eq=False)
class QuantGraph:
    """Operators in the order they run.

    Raises:
        InputError: where an operator reads what nothing has written, or a tensor is written twice.
    """

    tensors: tuple[QuantTensor, ...]
    operators: tuple[QuantOperator, ...]
    input: int
    output: int

    def __post_init__(self) -> None:
        written = {self.input}
        for index, operator in enumerate(self.operators):
            for number in operator.inputs:
                if number not in written:
                    raise InputError(f"operator {index} ({operator.kind}) reads tensor {number} before it is written")
            if operator.output in written or not 0 <= operator.output < len(self.tensors):
                raise InputError(f"operator {index} ({operator.kind}) writes tensor {operator.output}, which is taken")
            written.add(operator.output)
        if self.output not in written or not 0 <= self.input < len(self.tensors):
            raise InputError(f"nothing writes the output, tensor {self.output}")

    def elements(self, number: int) -> int:
        """Bytes of a tensor."""
        return int(np.prod(self.tensors[number].shape, dtype=np.int64))


def array_of(data: Any, dtype: Any) -> NDArray[Any]:
    """A read-only copy in native byte order."""
    result = np.array(data, dtype=dtype)
    result.flags.writeable = False
    return result
