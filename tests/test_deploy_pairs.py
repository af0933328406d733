"""Operators of two inputs against TensorFlow Lite Micro: sums, differences, products, the larger and the smaller."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from deploy_harness import Engine
from tflite_maker import Maker

from hil_nas.deploy.tflite import read_tflite
from hil_nas.errors import UnsupportedError
from tests.test_deploy_operators import EVERY, Shape, every_value, quantisation, same_bits

ARITHMETIC = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions"}
CHOICES = dict.fromkeys(("MAXIMUM", "MINIMUM"), "MaximumMinimumOptions")
PAIRS = ARITHMETIC | CHOICES
BROADCASTS: list[tuple[Shape, Shape]] = [
    ((1, 5, 4, 3), (1, 5, 4, 3)),
    ((1, 1, 1, 8), (1, 6, 3, 8)),
    ((1, 6, 3, 8), (1, 1, 1, 8)),
    ((1, 6, 3, 8), (1, 1, 3, 1)),
    ((1, 6, 1, 8), (1, 1, 3, 1)),
    ((1, 6, 3, 1), (1, 1, 1, 8)),
    ((1, 5, 7), (1, 1, 7)),
    ((1, 7), (1, 5, 7)),
    ((1, 1, 1, 1), (1, 4, 4, 4)),
    ((1, 1), (1, 1)),
]


def pair(
    name: str, rng: np.random.Generator, shapes: tuple[Shape, Shape], constant: int | None = None, activation: int = 0
) -> bytes:
    """A model that gives one input, or its halves, to the two sides of an operator; one side may be constant."""
    maker = Maker()
    target = np.broadcast_shapes(*shapes)
    scales = [quantisation(rng), quantisation(rng)]
    spread = 128 * max(x for x, _ in scales) if name != "MUL" else 128 * scales[0][0] * scales[1][0]
    out = (float(np.float32(spread * np.exp(rng.uniform(-3, 0.7)) / 8)), int(rng.integers(-128, 128)))
    if name in CHOICES:
        scales = [out, out]
    if constant is None:
        sizes = [int(np.prod(x)) for x in shapes]
        whole = maker.tensor((1, sum(sizes)), 0.1, 3)
        sides = []
        for index, (shape, scale) in enumerate(zip(shapes, scales, strict=True)):
            part, scaled, shaped = maker.tensor((1, sizes[index]), 0.1, 3), maker.tensor((1, sizes[index]), *scale), 0
            first, last = sum(sizes[:index]), sum(sizes[: index + 1])
            bounds = [maker.constant(x) for x in ([0, first], [1, last], [1, 1])]
            maker.operator("STRIDED_SLICE", [whole, *bounds], part, "StridedSliceOptions")
            maker.operator("QUANTIZE", [part], scaled)
            shaped = maker.tensor(shape, *scale)
            maker.operator("RESHAPE", [scaled, maker.constant(shape)], shaped)
            sides.append(shaped)
    else:
        whole = maker.tensor(shapes[1 - constant], *scales[1 - constant])
        values = rng.integers(-128, 128, shapes[constant])
        sides = [whole, whole]
        sides[constant] = maker.constant(values, *scales[constant], dtype=np.int8)
    result = maker.tensor(target, *out)
    fused = {} if name in CHOICES else {"fusedActivationFunction": activation}
    maker.operator(name, sides, result, PAIRS[name], **fused)
    return maker.finish(whole, result)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("shapes", BROADCASTS, ids=str)
def test_pairs_broadcast(engine: Engine, name: str, shapes: tuple[Shape, Shape]) -> None:
    rng = np.random.default_rng(5)
    for activation in (0, 1, 3):
        kinds = same_bits(engine, pair(name, rng, shapes, activation=activation))
        assert kinds[-1] == name.lower()


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("constant", [0, 1])
@pytest.mark.parametrize("shape", [(), (1,), (8,), (1, 1, 1, 8), (3, 1), (6, 3, 8), (1, 6, 3, 8)], ids=str)
def test_one_of_a_pair_is_constant(engine: Engine, name: str, constant: int, shape: Shape) -> None:
    shapes = ((1, 6, 3, 8), shape) if constant else (shape, (1, 6, 3, 8))
    rng = np.random.default_rng(6)
    for _ in range(3):
        assert same_bits(engine, pair(name, rng, shapes, constant)) == [name.lower()]


@pytest.mark.parametrize("name", CHOICES)
def test_choices_of_every_two_values(engine: Engine, name: str) -> None:
    maker = Maker()
    source, constant = maker.tensor((1, 256, 1), 0.1, 3), maker.constant([[EVERY]], 0.1, 3, np.int8)
    last = maker.tensor((1, 256, 256), 0.1, 3)
    maker.operator(name, [source, constant], last, PAIRS[name])
    outputs = every_value(engine, maker.finish(source, last), (1, 256, 1)).reshape(256, 256)
    assert np.array_equal(outputs, getattr(np, name.lower()).outer(EVERY, EVERY))


@pytest.mark.parametrize("scales", [(0.1, 0.2, 0.2), (0.2, 0.1, 0.2), (0.2, 0.2, 0.1)])
@pytest.mark.parametrize("constant", [False, True])
def test_choices_between_scales_are_refused(scales: tuple[float, ...], constant: bool) -> None:
    maker = Maker()
    source, last = maker.tensor((1, 8), scales[0], 0), maker.tensor((1, 8), scales[2], 0)
    other = maker.constant(np.ones(8), scales[1], 0, np.int8) if constant else maker.tensor((1, 8), scales[1], 0)
    if not constant:
        maker.operator("QUANTIZE", [source], other)
    maker.operator("MAXIMUM", [source, other], last, "MaximumMinimumOptions")
    with pytest.raises(UnsupportedError, match=r"\(MAXIMUM\) has an input and an output of different scales"):
        read_tflite(maker.finish(source, last))


@pytest.mark.parametrize("name", ARITHMETIC)
def test_pairs_that_end_between_two_values(engine: Engine, name: str) -> None:
    """Every value beside every other, at scales whose decimals give halves: the last bits of a multiplier decide."""
    for scales in product((0.1, 0.3, 0.7), (0.1, 0.06, 0.9), (0.5, 1.5)):
        one, other, part = scales
        target = one * other / part * 8 if name == "MUL" else max(one, other) / part
        one, other, target = (float(np.float32(x)) for x in (one, other, target))
        maker = Maker()
        source, constant = maker.tensor((1, 256, 1), one, 3), maker.constant([[EVERY]], other, -2, np.int8)
        last = maker.tensor((1, 256, 256), target, 5)
        maker.operator(name, [source, constant], last, PAIRS[name])
        every_value(engine, maker.finish(source, last), (1, 256, 1))


def test_a_large_constant_meets_a_small_input(engine: Engine) -> None:
    for name in PAIRS:
        shapes = ((1, 1, 1, 4), (1, 5, 3, 4))
        assert same_bits(engine, pair(name, np.random.default_rng(7), shapes, constant=1)) == [name.lower()]
