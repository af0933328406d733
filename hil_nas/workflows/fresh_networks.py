"""Measures what no model was fitted to, and says how far predictions of cycles, RAM and flash lie off."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path

import numpy as np

from hil_nas.config import Space
from hil_nas.device.device import Device
from hil_nas.device.firmware import USUAL_ENGINE, Engine
from hil_nas.device.hosts import open_device
from hil_nas.device.replies import Identity, MemoryUse
from hil_nas.front_ends import KINDS, FrontEnd, paper_grid
from hil_nas.latency.measurements import FrontEndRow, Measurements, network_id
from hil_nas.latency.model import LatencyModel
from hil_nas.latency.prediction_errors import Report, errors, of_fresh
from hil_nas.latency.store import Store, model_folder
from hil_nas.network import Network
from hil_nas.progress import Progress, Reporter, silent
from hil_nas.workflows.fitting import fits, is_measured
from hil_nas.workflows.footprint import Footprint, measure_footprint
from hil_nas.workflows.measure import folder_name, measure_front_ends, measure_network, provenance_of
from hil_nas.workflows.network_sampling import OF_SPACE

FRESH_SEED = 0x0F4E5  # networks that no plan holds
FRESH_FRONT_ENDS = 8


@dataclass(frozen=True)
class FreshNetwork:
    """A network of a space, with a front end that gives its input."""

    space: str
    network: Network
    config: FrontEnd


def evaluate(
    target: str,
    *,
    boards_dir: Path,
    build_dir: Path,
    models_dir: Path,
    shipped_dir: Path | None = None,
    networks: int = 100,
    seed: int = 0,
    progress: Reporter = silent,
    port: str | None = None,
    flash: bool = False,
    engine: Engine = USUAL_ENGINE,
) -> Report:
    """Measure fresh networks and front ends, which no model is fitted to, and say how far predictions lie off.

    The board restarts before each network, so that its deepest stack is that network's own.

    Args:
        networks: how many of each space.

    Returns:
        What `latency.prediction_errors.errors` names, of all networks and, under the spaces' names, of those of each;
        how many `networks` that were, and how many of them the model would have refused (`networks_outside_range`)
        or predicted within the spread that it states; of all RAM and flash how far the most wanting prediction lies
        under the board's own account in bytes, and the most generous over it in percent.

    Raises:
        InputError: where the latency model is missing or is of something else than what answers.
    """
    with open_device(
        target, boards_dir=boards_dir, build_dir=build_dir, port=port, flash=flash, engine=engine
    ) as device:
        identity = device.identify()
        expected = provenance_of(identity)
        store = Store(model_folder(folder_name(identity), expected, models_dir, shipped_dir))
        model = LatencyModel.load(store.folder, expected=expected)
        known = store.read()
        drawn = [y for x in OF_SPACE for y in fresh_products(x, networks, seed, identity, known)]
        footprint = measure_footprint(device, list(dict.fromkeys(x.config for x in drawn)))
        fresh = Measurements(front_ends=_fresh_front_ends(device, identity, known, seed))
        memories: list[MemoryUse] = []
        for number, product in enumerate(drawn):
            rows, memory = _measure_product(device, identity, product)
            fresh, memories = fresh + rows, [*memories, memory]
            progress(Progress("fresh networks", number + 1, len(drawn), product.space))
    return {**cycles_errors(model, drawn, known, fresh), **memory_errors(footprint, drawn, memories)}


def fresh_products(space: Space, count: int, seed: int, identity: Identity, known: Measurements) -> list[FreshNetwork]:
    """Networks of a space that fit the board and are not among `known`, each with a front end made for its input."""
    seen = {x.network for x in known.networks}
    fresh: list[FreshNetwork] = []
    rng = np.random.default_rng([FRESH_SEED, seed, *space.encode()])
    while len(fresh) < count:
        network = OF_SPACE[space](rng)
        frames, coefficients, _ = network.input_shape
        configs = [x for x in paper_grid(coefficients) if x.frames == frames]
        config = configs[len(fresh) % len(configs)]
        if is_measured(network, identity) and fits(network, identity, config) and network_id(network) not in seen:
            fresh.append(FreshNetwork(space, network, config))
            seen.add(network_id(network))
    return fresh


def cycles_errors(model: LatencyModel, drawn: list[FreshNetwork], known: Measurements, fresh: Measurements) -> Report:
    """Figures of all fresh networks and, under its name, of each space's; of both baselines too."""
    report = {**errors(of_fresh(known, fresh)), **trust(model, [x.network for x in drawn], fresh)}
    for space in dict.fromkeys(x.space for x in drawn):
        networks = [x.network for x in drawn if x.space == space]
        own = replace(fresh.of_networks({network_id(x) for x in networks}), front_ends=())
        figures = {**errors(of_fresh(known, own)), **trust(model, networks, own)}
        report |= {f"{space}_{name}": value for name, value in figures.items() if "front_end" not in name}
    return report


def trust(model: LatencyModel, networks: list[Network], fresh: Measurements) -> Report:
    """How many networks there are, how many lie outside the range, and the share as near as the model says."""
    measured = {x.network: x.median_cycles for x in fresh.networks}
    inside = [x for x in networks if all(model.outside(y) is None for y in x.operators())]
    kept = [
        abs(model.network_cycles(x) / measured[network_id(x)] - 1) <= model.network_spread(x) for x in inside
    ]  # one for each network inside
    return {
        "networks": float(len(networks)),
        "networks_outside_range": float(len(networks) - len(inside)),
        "networks_within_spread_percent": 100 * float(np.mean(kept)) if kept else float("nan"),
    }


def memory_errors(footprint: Footprint, products: list[FreshNetwork], measured: list[MemoryUse]) -> Report:
    """How far all RAM and all flash, as the search predicts them, lie from the board's account."""
    report: Report = {}
    pairs = list(zip(products, measured, strict=True))
    for name, predicted, reported in (
        ("ram", [footprint.ram(x.network, x.config) for x in products], [m.ram_bytes for _, m in pairs]),
        ("flash", [footprint.flash(x.network, x.config) for x in products], [m.flash_bytes for _, m in pairs]),
    ):
        over = np.array(predicted) - np.array(reported)  # (products,) bytes
        report[f"{name}_under_bytes"] = float(max(0, -over.min()))
        report[f"{name}_over_bytes"] = float(max(0, over.max()))
        report[f"{name}_over_percent"] = float(max(0.0, 100 * (over / np.array(reported)).max()))
    return report


def _measure_product(device: Device, identity: Identity, product: FreshNetwork) -> tuple[Measurements, MemoryUse]:
    device.reset()
    total, operators = measure_network(device, identity, product.network)
    next(measure_front_ends(device, identity, [product.config]))
    return Measurements(tuple(operators), (total,)), device.memory()


def _fresh_front_ends(device: Device, identity: Identity, known: Measurements, seed: int) -> tuple[FrontEndRow, ...]:
    """Configurations between those measured."""
    rng, seen = np.random.default_rng([FRESH_SEED, seed]), {x.config for x in known.front_ends}
    drawn = (kind.drawn(rng) for _ in count() for kind in KINDS.values())
    configs = islice((x for x in drawn if x not in seen), FRESH_FRONT_ENDS)
    return tuple(measure_front_ends(device, identity, list(configs)))
