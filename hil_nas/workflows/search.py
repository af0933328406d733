"""The main job: search, train, quantise, verify. Every step leaves its result in the run folder, and a resumed run
goes on behind the last one that stands there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hil_nas.audio.datasets import KeywordData, load_speech_commands
from hil_nas.audio.front_end import HostFrontEnd
from hil_nas.audio.speech import spoken_keywords
from hil_nas.audio.tables import front_end_blob
from hil_nas.budget import Budget
from hil_nas.config import TEN_WORDS, SearchConfig
from hil_nas.cost.macs import network_macs, parameters
from hil_nas.deploy.c_export import export_c
from hil_nas.deploy.lower import lower
from hil_nas.deploy.tflite import read_mfcc, read_tflite
from hil_nas.device.boards import load_board
from hil_nas.device.device import Device
from hil_nas.device.firmware import find_third_party
from hil_nas.device.hosts import open_device
from hil_nas.device.replies import Identity
from hil_nas.errors import InfeasibleError, InputError, LimitsMissedError, RunError
from hil_nas.latency.model import LatencyModel
from hil_nas.mfcc import MfccConfig
from hil_nas.nas.derive import feasible_configs
from hil_nas.nas.prices import Cost, Limits, PriceTable, price
from hil_nas.nas.search import SearchResult, Settings, search
from hil_nas.nas.space import TinySpace
from hil_nas.network import Network
from hil_nas.progress import Progress, Reporter
from hil_nas.runs import Run
from hil_nas.training.product import Product, make_product
from hil_nas.training.recipe import Recipe
from hil_nas.units import format_bytes
from hil_nas.workflows.features import search_features
from hil_nas.workflows.overhead import Overhead, measure_overhead
from hil_nas.workflows.profile import folder_name, measure_front_ends, measure_network, provenance_of
from hil_nas.workflows.verify import Verification, host_library, latency_ms, verify

PROBES = 3


@dataclass(frozen=True)
class Folders:
    """Where a search finds and leaves things."""

    boards: Path
    build: Path
    models: Path
    runs: Path


@dataclass(frozen=True)
class Found:
    """A derived network that was tried on the board, with what the model said of it."""

    network: Network
    config: MfccConfig
    predicted: dict[str, Any]


PageWriter = Callable[[dict[str, Any], Network, list[dict[str, Any]]], str]


def run_search(
    config: SearchConfig,
    folders: Folders,
    *,
    name: str,
    resume: bool,
    page: PageWriter,
    report: Reporter,
    port: str | None = None,
    flash: bool = False,
) -> tuple[dict[str, Any], Path]:
    """Everything that `hil_nas search` does; returns what result.json says, and the run folder.

    Raises:
        InfeasibleError: no network of the space holds the limits; before anything was trained.
        LimitsMissedError: the finished network broke a limit or a bit on the board; result.json says which.
        DeviceError, InputError, MissingToolError: as they come.
    """
    host = host_library(folders.boards, folders.build)
    with open_device(
        config.board, boards_dir=folders.boards, build_dir=folders.build, port=port, flash=flash
    ) as device:
        earlier = Run.resume(folders.runs, "search", config.to_json()) if resume else None
        job = _Search(config, folders, device, host, report, earlier)
        feasible_configs(job.prices, job.limits)
        run = earlier or Run.create(folders.runs, "search", name, config.to_json())
        run.write_json("overhead.json", job.overhead.to_json())
        found = job.find(run)
        product = make_product(
            found.network, found.config, job.data, host, run,
            Recipe(epochs=config.train_epochs), seed=config.seed, report=report,
        )  # fmt: skip
        run.write_bytes("model.tflite", product.model)
        verification = job.verify(product)
    result = _result(found, product, verification, job.data.classes)
    write_export(run, product.model, job.data.classes, host, folders)
    run.write_bytes("report.html", page(result, found.network, run.metrics()).encode())
    whole = run.finish("complete" if verification.ok else "missed", result)
    if not verification.ok:
        reasons = list(verification.missed)
        if not verification.bits_equal:
            reasons.append(f"{verification.differing_bytes} int8 values differ from the host's")
        raise LimitsMissedError("; ".join(reasons), hint=f"see {run.folder / 'report.html'}")
    return whole, run.folder


def load_data(folder: str | None, words: tuple[str, ...], cache: Path, report: Reporter) -> KeywordData:
    """Recorded words from a folder, or words spoken by espeak-ng; without words the usual ten, or all of a folder."""
    if folder is None:
        return spoken_keywords(words or TEN_WORDS, cache, progress=report)
    return load_speech_commands(Path(folder), words or None)


def write_export(run: Run, model: bytes, labels: tuple[str, ...], host: HostFrontEnd, folders: Folders) -> None:
    """`export/`: the model as C that builds with one command; and the plan that the board ran."""
    plan, config = lower(read_tflite(model)), read_mfcc(model)
    assert config is not None
    blob = front_end_blob(config, plan.input_scale, plan.input_zero_point)
    run.write_bytes("plan.bin", plan.to_bytes())
    if run.path("export").exists():  # of an interrupted run
        shutil.rmtree(run.path("export"))
    export_c(
        run.path("export"), plan, blob, config, labels, folders.boards, find_third_party(folders.build),
        scratch_bytes=host.scratch_bytes(blob),
    )  # fmt: skip


class _Search:
    """One search on an open board."""

    def __init__(
        self,
        config: SearchConfig,
        folders: Folders,
        device: Device,
        host: HostFrontEnd,
        report: Reporter,
        earlier: Run | None,
    ) -> None:
        self.config, self.device, self.host, self.report = config, device, host, report
        self.identity: Identity = device.identify()
        if latency_ms(self.identity.clock_kind, self.identity.clock_hz, 1.0) is None and config.budget.max_latency_s:
            raise InputError(
                f"{config.board} counts {self.identity.clock_kind}, so --max-latency means nothing there",
                hint="use @virtual or the board itself, or leave out --max-latency",
            )
        provenance = provenance_of(self.identity)
        self.model = LatencyModel.load(folders.models / folder_name(self.identity), expected=provenance)
        self.folders = folders
        self._data: KeywordData | None = None
        self.space = TinySpace(configs=config.grid, classes=self._class_count(), align=config.align)
        self.overhead: Overhead = self._overhead(earlier)
        self.limits = self._limits(config.budget)
        self.prices: PriceTable = price(
            self.space,
            self.model.operator_cycles,
            self.overhead.front_end_cycles.__getitem__,
            overhead_cycles=self.model.overhead_cycles,
            front_end_ram_bytes=lambda x: self.overhead.ram_bytes + self.overhead.front_end_ram_bytes[x],
            front_end_flash_bytes=lambda x: self.overhead.flash_bytes + self.overhead.front_end_flash_bytes[x],
        )

    @property
    def data(self) -> KeywordData:
        """Loaded when first needed: limits that cannot be met are refused before."""
        if self._data is None:
            self._data = load_data(self.config.data, self.config.words, self.folders.build / "speech", self.report)
        return self._data

    def find(self, run: Run) -> Found:
        """Searches, derives and tries on the board until the derived network holds the limits there."""
        if run.path("network.json").exists():
            return _read_found(run)
        train, validation = search_features(self.data, self.config.grid, self.config.seed, self.report)
        result = search(
            self.space,
            train,
            validation,
            self.prices,
            self.limits,
            Settings(epochs=self.config.search_epochs, measure_every=self.config.measure_every),
            seed=self.config.seed,
            on_epoch=lambda epoch: self._logged(run, epoch),
            measure=self._measured_cycles,
            checkpoint=run.path("search.pt"),
            resume=run.path("search.pt").exists(),
        )
        found = self._tried(result)
        run.write_json("network.json", {
            "mfcc": str(found.config), "network": found.network.to_json(), "predicted": found.predicted,
        })  # fmt: skip
        return found

    def verify(self, product: Product) -> Verification:
        """The finished model on the board, over clips of the test split chosen by the seed."""
        rng = np.random.default_rng(self.config.seed)
        count = min(self.config.clips, len(self.data.test))
        test = self.data.test.take(np.sort(rng.choice(len(self.data.test), count, replace=False)).astype(np.int64))
        return verify(
            self.device, product.model, self.host,
            budget=self.config.budget, clips=test.samples, labels=test.labels, report=self.report,
        )  # fmt: skip

    def _tried(self, result: SearchResult) -> Found:
        """The derived network on the board with its own front end: nothing is trained that misses a limit."""
        network, config = result.network, result.config
        self.report(Progress("trying the derived network on the board", 0, 1))
        measured = self._measured_cost(network, config)
        self.report(Progress("trying the derived network on the board", 1, 1, _told(measured)))
        if not self.limits.held_by(measured):
            raise InfeasibleError(
                f"the derived network misses a limit on the board: {_told(measured)}",
                hint="measure more networks with `hil_nas profile`, or raise the limit",
            )
        return Found(network, config, self._predicted(network, config))

    def _measured_cycles(self, network: Network) -> float:
        total, _ = measure_network(self.device, self.identity, network)
        return float(total.median_cycles)

    def _measured_cost(self, network: Network, config: MfccConfig) -> Cost:
        cycles = (
            self._measured_cycles(network)
            + next(measure_front_ends(self.device, self.identity, [config])).median_cycles
        )
        memory = self.device.memory()
        return Cost(cycles, memory.ram_bytes, memory.flash_bytes)

    def _predicted(self, network: Network, config: MfccConfig) -> dict[str, Any]:
        front_end, own = self.model.front_end_cycles(config), self.model.network_cycles(network)
        kind, hz = self.identity.clock_kind, self.identity.clock_hz
        return {
            "latency_ms": latency_ms(kind, hz, front_end + own),
            "front_end_ms": latency_ms(kind, hz, front_end),
            "network_ms": latency_ms(kind, hz, own),
            "front_end_cycles": round(front_end),
            "network_cycles": round(own),
            "ram_bytes": self.overhead.ram(network, config),
            "flash_bytes": self.overhead.flash(network, config),
        }

    def _limits(self, budget: Budget) -> Limits:
        """The budget in the board's units; where it is silent, the board's own memories are the limit."""
        board = load_board(self.identity.board, self.folders.boards)
        ram = min(budget.max_ram_bytes or board.memory.ram_bytes, board.memory.ram_bytes)
        flash = min(budget.max_flash_bytes or board.memory.flash_bytes, board.memory.flash_bytes)
        cycles = None if budget.max_latency_s is None else budget.max_latency_s * self.identity.clock_hz
        return Limits(cycles, ram, flash)

    def _overhead(self, earlier: Run | None) -> Overhead:
        """Measured now, or as the interrupted run measured it: a resumed search sees the same prices."""
        if earlier is not None and earlier.path("overhead.json").exists():
            return Overhead.from_json(json.loads(earlier.path("overhead.json").read_text()))
        return measure_overhead(self.device, self.config.grid, self._probes())

    def _probes(self) -> list[Network]:
        rng = np.random.default_rng(self.config.seed)
        return [self.space.sample(rng, self.config.grid[0]) for _ in range(PROBES)]

    def _class_count(self) -> int:
        """Of spoken words known before a clip is made: the words, silence and unknown."""
        return len(self.config.words or TEN_WORDS) + 2 if self.config.data is None else len(self.data.classes)

    def _logged(self, run: Run, epoch: dict[str, Any]) -> None:
        gammas = dict(zip(map(str, self.config.grid), epoch["gammas"], strict=True))
        expected_ms = latency_ms(self.identity.clock_kind, self.identity.clock_hz, epoch["expected"]["cycles"])
        run.log({**epoch, "phase": "search", "stage": epoch["phase"], "gammas": gammas,
                 "expected_latency_ms": expected_ms})  # fmt: skip
        leader = max(gammas, key=gammas.__getitem__)
        loss = epoch["validation_loss"] or epoch["train_loss"]
        note = f"{epoch['phase']}: loss {loss:.3f}, gamma {leader} {gammas[leader]:.2f}"
        self.report(Progress("searching", epoch["epoch"], self.config.search_epochs, note))


def _read_found(run: Run) -> Found:
    """The network that an interrupted run had settled on."""
    try:
        data = json.loads(run.path("network.json").read_text())
        return Found(Network.from_json(data["network"]), MfccConfig.parse(data["mfcc"]), data["predicted"])
    except (ValueError, KeyError, InputError) as error:
        raise RunError(f"{run.path('network.json')} is damaged: {error}", hint="remove that run folder") from None


def _result(found: Found, product: Product, verification: Verification, classes: tuple[str, ...]) -> dict[str, Any]:
    """What result.json says."""
    kind, hz = verification.clock["kind"], verification.clock["hz"]
    front_end, network = verification.front_end_cycles or 0, verification.network_cycles
    limits = verification.limits
    seconds = limits["max_latency_s"]
    return {
        "board": verification.board,
        "clock": verification.clock,
        "engine": verification.engine,
        "build": verification.build,
        "mfcc": str(found.config),
        "limits": {
            "max_ram_bytes": limits["max_ram_bytes"],
            "max_flash_bytes": limits["max_flash_bytes"],
            "max_latency_ms": None if seconds is None else seconds * 1e3,
        },
        "measured": {
            "latency_ms": verification.latency_ms,
            "front_end_ms": latency_ms(kind, hz, front_end),
            "network_ms": latency_ms(kind, hz, network),
            "front_end_cycles": front_end,
            "network_cycles": network,
            "ram_bytes": verification.ram_bytes,
            "flash_bytes": verification.flash_bytes,
        },
        "predicted": found.predicted,
        "limits_held": not verification.missed,
        "limits_missed": verification.missed,
        "bits_equal": verification.bits_equal,
        "clips_compared": verification.clips_compared,
        "accuracy_int8": product.int8_test.accuracy,
        "accuracy_float": product.float_test.accuracy,
        "validation_accuracy_int8": product.int8_validation.accuracy,
        "test_clips": product.int8_test.clips,
        "labels": classes,
        "confusion": product.int8_test.confusion.tolist(),
        "macs": network_macs(found.network),
        "parameters": parameters(found.network),
        "front_end_cycles": front_end,
        "operators": verification.operators,
        "ram": verification.ram,
        "flash": verification.flash,
    }


def _told(cost: Cost) -> str:
    return f"{cost.cycles:,.0f} cycles, {format_bytes(cost.ram_bytes)} RAM, {format_bytes(cost.flash_bytes)} flash"
