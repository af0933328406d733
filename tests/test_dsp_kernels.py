"""Convolutions and fully connected layers of our own: what they do not take, and plans that lie about them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from deploy_harness import Engine, Refused
from random_layers import full_range, graph_of

from hil_nas.deploy.lower import lower
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.kernels import cmsis_nn, dsp
from hil_nas.network import Layer, Network


def test_weights_that_it_has_no_room_for_go_to_the_next_list(engine: Engine) -> None:
    """A weight of -128 above another below 0, sums of more than 24 bits, and scalings above 1: bits stay TFLM's."""
    network = Network((3, 4, 128), (Layer("conv", (-1,), 8, (2, 2), padding="valid"),))
    usual = graph_of(network, np.random.default_rng(1))
    (operator,) = usual.operators
    assert operator.weights is not None
    lowest = operator.weights.values.copy()
    lowest[:2] = [[[[-128]]], [[[-1]]]]
    full = np.full_like(lowest, 127)
    scales = operator.weights.scales
    changed = [
        replace(operator.weights, values=lowest),
        replace(operator.weights, values=full),
        replace(operator.weights, bias=np.full(8, 1 << 23, np.int32)),
        replace(operator.weights, scales=scales * np.float32(2.5 / (scales.min() * 0.031 / 0.047))),
    ]
    arena_bytes = lower(usual).arena_bytes
    for weights in changed:
        graph = replace(usual, operators=(replace(operator, weights=weights),))
        plan, inputs = lower(graph), full_range(network, 6, np.random.default_rng(2))
        assert plan.operators[0].kernel_list == cmsis_nn.KERNELS.number and plan.arena_bytes < arena_bytes
        expected = Tflm(write_tflite(graph)).run(inputs).reshape(6, -1)
        assert np.array_equal(engine.run(plan.to_bytes(), inputs, plan.arena_bytes), expected)


def test_windows_and_inputs_that_are_too_large_go_to_the_next_list() -> None:
    windows = [Network((*x, 1), (Layer("conv", (-1,), 4, x, padding="valid"),)) for x in ((32, 32), (41, 25))]
    dense = [Network((1, 1, x), (Layer("fully_connected", (-1,), 4),)) for x in (1024, 1025)]
    for pair in (windows, dense):
        numbers = [lower(random_graph(x, 1)).operators[0].kernel_list for x in pair]
        assert numbers == [dsp.KERNELS.number, cmsis_nn.KERNELS.number]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"in_shape": (1, 1, 1025)}, "more inputs than the kernel takes"),
        ({"out_shape": (1, 1, 9)}, "weights outside the plan"),
        ({"weights_data": 8}, "weights outside the plan"),
    ],
)
def test_a_dense_layer_that_would_reach_outside_is_refused(
    changed: dict[str, Any], reason: str, engine: Engine
) -> None:
    plan = lower(random_graph(Network((1, 1, 1024), (Layer("fully_connected", (-1,), 8),)), 1))
    operator = replace(plan.operators[0], output=0, inputs=(512, 0), **changed)
    with pytest.raises(Refused, match=reason):
        wrong = replace(plan, arena_bytes=2048, operators=(operator,))
        engine.run(wrong.to_bytes(), np.zeros((1, 1024), np.int8), wrong.arena_bytes)


def test_a_shift_of_a_dense_layer_that_is_no_shift_is_refused(engine: Engine) -> None:
    plan = lower(random_graph(Network((1, 1, 4), (Layer("fully_connected", (-1,), 4),)), 1))
    constants = np.frombuffer(plan.constants, "<i4").copy()
    constants[4 + 4 + 2] = 32  # behind starts and weights, and a multiplier and an addend
    with pytest.raises(Refused, match="a multiplier or shift out of range"):
        engine.run(replace(plan, constants=constants.tobytes()).to_bytes(), np.zeros((1, 4), np.int8), plan.arena_bytes)
