"""Measures operators and front ends on a board and fits the latency model. Needs neither torch nor TensorFlow."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hil_nas.baselines import ds_cnn
from hil_nas.device.device import Device
from hil_nas.device.firmware import USUAL_ENGINE, Engine
from hil_nas.device.hosts import open_device
from hil_nas.device.replies import Identity
from hil_nas.errors import InputError
from hil_nas.files import require_writable
from hil_nas.latency.measurements import Measurements, network_id
from hil_nas.latency.prediction_errors import Report, held_out_errors
from hil_nas.latency.store import Store
from hil_nas.latency.summary import Summary, summarise
from hil_nas.progress import Progress, Reporter, silent
from hil_nas.runs import Run
from hil_nas.units import count_unit
from hil_nas.workflows import measurement_plan as measurement_plan
from hil_nas.workflows.fitting import WEIGHTS, fits, is_measured
from hil_nas.workflows.measure import folder_name, measure_front_ends, measure_network, provenance_of
from hil_nas.workflows.patience import PatientBoard

NETWORKS = 160


@dataclass(frozen=True)
class ProfileResult:
    """What was measured, and how well it predicts.

    Attributes:
        folder: the latency model, `latency_models/<BOARD@HOST>`.
        networks, operators, front_ends: how many of each it now holds.
        measured_networks: of them, those measured by this call.
        measuring_s: how long this call measured.
        published_cycles: of MLPerf Tiny's network, with its weights in `flash` and in `ram`, where there is room.
        report: held-out errors, see `latency.prediction_errors.errors`.
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
    engine: Engine = USUAL_ENGINE,
) -> ProfileResult:
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
    if networks > measurement_plan.CANDIDATES:
        raise InputError(f"a plan of {networks} networks, at most {measurement_plan.CANDIDATES} are drawn")
    opened = partial(open_device, target, boards_dir=boards_dir, build_dir=build_dir, port=port, engine=engine)
    with ExitStack() as alone, PatientBoard(opened(flash=flash), opened, progress) as board:
        started_s = time.monotonic()
        identity = board.do(lambda device: device.identify())
        store = Store(models_dir / folder_name(identity))
        alone.enter_context(store.alone())
        store.open(provenance_of(identity), identity.build, shipped_dir)
        known = store.read() if store.has_rows() else Measurements()
        _measure_front_ends(board, identity, store, known, progress)
        plan = measurement_plan.networks(networks, seed, lambda x: is_measured(x, identity))
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
    return ProfileResult(
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


def _published_cycles(device: Device, identity: Identity, rows: Measurements) -> dict[str, float]:
    """What weights in flash cost, on a network that everybody knows; a product's lie there."""
    network = ds_cnn()
    cycles: dict[str, float] = {}
    if measured := [x for x in rows.networks if x.network == network_id(network)]:
        cycles[WEIGHTS] = measured[0].median_cycles
    if fits(network, identity, weights="ram"):
        cycles["ram"] = measure_network(device, identity, network, weights="ram")[0].median_cycles
    return cycles


def _measure_front_ends(
    board: PatientBoard, identity: Identity, store: Store, known: Measurements, progress: Reporter
) -> None:
    wanted = measurement_plan.front_ends()
    done = {x.config for x in known.front_ends}

    def measure_missing(device: Device) -> None:
        """All over one upload of audio; behind a lost link those that are not on disk yet."""
        device.unload("plan")  # of what a board on a desk did before: it may leave no room
        for row in measure_front_ends(device, identity, [x for x in wanted if x not in done]):
            store.append_front_end(row)
            done.add(row.config)
            progress(Progress("front ends", len(done), len(wanted), str(row.config)))

    board.do(measure_missing)
