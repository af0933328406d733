"""Delay lines: what they keep from run to run, and that nothing else is ever written there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import pytest
from deploy_harness import Engine, Refused, random_inputs
from step_networks import step_network

from hil_nas.cost.arena import aligned, arena_bytes, network_steps, plan_steps
from hil_nas.cost.blob import plan_bytes
from hil_nas.cost.tflm_arena import tflm_arena
from hil_nas.deploy.convert import to_tflite
from hil_nas.deploy.host_engine import HostEngine, build_engine_library
from hil_nas.deploy.lower import lower
from hil_nas.deploy.plan import Plan, PlanOperator
from hil_nas.deploy.synthetic import random_graph
from hil_nas.device.firmware import find_third_party
from hil_nas.errors import InputError, UnsupportedError
from hil_nas.network import INPUT, Layer, Network

SEEDS = range(60)


def line(new: int, rows: int, width: int, channels: int) -> Network:
    return Network((new, width, channels), (Layer("delay", (INPUT,), shape=(rows, width, channels)),))


@pytest.mark.parametrize(
    ("new", "rows", "width", "channels"),
    [(1, 2, 1, 1), (1, 49, 1, 64), (3, 5, 1, 40), (5, 6, 2, 3), (2, 9, 3, 7), (20, 21, 1, 16), (7, 30, 4, 4)],
)
def test_a_delay_line_holds_the_last_rows(new: int, rows: int, width: int, channels: int, engine: Engine) -> None:
    graph = random_graph(line(new, rows, width, channels), 0)
    plan, inputs = lower(graph), random_inputs(np.random.default_rng(new), 2 * rows, (new, width, channels))
    heard = np.concatenate(inputs)
    zeros = np.full((rows, width, channels), graph.tensors[0].zero_point, np.int8)
    past = [np.concatenate([zeros, heard[: new * i]])[-rows:] for i in range(1, len(inputs) + 1)]
    answers = engine.run(plan.to_bytes(), inputs, plan.arena_bytes)
    assert np.array_equal(answers, np.stack(past).reshape(len(inputs), -1))


def test_the_host_forgets_when_it_is_told_to(boards_dir: Path, build_dir: Path) -> None:
    network = step_network(3)
    plan = lower(random_graph(network, 3))
    host = HostEngine(build_engine_library(boards_dir, find_third_party().cmsis_nn, build_dir), plan)
    inputs = random_inputs(np.random.default_rng(3), 12, network.input_shape)
    first = host.run(inputs)
    assert not np.array_equal(host.run(inputs), first)
    host.reset()
    assert np.array_equal(host.run(inputs), first)


def written(plan: Plan, delay: PlanOperator) -> Iterator[tuple[int, int]]:
    """(begin, bytes) of everything that is written but by one delay line."""
    yield plan.input_offset, plan.input_bytes
    for x in plan.operators:
        if x.scratch_bytes:
            yield x.scratch, x.scratch_bytes
        if x is not delay:
            yield x.output, prod(x.out_shape)


def test_nothing_is_ever_placed_over_a_delay_line() -> None:
    lines = 0
    for seed in SEEDS:
        plan = lower(random_graph(step_network(seed), seed))
        for x in (x for x in plan.operators if x.kind == "delay"):
            begin, end = x.output, x.output + prod(x.out_shape)
            assert all(start >= end or start + size <= begin for start, size in written(plan, x)), seed
            lines += 1
    assert lines > 150


def test_the_arena_is_known_before_and_holds_all_lines() -> None:
    """And no more than the lines and what lives beside them at one time."""
    for seed in SEEDS:
        network = step_network(seed)
        plan = lower(random_graph(network, seed))
        assert plan.arena_bytes == arena_bytes(network)
        assert plan.total_bytes == plan_bytes(network)
        sizes, steps, output = network_steps(network)
        kept = sum(-(-sizes[x.output] // 4) * 4 for x in steps if x.keeps)
        alone = plan_steps(sizes, [replace(x, keeps=False) for x in steps], 0, output)
        largest = max(sizes[x.output] + x.scratch_bytes for x in steps)
        assert aligned(kept) <= plan.arena_bytes <= aligned(kept + alone.arena_bytes) and largest <= plan.arena_bytes


def of_two() -> Plan:
    layers = (
        Layer("delay", (INPUT,), shape=(5, 1, 8)),
        Layer("conv", (0,), 8, (3, 1), padding="valid"),
        Layer("delay", (1,), shape=(9, 1, 8)),
        Layer("conv", (2,), 4, (2, 1), padding="valid"),
        Layer("fully_connected", (3,), 3),
    )
    return lower(random_graph(Network((2, 1, 8), layers), 1))


@pytest.mark.parametrize(
    ("op", "fields", "reason"),
    [
        (0, {"out_shape": (2, 1, 8)}, "operator 0: a delay line that is no longer than what is new, or of another"),
        (0, {"out_shape": (5, 2, 4)}, "operator 0: a delay line that is no longer than what is new, or of another"),
        (0, {"output_offset": 200}, "operator 0: a zero point"),
        (2, {"kernel_list": 2}, "operator 2: this firmware has no such kernel"),
        (2, {"input_count": 2}, "operator 2: wrong number of inputs"),
    ],
)
def test_a_damaged_delay_line_is_refused(op: int, fields: dict[str, int], reason: str, engine: Engine) -> None:
    plan = of_two()
    operators = list(plan.operators)
    operators[op] = replace(operators[op], **fields)
    with pytest.raises(Refused, match=reason):
        engine.run(replace(plan, operators=tuple(operators)).to_bytes(), np.zeros((1, 16), np.int8), plan.arena_bytes)


def test_whatever_lies_over_a_delay_line_is_refused(engine: Engine) -> None:
    """Each place that a plan writes to, moved over the first and the last byte of each line that is not its own."""
    plan = of_two()
    inputs = np.zeros((1, plan.input_bytes), np.int8)
    engine.run(plan.to_bytes(), inputs, plan.arena_bytes)
    refused = set()
    for own in (i for i, x in enumerate(plan.operators) if x.kind == "delay"):
        line = plan.operators[own]
        last = line.output + prod(line.out_shape) - 4
        for place in (line.output, last):
            moved = {"input": replace(plan, input_offset=place)}
            for i, x in enumerate(plan.operators):
                for name in ("output", "scratch"):
                    if (name == "scratch" and not x.scratch_bytes) or (name, i) == ("output", own):
                        continue
                    changed = [*plan.operators[:i], replace(x, **{name: place}), *plan.operators[i + 1 :]]
                    moved[f"{name} of {i}"] = replace(plan, operators=tuple(changed))
            for name, bad in moved.items():
                with pytest.raises(Refused, match="over|outside the arena"):
                    engine.run(bad.to_bytes(), inputs, plan.arena_bytes + 256)
                refused.add(name)
    assert {"input", "output of 1", "output of 4"} <= refused and len(refused) >= 6


@pytest.mark.parametrize("shape", [None, (2, 1, 4), (1, 1, 4), (5, 2, 2), (5, 1, 8)])
def test_a_delay_line_that_keeps_nothing_is_no_layer(shape: tuple[int, int, int] | None) -> None:
    with pytest.raises(InputError, match="layer 0: delay from"):
        Network((2, 1, 4), (Layer("delay", (INPUT,), shape=shape),))


def test_a_network_with_a_delay_line_is_not_converted_but_its_window_is() -> None:
    network = line(1, 4, 1, 8)
    with pytest.raises(UnsupportedError, match="layer 0 .delay. is not converted .convert the network of whole"):
        to_tflite(network, [None], np.zeros((1, 1, 1, 8), np.float32))


def test_the_arena_of_tensorflow_lite_micro_is_not_guessed() -> None:
    with pytest.raises(UnsupportedError, match="the arena of a delay is not known of TensorFlow Lite Micro"):
        tflm_arena(line(1, 4, 1, 8))
