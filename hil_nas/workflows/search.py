"""The main job: search, train, quantise, verify. Every step leaves its result in the run folder, and a resumed run
goes on behind the last one that stands there."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, cast

from hil_nas.audio.datasets import KeywordData
from hil_nas.candidates.halving import ALONE, BEHIND_SUPERNET, by_halving
from hil_nas.candidates.sampling import Candidates
from hil_nas.config import SearchConfig
from hil_nas.device.hosts import open_device
from hil_nas.errors import InfeasibleError, InputError, RunError
from hil_nas.files import require_writable
from hil_nas.folders import Folders
from hil_nas.front_ends import parse_front_end
from hil_nas.nas.grid_search import GridSearch, SearchResult, search, without_search
from hil_nas.nas.input_space import Align
from hil_nas.nas.protocols import Derived
from hil_nas.nas.spaces import KINDS
from hil_nas.nas.tiny.most_parameters import MostParameters
from hil_nas.network import Network
from hil_nas.progress import Progress, Reporter
from hil_nas.runs import Run
from hil_nas.training.recipe import Recipe
from hil_nas.words import TEN_WORDS
from hil_nas.workflows.finish import ChosenNetwork, PageWriter, finish, load_data, with_negatives
from hil_nas.workflows.footprint import Footprint
from hil_nas.workflows.front_end_by_gradient import front_end_by_gradient, settled_front_end
from hil_nas.workflows.patience import PatientBoard
from hil_nas.workflows.search_board import SearchBoard
from hil_nas.workflows.search_data import search_features
from hil_nas.workflows.verify import host_library

_LARGEST = 3  # networks with most parameters that race beside those of the gradient


def run_search(
    config: SearchConfig,
    folders: Folders,
    *,
    name: str,
    resume: bool,
    page: PageWriter,
    progress: Reporter,
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
    with PatientBoard(opened(flash=flash), opened, progress) as board:
        earlier = Run.resume(folders.runs, "search", config.to_json()) if resume else None
        new_run = cache(lambda: earlier or Run.create(folders.runs, "search", name, config.to_json()))
        data = cache(lambda: load_all(config, folders, progress))  # when needed: limits out of reach are refused first
        target = SearchBoard.of(board, config, folders)
        if not config.grid:
            one = settled_front_end(earlier)
            if one is None:
                one = front_end_by_gradient(target, class_count(config, data), data, new_run, progress)
            config = replace(config, grid=(one,))
        target.expect_inputs(config.grid)
        classes = class_count(config, data)
        footprint = measured_earlier(earlier) or target.footprint(config.grid, classes)
        job = SearchJob(config, target, footprint, classes, progress)
        job.expect_feasible()
        run = new_run()
        run.write_json("footprint.json", footprint.to_json())
        chosen = settled(run, lambda: job.find(run, data()))
        whole = finish(chosen, config, data(), board, host, run, folders, job.recipe, page=page, progress=progress)
    return whole, run.folder


class SearchJob:
    """A search among listed front ends on a measured board.

    Its construction measures nothing, trains nothing and opens no folder.

    Args:
        footprint: of every front end in the configuration's grid.
        classes: of the task.
    """

    def __init__(
        self, config: SearchConfig, target: SearchBoard, footprint: Footprint, classes: int, progress: Reporter
    ) -> None:
        self.config, self.target, self.footprint, self.progress = config, target, footprint, progress
        self.kind, epochs = KINDS[config.preset or config.space], config.train_epochs
        self.recipe = Recipe.plain(epochs) if config.preset == "paper" else Recipe(epochs=epochs)
        self.limits = target.limits(footprint)
        given = {} if config.period_samples is None else {"period_samples": config.period_samples}
        self.space = self.kind.space(configs=config.grid, classes=classes, align=cast(Align, config.align), **given)

    @cached_property
    def cost_table(self) -> Any:
        """The cost of everything in the space, computed once."""
        model, footprint, priced = self.target.model, self.footprint, self.config.price_front_end
        return self.kind.tabulate(
            self.space,
            model.operator_cycles,
            lambda x: float(footprint.front_end_cycles[x]) if priced else 0.0,
            overhead_cycles=model.overhead_cycles,
            front_end_ram_bytes=lambda x: footprint.ram_bytes + footprint.front_end_ram_bytes[x],
            front_end_flash_bytes=lambda x: footprint.flash_bytes + footprint.front_end_flash_bytes[x],
        )

    def under(self, config: SearchConfig) -> SearchJob:
        """The same at the same costs, under another budget."""
        job = copy(self)
        job.config, job.target = config, replace(self.target, config=config)
        job.limits = job.target.limits(self.footprint)
        return job

    def expect_feasible(self) -> None:
        """Raises InfeasibleError where no network of the space holds the limits."""
        self.kind.feasible(self.cost_table, self.limits)

    def find(self, run: Run, data: KeywordData) -> ChosenNetwork:
        """Searches, trains candidates and tries them on the board; one that holds the limits goes to network.json."""
        if self.config.strategy == "parameters":
            return self.chosen(self.most_parameters(), None, run, data)
        largest = self.rival()
        return self.chosen(train_supernet([self], [run], run, data)[0].result(), largest, run, data)

    def rival(self) -> SearchResult[Any] | None:
        """What the gradient must beat races beside it: twenty networks are ordered no better by what it learns."""
        return self.most_parameters() if self.config.space == "tiny" and self.config.candidates else None

    def most_parameters(self) -> SearchResult[Any]:
        """The networks with most parameters."""
        deriving = MostParameters(self.cost_table, self.limits)
        return without_search(deriving, self.limits, seed=self.config.seed, measure=self.target.cycles)

    def chosen(
        self, result: SearchResult[Any], rival: SearchResult[Any] | None, run: Run, data: KeywordData
    ) -> ChosenNetwork:
        """The best of what a search found, what lies near it, and its rival, raced and tried on the board."""
        config = self.config
        beside = [] if rival is None else [rival, *Candidates(rival).sampled(_LARGEST - 1)]
        standings = by_halving(
            result, Candidates(result), data, run, count=config.candidates,
            race=ALONE if result.supernet is None else BEHIND_SUPERNET,
            seed=config.seed, progress=self.progress, beside=beside,
        )  # fmt: skip
        chosen = replace(self.tried(standings.ranked), search=standings.figures)
        run.write_json("network.json", {
            "front_end": str(chosen.config), "network": chosen.network.to_json(), "predicted": chosen.predicted,
            "search": chosen.search,
        })  # fmt: skip
        return chosen

    def tried(self, ranked: Sequence[Derived[Any]]) -> ChosenNetwork:
        """The first that holds the limits on the board with its own front end: nothing else is trained."""
        needs_of_best = ""
        for number, candidate in enumerate(ranked, start=1):
            network, config = candidate.network, candidate.config
            measured = self.target.cost(network, config)
            takes = self.limits.format_cost(measured)
            needs_of_best = needs_of_best or takes
            self.progress(Progress("trying the best on the board", number, len(ranked), takes))
            if self.limits.held_by(measured):
                return ChosenNetwork(network, config, self.target.predicted(network, config, self.footprint))
        raise InfeasibleError(
            f"no candidate holds the limits on the board, the best takes {needs_of_best}",
            hint="measure more networks with `hil_nas profile`, or raise the limit",
        )

    def logged(self, run: Run, epoch: dict[str, Any]) -> str:
        """Writes an epoch's figures; what to say of them."""
        gammas = dict(zip(map(str, self.config.grid), epoch["gammas"], strict=True))
        expected_ms = self.target.milliseconds(epoch["expected"]["cycles"])
        run.log({**epoch, "phase": "search", "stage": epoch["phase"], "gammas": gammas,
                 "expected_latency_ms": expected_ms})  # fmt: skip
        leader = max(gammas, key=gammas.__getitem__)
        loss = epoch["validation_loss"] or epoch["train_loss"]
        return f"{epoch['phase']}: loss {loss:.3f}, gamma {leader} {gammas[leader]:.2f}"


def train_supernet(
    jobs: Sequence[SearchJob], runs: Sequence[Run], whole: Run, data: KeywordData
) -> list[GridSearch[Any]]:
    """One supernet for the limits of all jobs, which differ in nothing else: of each its search.

    Args:
        jobs: the last one's limits allow all that the others' do.
        runs: where the epochs of each job are written.
        whole: where the checkpoint lies.
    """
    job, config = jobs[0], jobs[0].config
    feasible = job.kind.feasible(job.cost_table, jobs[-1].limits)
    settings = job.kind.settings(
        epochs=config.search_epochs,
        gamma_ratio=config.gamma_ratio,
        measure_every=config.measure_every,
    )
    train, validation = search_features(
        data, config.grid, feasible, job.recipe.augmentation, settings, config.seed, job.progress
    )

    def logged(epochs: list[dict[str, Any]]) -> None:
        notes = [x.logged(run, epoch) for x, run, epoch in zip(jobs, runs, epochs, strict=True)]
        if len(jobs) > 1:
            notes = [f"{run.folder.name}, {note}" for run, note in zip(runs, notes, strict=True)]
        job.progress(Progress("searching", epochs[0]["epoch"], config.search_epochs, "; ".join(notes)))

    behind = sum(x["phase"] == "search" for x in runs[0].metrics())
    job.progress(Progress("searching", behind, config.search_epochs))
    return search(
        partial(job.kind.strategy, job.cost_table, settings),
        train,
        validation,
        [x.limits for x in jobs],
        seed=config.seed,
        on_epoch=logged,
        measure=job.target.cycles,
        checkpoint=whole.path("search.pt"),
        resume=whole.path("search.pt").exists(),
    )


def load_all(config: SearchConfig, folders: Folders, progress: Reporter) -> KeywordData:
    silence = config.preset != "paper"
    data = load_data(config.data, config.words, config.clip, folders.build / "speech", progress, silence=silence)
    return with_negatives(data, config.negatives, config.seed, progress)


def class_count(config: SearchConfig, data: Callable[[], KeywordData]) -> int:
    """Of spoken words known before a clip is made: the words, silence and unknown."""
    return len(config.words or TEN_WORDS) + 2 if config.data is None else len(data().classes)


def measured_earlier(run: Run | None) -> Footprint | None:
    """As the interrupted run measured it: a resumed search sees the same costs."""
    if run is None or not run.path("footprint.json").exists():
        return None
    return Footprint.from_json(json.loads(run.path("footprint.json").read_text()))


def settled(run: Run, find: Callable[[], ChosenNetwork]) -> ChosenNetwork:
    """The network that an interrupted run had settled on, else the one that is found."""
    chosen = _settled_network(run) or find()
    for unfinished in run.folder.glob("candidates-*.pt"):  # nothing resumes from them any more
        unfinished.unlink()
    return chosen


def _settled_network(run: Run) -> ChosenNetwork | None:
    """The network that an interrupted run had settled on."""
    if not run.path("network.json").exists():
        return None
    try:
        data = json.loads(run.path("network.json").read_text())
        network, front_end = Network.from_json(data["network"]), parse_front_end(data["front_end"])
        return ChosenNetwork(network, front_end, data["predicted"], data["search"])
    except (ValueError, KeyError, InputError) as error:
        raise RunError(f"{run.path('network.json')} is damaged: {error}", hint="remove that run folder") from None
