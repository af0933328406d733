"""What every workflow measures on a board alike: networks, front ends, and what a count of them holds for and means.

Needs neither torch nor TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from hil_nas.deploy.lower import lower
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.device.device import Device
from hil_nas.device.firmware import USUAL_ENGINE
from hil_nas.device.replies import FrontEndInfo, Identity, Where
from hil_nas.front_ends import FrontEnd
from hil_nas.latency.kernel_work import is_executed
from hil_nas.latency.measurements import FrontEndRow, NetworkRow, OperatorRow, network_id
from hil_nas.latency.provenance import Provenance
from hil_nas.network import Network
from hil_nas.operators.table import runs
from hil_nas.workflows.fitting import WEIGHTS

SILICON_RUNS = (1, 5)  # warm-ups and counted runs
MODELLED_RUNS = (0, 1)  # a modelled or counted clock repeats itself
FEATURE_SCALE, FEATURE_ZERO_POINT = 0.15, 40  # of a front end whose coefficients span int8


def measure_network(
    device: Device, identity: Identity, network: Network, seed: int = 0, weights: Where = WEIGHTS
) -> tuple[NetworkRow, list[OperatorRow]]:
    """Raw counts of a network with random weights, and of each of its operators; no front end stays loaded beside it.

    Raises:
        DeviceError: where the board does not take or run it.
    """
    graph = random_graph(network, seed)
    device.unload("frontend")  # a network that fits alone may not fit beside what was measured before
    info = device.load_model({"plans": lower(graph).to_bytes(), "tflm": write_tflite(graph)}, weights)
    elements = int(np.prod(network.input_shape))
    device.set_input(np.random.default_rng(seed).integers(-128, 128, elements, dtype=np.int8))
    counts = device.run("network", *_runs(identity))
    name, executed = network_id(network), [x for x in network.operators() if is_executed(x)]
    counted = [x for x in counts.operators if runs(x.kind)]  # tflm copies, which counts for the whole alone
    operators = [
        OperatorRow(name, index, operator, (count.cycles,))
        for index, (operator, count) in enumerate(zip(executed, counted, strict=True))
    ]
    return NetworkRow(name, info.arena_bytes, counts.network_cycles), operators


def measure_front_ends(
    device: Device, identity: Identity, configs: Sequence[FrontEnd], seed: int = 0
) -> Iterator[FrontEndRow]:
    """Raw counts of front ends over one clip of noise, one after the other.

    Raises:
        DeviceError: where the board does not take or run one.
    """
    return (row for row, _, _ in run_front_ends(device, identity, configs, seed))


def run_front_ends(
    device: Device, identity: Identity, configs: Sequence[FrontEnd], seed: int = 0
) -> Iterator[tuple[FrontEndRow, FrontEndInfo, int]]:
    """As `measure_front_ends`, with what the board says of each and the bytes of its tables."""
    heard = 0
    for config in configs:
        if heard != config.clip.samples:
            heard = config.clip.samples
            noise = np.random.default_rng(seed).normal(0, 3000, heard)
            device.set_audio(np.clip(noise, -32768, 32767).astype(np.int16))
        tables = config.blob(FEATURE_SCALE, FEATURE_ZERO_POINT)
        info = device.load_front_end(tables, WEIGHTS)
        counts = device.run("frontend", *_runs(identity))
        yield FrontEndRow(config, counts.front_end_cycles, counts.stages), info, len(tables)


def provenance_of(identity: Identity) -> Provenance:
    """What a measurement on this device holds for."""
    return Provenance(
        board=identity.board,
        host=identity.host,
        clock=identity.clock_kind,
        cpu_hz=identity.clock_hz,
        engine=identity.engine,
        kernels=identity.kernels,
        versions=identity.versions,
        weights=WEIGHTS,
    )


def folder_name(identity: Identity) -> str:
    """The folder below `latency_models` for what answers; an engine that is not the usual one has its own."""
    name = f"{identity.board.replace('_', '-')}@{identity.host}"
    return name if identity.engine == USUAL_ENGINE else f"{name}-{identity.engine}"


def latency_ms(clock_kind: str, clock_hz: int, cycles: float) -> float | None:
    """Cycles as milliseconds, or None where the clock counts instructions."""
    return cycles / clock_hz * 1e3 if clock_kind in ("silicon", "modelled") else None


def energy_of(identity: Identity, milliseconds: float | None) -> dict[str, Any] | None:
    """What that time costs at the power that others published for the board, in millijoules; None where none did."""
    if milliseconds is None or identity.power is None:
        return None
    power = identity.power
    return {"mj": power.active_mw * milliseconds / 1e3, "active_mw": power.active_mw, "source": power.source}


def _runs(identity: Identity) -> tuple[int, int]:
    return SILICON_RUNS if identity.clock_kind == "silicon" else MODELLED_RUNS
