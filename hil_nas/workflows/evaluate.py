"""Measures what no model was fitted to, and says how far predictions of cycles, RAM and flash lie off."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hil_nas.cost.arena import arena_bytes
from hil_nas.device.device import Device
from hil_nas.device.firmware import Engine
from hil_nas.device.hosts import open_device
from hil_nas.device.replies import Identity, MemoryUse
from hil_nas.latency.evaluate import Report, errors, of_fresh
from hil_nas.latency.model import LatencyModel
from hil_nas.latency.store import FrontEndRow, Measurements, Store, network_id
from hil_nas.mfcc import MfccConfig, paper_grid
from hil_nas.network import Network
from hil_nas.progress import Progress, Reporter, silent
from hil_nas.workflows import campaign
from hil_nas.workflows.overhead import Overhead, measure_overhead
from hil_nas.workflows.profile import (
    AUDIO_BYTES,
    fits,
    folder_name,
    measure_front_ends,
    measure_network,
    provenance_of,
)

FRESH_SEED = 0x0F4E5  # networks that no campaign fits to
FRESH_FRONT_ENDS = 8
BESIDE_ARENA_BYTES = AUDIO_BYTES + 32 * 1024  # of the pool: the audio, and more than any front end's scratch


@dataclass(frozen=True)
class Product:
    """A network with a front end that gives its input."""

    network: Network
    config: MfccConfig


def evaluate(
    target: str,
    *,
    boards_dir: Path,
    build_dir: Path,
    models_dir: Path,
    networks: int = 100,
    seed: int = 0,
    progress: Reporter = silent,
    port: str | None = None,
    flash: bool = False,
    engine: Engine = "cmsis-nn",
) -> Report:
    """Measure fresh networks and front ends, which no model is fitted to, and say how far predictions lie off.

    The board restarts before each network, so that its deepest stack is that network's own.

    Returns:
        What `latency.evaluate.errors` names; of all RAM and flash how far the most wanting prediction lies under
        the board's own account in bytes, and the most generous over it in percent; and `networks_outside_range`,
        how many of the networks the model would have refused.

    Raises:
        InputError: where the latency model is missing or is of something else than what answers.
    """
    with open_device(
        target, boards_dir=boards_dir, build_dir=build_dir, port=port, flash=flash, engine=engine
    ) as device:
        identity = device.identify()
        store = Store(models_dir / folder_name(identity))
        model = LatencyModel.load(store.folder, expected=provenance_of(identity))
        known = store.read()
        drawn = fresh_products(networks, seed, identity, known)
        overhead = measure_overhead(device, list(dict.fromkeys(x.config for x in drawn)))
        fresh = Measurements(front_ends=_fresh_front_ends(device, identity, known, seed))
        memories: list[MemoryUse] = []
        for number, product in enumerate(drawn):
            rows, memory = _measure_product(device, identity, product)
            fresh, memories = fresh + rows, [*memories, memory]
            progress(Progress("fresh networks", number + 1, len(drawn)))
    outside = sum(any(model.outside(y) is not None for y in x.network.operators()) for x in drawn)
    sizes = memory_errors(overhead, drawn, memories)
    return {**errors(of_fresh(known, fresh)), **sizes, "networks_outside_range": float(outside)}


def fresh_products(count: int, seed: int, identity: Identity, known: Measurements) -> list[Product]:
    """Networks that fit the board and are not among `known`, each with one of the front ends made for its input."""
    seen = {x.network for x in known.networks}
    found: list[Product] = []
    for network in campaign.draw(np.random.default_rng([FRESH_SEED, seed])):
        if len(found) == count:
            break
        frames, coefficients, _ = network.input_shape
        configs = [x for x in paper_grid(coefficients) if x.frames == frames]
        if _fits_beside(network, identity) and network_id(network) not in seen:
            found.append(Product(network, configs[len(found) % len(configs)]))
            seen.add(network_id(network))
    return found


def memory_errors(overhead: Overhead, products: list[Product], measured: list[MemoryUse]) -> Report:
    """How far all RAM and all flash, as the search predicts them, lie from the board's account."""
    report: Report = {}
    pairs = list(zip(products, measured, strict=True))
    for name, predicted, found in (
        ("ram", [overhead.ram(x.network, x.config) for x in products], [m.ram_bytes for _, m in pairs]),
        ("flash", [overhead.flash(x.network, x.config) for x in products], [m.flash_bytes for _, m in pairs]),
    ):
        over = np.array(predicted) - np.array(found)  # (products,) bytes
        report[f"{name}_under_bytes"] = float(max(0, -over.min()))
        report[f"{name}_over_bytes"] = float(max(0, over.max()))
        report[f"{name}_over_percent"] = float(max(0.0, 100 * (over / np.array(found)).max()))
    return report


def _measure_product(device: Device, identity: Identity, product: Product) -> tuple[Measurements, MemoryUse]:
    device.reset()
    next(measure_front_ends(device, identity, [product.config]))
    total, operators = measure_network(device, identity, product.network)
    return Measurements(tuple(operators), (total,)), device.memory()


def _fits_beside(network: Network, identity: Identity) -> bool:
    return fits(network, identity) and arena_bytes(network) + BESIDE_ARENA_BYTES <= identity.pool_bytes


def _fresh_front_ends(device: Device, identity: Identity, known: Measurements, seed: int) -> tuple[FrontEndRow, ...]:
    """Configurations between those measured."""
    rng, seen = np.random.default_rng([FRESH_SEED, seed]), {x.config for x in known.front_ends}
    configs: list[MfccConfig] = []
    while len(configs) < FRESH_FRONT_ENDS:
        window, mel = int(rng.integers(360, 801)), int(rng.integers(20, 81))
        config = MfccConfig(window, int(rng.integers(100, 401)), mel, int(rng.integers(8, mel + 1)))
        if config not in seen:
            configs.append(config)
    return tuple(measure_front_ends(device, identity, configs))
