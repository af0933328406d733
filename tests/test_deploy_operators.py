"""Operators by themselves against TensorFlow Lite Micro: random shapes and scales, values over all of int8's range.

The models are written with TFLM's own schema; what is compared is the engine's C, run on this machine, with TFLM's
reference kernels.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from deploy_harness import Engine
from every_operator import PLAN_KINDS, every_operator
from tflite_maker import Maker

from hil_nas.deploy.lower import executed, lower
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.tflite import read_tflite

Shape = tuple[int, ...]
EVERY = np.arange(-128, 128, dtype=np.int8)


def same_bits(engine: Engine, model: bytes, seed: int = 0, count: int = 6) -> list[str]:
    """Compares what the model itself takes and gives; the kinds of its operators.

    One input in two holds whole runs of extreme values: they are what overflows.
    """
    graph, oracle = read_tflite(model), Tflm(model)
    rng = np.random.default_rng(seed)
    values = oracle.input_end.random(rng, (count, *oracle.input_shape))
    extremes = oracle.input_end.from_int8(rng.choice(np.array([-128, 127], np.int8), (count, *oracle.input_shape)))
    values[::2] = np.where(rng.random(values.shape) < 0.5, values, extremes)[::2]
    expected = oracle.run_as_it_is(values)
    plan = lower(graph)
    outputs = engine.run(plan.to_bytes(), oracle.input_end.to_int8(values), plan.arena_bytes)
    assert np.array_equal(oracle.output_end.from_int8(outputs), expected)
    return [x.kind for x in executed(graph)]


def quantisation(rng: np.random.Generator, around: float = 0.05) -> tuple[float, int]:
    """A scale as float32 has it, and a zero point, at times an extreme one."""
    zero_point = int(rng.choice([-128, 127, 0, *rng.integers(-128, 128, 5)]))
    return float(np.float32(around * np.exp(rng.normal(0, 0.7)))), zero_point


# --- functions of one value ------------------------------------------------------------------------------------


def function(name: str, source: tuple[float, int], target: tuple[float, int], **options: Any) -> bytes:
    """A model of one function over every int8 value."""
    maker = Maker()
    numbers = [maker.tensor((1, 256), *x) for x in (source, target)]
    table = {"LEAKY_RELU": "LeakyReluOptions", "HARD_SWISH": "HardSwishOptions"}.get(name)
    maker.operator(name, numbers[:1], numbers[1], table, **options)
    return maker.finish(*numbers)


def every_value(engine: Engine, model: bytes, shape: Shape = (1, 256)) -> np.ndarray:
    plan, values = lower(read_tflite(model)), EVERY.reshape(shape)
    outputs = engine.run(plan.to_bytes(), values, plan.arena_bytes)
    assert np.array_equal(outputs, Tflm(model).run(values))
    return outputs


@pytest.mark.parametrize("name", ["QUANTIZE", "RELU", "LEAKY_RELU"])
def test_functions_between_any_scales(engine: Engine, name: str) -> None:
    rng, seen = np.random.default_rng(1), []
    for _ in range(60):
        options = {"alpha": float(np.float32(rng.normal(0, 0.6)))} if name == "LEAKY_RELU" else {}
        seen.append(every_value(engine, function(name, quantisation(rng), quantisation(rng), **options)))
    assert len(np.unique(np.concatenate(seen), axis=0)) > 40


@pytest.mark.parametrize(("name", "target"), [("LOGISTIC", (1 / 256, -128)), ("TANH", (1 / 128, 0))])
def test_curves_over_every_scale(engine: Engine, name: str, target: tuple[float, int]) -> None:
    rng = np.random.default_rng(2)
    for scale in np.exp(rng.uniform(np.log(1e-6), np.log(20), 120)):
        every_value(engine, function(name, (float(np.float32(scale)), int(rng.integers(-128, 128))), target))


def test_hard_swish_over_every_scale(engine: Engine) -> None:
    rng = np.random.default_rng(3)
    for scale in np.exp(rng.uniform(np.log(1e-3), np.log(2), 120)):
        coarser = float(np.float32(scale * np.exp(rng.uniform(-3, 1))))  # TFLM: at most 128 times as fine
        source = (float(np.float32(scale)), int(rng.integers(-128, 128)))
        every_value(engine, function("HARD_SWISH", source, (coarser, int(rng.integers(-128, 128)))))


def test_relu6_keeps_its_scale(engine: Engine) -> None:
    rng = np.random.default_rng(4)
    for _ in range(20):
        one = quantisation(rng)
        every_value(engine, function("RELU6", one, one))


def test_functions_that_end_between_two_values(engine: Engine) -> None:
    """Halves by the decimals of the scales: which way they round is decided by the last bits of a factor."""
    for scale in (0.1, 0.2, 0.3, 0.7, 0.05):
        for alpha, factor in product((0.1, 0.2, 0.3, 0.01), (0.5, 0.25, 1.5)):
            source, target = (float(np.float32(x)) for x in (scale, scale * alpha / factor))
            options = {"alpha": float(np.float32(alpha))}
            every_value(engine, function("LEAKY_RELU", (source, 3), (target, -4), **options))
        for times, name in product((1, 3, 5, 7), ("RELU", "QUANTIZE")):
            source, target = (float(np.float32(x)) for x in (scale * times, scale * 2))
            every_value(engine, function(name, (source, 3), (target, -4)))


def test_dense_layers_that_end_between_two_values(engine: Engine) -> None:
    for scales in product((0.1, 0.3, 0.05, 0.7), (0.1, 0.06, 0.9), (0.5, 1.5)):
        one, other, target = (float(np.float32(x)) for x in (*scales[:2], scales[0] * scales[1] / scales[2]))
        maker = Maker()
        source, last = maker.tensor((1, 1), one, 3), maker.tensor((1, 1), target, -4)
        weights = [maker.constant([[1]], other, 0, np.int8), maker.constant([0], one * other)]
        maker.operator("FULLY_CONNECTED", [source, *weights], last, "FullyConnectedOptions")
        every_value(engine, maker.finish(source, last), (256, 1))


# --- reductions --------------------------------------------------------------------------------------------------


def reduction(name: str, rng: np.random.Generator, shape: Shape, axes: list[int], keep: bool) -> bytes:
    maker = Maker()
    source = quantisation(rng)
    count = int(np.prod([shape[i] for i in axes]))
    finer = (float(np.float32(source[0] * np.exp(rng.normal(-0.5, 0.8)) * (count**0.5 if name == "SUM" else 1))), 0)
    target = source if name == "REDUCE_MAX" else (finer[0], int(rng.integers(-128, 128)))
    reduced = {i % len(shape) for i in axes}
    out = [1 if i in reduced else x for i, x in enumerate(shape) if keep or i not in reduced]
    numbers = [maker.tensor(shape, *source), maker.tensor(out, *target)]
    maker.operator(name, [numbers[0], maker.constant(axes)], numbers[1], "ReducerOptions", keepDims=keep)
    return maker.finish(*numbers)


@pytest.mark.parametrize("name", ["MEAN", "SUM", "REDUCE_MAX"])
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((1, 25, 5, 16), [1, 2]),
        ((1, 13, 7, 3), [2, 1]),
        ((1, 9, 5, 4), [1]),
        ((1, 9, 5, 4), [2]),
        ((1, 9, 5, 4), [-1]),
        ((1, 9, 5, 4), [1, 2, 3]),
        ((1, 9, 1, 4), [1, 3]),
        ((1, 40, 6), [1]),
        ((1, 40, 6), [2]),
        ((1, 6), [1]),
        ((1, 1, 1, 6), [1, 2]),
        ((1, 181, 181, 1), [1, 2]),
    ],
)
def test_reductions(engine: Engine, name: str, shape: Shape, axes: list[int]) -> None:
    rng = np.random.default_rng(8)
    for keep in (True, False):
        for _ in range(4):
            assert same_bits(engine, reduction(name, rng, shape, axes, keep), count=4) == [name.lower()]


def test_means_that_end_between_two_values(engine: Engine) -> None:
    """Halves, by the decimals of the scales and by divisors that are no powers of two."""
    for count, (source, target) in product((2, 3, 6, 12, 49), ((0.1, 0.1), (0.3, 0.2), (0.7, 0.4), (0.15, 0.1))):
        maker = Maker()
        scales = [float(np.float32(x)) for x in (source, target)]
        numbers = [maker.tensor((1, count, 400), scales[0], 7), maker.tensor((1, 400), scales[1], -7)]
        maker.operator("MEAN", [numbers[0], maker.constant([1])], numbers[1], "ReducerOptions")
        assert same_bits(engine, maker.finish(*numbers), seed=count) == ["mean"]


# --- what only moves values --------------------------------------------------------------------------------------


def moving(name: str, shape: Shape, out: Shape, constants: list[Any], options: str | None, **fields: Any) -> bytes:
    maker = Maker()
    numbers = [maker.tensor(x, 0.1, 5) for x in (shape, out)]
    inputs = [numbers[0], *(maker.constant(x) for x in constants)]
    maker.operator(name, inputs, numbers[1], options, **fields)
    last = maker.tensor(out, 0.07, -5)  # so that there is an operator where nothing has to move
    maker.operator("QUANTIZE", [numbers[1]], last)
    return maker.finish(numbers[0], last)


@pytest.mark.parametrize(
    ("shape", "order", "moves"),
    [
        ((1, 6, 4, 3), [0, 2, 1, 3], True),
        ((1, 6, 4, 3), [0, 3, 1, 2], True),
        ((1, 6, 4, 3), [0, 2, 3, 1], True),
        ((1, 6, 4, 3), [0, 3, 2, 1], True),
        ((1, 6, 4), [0, 2, 1], True),
        ((1, 6, 1, 3), [0, 2, 1, 3], False),
        ((1, 1, 4, 1), [0, 3, 1, 2], False),
        ((1, 6, 4, 3), [0, 1, 2, 3], False),
    ],
)
def test_transposes(engine: Engine, shape: Shape, order: list[int], moves: bool) -> None:
    model = moving("TRANSPOSE", shape, tuple(shape[i] for i in order), [order], "TransposeOptions")
    assert same_bits(engine, model) == (["transpose"] if moves else []) + ["requantize"]


@pytest.mark.parametrize(
    ("shape", "begin", "end", "step", "masks", "out"),
    [
        ((1, 9, 4, 3), [0, 2, 0, 0], [1, 7, 4, 3], [1, 1, 1, 1], (0, 0, 0), (1, 5, 4, 3)),
        ((1, 9, 4, 3), [0, 1, 0, 1], [1, 8, 4, 3], [1, 3, 2, 1], (0, 0, 0), (1, 3, 2, 2)),
        ((1, 9, 4, 3), [0, -3, 0, 0], [1, 99, -1, 3], [1, 1, 1, 1], (0, 0, 0), (1, 3, 3, 3)),
        ((1, 9, 4, 3), [7, 0, 7, 0], [7, 5, 7, 2], [1, 1, 1, 1], (0b0101, 0b0101, 0), (1, 5, 4, 2)),
        ((1, 9, 4, 3), [0, 4, 0, 0], [1, 0, 4, 3], [1, 1, 1, 1], (0, 0, 0b0010), (1, 4, 3)),
        ((1, 9, 4), [0, 0, 3], [1, 9, 4], [1, 1, 1], (0, 0, 0b100), (1, 9)),
        ((1, 20), [0, 5], [1, 20], [1, 4], (0, 0, 0), (1, 4)),
    ],
)
def test_slices(
    engine: Engine, shape: Shape, begin: list[int], end: list[int], step: list[int], masks: Shape, out: Shape
) -> None:
    fields = dict(zip(("beginMask", "endMask", "shrinkAxisMask"), masks, strict=True))
    model = moving("STRIDED_SLICE", shape, out, [begin, end, step], "StridedSliceOptions", **fields)
    assert same_bits(engine, model) == ["strided_slice", "requantize"]


@pytest.mark.parametrize(
    ("shape", "begin", "size", "out"),
    [
        ((1, 9, 4, 3), [0, 2, 0, 0], [1, 5, 4, 3], (1, 5, 4, 3)),
        ((1, 9, 4, 3), [0, 4, 1, 2], [-1, -1, 2, 1], (1, 5, 2, 1)),
        ((1, 20), [0, 7], [1, -1], (1, 13)),
    ],
)
def test_slices_by_size(engine: Engine, shape: Shape, begin: list[int], size: list[int], out: Shape) -> None:
    model = moving("SLICE", shape, out, [begin, size], "SliceOptions")
    assert same_bits(engine, model) == ["strided_slice", "requantize"]


@pytest.mark.parametrize(
    ("name", "shape", "axis", "extents"),
    [
        ("SPLIT_V", (1, 11, 1, 64), -1, [32, 32]),
        ("SPLIT_V", (1, 9, 4, 3), 1, [2, 3, 4]),
        ("SPLIT", (1, 9, 4, 6), 3, [2, 2, 2]),
        ("SPLIT", (1, 20), 1, [10, 10]),
    ],
)
def test_splits(engine: Engine, name: str, shape: Shape, axis: int, extents: list[int]) -> None:
    """Every part is joined again, in the other order."""
    maker = Maker()
    source, last = maker.tensor(shape, 0.1, 5), maker.tensor(shape, 0.1, 5)
    parts = [maker.tensor([x if i == axis % len(shape) else y for i, y in enumerate(shape)], 0.1, 5) for x in extents]
    if name == "SPLIT":
        maker.operator(name, [maker.constant(axis), source], parts, "SplitOptions", numSplits=len(parts))
    else:
        inputs = [source, maker.constant(extents), maker.constant(axis)]
        maker.operator(name, inputs, parts, "SplitVOptions", numSplits=len(parts))
    maker.operator("CONCATENATION", parts[::-1], last, "ConcatenationOptions", axis=axis)
    assert same_bits(engine, maker.finish(source, last)) == ["strided_slice"] * len(parts) + ["concatenation"]


@pytest.mark.parametrize(
    ("shape", "amounts"),
    [((1, 5, 4, 3), [[0, 0], [2, 1], [0, 3], [0, 0]]), ((1, 5, 4), [[0, 0], [4, 0], [0, 0]])],
)
def test_pads(engine: Engine, shape: Shape, amounts: list[list[int]]) -> None:
    out = tuple(x + sum(y) for x, y in zip(shape, amounts, strict=True))
    assert same_bits(engine, moving("PAD", shape, out, [amounts], "PadOptions")) == ["pad", "requantize"]


@pytest.mark.parametrize(
    ("name", "shape", "out", "constants"),
    [
        ("EXPAND_DIMS", (1, 5, 4), (1, 1, 5, 4), [1]),
        ("EXPAND_DIMS", (1, 5, 4), (1, 5, 4, 1), [-1]),
        ("SQUEEZE", (1, 1, 5, 4), (1, 5, 4), []),
        ("RESHAPE", (1, 5, 4), (1, 20), [[-1, 20]]),
    ],
)
def test_other_names_for_the_same_bytes(engine: Engine, name: str, shape: Shape, out: Shape, constants: Any) -> None:
    options = {"SQUEEZE": "SqueezeOptions"}.get(name)
    fields = {"squeezeDims": [1]} if options else {}
    assert same_bits(engine, moving(name, shape, out, constants, options, **fields)) == ["requantize"]


# --- ends and shapes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [np.float32, np.uint8, np.int8])
@pytest.mark.parametrize("last", [np.float32, np.uint8, np.int8])
def test_the_host_converts_at_the_ends(engine: Engine, first: Any, last: Any) -> None:
    rng = np.random.default_rng(9)
    for _ in range(20):
        one, other = quantisation(rng), quantisation(rng)
        maker, shape = Maker(), (1, 30)
        inner = [maker.tensor(shape, *x) for x in (one, other)]
        outer = []
        for number, dtype, (scale, zero_point) in zip(inner, (first, last), (one, other), strict=True):
            if dtype is np.uint8:
                number = maker.tensor(shape, scale, zero_point + 128, np.uint8)
            elif dtype is np.float32:
                number = maker.tensor(shape, dtype=np.float32)
            outer.append(number)
        if first is not np.int8:
            maker.operator("QUANTIZE", [outer[0]], inner[0])
        maker.operator("LEAKY_RELU", [inner[0]], inner[1], "LeakyReluOptions", alpha=0.3)
        if last is not np.int8:
            maker.operator("DEQUANTIZE" if last is np.float32 else "QUANTIZE", [inner[1]], outer[1])
        assert same_bits(engine, maker.finish(*outer)) == ["leaky_relu"]


def test_floats_round_as_tflm_rounds_them() -> None:
    """Halves, and the floats beside them, at every scale."""
    rng = np.random.default_rng(10)
    for _ in range(40):
        scale, zero_point = quantisation(rng)
        maker = Maker()
        numbers = [maker.tensor((1, 771), dtype=np.float32), maker.tensor((1, 771), scale, zero_point)]
        maker.operator("QUANTIZE", numbers[:1], numbers[1])
        last = maker.tensor((1, 771), scale, zero_point)
        maker.operator("RELU6", [numbers[1]], last)
        oracle = Tflm(maker.finish(numbers[0], last))
        halves = ((np.arange(-128, 129) + 0.5 - zero_point) * scale).astype(np.float32)
        beside = [np.nextafter(halves, np.float32(x)) for x in (-np.inf, np.inf)]
        values = np.concatenate([halves, *beside])[np.newaxis]
        low, high = zero_point, min(127, zero_point + round(6 / scale + 1e-9))
        expected = oracle.run_as_it_is(values)
        actual = np.clip(oracle.input_end.to_int8(values), low, max(low, high))
        assert np.array_equal(actual[expected < 127], expected[expected < 127])


def test_a_model_of_all_of_them(engine: Engine) -> None:
    for seed, extents in enumerate(((49, 10), (6, 5), (3, 2), (17, 4))):
        model = every_operator(*extents, classes=12, seed=seed)
        assert tuple(x.kind for x in lower(read_tflite(model)).operators) == PLAN_KINDS
        same_bits(engine, model, seed, count=20)


def test_shapes_that_operators_compute_are_folded(engine: Engine) -> None:
    """What Flatten leaves in a model without a batch size."""
    maker = Maker()
    source, shaped = maker.tensor((1, 4, 3, 2), 0.1, 5), maker.tensor((4,), dtype=np.int32)
    batch, packed = maker.tensor((), dtype=np.int32), maker.tensor((2,), dtype=np.int32)
    flat, last = maker.tensor((1, 24), 0.1, 5), maker.tensor((1, 24), 0.2, 5)
    maker.operator("SHAPE", [source], shaped, "ShapeOptions", outType=2)
    bounds = [maker.constant([x]) for x in (0, 1, 1)]
    maker.operator("STRIDED_SLICE", [shaped, *bounds], batch, "StridedSliceOptions", shrinkAxisMask=1)
    maker.operator("PACK", [batch, maker.constant(24)], packed, "PackOptions", valuesCount=2)
    maker.operator("RESHAPE", [source, packed], flat, "ReshapeOptions")
    maker.operator("LEAKY_RELU", [flat], last, "LeakyReluOptions", alpha=0.3)
    model = maker.finish(source, last)
    assert same_bits(engine, model) == ["leaky_relu"]
    assert read_tflite(model).operators[-1].label == "operator 4 (LEAKY_RELU)"
