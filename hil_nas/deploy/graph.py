"""A neutral int8 graph: what a .tflite says, without its container."""

from __future__ import annotations

from dataclasses import dataclass

from hil_nas.deploy.ends import End, EndKind
from hil_nas.errors import InputError
from hil_nas.operators.int8 import QuantOperator
from hil_nas.tflite.tensor import QuantTensor


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
