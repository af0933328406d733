"""Random layers of every kind: TensorFlow Lite Micro's bits, here and on the board, at the cost that was promised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from deploy_harness import Engine
from random_layers import KINDS, RUNS, Comparison, Kind, compare, draw, lines, on_board, on_host

from hil_nas.cost import arena_bytes, plan_bytes
from hil_nas.deploy.plan import Plan
from hil_nas.device.hosts import open_device
from hil_nas.kernels import call_of, list_for


def agreed(found: Comparison) -> None:
    assert not found.differing and not found.refused, "\n".join(lines(found, "here"))
    kinds = {kind for kind, kernels in found.compared if kernels == "dsp"}
    assert kinds == set(KINDS) - {"max_pool"} and len(found.values) == 256


def test_the_bits_are_tflms(engine: Engine) -> None:
    agreed(compare(range(300), {"here": on_host(engine)}))


def test_the_boards_bits_are_tflms(boards_dir: Path, build_dir: Path) -> None:
    """With the assembly; the last input of each finds what the others left behind."""
    with open_device("nucleo-l4r5@virtual", boards_dir=boards_dir, build_dir=build_dir) as device:
        agreed(compare(range(1000, 1120), {"board": on_board(device)}))


def test_a_difference_is_seen_and_named() -> None:
    def wrong(plan: Plan, inputs: np.ndarray) -> np.ndarray:
        return np.zeros((RUNS, plan.output_bytes), np.int8)

    found = compare(range(6), {"wrong": wrong})
    assert len(found.differing) == 6 and "6 differ" in "\n".join(lines(found, "wrong"))


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_layer_costs_is_what_its_plan_takes(kind: Kind) -> None:
    compared = 0
    for drawn in (draw(kind, seed) for seed in range(30)):
        (operator,) = drawn.network.operators()
        if list_for(call_of(operator)).number == drawn.plan.operators[0].kernel_list:  # its weights fit
            compared += 1
            assert arena_bytes(drawn.network) == drawn.plan.arena_bytes, drawn.network
            assert plan_bytes(drawn.network) == drawn.plan.total_bytes, drawn.network
    assert compared > 15
