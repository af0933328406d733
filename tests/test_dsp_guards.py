"""Sums at the limits of what our own kernels take, and constants that no host would write: the board's assembly and the
portable C give the same, and TensorFlow Lite Micro's bits where a host wrote them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from deploy_harness import Engine
from random_layers import Drawn, Kind, Run, draw, on_board, on_host

from hil_nas.deploy.graph import QuantGraph
from hil_nas.deploy.lower import lower
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.device.hosts import open_device
from hil_nas.kernels import call_of, cmsis_nn, dsp
from hil_nas.kernels.dsp.depthwise import CHANNEL_BYTES, WORD_BYTES, column_words
from hil_nas.kernels.dsp.product import sizes_of
from hil_nas.kernels.dsp.requantise import MAX_SHIFT
from hil_nas.operators.int8 import QuantOperator, Weights
from hil_nas.tflite.tensor import QuantTensor

VALUES, TAPS = 516, 15  # of a product's column: 516 * 127 * 128 is 512 below 2^23; of a depthwise window
PRODUCT_ROOM = (1 << 23) - 1 - VALUES * 127 * 128
DEPTHWISE_ROOM = (1 << 30) - 1 - TAPS * 128 * 128


@pytest.fixture(scope="module")
def runs(engine: Engine, boards_dir: Path, build_dir: Path) -> Iterator[tuple[Run, Run]]:
    with open_device("nucleo-l4r5@virtual", boards_dir=boards_dir, build_dir=build_dir) as device:
        yield on_host(engine), on_board(device)


def product_graph(kind: str, over: int) -> QuantGraph:
    """Pairs of channels whose sums reach the guard at both ends in one, or pass it by `over`."""
    signs = np.array([1, -1, -1, 1, 1])
    values = np.broadcast_to(127 * signs[:, None], (5, VALUES)).astype(np.int8)
    bias = -signs * (PRODUCT_ROOM + over)
    shape = (5, VALUES) if kind == "fully_connected" else (5, 1, 1, VALUES)
    return graph_of(kind, (1, VALUES), values.reshape(shape), bias, factor=100 / 2**23, out_zero=3)


def depthwise_graph(sign: int, over: int) -> QuantGraph:
    values = np.tile(np.array([127, -128, 127, -128], np.int8), (TAPS, 1, 1))
    bias = np.full(4, sign * (DEPTHWISE_ROOM + over))
    return graph_of("depthwise", (TAPS, 4), values, bias, factor=200 / 2**30, out_zero=-128 if sign > 0 else 127)


def graph_of(
    kind: str, source: tuple[int, int], values: np.ndarray, bias: np.ndarray, factor: float, out_zero: int
) -> QuantGraph:
    """A layer over a map of one column, valid, at scales of 1, that multiplies sums by a factor."""
    scales = np.full(1 if kind == "fully_connected" else len(bias), factor, np.float32)
    weights = Weights(values, scales, bias.astype(np.int32))
    rows = 1 if kind != "depthwise" else TAPS
    shape = (1, len(bias)) if kind == "fully_connected" else (1, 1, 1, len(bias))
    operator = QuantOperator(kind, (0,), 1, weights, (rows, 1), (1, 1), (1, 1), (0, 0), "none", label="operator 0")
    tensors = (QuantTensor((1, source[0], 1, source[1]), 1.0, 0), QuantTensor(shape, 1.0, out_zero))
    return QuantGraph(tensors, (operator,), 0, 1)


@pytest.mark.parametrize("graph_over", [
    partial(product_graph, "conv"), partial(product_graph, "fully_connected"),
    partial(depthwise_graph, 1), partial(depthwise_graph, -1),
])  # fmt: skip
def test_sums_at_the_guards_are_exact_and_those_behind_go_to_the_next_list(
    graph_over: Callable[[int], QuantGraph], runs: tuple[Run, Run]
) -> None:
    inside, behind = graph_over(0), graph_over(1)
    source = inside.tensors[0].shape[1:]
    inputs = np.random.default_rng(1).integers(-128, 128, (4, *source)).astype(np.int8)
    inputs[0], inputs[1] = -128, 127
    numbers = [lower(x).operators[0].kernel_list for x in (inside, behind)]
    assert numbers == [dsp.KERNELS.number, cmsis_nn.KERNELS.number]
    for x in (inside, behind):
        expected = Tflm(write_tflite(x)).run(inputs).reshape(4, -1)
        assert np.all(np.abs(expected[0].astype(int)) < 127)  # a sum that wraps around would leave them
        for run in runs:
            assert np.array_equal(run(lower(x), inputs), expected)


def may_be_anything(drawn: Drawn) -> np.ndarray:
    """Words of a plan's constants on which both sides' answers depend in one way.

    Weights of depthwise windows lie in a plan several times, of which the assembly takes others than the portable C,
    and those beside a column's end multiply what the scratch memory holds.
    """
    words = np.ones(len(drawn.plan.constants) // 4, bool)
    call = call_of(next(iter(drawn.network.operators())))
    if drawn.kind == "depthwise":
        channel_words = CHANNEL_BYTES // WORD_BYTES + call.kernel[1] * column_words(call)
        return np.arange(len(words)) % channel_words < CHANNEL_BYTES // WORD_BYTES
    if drawn.kind != "fully_connected" and sizes_of(call).column % 4 != 0:
        words[:] = False
    return words


@pytest.mark.parametrize("kind", ["1x1", "conv", "depthwise", "fully_connected"])
def test_constants_that_no_host_would_write_wrap_around_alike(kind: Kind, runs: tuple[Run, Run]) -> None:
    """Biases, weights, multipliers and addends of any bits."""
    random, ran = np.random.default_rng(7), 0
    for drawn in (x for x in (draw(kind, seed) for seed in range(40)) if x.kernels == "dsp"):
        words = np.frombuffer(drawn.plan.constants, "<u4").copy()
        struck = may_be_anything(drawn) & (words > MAX_SHIFT)  # other shifts are refused
        struck &= random.random(len(words)) < random.choice([0.02, 0.5, 1.0])
        words[struck] = random.integers(0, 1 << 31, int(struck.sum()))  # a negative multiplier is refused
        plan = replace(drawn.plan, constants=words.astype("<u4").tobytes())
        here, there = (run(plan, drawn.inputs) for run in runs)
        assert np.array_equal(here, there), drawn.network
        ran += bool(struck.any() and not np.array_equal(here, drawn.expected))
    assert ran >= 8
