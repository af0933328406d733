"""A .tflite as a neutral int8 graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hil_nas.deploy.delays import find_delays
from hil_nas.deploy.ends import EndKind
from hil_nas.deploy.folding import fold_shapes
from hil_nas.deploy.front_end_metadata import attach_front_end, read_front_end
from hil_nas.deploy.graph import QuantGraph
from hil_nas.deploy.model_kind import check_kind
from hil_nas.errors import UnsupportedError
from hil_nas.operators.int8 import QuantOperator
from hil_nas.operators.node import nodes_of
from hil_nas.operators.table import BY_CODE
from hil_nas.tflite import schema
from hil_nas.tflite.model_file import ModelFile
from hil_nas.tflite.refusals import HINT_INT8, remedy
from hil_nas.tflite.tensor import QuantTensor

__all__ = ["attach_front_end", "read_front_end", "read_tflite"]

_KINDS: dict[int, EndKind] = {schema.INT8: "int8", schema.UINT8: "uint8", schema.FLOAT32: "float32"}
_HINT_FLOAT = "use layers with an int8 kernel in its place, such as relu, leaky_relu, hard_swish, sigmoid or tanh"


def read_tflite(data: bytes) -> QuantGraph:
    """Parses a quantised int8 model with one input, one output and a batch of 1.

    What a stream's model keeps from call to call becomes delay lines. Operators that only compute shapes are left out,
    and so are those that quantise a float or uint8 input and dequantise to such an output: the graph's ends say what
    the host has to do.

    Raises:
        InputError: for bytes that are no TensorFlow Lite model, or a damaged one.
        UnsupportedError: for what is not lowered; the message names the operator, its number in the file and the
            reason.
    """
    model = ModelFile.open(data)
    check_kind(model)
    model, folded = fold_shapes(model)
    delays, parts = find_delays(model)
    kept = [i for i in range(len(model.operators)) if i not in folded and i not in parts]
    first, last = model.only(schema.SUBGRAPH_INPUTS), model.only(schema.SUBGRAPH_OUTPUTS)
    source, opening = _behind_input(model, first, kept)
    target, closing = _before_output(model, last, kept)
    inner = [i for i in kept if i not in (opening, closing)]
    for index in inner:
        _check_computes_in_int8(model, index, inner)
    _check_known(model, inner)
    operators = tuple(y for x in inner for y in ((delays[x],) if x in delays else _read_operator(model, x)))
    numbers = {source, target, *(i for x in operators for i in (*x.inputs, x.output))}
    unused = QuantTensor((1,), 1.0, 0)  # constants keep their numbers, so that messages name the file's own
    tensors = tuple(model.activation(i) if i in numbers else unused for i in range(len(model.tensors)))
    return QuantGraph(tensors, operators, source, target, _KINDS[model.type(first)], _KINDS[model.type(last)])


def _behind_input(model: ModelFile, number: int, kept: Sequence[int]) -> tuple[int, int | None]:
    """The int8 tensor that the model's input becomes, and the operator that makes it so; None for one that is int8."""
    if model.type(number) == schema.INT8:
        return number, None
    readers = [i for i in kept if number in model.inputs(i)]
    quantised = len(readers) == 1 and model.code(model.operators[readers[0]]) == "QUANTIZE"
    outputs = model.outputs(readers[0]) if quantised else []
    if len(outputs) != 1 or model.type(number) not in _KINDS or model.type(outputs[0]) != schema.INT8:
        raise _no_int8(model, number, "input")
    _check_flip(model, number, outputs[0])
    return outputs[0], readers[0]


def _before_output(model: ModelFile, number: int, kept: Sequence[int]) -> tuple[int, int | None]:
    """The int8 tensor that becomes the model's output, and the operator that does it."""
    if model.type(number) == schema.INT8:
        return number, None
    writers = [i for i in kept if number in model.outputs(i)]
    closing = len(writers) == 1 and model.code(model.operators[writers[0]]) in ("QUANTIZE", "DEQUANTIZE")
    inputs = model.inputs(writers[0]) if closing else []
    if len(inputs) != 1 or model.type(number) not in _KINDS or model.type(inputs[0]) != schema.INT8:
        raise _no_int8(model, number, "output")
    _check_flip(model, number, inputs[0])
    return inputs[0], writers[0]


def _no_int8(model: ModelFile, number: int, what: str) -> UnsupportedError:
    kind = schema.type_name(model.type(number))
    return UnsupportedError(
        f"the model's {what}, tensor {number} ({model.name(number)}), is {kind} and not quantised to or from int8 by"
        " one operator",
        hint=HINT_INT8,
    )


def _check_flip(model: ModelFile, outer: int, inner: int) -> None:
    """Refuses a uint8 tensor unless flipping the first bit makes int8 of it: one scale, zero points 128 apart."""
    if model.type(outer) != schema.UINT8:
        return
    one, other = model.quantization(outer), model.quantization(inner)
    pair = [(float(x.scales[0]), int(x.zero_points[0])) for x in (one, other) if x is not None and len(x.scales) == 1]
    if len(pair) != 2 or pair[0] != (pair[1][0], pair[1][1] + 128):
        raise UnsupportedError(
            f"tensor {outer} ({model.name(outer)}) is uint8 of another scale than the int8 tensor {inner}",
            hint="convert it again with inference_input_type = inference_output_type = tf.int8",
        )


def _check_computes_in_int8(model: ModelFile, index: int, inner: Sequence[int]) -> None:
    """Refuses operators that read or write float; of a DEQUANTIZE the message names the operator that needs it."""
    outputs = model.outputs(index)
    numbers = [x for x in (*model.inputs(index), *outputs) if x >= 0]
    if schema.FLOAT32 not in [model.type(x) for x in numbers]:
        return
    if model.code(model.operators[index]) == "DEQUANTIZE":
        readers = [i for i in inner if set(outputs) & set(model.inputs(i))]
        index = readers[0] if readers else index
    name = model.code(model.operators[index])
    raise UnsupportedError(
        f"operator {index} ({name}) computes in float in the middle of an int8 model", hint=_HINT_FLOAT
    )


def _check_known(model: ModelFile, indices: Sequence[int]) -> None:
    """Refuses operators that are not in the table, before the shapes between them are checked."""
    for index in indices:
        code = model.code(model.operators[index])
        if code not in BY_CODE:
            raise UnsupportedError(
                f"operator {index} ({code}) is not supported",
                hint=remedy(code) or f"supported are {', '.join(BY_CODE)}",
            )


def _read_operator(model: ModelFile, index: int) -> tuple[QuantOperator, ...]:
    """One operator of the file, every shape of it computed again and compared; several where it has several outputs."""
    kind = BY_CODE[model.code(model.operators[index])]
    assert kind.read is not None  # it has a code
    nodes = nodes_of(model, index, kind.name, kind.options, kind.many_outputs)
    return tuple(replace(kind.read(x), label=x.name) for x in nodes)
