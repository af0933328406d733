"""Measures operators and front ends on a board and fits the latency model. Needs neither torch nor TensorFlow."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hil_nas.baselines import ds_cnn
from hil_nas.cost.macs import network_macs
from hil_nas.deploy.lower import lower
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.device.device import Device
from hil_nas.device.firmware import Engine
from hil_nas.device.hosts import open_device
from hil_nas.device.replies import FrontEndInfo, Identity, Where
from hil_nas.errors import InputError
from hil_nas.files import require_writable
from hil_nas.front_ends import FrontEnd
from hil_nas.latency.evaluate import Report, held_out_errors
from hil_nas.latency.features import is_executed
from hil_nas.latency.store import (
    FrontEndRow,
    Measurements,
    NetworkRow,
    OperatorRow,
    Provenance,
    Store,
    network_id,
)
from hil_nas.latency.summary import Summary, summarise
from hil_nas.network import Network
from hil_nas.operators.table import runs
from hil_nas.progress import Progress, Reporter, silent
from hil_nas.runs import Run
from hil_nas.units import count_unit
from hil_nas.workflows import campaign
from hil_nas.workflows.fitting import USUAL_ENGINE, WEIGHTS, fits
from hil_nas.workflows.patience import PatientBoard

MOST_MACS = 60_000_000  # of what runs in seconds
SILICON_RUNS = (1, 5)  # warm-ups and counted runs
MODELLED_RUNS = (0, 1)  # a modelled or counted clock repeats itself
FEATURE_SCALE, FEATURE_ZERO_POINT = 0.15, 40  # of a front end whose coefficients span int8
NETWORKS = 160


@dataclass(frozen=True)
class Profile:
    """What a campaign left behind.

    Attributes:
        folder: the latency model, `latency_models/<BOARD@HOST>`.
        networks, operators, front_ends: how many of each it now holds.
        measured_networks: of them, those measured by this call.
        measuring_s: how long this call measured.
        published_cycles: of MLPerf Tiny's network, with its weights in `flash` and in `ram`, where there is room.
        report: held-out errors, see `latency.evaluate.errors`.
    """

    folder: Path
    identity: Identity
    networks: int
    operators: int
    front_ends: int
    measured_networks: int
    measuring_s: float
    published_cycles: dict[str, float]
    report: Report

    def to_json(self) -> dict[str, Any]:
        """What result.json says."""
        identity = self.identity
        return {
            "board": self.folder.name,
            "clock": identity.clock,
            "engine": identity.engine,
            "build": identity.build,
            "kernels": identity.kernels,
            "versions": identity.versions,
            "weights": WEIGHTS,
            "folder": str(self.folder),
            "networks": self.networks,
            "operators": self.operators,
            "front_ends": self.front_ends,
            "measured_networks": self.measured_networks,
            "measuring_s": round(self.measuring_s, 1),
            "published_cycles": self.published_cycles,
            **{name: value if math.isfinite(value) else None for name, value in self.report.items()},
        }


PageWriter = Callable[[dict[str, Any], Summary], str]


def run_profile(
    target: str, *, runs_dir: Path, page: PageWriter, networks: int = NETWORKS, seed: int = 0, **where: Any
) -> tuple[dict[str, Any], Path]:
    """Everything that `hil_nas profile` does; returns what result.json says, and the run folder.

    Args:
        where: the other arguments of `profile`.

    Raises:
        InputError, DeviceError: as `profile`, before there is a run folder; the rows measured by then are kept.
    """
    require_writable(runs_dir)
    done = profile(target, networks=networks, seed=seed, **where)
    result = done.to_json()
    run = Run.create(runs_dir, "profile", done.folder.name, {"board": target, "networks": networks, "seed": seed})
    run.write_bytes("report.html", page(result, summarise(done.folder)).encode())
    return run.finish("complete", result), run.folder


def profile(
    target: str,
    *,
    boards_dir: Path,
    build_dir: Path,
    models_dir: Path,
    shipped_dir: Path | None = None,
    networks: int = NETWORKS,
    seed: int = 0,
    progress: Reporter = silent,
    port: str | None = None,
    flash: bool = False,
    engine: Engine = "cmsis-nn",
) -> Profile:
    """Measure on a board until its latency model rests on `networks` networks; goes on where it stopped.

    Args:
        target: a board or BOARD@HOST.
        models_dir: `latency_models`; rows are appended to the folder that `folder_name` gives.
        shipped_dir: another, whose rows of the same provenance a new folder begins with.
        port, flash, engine: as `open_device` takes them.

    Raises:
        InputError: where the folder holds measurements of something else, or for more networks than are drawn.
        DeviceError: where the board does not answer; what was measured by then is kept.
    """
    if networks > campaign.CANDIDATES:
        raise InputError(f"a campaign of {networks} networks, at most {campaign.CANDIDATES} are drawn")
    opened = partial(open_device, target, boards_dir=boards_dir, build_dir=build_dir, port=port, engine=engine)
    with ExitStack() as alone, PatientBoard(opened(flash=flash), opened, progress) as board:
        started_s = time.monotonic()
        identity = board.do(lambda device: device.identify())
        store = Store(models_dir / folder_name(identity))
        alone.enter_context(store.alone())
        store.open(provenance_of(identity), identity.build, shipped_dir)
        known = store.read() if store.has_rows() else Measurements()
        _measure_front_ends(board, identity, store, known, progress)
        plan = campaign.networks(networks, seed, lambda x: is_measured(x, identity))
        done = {x.network for x in known.networks}
        missing = [x for x in plan if network_id(x) not in done]
        for number, network in enumerate(missing):
            total, operators = board.do(partial(measure_network, identity=identity, network=network))
            store.append_network(total, operators)
            note = f"{len(network.layers)} layers, {total.median_cycles / 1e6:.2f} M {count_unit(identity.clock_kind)}"
            progress(Progress("networks", number + 1, len(missing), note))
        rows = store.read()
        published = board.do(lambda device: _published_cycles(device, identity, rows))
        measuring_s = time.monotonic() - started_s
    return Profile(
        store.folder,
        identity,
        len(rows.networks),
        len(rows.operators),
        len(rows.front_ends),
        len(missing),
        measuring_s,
        published,
        held_out_errors(rows),
    )


def measure_network(
    device: Device, identity: Identity, network: Network, seed: int = 0, weights: Where = WEIGHTS
) -> tuple[NetworkRow, list[OperatorRow]]:
    """Raw counts of a network with random weights, and of each of its operators; no front end stays loaded beside it.

    Raises:
        DeviceError: where the board does not take or run it.
    """
    graph = random_graph(network, seed)
    device.unload("frontend")  # a network that fits alone may not fit beside what was measured before
    info = device.load_model({"cmsis-nn": lower(graph).to_bytes(), "tflm": write_tflite(graph)}, weights)
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
        yield FrontEndRow(config, counts.front_end_cycles), info, len(tables)


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


def is_measured(network: Network, identity: Identity) -> bool:
    """Whether a campaign measures a network that it has drawn: the board takes it, and runs it in seconds."""
    return network_macs(network) <= MOST_MACS and fits(network, identity)


def _runs(identity: Identity) -> tuple[int, int]:
    return SILICON_RUNS if identity.clock_kind == "silicon" else MODELLED_RUNS


def _published_cycles(device: Device, identity: Identity, rows: Measurements) -> dict[str, float]:
    """What weights in flash cost, on a network that everybody knows; a product's lie there."""
    network = ds_cnn()
    found: dict[str, float] = {}
    if measured := [x for x in rows.networks if x.network == network_id(network)]:
        found[WEIGHTS] = measured[0].median_cycles
    if fits(network, identity, weights="ram"):
        found["ram"] = measure_network(device, identity, network, weights="ram")[0].median_cycles
    return found


def _measure_front_ends(
    board: PatientBoard, identity: Identity, store: Store, known: Measurements, progress: Reporter
) -> None:
    wanted = campaign.front_ends()
    done = {x.config for x in known.front_ends}

    def measure_missing(device: Device) -> None:
        """All over one upload of audio; behind a lost link those that are not on disk yet."""
        device.unload("plan")  # of what a board on a desk did before: it may leave no room
        for row in measure_front_ends(device, identity, [x for x in wanted if x not in done]):
            store.append_front_end(row)
            done.add(row.config)
            progress(Progress("front ends", len(done), len(wanted), str(row.config)))

    board.do(measure_missing)
