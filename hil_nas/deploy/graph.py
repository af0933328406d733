"""A neutral int8 graph: what a .tflite says, without its container.

Quantisation is TFLite's: real = scale * (q - zero_point), weights symmetric.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hil_nas.deploy.ends import End, EndKind
from hil_nas.errors import InputError
from hil_nas.network import Pair, Shape

GraphKind = Literal[
    "conv",
    "depthwise",
    "fully_connected",
    "average_pool",
    "max_pool",
    "mean",
    "sum",
    "reduce_max",
    "add",
    "sub",
    "mul",
    "concatenation",
    "pad",
    "transpose",
    "strided_slice",
    "softmax",
    "logistic",
    "tanh",
    "relu",
    "relu6",
    "leaky_relu",
    "hard_swish",
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
        moved: of transpose and strided_slice.
        label: its number and name in the file.
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
    alpha: float = 0.0
    constant: Constant | None = None
    reduced: Shape = (0, 0, 0)
    moved: Moved = Moved(0, (0, 0, 0))
    label: str = ""

    @property
    def name(self) -> str:
        """What a message calls it."""
        return self.label or f"the {self.kind} that writes tensor {self.output}"


@dataclass(frozen=True, eq=False)
class QuantGraph:
    """Operators in the order they run.

    Attributes:
        input, output: tensor numbers.
        input_kind, output_kind: the file's own types, where the host converts to and from int8.

    Raises:
        InputError: where an operator reads what nothing has written, or a tensor is written twice.
    """

    tensors: tuple[QuantTensor, ...]
    operators: tuple[QuantOperator, ...]
    input: int
    output: int
    input_kind: EndKind = "int8"
    output_kind: EndKind = "int8"

    def __post_init__(self) -> None:
        written = {self.input}
        for operator in self.operators:
            for number in operator.inputs:
                if number not in written:
                    raise InputError(f"{operator.name} reads tensor {number} before it is written")
            if operator.output in written or not 0 <= operator.output < len(self.tensors):
                raise InputError(f"{operator.name} writes tensor {operator.output}, which is taken")
            written.add(operator.output)
        if self.output not in written or not 0 <= self.input < len(self.tensors):
            raise InputError(f"nothing writes the output, tensor {self.output}")

    @property
    def input_end(self) -> End:
        return End(self.input_kind, self.tensors[self.input].scale, self.tensors[self.input].zero_point)

    @property
    def output_end(self) -> End:
        return End(self.output_kind, self.tensors[self.output].scale, self.tensors[self.output].zero_point)

    def elements(self, number: int) -> int:
        """Bytes of a tensor."""
        return int(np.prod(self.tensors[number].shape, dtype=np.int64))


def array_of(data: Any, dtype: Any) -> NDArray[Any]:
    """A read-only copy in native byte order."""
    result = np.array(data, dtype=dtype)
    result.flags.writeable = False
    return result
