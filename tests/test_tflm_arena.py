"""The arena of TensorFlow Lite Micro: the published model's, the host interpreter's plan, and the board's own word."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_engine_tflm import needs_tflm

from hil_nas.baselines import ds_cnn
from hil_nas.cost import tflm_arena as rules
from hil_nas.cost.tflm_arena import tflm_arena
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.device.device import Device
from hil_nas.device.hosts import open_device
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.network import Layer, Network
from hil_nas.workflows import measurement_plan as measurement_plan
from hil_nas.workflows.footprint import measure_footprint
from hil_nas.workflows.measure import measure_network
from hil_nas.workflows.network_sampling import OF_SPACE, mixed_network


def mlperf() -> Network:
    """MLPerf Tiny's keyword network as its .tflite has it, with the softmax."""
    network = ds_cnn()
    return replace(network, layers=(*network.layers, Layer("softmax", (len(network.layers) - 1,))))


def drawn(count: int) -> list[Network]:
    random = np.random.default_rng(11)
    kinds = (*OF_SPACE.values(), mixed_network)
    return [kinds[i % len(kinds)](random) for i in range(count)]


def test_mlperfs_model_needs_what_is_known_of_it() -> None:
    assert tflm_arena(mlperf()).arena_bytes == 22_820  # of a Cortex-M4, with these sources
    assert tflm_arena(mlperf()).planned_bytes == 16_000


def planned_on_this_machine(model: bytes) -> int:
    """The head of the arena that the host's interpreter plans; it writes that to file descriptor 2."""
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(model, arena_size=4_000_000)
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        try:
            os.dup2(file.fileno(), 2)
            interpreter.print_allocations()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        file.seek(0)
        return int(re.search(rb"head (\d+)", file.read())[1])  # type: ignore[index]


@pytest.mark.parametrize("network", [mlperf(), *drawn(12)], ids=lambda x: f"{len(x.layers)} layers")
def test_the_plan_is_that_of_the_interpreter_on_this_machine(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reference kernels want no scratch, and its structures are of 64 bits: the planned part alone compares."""
    monkeypatch.setattr(rules, "_scratch_bytes", lambda operator, flat: 0)
    model = write_tflite(random_graph(network, 0))
    assert tflm_arena(network, converted=False).planned_bytes == planned_on_this_machine(model)


@pytest.fixture(scope="module")
def device(boards_dir: Path, build_dir: Path) -> Iterator[Device]:
    with open_device("nucleo-l4r5@virtual", boards_dir=boards_dir, build_dir=build_dir, engine="tflm") as device:
        yield device


@needs_tflm
def test_the_boards_interpreter_says_the_same_of_every_kernel(device: Device) -> None:
    for network in (*measurement_plan.every_kernel(), *measurement_plan.smallest(), mlperf(), *drawn(9)):
        info = device.load_model({"tflm": write_tflite(random_graph(network, 0))})
        assert info.arena_bytes == tflm_arena(network, converted=False).arena_bytes


@needs_tflm
def test_the_boards_interpreter_says_the_same_of_a_converted_model(device: Device, reference_model: bytes) -> None:
    assert device.load_model({"tflm": reference_model}).arena_bytes == tflm_arena(mlperf()).arena_bytes


@needs_tflm
def test_all_memory_of_a_product_is_known_before_it_is_loaded(device: Device) -> None:
    config = Mfcc(640, 320, 40, 10)
    said = measure_footprint(device, [config])
    for network in (mlperf(), ds_cnn()):
        measure_network(device, device.identify(), network)
        memory = device.memory()
        assert said.flash(network, config) == memory.flash_bytes
        assert 0 <= said.ram(network, config) - memory.ram_bytes <= 0.01 * memory.ram_bytes
