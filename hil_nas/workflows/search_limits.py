"""One search for several latency limits: one supernet, then for each limit what a search of its own would do.

runs/<utc>-search-<name>/
    config.json, footprint.json, search.pt    of the supernet
    40ms/, 100ms/                             a run folder for each limit, as a search at that limit alone leaves it
    report.html, result.json                  all limits side by side; result.json is written last

Networks are derived, raced, trained from scratch and verified for every limit by itself. What is shared is the
supernet, trained as `nas.shared_loop` says, and what is measured before: n limits cost one supernet instead of n. A
network found so is not the one that a search at its limit alone finds; its result names all limits of its supernet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from hil_nas.config import SearchConfig
from hil_nas.device.hosts import open_device
from hil_nas.errors import InfeasibleError, InputError
from hil_nas.files import require_writable
from hil_nas.folders import Folders
from hil_nas.progress import Progress, Reporter
from hil_nas.runs import Run, read_result
from hil_nas.workflows.finish import PageWriter, finish
from hil_nas.workflows.patience import PatientBoard
from hil_nas.workflows.search import (
    SearchJob,
    class_count,
    load_all,
    measured_earlier,
    settled,
    train_supernet,
)
from hil_nas.workflows.search_board import SearchBoard
from hil_nas.workflows.sweep_front import Outcome, compared, infeasible, row
from hil_nas.workflows.verify import host_library

SideBySide = Callable[[dict[str, Any]], str]


def share_a_supernet(config: SearchConfig) -> bool:
    """Whether searches like this one can, but for their latency limits."""
    return config.space == "tiny" and config.strategy == "gradient" and bool(config.grid)


def several_limits(configs: Sequence[SearchConfig]) -> tuple[SearchConfig, ...]:
    """Searches for one supernet, the tightest limit first.

    Raises:
        InputError: where they cannot share one.
    """
    first = configs[0]
    if any(with_latency(x, None) != with_latency(first, None) for x in configs):
        raise InputError("searches that share a supernet differ in their latency limits alone")
    if not share_a_supernet(first):
        what = f"--strategy {first.strategy}" if first.strategy != "gradient" else f"--space {first.space}"
        raise InputError(
            f"several latency limits share one supernet, which {what if first.grid else '--front-end continuous'} has "
            "not", hint="give one limit, or use `hil_nas sweep`",
        )  # fmt: skip
    if len({_name(x) for x in configs}) < len(configs):
        raise InputError(f"the latency limits must be told apart, found {', '.join(map(_name, configs))}")
    return tuple(sorted(configs, key=lambda x: x.budget.max_latency_s or float("inf")))


def with_latency(config: SearchConfig, limit_s: float | None) -> SearchConfig:
    return replace(config, budget=replace(config.budget, max_latency_s=limit_s))


def latency_name(limit_s: float | None) -> str:
    """`40 ms`, as people read it."""
    return "any latency" if limit_s is None else f"{limit_s * 1e3:g} ms"


def run_search_for_limits(
    configs: Sequence[SearchConfig],
    folders: Folders,
    *,
    name: str,
    resume: bool,
    page: PageWriter,
    side_by_side: SideBySide,
    progress: Reporter,
    port: str | None = None,
    flash: bool = False,
) -> tuple[dict[str, Any], Path]:
    """`hil_nas search` with several latency limits; returns what result.json says, and the folder of the whole.

    A limit that no network holds takes no part, which is told at once and said in the result.

    Args:
        configs: as `several_limits` gives them.
        side_by_side: makes report.html of the result.

    Raises:
        InfeasibleError: where no network holds any of the limits; before anything was trained.
        DeviceError, InputError, MissingToolError: as they come.
    """
    require_writable(folders.runs)
    host, config = host_library(folders.boards, folders.build), configs[-1]
    opened = partial(open_device, config.board, boards_dir=folders.boards, build_dir=folders.build, port=port)
    with PatientBoard(opened(flash=flash), opened, progress) as board:
        earlier = Run.resume(folders.runs, "search", _said(configs)) if resume else None
        data = cache(lambda: load_all(config, folders, progress))  # when needed: limits out of reach are refused first
        target = SearchBoard.of(board, config, folders)
        target.expect_inputs(config.grid)
        classes = class_count(config, data)
        footprint = measured_earlier(earlier) or target.footprint(config.grid, classes)
        widest = SearchJob(config, target, footprint, classes, progress)
        widest.expect_feasible()
        jobs, found = _feasible([widest.under(x) for x in configs], progress)
        whole = earlier or Run.create(folders.runs, "search", name, _said(configs))
        whole.write_json("footprint.json", footprint.to_json())
        runs = [whole.part(_folder(x.config), "search", x.config.to_json()) for x in jobs]
        searches = cache(lambda: train_supernet(jobs, runs, whole, data()))
        supernet = {"supernet_limits_ms": [_milliseconds(x.config) for x in jobs]} if len(jobs) > 1 else {}

        def ended(job: SearchJob, run: Run, number: int) -> dict[str, Any]:
            if run.path("result.json").exists():
                return read_result(run.folder)
            chosen = settled(run, lambda: job.chosen(searches()[number].result(), job.rival(), run, data()))
            chosen = replace(chosen, search={**chosen.search, **supernet})
            return finish(
                chosen, job.config, data(), board, host, run, folders, job.recipe, page=page, progress=progress
            )

        for number, (job, run) in enumerate(zip(jobs, runs, strict=True)):
            try:
                found[job.config] = row(run.folder, ended(job, run, number), whole.folder)
            except InfeasibleError as error:  # on the board, by its own measurements
                found[job.config] = infeasible(error)
    return finished(whole, {x: found[x] for x in configs}, side_by_side), whole.folder


def _feasible(jobs: Sequence[SearchJob], progress: Reporter) -> tuple[list[SearchJob], dict[SearchConfig, Outcome]]:
    """The jobs whose limits a network holds; what became of the others."""
    held, others = [], dict[SearchConfig, Outcome]()
    for job in jobs:
        try:
            job.expect_feasible()
            held.append(job)
        except InfeasibleError as error:
            others[job.config] = infeasible(error)
            progress(Progress(f"{_name(job.config)} is left out", 0, 0, error.message, lasting=True))
    return held, others


def finished(whole: Run, found: Mapping[SearchConfig, Outcome], side_by_side: SideBySide) -> dict[str, Any]:
    """What result.json says of all limits, with its page."""
    names = [_name(x) for x in found]
    rows = [
        {"point": name, "group": name, "seed": config.seed, **outcome}
        for name, (config, outcome) in zip(names, found.items(), strict=True)
    ]
    result = {"points": rows, **compared(rows, ())}
    whole.write_bytes("report.html", side_by_side(result).encode())
    return whole.finish("complete" if all(x["status"] == "complete" for x in rows) else "missed", result)


def _said(configs: Sequence[SearchConfig]) -> dict[str, Any]:
    """What config.json says: the limits as a list, all else as of one search."""
    said = configs[0].to_json()
    return {**said, "budget": {**said["budget"], "max_latency_s": [x.budget.max_latency_s for x in configs]}}


def _name(config: SearchConfig) -> str:
    return latency_name(config.budget.max_latency_s)


def _folder(config: SearchConfig) -> str:
    return _name(config).replace(" ms", "ms").replace(" ", "-")


def _milliseconds(config: SearchConfig) -> float | None:
    limit_s = config.budget.max_latency_s
    return None if limit_s is None else limit_s * 1e3
