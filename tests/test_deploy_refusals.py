"""Models that are not run: what people read then names the file's own operator or kind, and what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from every_operator import every_operator
from tflite_maker import Maker
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from hil_nas import cli
from hil_nas.deploy.lower import lower
from hil_nas.deploy.tflite import read_tflite
from hil_nas.errors import InputError
from hil_nas.operators.table import BY_CODE
from hil_nas.tflite import refusals
from hil_nas.tflite.schema import OPERATOR_NAMES

Shape = tuple[int, ...]
CASES = Path(__file__).resolve().parents[2] / "shared" / "data" / "cases"


def chain(*names: str, dtype: Any = np.int8, weights: Any = None) -> Maker:
    """Operators one behind the other, from tensor 0 to the last."""
    maker = Maker()
    last = maker.tensor((1, 8), 0.1, 0, dtype)
    constant = [] if weights is None else [maker.constant(np.ones((8, 8)), 0.1, 0, weights)]
    for name in names:
        number = maker.tensor((1, 8), 0.1, 0, dtype)
        maker.operator(name, [last, *constant], number)
        last = number
    maker.graph.inputs, maker.graph.outputs = [0], [last]
    return maker


def whole(maker: Maker) -> bytes:
    return maker.finish(list(maker.graph.inputs), list(maker.graph.outputs))


def custom(name: str) -> bytes:
    maker = chain("RELU", "CUSTOM")
    maker.model.operatorCodes[1].customCode = name
    return whole(maker)


def variable() -> bytes:
    maker = chain("RELU", "SVDF")
    maker.graph.tensors[1].isVariable = True
    return whole(maker)


def subgraphs() -> bytes:
    maker = chain("RELU")
    maker.model.subgraphs.append(maker.graph)
    return whole(maker)


def ends(inputs: list[int], outputs: list[int]) -> bytes:
    return chain("RELU", "RELU").finish(inputs, outputs)


def island() -> bytes:
    maker = Maker()
    types = (np.int8, np.float32, np.float32, np.int8)
    numbers = [maker.tensor((1, 8), 0.1, 0, x) for x in types]
    for place, name in enumerate(("DEQUANTIZE", "ELU", "QUANTIZE")):
        maker.operator(name, [numbers[place]], numbers[place + 1])
    return maker.finish(numbers[0], numbers[-1])


def float_end() -> bytes:
    maker = Maker()
    numbers = [maker.tensor((1, 8), dtype=np.float32), maker.tensor((1, 8), 0.1), maker.tensor((1, 8), 0.2)]
    maker.operator("QUANTIZE", [numbers[0]], numbers[1])
    maker.operator("QUANTIZE", [numbers[0]], numbers[2])
    maker.operator("ADD", numbers[1:], maker.tensor((1, 8), 0.1), "AddOptions")
    return maker.finish(0, 3)


def other_uint8() -> bytes:
    maker = Maker()
    numbers = [maker.tensor((1, 8), 0.1, 100, np.uint8), maker.tensor((1, 8), 0.1), maker.tensor((1, 8), 0.1)]
    maker.operator("QUANTIZE", [numbers[0]], numbers[1])
    maker.operator("RELU6", [numbers[1]], numbers[2])
    return maker.finish(numbers[0], numbers[2])


def dense(inputs: int, per_channel: bool, folded: bool = True) -> bytes:
    """A flattened map into a dense layer, with the operators that flattening leaves in a file."""
    maker = Maker()
    source, flat = maker.tensor((1, 5, inputs // 5, 1), 0.1), maker.tensor((1, inputs), 0.1)
    shape = maker.tensor((4,), dtype=np.int32)
    maker.operator("SHAPE", [source], shape, "ShapeOptions", outType=2)
    maker.operator("RESHAPE", [source, maker.constant((1, inputs))], flat)
    weights = maker.constant(np.ones((2, inputs)), 0.1, 0, np.int8)
    if per_channel:
        quantisation = maker.graph.tensors[weights].quantization
        quantisation.scale, quantisation.zeroPoint = [0.1, 0.2], [0, 0]
    bias = maker.constant(np.zeros(2))
    last = maker.tensor((1, 2), 0.1)
    maker.operator("FULLY_CONNECTED", [flat, weights, bias], last, "FullyConnectedOptions")
    return maker.finish(source, last)


def scaled(name: str, source: tuple[float, int], target: tuple[float, int], inputs: int = 1) -> bytes:
    maker = Maker()
    first, last = maker.tensor((1, 8), *source), maker.tensor((1, 8), *target)
    options = {"MUL": "MulOptions", "ADD": "AddOptions"}.get(name)
    maker.operator(name, [first] * inputs, last, options)
    return maker.finish(first, last)


def shaped(name: str, shape: Shape, out: Shape, *constants: Any, options: str | None = None) -> bytes:
    maker = Maker()
    first, last = maker.tensor(shape, 0.1), maker.tensor(out, 0.1)
    maker.operator(name, [first, *(maker.constant(x) for x in constants)], last, options)
    return maker.finish(first, last)


def groups() -> bytes:
    maker = Maker()
    first, last = maker.tensor((1, 4, 4, 4), 0.1), maker.tensor((1, 4, 4, 2), 0.1)
    weights = [maker.constant(np.ones((2, 1, 1, 2)), 0.1, 0, np.int8), maker.constant([0, 0])]
    maker.operator("CONV_2D", [first, *weights], last, "Conv2DOptions", strideW=1, strideH=1)
    return maker.finish(first, last)


REFUSED: list[tuple[Callable[[], bytes], str]] = [
    (lambda: b"", "these 0 bytes are no .tflite"),
    (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "git-LFS pointer.*git lfs pull"),
    (lambda: b"PK\x03\x04" + bytes(99), "a zip archive, as a .keras file is, not a .tflite.*from_keras_model"),
    (lambda: b"\x89HDF\r\n" + bytes(99), "a Keras model in HDF5.*from_keras_model"),
    (lambda: b"<!DOCTYPE html>\n", "a page of the web.*download"),
    (lambda: custom("ethos-u"), "compiled by Vela: operator 1 is code for an Ethos-U.*Vela was given"),
    (lambda: custom("FlexErf"), r"operator 1 \(FlexErf\) is TensorFlow's own.*SELECT_TF_OPS"),
    (lambda: custom("mine"), "operator 1 is the custom operator 'mine'"),
    (variable, r"operator 1 \(SVDF\) keeps state from call to call in a tensor of its own.*concat.*a whole clip"),
    (lambda: whole(chain("RELU", "WHILE")), r"loops or branches as it runs \(WHILE\).*recurrent"),
    (subgraphs, "2 subgraphs, one is run.*signature"),
    (lambda: ends([0, 1], [2]), "2 inputs, one is run: tensor_0, tensor_1.*model.inputs"),
    (lambda: ends([0], [1, 2]), "2 outputs, one is run: tensor_1, tensor_2.*model.outputs"),
    (lambda: whole(chain("RELU", dtype=np.int16)), "quantised 16x8 .*TFLITE_BUILTINS_INT8"),
    (lambda: whole(chain("RELU", dtype=np.uint8)), "quantised to uint8 throughout"),
    (lambda: whole(chain("RELU", dtype=np.float32)), "is a float model, only int8"),
    (lambda: whole(chain("FULLY_CONNECTED", dtype=np.float32, weights=np.float16)), "weights in float16"),
    (lambda: whole(chain("FULLY_CONNECTED", dtype=np.float32, weights=np.int8)), "dynamic range"),
    (island, r"operator 1 \(ELU\) computes in float in the middle.*relu"),
    (float_end, "the model's input, tensor 0 .* is FLOAT32 and not quantised to or from int8 by one"),
    (other_uint8, "uint8 of another scale.*tf.int8"),
    (lambda: whole(chain("RELU6", "GELU")), r"operator 1 \(GELU\) is not supported.*use relu"),
    (lambda: whole(chain("RELU6", "SPACE_TO_BATCH_ND")), "belongs to a dilation.*batch_size=1"),
    (lambda: whole(chain("RELU6", "TOPK_V2")), r"operator 1 \(TOPK_V2\) is not supported.*supported are CONV_2D"),
    (lambda: dense(75_000, per_channel=True), r"operator 2 .* a dense layer over 75000 inputs, at most 32767"),
    (lambda: dense(75_000, per_channel=False), r"operator 2 .* over 75000 inputs, at most 65535"),
    (groups, r"operator 0 \(CONV_2D\) has groups: 4 channels for weights of 2.*groups=1"),
    (lambda: scaled("MUL", (1.0, 0), (1e-6, 0), 2), r"operator 0 \(MUL\) .* far too fine.*representative"),
    (lambda: scaled("ADD", (1.0, 0), (1e-6, 0), 2), r"operator 0 \(ADD\) has an output scale far too fine"),
    (lambda: scaled("HARD_SWISH", (1.0, 0), (1e-3, 0)), r"operator 0 \(HARD_SWISH\) has an output scale of 0.001"),
    (lambda: scaled("LOGISTIC", (1.0, 0), (1 / 128, 0)), r"operator 0 \(LOGISTIC\) .* not 1/256 and -128"),
    (lambda: scaled("TANH", (1.0, 0), (1 / 256, 0)), r"operator 0 \(TANH\) .* not 1/128 and 0"),
    (lambda: scaled("RELU6", (1.0, 0), (0.5, 0)), r"operator 0 \(RELU6\) has input 0 and output of different scales"),
    (lambda: shaped("TRANSPOSE", (2, 4), (4, 2), [1, 0]), "tensor 0 .* shape .2, 4., only a batch of 1.*batch_size=1"),
    (
        lambda: shaped("MEAN", (1, 4, 5, 6), (1, 5), [1, 3], options="ReducerOptions"),
        r"operator 0 \(MEAN\) reduces the axes \[1, 3\].*beside each other",
    ),
    (
        lambda: shaped("STRIDED_SLICE", (1, 8), (1, 8), [0, 7], [1, -9], [1, -1], options="StridedSliceOptions"),
        r"operator 0 \(STRIDED_SLICE\) slices axis 1 backwards",
    ),
    (lambda: shaped("PAD", (1, 4, 4), (1, 4, 6), [[0, 0], [0, 0], [1, 1]]), r"operator 0 \(PAD\) pads the batch"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "words"), REFUSED, ids=[x[1][:40] for x in REFUSED])
def test_what_is_not_run_is_said_with_a_remedy(model: Callable[[], bytes], words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        lower(read_tflite(model()))
    assert refused.value.hint and "\n" not in str(refused.value)


def test_what_does_not_fit_together_is_no_model_of_another_kind() -> None:
    for damaged, words in (
        (shaped("RESHAPE", (1, 8), (1, 2, 4), [1, 4, 2]), r"asked for \[1, 4, 2\]"),
        (shaped("MEAN", (1, 4, 5, 6), (1, 6), [1, 9], options="ReducerOptions"), "reduces the axes"),
        (shaped("TRANSPOSE", (1, 4, 6), (1, 6, 4), [0, 2, 2]), "orders the axes"),
        (
            shaped("STRIDED_SLICE", (1, 8), (1, 8), [0, 8], [1, 8], [1, 1], options="StridedSliceOptions"),
            "takes nothing",
        ),
    ):
        with pytest.raises(InputError, match=words):
            read_tflite(damaged)


def test_every_operator_that_is_known_by_name_is_read_or_refused_in_one_line() -> None:
    """Whatever a file holds, no other error comes."""
    for name in OPERATOR_NAMES:
        maker = chain(name)
        try:
            lower(read_tflite(whole(maker)))
        except InputError as error:
            assert "\n" not in error.message and len(error.message) < 250


def test_remedies_are_for_operators_that_there_are() -> None:
    for name in refusals._REMEDIES:
        assert hasattr(schema.BuiltinOperator, name) and name not in BY_CODE


@pytest.mark.parametrize("command", ["verify", "serve"])
def test_the_file_is_named_and_no_board_is_started(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for opened in ("workflows.verify_file.open_device", "device.serve.start"):
        monkeypatch.setattr(f"hil_nas.{opened}", None)
    model = tmp_path / "mine.tflite"
    model.write_bytes(custom("ethos-u"))
    assert cli.main([command, str(model), "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed["message"].startswith(f"{model}: this file was compiled by Vela") and printed["hint"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("int16_b1", "quantised 16x8"),
        ("dynrange_b1", "dynamic range"),
        ("twoout_b1", "2 outputs, one is run"),
        ("big_b1", r"operator 5 \(FULLY_CONNECTED\) is a dense layer over 75000 inputs"),
    ],
)
def test_the_converters_own_files_are_refused_so(name: str, words: str) -> None:
    path = CASES / f"{name}.tflite"
    if not path.is_file():
        pytest.skip(f"needs a folder of converted models at {CASES}")
    with pytest.raises(InputError, match=words) as refused:
        lower(read_tflite(path.read_bytes()))
    assert refused.value.hint


def test_damaged_files_of_these_operators_crash_nothing() -> None:
    rng, model, read = np.random.default_rng(4), every_operator(6, 5, classes=4), 0
    for _ in range(1500):
        data = bytearray(model)
        for place in rng.integers(0, len(data), int(rng.integers(1, 4))):
            data[place] = int(rng.choice([0, 1, 255, 128, int(rng.integers(0, 256))]))
        try:
            lower(read_tflite(bytes(data))).to_bytes()
            read += 1
        except InputError as error:
            assert error.message and "\n" not in error.message
    assert 100 < read < 1400
