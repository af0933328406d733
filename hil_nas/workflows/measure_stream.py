"""What a board counts for one decision of a stream: the front end's new frames, the network's step, the decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hil_nas.deploy.listening import Listening
from hil_nas.deploy.lower import lower
from hil_nas.deploy.synthetic import random_graph
from hil_nas.device.device import Device
from hil_nas.device.heard import uploads
from hil_nas.front_ends import FrontEnd
from hil_nas.network import INPUT, Layer, Network
from hil_nas.workflows.fitting import WEIGHTS
from hil_nas.workflows.footprint import Footprint, run_every_kernel
from hil_nas.workflows.listen import usual_decisions
from hil_nas.workflows.measure import measure_network
from hil_nas.workflows.memory_lines import listening_ram_lines

_DECISIONS = 8  # that are counted


def measure_decision(device: Device, step: Network, config: FrontEnd, seed: int = 0) -> int:
    """The most cycles of a decision on a stream of noise, whatever the steps' random weights answer: every decision
    hears a word, since one that waits behind a word compares nothing.

    What was loaded stays, so that the board's memory is that of a product with this network and front end.

    Args:
        step: of a stream; its input is the front end's new frames.

    Raises:
        DeviceError: where the board does not take or run it.
    """
    graph = random_graph(step, seed)
    plan = lower(graph)
    frames, classes = step.input_shape[0], step.output_shape[2]
    usual = usual_decisions([f"class {i}" for i in range(classes)], config, frames * config.hop_samples)
    decisions = replace(usual, thresholds=(1,) * classes, refractory=0)
    warm_up = -(-config.frames // frames) - 1
    listening = Listening(plan, config, decisions, frames, warm_up, stream=True)
    device.unload("frontend")
    device.load_plan(plan.to_bytes(), WEIGHTS)
    device.load_front_end(listening.blob, WEIGHTS)
    device.load_listening(listening.packed())
    count = listening.first_samples + (warm_up + _DECISIONS) * listening.period_samples
    noise = np.random.default_rng(seed).normal(0, 3000, count)
    samples, cycles = np.clip(noise, -32768, 32767).astype(np.int16), []
    for piece in uploads(samples, listening.period_samples):
        cycles += [x.cycles for x in device.listen(piece)]
    return max(cycles[1:])  # the first has waited for a whole window


def measure_stream_footprint(
    device: Device, configs: Sequence[FrontEnd], period_samples: int, classes: int
) -> Footprint:
    """As `footprint.measure_footprint`, of products that listen: what a decision takes beside the network.

    A network of one dense layer listens by every front end; what its decisions take beyond itself is the front end's.

    Raises:
        DeviceError: where the board does not take or run one.
    """
    identity = device.identify()
    run_every_kernel(device, identity)
    cycles, ram, flash, tables = {}, {}, {}, 0
    for config in configs:
        shape = (period_samples // config.hop_samples, config.columns, 1)
        least = Network(shape, (Layer("fully_connected", (INPUT,), classes),))
        own = measure_network(device, identity, least)[0].median_cycles
        cycles[config] = round(measure_decision(device, least, config) - own)
        memory = device.memory()
        ram[config] = memory.listen_bytes + memory.front_end_scratch_bytes
        flash[config] = memory.front_end_tables_bytes
        tables = memory.plan_bytes + memory.front_end_tables_bytes
        always = sum(listening_ram_lines(memory).values()) - memory.arena_bytes - ram[config]
    return Footprint(always, memory.flash_bytes - tables, cycles, ram, flash, identity.engine)
