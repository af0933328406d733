"""The state of a stream's model: variables that are read, joined with what is new, and assigned again.

TensorFlow's streaming layers keep the last rows of their input in a variable:

    joined = CONCATENATION(READ_VARIABLE, new) along time; ASSIGN_VARIABLE the last rows of joined

which is one delay line of as many rows as `joined`: new rows in, `joined` out. Some keep as many rows as `joined` has,
and read the last of them; that is the same. In the beginning a variable is what the subgraph of a CALL_ONCE assigns, or
its zero point where none does (`micro_resource_variable.cc` of TensorFlow Lite Micro).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hil_nas.errors import InputError, UnsupportedError
from hil_nas.operators.delay import DELAY, time_axis
from hil_nas.operators.int8 import QuantOperator
from hil_nas.operators.moving import CONCATENATION, SLICE, STRIDED_SLICE
from hil_nas.operators.node import node_of
from hil_nas.operators.slicing import slices_of
from hil_nas.tflite import schema
from hil_nas.tflite.model_file import ModelFile
from hil_nas.tflite.refusals import HINT_STATE

_SLICES = {"STRIDED_SLICE": STRIDED_SLICE, "SLICE": SLICE}
_PARTS = ("CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE")


def beginnings_of(model: ModelFile) -> list[tuple[int, int]]:
    """(operator, subgraph) of every CALL_ONCE."""
    return [
        (i, _option(model, i, schema.CALL_ONCE_OPTIONS, schema.CALL_ONCE_SUBGRAPH))
        for i, table in enumerate(model.operators)
        if model.code(table) == "CALL_ONCE"
    ]


def find_delays(model: ModelFile) -> tuple[dict[int, QuantOperator], frozenset[int]]:
    """The delay lines of a model, each by the number of its CONCATENATION; and the operators that are part of them.

    Raises:
        InputError: where such an operator does not fit together.
        UnsupportedError: for variables that are used in another way, or begin with other values than zeros.
    """
    handles, first = _handles(model), _beginnings(model)
    parts = {i for i, table in enumerate(model.operators) if model.code(table) in _PARTS}
    reads, assigns = (_by_variable(model, handles, x) for x in ("READ_VARIABLE", "ASSIGN_VARIABLE"))
    delays: dict[int, QuantOperator] = {}
    for name, (index, *_) in sorted({**assigns, **reads}.items(), key=lambda x: x[1]):
        read = _once(model, index, reads.get(name, []), "read")
        state = _State(model, read, _once(model, index, assigns.get(name, []), "assigned"))
        joined, delay, slices = state.delay()
        if name in first:
            state.check_beginning(*first[name])
        delays[joined] = delay
        parts |= slices
    return delays, frozenset(parts)


@dataclass(frozen=True)
class _State:
    """A variable of a model, and the operators that read and assign it."""

    model: ModelFile
    read: int
    assign: int

    @property
    def tensor(self) -> int:
        """What is read."""
        (output,) = _numbers(self.model, self.read, self.model.outputs(self.read), 1)
        return output

    def delay(self) -> tuple[int, QuantOperator, set[int]]:
        """The CONCATENATION that is the delay line, the line, and the slices that are left out with it."""
        _, assigned = _numbers(self.model, self.assign, self.model.inputs(self.assign), 2)
        kind = self.model.type(self.tensor)
        if kind != schema.INT8:
            raise UnsupportedError(
                f"{_name(self.model, self.read)} reads a state of {schema.type_name(kind)}, expected one of INT8",
                hint="convert it again with converter._experimental_variable_quantization = True",
            )
        after, joined = self._sliced(assigned)
        index = self._writer(joined)
        if self.assign < self.read:
            raise self._refuse(self.assign, "comes before the variable is read")
        if self._code(index) != CONCATENATION.codes[0]:
            raise self._refuse(self.assign, f"assigns what operator {index} ({self._code(index)}) gives")
        node = node_of(self.model, index, CONCATENATION.name, CONCATENATION.options)
        assert CONCATENATION.read is not None
        axis = CONCATENATION.read(node).axis
        shapes = [node.source(i).shape for i in range(len(node.inputs))]
        if len(shapes) != 2 or time_axis(shapes[1], node.target().shape) != axis:
            raise self._refuse(index, f"joins tensors of {shapes} along axis {axis}")
        before, kept = self._sliced(node.inputs[0])
        if kept != self.tensor:
            raise self._refuse(self.read, f"is not what operator {index} (CONCATENATION) has first")
        for x in {*before, *after}:
            self._check_last_rows(x, axis)
        self._only_reader(kept, (*before, index)[0])
        self._only_reader(node.inputs[0], index)
        if self.model.shape(kept) != self.model.shape(assigned):
            raise InputError(f"{_name(self.model, self.assign)} assigns {self.model.shape(assigned)} to another shape")
        unread = after if self._readers(assigned) == [self.assign] and not self._is_output(assigned) else []
        return index, QuantOperator(DELAY.name, node.inputs[1:], node.output, label=node.name), {*before, *unread}

    def _sliced(self, tensor: int) -> tuple[list[int], int]:
        """The slice that gives a tensor, in a list, and what it is a slice of; [] and itself where none does."""
        for writer in self._writers(tensor):
            if self._code(writer) in _SLICES:
                kind = _SLICES[self._code(writer)]
                return [writer], node_of(self.model, writer, kind.name, kind.options).inputs[0]
        return [], tensor

    def check_beginning(self, model: ModelFile, number: int) -> None:
        """Whether the variable begins with zeros."""
        values, zero_point = model.constant(number), self.model.activation(self.tensor).zero_point
        if values is None or values.dtype != np.int8 or np.any(values != zero_point):
            raise self._refuse(self.read, "begins with other values than zeros")

    def _check_last_rows(self, index: int, axis: int) -> None:
        """Whether a slice takes the last rows and all that is in them."""
        kind = _SLICES[self._code(index)]
        node = node_of(self.model, index, kind.name, kind.options)
        node.same_scale()
        shape = node.source().shape
        for i, (x, extent) in enumerate(zip(slices_of(node, shape), shape, strict=True)):
            if x.dropped or x.step != 1 or x.begin + x.count != extent or (i != axis and x.begin != 0):
                raise self._refuse(index, f"takes other rows than the last along axis {axis}")
        node.expect(tuple(x.count for x in slices_of(node, shape)))

    def _only_reader(self, tensor: int, index: int) -> None:
        """Whether nothing but one operator reads a tensor."""
        others = [f"operator {x} ({self._code(x)})" for x in self._readers(tensor) if x != index]
        others += ["the model's output"] * self._is_output(tensor)
        if others:
            raise self._refuse(self.read, f"is read by {others[0]} too")

    def _is_output(self, tensor: int) -> bool:
        return tensor in self.model.subgraph.numbers(schema.SUBGRAPH_OUTPUTS, "<i4").tolist()

    def _readers(self, tensor: int) -> list[int]:
        return [i for i in range(len(self.model.operators)) if tensor in self.model.inputs(i)]

    def _writers(self, tensor: int) -> list[int]:
        return [i for i in range(len(self.model.operators)) if tensor in self.model.outputs(i)]

    def _writer(self, tensor: int) -> int:
        writers = self._writers(tensor)
        if len(writers) != 1:
            raise self._refuse(self.assign, f"depends on tensor {tensor}, which {len(writers)} operators write")
        return writers[0]

    def _code(self, index: int) -> str:
        return self.model.code(self.model.operators[index])

    def _refuse(self, index: int, reason: str) -> UnsupportedError:
        return _refusal(self.model, index, reason)


def _refusal(model: ModelFile, index: int, reason: str) -> UnsupportedError:
    expected = "expected a state that one CONCATENATION joins with what is new, and that its last rows become"
    return UnsupportedError(f"{_name(model, index)} {reason}: {expected}", hint=HINT_STATE)


def _name(model: ModelFile, index: int) -> str:
    return f"operator {index} ({model.code(model.operators[index])})"


def _once(model: ModelFile, index: int, operators: list[int], what: str) -> int:
    """The one operator that reads or assigns a variable; `index` is one that has it."""
    if not operators:
        raise _refusal(model, index, f"has a variable that is never {what}")
    if len(operators) > 1:
        raise _refusal(model, operators[1], f"has a variable that is {what} before")
    return operators[0]


def _handles(model: ModelFile) -> dict[int, tuple[str, str]]:
    """The variable, by container and name, that each tensor of a VAR_HANDLE stands for."""
    named = {}
    for index, table in enumerate(model.operators):
        if model.code(table) != "VAR_HANDLE":
            continue
        options = table.table(schema.OPERATOR_OPTIONS)
        if options is None or table.number(schema.OPERATOR_OPTIONS_TYPE, "B") != schema.VAR_HANDLE_OPTIONS:
            raise InputError(f"{_name(model, index)} names no variable")
        (output,) = _numbers(model, index, model.outputs(index), 1)
        named[output] = options.text(schema.VAR_HANDLE_CONTAINER), options.text(schema.VAR_HANDLE_NAME)
    return named


def _by_variable(model: ModelFile, handles: dict[int, tuple[str, str]], code: str) -> dict[tuple[str, str], list[int]]:
    """The operators of one code by the variable that they have first."""
    found: dict[tuple[str, str], list[int]] = {}
    for index, table in enumerate(model.operators):
        if model.code(table) == code:
            found.setdefault(_variable(model, handles, index), []).append(index)
    return found


def _variable(model: ModelFile, handles: dict[int, tuple[str, str]], index: int) -> tuple[str, str]:
    inputs = model.inputs(index)
    if not inputs or inputs[0] not in handles:
        raise InputError(f"{_name(model, index)} has no variable of a VAR_HANDLE")
    return handles[inputs[0]]


def _beginnings(model: ModelFile) -> dict[tuple[str, str], tuple[ModelFile, int]]:
    """Variable -> the subgraph that assigns to it in the beginning, and the tensor there."""
    first = {}
    for _, number in beginnings_of(model):
        subgraph = model.other(number)
        handles = _handles(subgraph)
        for index, table in enumerate(subgraph.operators):
            code = subgraph.code(table)
            if code == "ASSIGN_VARIABLE":
                _, value = _numbers(subgraph, index, subgraph.inputs(index), 2)
                first[_variable(subgraph, handles, index)] = subgraph, value
            elif code != "VAR_HANDLE":
                raise UnsupportedError(
                    f"operator {index} ({code}) of subgraph {number} prepares the model: expected that variables are"
                    " assigned constants there, and nothing else",
                    hint=HINT_STATE,
                )
    return first


def _option(model: ModelFile, index: int, member: int, field: int) -> int:
    table = model.operators[index]
    options = table.table(schema.OPERATOR_OPTIONS)
    if options is None or table.number(schema.OPERATOR_OPTIONS_TYPE, "B") != member:
        raise InputError(f"{_name(model, index)} has the options of another operator")
    return int(options.number(field, "i"))


def _numbers(model: ModelFile, index: int, numbers: list[int], count: int) -> list[int]:
    if len(numbers) != count:
        raise InputError(f"{_name(model, index)} has {len(numbers)} tensors, expected {count}")
    return [model.checked(x) for x in numbers]
