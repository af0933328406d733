"""Measures operators and front ends on a board and fits the latency model. Needs neither torch nor TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hil_nas.audio.tables import front_end_blob
from hil_nas.cost.arena import arena_bytes
from hil_nas.cost.blob import plan_bytes
from hil_nas.cost.macs import network_macs
from hil_nas.deploy.lower import lower
from hil_nas.deploy.synthetic import random_graph
from hil_nas.device.device import Device
from hil_nas.device.hosts import open_device
from hil_nas.device.replies import Identity, Where
from hil_nas.latency.evaluate import Report, fresh_errors, held_out_errors
from hil_nas.latency.features import is_executed
from hil_nas.latency.model import LatencyModel
from hil_nas.latency.store import (
    FrontEndRow,
    Measurements,
    NetworkRow,
    OperatorRow,
    Provenance,
    Store,
    network_id,
)
from hil_nas.mfcc import CLIP_SAMPLES, MfccConfig
from hil_nas.network import Network
from hil_nas.progress import Progress, Reporter, silent
from hil_nas.workflows import campaign

WEIGHTS: Where = "flash"  # where products keep them
AUDIO_BYTES = 2 * CLIP_SAMPLES
MOST_MACS = 60_000_000
SILICON_RUNS = (1, 5)  # warm-ups and counted runs
MODELLED_RUNS = (0, 1)  # a modelled or counted clock repeats itself
FEATURE_SCALE, FEATURE_ZERO_POINT = 0.15, 40  # of a front end whose coefficients span int8
FRESH_SEED = 0x0F4E5  # networks that no campaign fits to


@dataclass(frozen=True)
class Profile:
    """What a campaign left behind.

    Attributes:
        folder: the latency model, `latency_models/<BOARD@HOST>`.
        networks, operators, front_ends: how many of each it now holds.
        measured_networks: of them, those measured by this call.
        report: held-out errors in percent, see `latency.evaluate.held_out_errors`.
    """

    folder: Path
    identity: Identity
    networks: int
    operators: int
    front_ends: int
    measured_networks: int
    report: Report


def profile(
    target: str,
    *,
    boards_dir: Path,
    build_dir: Path,
    models_dir: Path,
    networks: int = 160,
    seed: int = 0,
    progress: Reporter = silent,
) -> Profile:
    """Measure on a board until its latency model rests on `networks` networks; goes on where it stopped.

    Args:
        target: a board or BOARD@HOST.
        models_dir: `latency_models`; rows are appended to the folder named like the target.

    Raises:
        InputError: where the folder holds measurements of something else.
        DeviceError: where the board does not answer; what was measured by then is kept.
    """
    with open_device(target, boards_dir=boards_dir, build_dir=build_dir) as device:
        identity = device.identify()
        store = Store(models_dir / folder_name(identity))
        store.open(provenance_of(identity), identity.build)
        known = store.read() if store.has_rows() else Measurements()
        _measure_front_ends(device, identity, store, known, progress)
        plan = campaign.networks(networks, seed, lambda x: fits(x, identity))
        done = {x.network for x in known.networks}
        missing = [x for x in plan if network_id(x) not in done]
        for number, network in enumerate(missing):
            total, operators = measure_network(device, identity, network)
            store.append_network(total, operators)
            note = f"{len(network.layers)} layers, {total.median_cycles / 1e6:.2f} M cycles"
            progress(Progress("networks", number + 1, len(missing), note))
    rows = store.read()
    return Profile(
        store.folder,
        identity,
        len(rows.networks),
        len(rows.operators),
        len(rows.front_ends),
        len(missing),
        held_out_errors(rows),
    )


def evaluate(
    target: str,
    *,
    boards_dir: Path,
    build_dir: Path,
    models_dir: Path,
    networks: int = 30,
    seed: int = FRESH_SEED,
    progress: Reporter = silent,
) -> Report:
    """Measure fresh networks and front ends, which no model is fitted to, and say how far predictions lie off.

    Returns:
        Percentages as `latency.evaluate.fresh_errors` names them, and `networks_outside_range`, how many of the
        networks the model would have refused.

    Raises:
        InputError: where the latency model is missing or is of something else than what answers.
    """
    with open_device(target, boards_dir=boards_dir, build_dir=build_dir) as device:
        identity = device.identify()
        store = Store(models_dir / folder_name(identity))
        model = LatencyModel.load(store.folder, expected=provenance_of(identity))
        known = store.read()
        drawn = _fresh_networks(networks, seed, identity, known)
        fresh = Measurements(front_ends=_fresh_front_ends(device, identity, known, seed))
        for number, network in enumerate(drawn):
            total, operators = measure_network(device, identity, network)
            fresh += Measurements(tuple(operators), (total,))
            progress(Progress("fresh networks", number + 1, len(drawn)))
    outside = sum(not _in_range(model, x) for x in drawn)
    return {**fresh_errors(known, fresh), "networks_outside_range": float(outside)}


def measure_network(
    device: Device, identity: Identity, network: Network, seed: int = 0
) -> tuple[NetworkRow, list[OperatorRow]]:
    """Raw counts of a network with random weights, and of each of its operators.

    Raises:
        DeviceError: where the board does not take or run it.
    """
    device.load_plan(lower(random_graph(network, seed)).to_bytes(), WEIGHTS)
    elements = int(np.prod(network.input_shape))
    device.set_input(np.random.default_rng(seed).integers(-128, 128, elements, dtype=np.int8))
    counts = device.run("network", *_runs(identity))
    name, executed = network_id(network), [x for x in network.operators() if is_executed(x)]
    operators = [
        OperatorRow(name, index, operator, (count.cycles,))
        for index, (operator, count) in enumerate(zip(executed, counts.operators, strict=True))
    ]
    return NetworkRow(name, arena_bytes(network), counts.network_cycles), operators


def measure_front_ends(
    device: Device, identity: Identity, configs: Sequence[MfccConfig], seed: int = 0
) -> Iterator[FrontEndRow]:
    """Raw counts of front ends over one clip of noise, one after the other.

    Raises:
        DeviceError: where the board does not take or run one.
    """
    noise = np.random.default_rng(seed).normal(0, 3000, CLIP_SAMPLES)
    if configs:
        device.set_audio(np.clip(noise, -32768, 32767).astype(np.int16))
    for config in configs:
        device.load_front_end(front_end_blob(config, FEATURE_SCALE, FEATURE_ZERO_POINT), WEIGHTS)
        counts = device.run("frontend", *_runs(identity))
        yield FrontEndRow(config, counts.front_end_cycles)


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
    """The folder below `latency_models` for what answers."""
    return f"{identity.board.replace('_', '-')}@{identity.host}"


def fits(network: Network, identity: Identity) -> bool:
    """Whether the board has the memory to run a network with its constants in flash, and runs it in seconds."""
    if network_macs(network) > MOST_MACS:
        return False
    in_pool = arena_bytes(network) + AUDIO_BYTES <= identity.pool_bytes
    return in_pool and plan_bytes(network) <= identity.store_bytes


def _runs(identity: Identity) -> tuple[int, int]:
    return SILICON_RUNS if identity.clock_kind == "silicon" else MODELLED_RUNS


def _measure_front_ends(
    device: Device, identity: Identity, store: Store, known: Measurements, progress: Reporter
) -> None:
    done = {x.config for x in known.front_ends}
    missing = [x for x in campaign.front_end_configs() if x not in done]
    for number, row in enumerate(measure_front_ends(device, identity, missing)):
        store.append_front_end(row)
        progress(Progress("front ends", number + 1, len(missing), str(row.config)))


def _fresh_networks(count: int, seed: int, identity: Identity, known: Measurements) -> list[Network]:
    seen = {x.network for x in known.networks}
    drawn = campaign.draw(np.random.default_rng(seed))
    found: list[Network] = []
    while len(found) < count:
        network = next(drawn)
        if fits(network, identity) and network_id(network) not in seen:
            found.append(network)
    return found


def _fresh_front_ends(device: Device, identity: Identity, known: Measurements, seed: int) -> tuple[FrontEndRow, ...]:
    """Configurations between those measured."""
    rng, seen = np.random.default_rng(seed), {x.config for x in known.front_ends}
    configs: list[MfccConfig] = []
    while len(configs) < 8:
        window, mel = int(rng.integers(360, 801)), int(rng.integers(20, 81))
        config = MfccConfig(window, int(rng.integers(100, 401)), mel, int(rng.integers(8, mel + 1)))
        if config not in seen:
            configs.append(config)
    return tuple(measure_front_ends(device, identity, configs))


def _in_range(model: LatencyModel, network: Network) -> bool:
    return all(model.outside(x) is None for x in network.operators())
