"""Which kinds of model are not run, seen before any operator is read."""

from __future__ import annotations

from hil_nas.deploy.delays import beginnings_of
from hil_nas.errors import UnsupportedError
from hil_nas.tflite import schema
from hil_nas.tflite.model_file import ModelFile
from hil_nas.tflite.refusals import HINT_INT8, HINT_RECURRENT, HINT_STATE

_CONTROL_FLOW = {"IF", "WHILE"}


def check_kind(model: ModelFile) -> None:
    """Refuses kinds of model of which no operator need be read to know.

    Raises:
        UnsupportedError: for state in tensors, code for another processor, control flow, several subgraphs, inputs
            or outputs, and for every quantisation but int8 throughout.
    """
    for index, table in enumerate(model.operators):
        if model.code(table) == "CUSTOM":
            raise _custom(index, model.custom_name(table))
    codes = {model.builtin_name(x) for x in model.codes}
    for index, table in enumerate(model.operators):
        if any(x >= 0 and model.is_variable(model.checked(x)) for x in model.inputs(index)):
            raise UnsupportedError(
                f"operator {index} ({model.code(table)}) keeps state from call to call in a tensor of its own",
                hint=HINT_STATE,
            )
    flow = sorted(codes & _CONTROL_FLOW)
    if flow:
        raise UnsupportedError(f"the model loops or branches as it runs ({', '.join(flow)})", hint=HINT_RECURRENT)
    beginnings = {x for _, x in beginnings_of(model)}
    if len(model.subgraphs) != 1 + len(beginnings):
        raise UnsupportedError(
            f"the model has {len(model.subgraphs)} subgraphs, one is run", hint="convert it with one signature"
        )
    for field, what, which in (
        (schema.SUBGRAPH_INPUTS, "inputs", "model.inputs[0], model.output"),
        (schema.SUBGRAPH_OUTPUTS, "outputs", "model.input, model.outputs[0]"),
    ):
        numbers = model.subgraph.numbers(field, "<i4")
        if len(numbers) != 1:
            names = ", ".join(model.name(model.checked(int(x))) for x in numbers)
            raise UnsupportedError(
                f"the model has {len(numbers)} {what}, one is run: {names}",
                hint=f"convert the part that you need: keras.Model({which})",
            )
    _check_quantisation(model)


def _custom(index: int, name: str) -> UnsupportedError:
    if name == "ethos-u":
        return UnsupportedError(
            f"this file was compiled by Vela: operator {index} is code for an Ethos-U, which no board here has",
            hint="give the int8 .tflite that Vela was given",
        )
    if name.startswith("Flex"):
        return UnsupportedError(
            f"operator {index} ({name}) is TensorFlow's own, which no microcontroller has",
            hint="convert it without SELECT_TF_OPS, from layers that TFLITE_BUILTINS_INT8 knows",
        )
    return UnsupportedError(f"operator {index} is the custom operator '{name}'", hint="use layers of Keras' own")


def _check_quantisation(model: ModelFile) -> None:
    """Whether what the operators give is int8; shapes (int32, int64, bool) do not count."""
    codes = [model.code(x) for x in model.operators]
    outputs = [[model.type(int(n)) for n in x.numbers(schema.OPERATOR_OUTPUTS, "<i4")] for x in model.operators]
    computed = [x for code, types in zip(codes, outputs, strict=True) for x in types if code != "DEQUANTIZE"]
    if schema.INT16 in computed:
        raise _other("the model is quantised 16x8 (activations int16, weights int8)")
    if schema.UINT8 in [x for c, types in zip(codes, outputs, strict=True) for x in types if c != "QUANTIZE"]:
        raise _other("the model is quantised to uint8 throughout, as TensorFlow 1 did")
    if schema.INT8 in computed or schema.FLOAT32 not in computed:
        return
    constants = {model.type(i) for i in range(len(model.tensors)) if model.is_constant(i)}
    if schema.INT8 in constants:
        raise _other("the model is quantised in its weights alone (dynamic range), it computes in float")
    if schema.FLOAT16 in constants:
        raise _other("the model is a float model with weights in float16")
    raise _other("the model is a float model")


def _other(what: str) -> UnsupportedError:
    return UnsupportedError(f"{what}, only int8 is run", hint=HINT_INT8)
