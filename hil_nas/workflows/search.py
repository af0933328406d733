"""The main job: search, train, quantise, verify. Every step leaves its result in the run folder, and a resumed run
goes on behind the last one that stands there."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

from hil_nas.audio.datasets import KeywordData
from hil_nas.config import SearchConfig
from hil_nas.device.device import Device
from hil_nas.device.hosts import open_device
from hil_nas.device.replies import Identity
from hil_nas.errors import InfeasibleError, InputError, RunError
from hil_nas.files import require_writable
from hil_nas.front_ends import FrontEnd, parse_front_end
from hil_nas.front_ends.host import HostFrontEnd
from hil_nas.latency.model import LatencyModel
from hil_nas.latency.store import model_folder
from hil_nas.nas.anchors import DataSpace
from hil_nas.nas.prices import Cost, Limits
from hil_nas.nas.protocols import Derived
from hil_nas.nas.search import search
from hil_nas.nas.space import Align
from hil_nas.nas.spaces import KINDS
from hil_nas.network import Network
from hil_nas.places import Folders
from hil_nas.progress import Progress, Reporter
from hil_nas.runs import Run
from hil_nas.training.recipe import Recipe
from hil_nas.words import TEN_WORDS
from hil_nas.workflows.data_search import ConfigSearch, found_earlier
from hil_nas.workflows.features import search_features
from hil_nas.workflows.finals import by_race
from hil_nas.workflows.finish import Found, PageWriter, finish, load_data
from hil_nas.workflows.overhead import Overhead, measure_overhead
from hil_nas.workflows.patience import PatientBoard
from hil_nas.workflows.profile import folder_name, measure_front_ends, measure_network, provenance_of
from hil_nas.workflows.verify import host_library, latency_ms


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
        DeviceError, InputError, MissingToolError: as they come.
    """
    require_writable(folders.runs)
    host = host_library(folders.boards, folders.build)
    opened = partial(open_device, config.board, boards_dir=folders.boards, build_dir=folders.build, port=port)
    with PatientBoard(opened(flash=flash), opened, report) as board:
        earlier = Run.resume(folders.runs, "search", config.to_json()) if resume else None
        new_run = cache(lambda: earlier or Run.create(folders.runs, "search", name, config.to_json()))
        job = _Search(config, folders, board, host, report, earlier, new_run)
        job.kind.feasible(job.prices, job.limits)
        run = new_run()
        run.write_json("overhead.json", job.overhead.to_json())
        found = job.find(run)
        recipe = job.recipe
        whole = finish(found, config, job.data, board, host, run, folders, recipe, page=page, report=report)
    return whole, run.folder


class _Search:
    """One search on an open board."""

    def __init__(
        self,
        config: SearchConfig,
        folders: Folders,
        board: PatientBoard,
        host: HostFrontEnd,
        report: Reporter,
        earlier: Run | None,
        new_run: Callable[[], Run],
    ) -> None:
        self.config, self.board, self.host, self.report = config, board, host, report
        self.identity: Identity = board.do(lambda device: device.identify())
        if latency_ms(self.identity.clock_kind, self.identity.clock_hz, 1.0) is None and config.budget.max_latency_s:
            raise InputError(
                f"{config.board} counts {self.identity.clock_kind}, so --max-latency means nothing there",
                hint="use @virtual or the board itself, or leave out --max-latency",
            )
        provenance = provenance_of(self.identity)
        rows = model_folder(folder_name(self.identity), provenance, folders.models, folders.shipped_models)
        self.model = LatencyModel.load(rows, expected=provenance)
        self.folders = folders
        self._data: KeywordData | None = None
        self.kind = KINDS[config.preset or config.space]
        epochs = config.train_epochs
        self.recipe = Recipe.plain(epochs) if config.preset == "paper" else Recipe(epochs=epochs)
        if not config.grid:
            self.config = config = replace(config, grid=(found_earlier(earlier) or self._searched_config(new_run),))
        self._expect_inputs(config.grid)
        self.overhead: Overhead = self._overhead(earlier)
        self.limits = self._limits(self.overhead)
        self.prices = self.kind.price(
            self.kind.space(configs=config.grid, classes=self._class_count(), align=cast(Align, config.align)),
            self.model.operator_cycles,
            self._front_end_price,
            overhead_cycles=self.model.overhead_cycles,
            front_end_ram_bytes=lambda x: self.overhead.ram_bytes + self.overhead.front_end_ram_bytes[x],
            front_end_flash_bytes=lambda x: self.overhead.flash_bytes + self.overhead.front_end_flash_bytes[x],
        )

    @property
    def data(self) -> KeywordData:
        """Loaded when first needed: limits that cannot be met are refused before."""
        if self._data is None:
            self._data = load_data(
                self.config.data, self.config.words, self.folders.build / "speech", self.report,
                silence=self.config.preset != "paper",
            )  # fmt: skip
        return self._data

    def find(self, run: Run) -> Found:
        """Searches, derives and tries on the board until the derived network holds the limits there."""
        found = _read_found(run) if run.path("network.json").exists() else self._searched(run)
        for race in run.folder.glob("race-*.pt"):  # nothing goes on from them any more
            race.unlink()
        return found

    def _searched(self, run: Run) -> Found:
        config, augmentation = self.config, self.recipe.augmentation
        train, validation = search_features(self.data, config.grid, augmentation, config.seed, self.report)
        settings = self.kind.settings(
            epochs=config.search_epochs,
            gamma_ratio=config.gamma_ratio,
            measure_every=config.measure_every,
            rivals=config.rivals,
        )
        result = search(
            partial(self.kind.strategy, self.prices, settings),
            train,
            validation,
            self.limits,
            seed=config.seed,
            on_epoch=lambda epoch: self._logged(run, epoch),
            measure=self._measured_cycles,
            checkpoint=run.path("search.pt"),
            resume=run.path("search.pt").exists(),
        )
        found = self._tried(by_race(
            result, self.data, run, epochs=config.race_epochs, last_epochs=-(-self.recipe.epochs // 2),
            seed=config.seed, report=self.report,
        ))  # fmt: skip
        run.write_json("network.json", {
            "front_end": str(found.config), "network": found.network.to_json(), "predicted": found.predicted,
        })  # fmt: skip
        return found

    def _tried(self, finalists: Sequence[Derived]) -> Found:
        """The first that holds the limits on the board with its own front end: nothing else is trained."""
        told = ""
        for place, finalist in enumerate(finalists):
            network, config = finalist.network, finalist.config
            measured = self._measured_cost(network, config)
            takes = self.limits.told_cost(measured)
            told = told or takes
            self.report(Progress("trying the best on the board", place + 1, len(finalists), takes))
            if self.limits.held_by(measured):
                return Found(network, config, self._predicted(network, config))
        raise InfeasibleError(
            f"no finalist holds the limits on the board, the best takes {told}",
            hint="measure more networks with `hil_nas profile`, or raise the limit",
        )

    def _front_end_price(self, config: FrontEnd) -> float:
        return float(self.overhead.front_end_cycles[config]) if self.config.price_front_end else 0.0

    def _measured_cycles(self, network: Network) -> float:
        total, _ = self.board.do(lambda device: measure_network(device, self.identity, network))
        return float(total.median_cycles)

    def _measured_cost(self, network: Network, config: FrontEnd) -> Cost:
        def measure(device: Device) -> Cost:
            own = measure_network(device, self.identity, network)[0].median_cycles
            front_end = next(measure_front_ends(device, self.identity, [config])).median_cycles
            memory = device.memory()
            return Cost(own + front_end * self.config.price_front_end, memory.ram_bytes, memory.flash_bytes)

        return self.board.do(measure)

    def _predicted(self, network: Network, config: FrontEnd) -> dict[str, Any]:
        # A front end that a gradient found may lie beyond those measured for the model; its own was measured first.
        front_end, own = self.model.extrapolated_front_end_cycles(config), self.model.network_cycles(network)
        kind, hz = self.identity.clock_kind, self.identity.clock_hz
        return {
            "latency_ms": latency_ms(kind, hz, front_end + own),
            "front_end_ms": latency_ms(kind, hz, front_end),
            "network_ms": latency_ms(kind, hz, own),
            "front_end_cycles": round(front_end),
            "network_cycles": round(own),
            "network_spread_percent": 100 * self.model.network_spread(network),
            "ram_bytes": self.overhead.ram(network, config),
            "flash_bytes": self.overhead.flash(network, config),
        }

    def _limits(self, overhead: Overhead) -> Limits:
        """The budget in the board's units; where it is silent or beyond, what the board takes is the limit."""
        budget, ram, flash = self.config.budget, *overhead.most_bytes(self.identity)
        cycles = None if budget.max_latency_s is None else budget.max_latency_s * self.identity.clock_hz
        most = (min(budget.max_ram_bytes or ram, ram), min(budget.max_flash_bytes or flash, flash))
        return Limits(cycles, *most, latency_s=budget.max_latency_s)

    def _expect_inputs(self, configs: Sequence[FrontEnd]) -> None:
        """Refuse what the board takes no network for."""
        for config in configs:
            if config.output_bytes > self.identity.input_bytes:
                raise InputError(
                    f"{config} gives {config.frames} x {config.columns} features, {self.config.board} takes at "
                    f"most {self.identity.input_bytes}", hint="choose a longer hop or fewer coefficients",
                )  # fmt: skip

    def _overhead(self, earlier: Run | None) -> Overhead:
        """Measured now, or as the interrupted run measured it: a resumed search sees the same prices."""
        if earlier is not None and earlier.path("overhead.json").exists():
            return Overhead.from_json(json.loads(earlier.path("overhead.json").read_text()))
        return self.board.do(lambda device: measure_overhead(device, self.config.grid))

    def _searched_config(self, new_run: Callable[[], Run]) -> FrontEnd:
        """The configuration that a gradient finds; refused before there is a run where nothing can hold the limits."""
        overhead = self.board.do(lambda device: measure_overhead(device, [DataSpace().cheapest]))
        work = ConfigSearch(
            self.model, overhead.ram_bytes, overhead.flash_bytes, self._limits(overhead),
            self._class_count(), self.config.price_front_end,
        )  # fmt: skip
        return work.find(new_run(), self.data, self.config.search_epochs, self.config.seed, self.report)

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
        return Found(Network.from_json(data["network"]), parse_front_end(data["front_end"]), data["predicted"])
    except (ValueError, KeyError, InputError) as error:
        raise RunError(f"{run.path('network.json')} is damaged: {error}", hint="remove that run folder") from None
