"""Reading .tflite files: what others made, what is not lowered, and what is damaged."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
import pytest
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from hil_nas.deploy.lower import lower
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.tflite import attach_front_end, read_front_end, read_tflite
from hil_nas.errors import InputError, UnsupportedError
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.operators.table import BY_CODE
from hil_nas.tflite.schema import OPERATOR_NAMES, TYPE_NAMES

CONFIG = Mfcc(400, 200, 40, 10)


def changed(model: bytes, change: Callable[[Any], None]) -> bytes:
    """The model after `change` of TFLM's own object form of it."""
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(model, 0))
    for table in (tree.subgraphs[0], *tree.subgraphs[0].tensors, *tree.subgraphs[0].operators):
        for part in (table, getattr(table, "quantization", None)):
            arrays = {k: v.copy() for k, v in vars(part).items() if isinstance(v, np.ndarray)} if part else {}
            vars(part).update(arrays) if part else None
    change(tree)
    builder = flatbuffers.Builder(len(model))
    builder.Finish(tree.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def test_names_are_the_schemas_own() -> None:
    for index, name in enumerate(OPERATOR_NAMES):
        assert getattr(schema.BuiltinOperator, name) == index
    for index, name in enumerate(TYPE_NAMES):
        assert getattr(schema.TensorType, name) == index
    unions = {k: v for k, v in vars(schema.BuiltinOptions).items() if isinstance(v, int)}
    for code, kind in BY_CODE.items():
        reduces = code in ("MEAN", "SUM", "REDUCE_MAX")
        name = "reducer" if reduces else code.replace("_", "").lower().removesuffix("2d")
        members = [v for k, v in unions.items() if k.lower().removesuffix("options").removesuffix("2d") == name]
        assert kind.options == 0 or kind.options in members or "pool" in name


def test_the_reference_models_graph_is_what_tflms_parser_sees(reference_model: bytes) -> None:
    graph = read_tflite(reference_model)
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(reference_model, 0))
    operators = tree.subgraphs[0].operators
    assert len(graph.operators) == len(operators)
    for operator, expected in zip(graph.operators, operators, strict=True):
        assert operator.inputs[0] == expected.inputs[0]
        assert operator.output == expected.outputs[0]
        if operator.weights is not None:
            tensor = tree.subgraphs[0].tensors[expected.inputs[1]]
            assert operator.weights.values.tobytes() == bytes(tree.buffers[tensor.buffer].data)
            assert np.array_equal(operator.weights.scales, tensor.quantization.scale)


def test_a_model_written_anew_reads_the_same(kws_model: bytes) -> None:
    again = changed(kws_model, lambda tree: None)
    assert lower(read_tflite(again)).to_bytes() == lower(read_tflite(kws_model)).to_bytes()


def first_map(tree: Any) -> Any:
    """The first convolution's output."""
    return tree.subgraphs[0].tensors[tree.subgraphs[0].operators[0].outputs[0]]


def first_weights(tree: Any) -> Any:
    return tree.subgraphs[0].tensors[tree.subgraphs[0].operators[0].inputs[1]]


def retype(tree: Any) -> None:
    first_map(tree).type = schema.TensorType.INT16


def add_output(tree: Any) -> None:
    softmax = tree.subgraphs[0].operators[-1]
    tree.subgraphs[0].outputs = [*softmax.outputs, *softmax.inputs]


def foreign_operator(tree: Any) -> None:
    tree.operatorCodes[tree.subgraphs[0].operators[2].opcodeIndex].deprecatedBuiltinCode = 54


def asymmetric_weights(tree: Any) -> None:
    first_weights(tree).quantization.zeroPoint[3] = 1


def dynamic_shape(tree: Any) -> None:
    first_map(tree).shapeSignature = [-1, -1, 5, 64]


def large_batch(tree: Any) -> None:
    tree.subgraphs[0].tensors[0].shape[0] = 2


def two_subgraphs(tree: Any) -> None:
    tree.subgraphs.append(tree.subgraphs[0])


def strange_softmax(tree: Any) -> None:
    tree.subgraphs[0].tensors[tree.subgraphs[0].outputs[0]].quantization.zeroPoint[0] = 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (retype, r"quantised 16x8|tensor \d+ .* is INT16"),
        (add_output, "2 outputs, one is run: "),
        (foreign_operator, r"operator \d \(PRELU\) is not supported.*use LeakyReLU"),
        (asymmetric_weights, r"operator 0 \(CONV_2D\) has weights without symmetric scales"),
        (dynamic_shape, r"tensor \d+ .* dynamic shape, \[-1, -1, 5, 64\]"),
        (large_batch, "tensor 0 .* a batch of 1"),
        (two_subgraphs, "2 subgraphs"),
        (strange_softmax, r"operator \d+ \(SOFTMAX\) has an output of scale"),
    ],
)
def test_what_is_not_lowered_is_refused_by_name(
    kws_model: bytes, change: Callable[[Any], None], words: str
) -> None:
    with pytest.raises(UnsupportedError, match=words):
        read_tflite(changed(kws_model, change))


def wrong_output_shape(tree: Any) -> None:
    first_map(tree).shape[1] = 24


def short_buffer(tree: Any) -> None:
    buffer = tree.buffers[first_weights(tree).buffer]
    buffer.data = buffer.data[:100]


def missing_tensor(tree: Any) -> None:
    tree.subgraphs[0].operators[3].inputs[0] = 99


def negative_scale(tree: Any) -> None:
    first_map(tree).quantization.scale[0] = -1.0


def loop(tree: Any) -> None:
    tree.subgraphs[0].operators[0].inputs[0] = tree.subgraphs[0].operators[5].outputs[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (wrong_output_shape, r"operator 0 \(CONV_2D\).*gives \(1, 25, 5, 64\)"),
        (short_buffer, "100 bytes for the shape"),
        (missing_tensor, r"tensor 99 of \d\d"),
        (negative_scale, r"tensor \d+ .* scales"),
        (loop, "operator 0|groups"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    kws_model: bytes, change: Callable[[Any], None], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        read_tflite(changed(kws_model, change))


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\0\0\0\0TFL3", b"\xff\xff\xff\xffTFL3" + bytes(99), bytes(4096)])
def test_what_is_no_model_is_refused(data: bytes) -> None:
    for function in (read_tflite, read_front_end, lambda x: attach_front_end(x, CONFIG)):
        with pytest.raises(InputError):
            function(data)


def mutated(model: bytes, rng: random.Random) -> bytes:
    """A damaged file: cut, bytes changed, words replaced by extreme ones, or a block copied elsewhere."""
    data, way = bytearray(model), rng.randrange(4)
    # the tables lie at the end of a file written by the converter, the weights before them
    places = [
        rng.randrange(len(data) // 2, len(data) - 8) if rng.random() < 0.8 else rng.randrange(64) for _ in range(8)
    ]
    if way == 0:
        return bytes(data[: rng.randrange(len(data))])
    for place in places[: rng.randint(1, 8)]:
        if way == 1:
            data[place] = rng.randrange(256)
        elif way == 2:
            word = rng.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0, len(data)])
            data[place & ~3 : (place & ~3) + 4] = word.to_bytes(4, "little")
        else:
            source = rng.randrange(len(data) - 64)
            data[place : place + 16] = model[source : source + 16]
    return bytes(data[: len(model)])


def test_damaged_files_are_read_or_refused_but_never_crash(kws_model: bytes) -> None:
    rng, refused, read = random.Random(3), 0, 0
    model = attach_front_end(kws_model, CONFIG)
    for _ in range(1500):
        damaged = mutated(model, rng)
        try:
            lower(read_tflite(damaged)).to_bytes()
            read += 1
        except InputError as error:
            assert error.message and "\n" not in error.message
            refused += 1
        for function in (read_front_end, lambda x: attach_front_end(x, Mfcc(640, 320, 40, 13))):
            try:
                function(damaged)
            except InputError:
                pass
    assert refused > 300
    assert read > 100


def test_mfcc_metadata_goes_round_and_nothing_else_changes(kws_model: bytes) -> None:
    assert read_front_end(kws_model) is None
    model = attach_front_end(kws_model, CONFIG)
    assert read_front_end(model) == CONFIG
    assert attach_front_end(model, CONFIG) == model
    other = attach_front_end(model, Mfcc(640, 320, 80, 40))
    assert read_front_end(other) == Mfcc(640, 320, 80, 40)
    assert other.endswith(kws_model)
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(other, 0))
    before = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(kws_model, 0)).metadata
    assert [x.name for x in tree.metadata] == [*(x.name for x in before), b"hil_nas.front_end"]
    assert tree.description == b"MLIR Converted."
    assert lower(read_tflite(other)).to_bytes() == lower(read_tflite(kws_model)).to_bytes()
    inputs = np.random.default_rng(1).integers(-128, 128, (5, 49, 10, 1)).astype(np.int8)
    assert np.array_equal(Tflm(other).run(inputs), Tflm(kws_model).run(inputs))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"{", "is no front end"),
        (b"[1]", "is no front end"),
        (b'{"version": 9}', "version 9, expected 2"),
        (b'{"version": 1, "window_samples": 400}', "version 1, expected 2"),
        (b'{"version": 2, "front_end": 400}', "is no front end"),
        (b'{"version": 2, "front_end": "mfcc:400/200/40"}', "is no front end of the kind mfcc"),
        (b'{"version": 2, "front_end": "mfcc:4/1/1/1"}', "a window of 4"),
        (b'{"version": 2, "front_end": "other:400/200/40/10"}', "no known kind"),
        (b"[" * 100_000, "is no front end"),
    ],
)
def test_metadata_that_is_no_configuration_is_refused(kws_model: bytes, text: bytes, words: str) -> None:
    def replace(tree: Any) -> None:
        tree.buffers[tree.metadata[-1].buffer].data = np.frombuffer(text, np.uint8)

    with pytest.raises(InputError, match=words):
        read_front_end(changed(attach_front_end(kws_model, CONFIG), replace))


def test_the_reference_refuses_other_shapes(kws_model: bytes) -> None:
    with pytest.raises(InputError, match="expected int8 of shape"):
        Tflm(kws_model).run(np.zeros((1, 49, 10), np.int8))
    assert Tflm(kws_model).run(np.zeros((0, 49, 10, 1), np.int8)).shape == (0, 12)
