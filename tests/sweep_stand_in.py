"""What stands for searches and trainings where a sweep's own logic is tested."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import pytest

from hil_nas.budget import Budget
from hil_nas.config import BaselineConfig, SearchConfig
from hil_nas.errors import InfeasibleError
from hil_nas.progress import Progress
from hil_nas.runs import Run
from hil_nas.workflows import baseline, search, search_limits
from hil_nas.workflows.finish import Folders
from hil_nas.workflows.sweep import Job, RunJob
from hil_nas.workflows.sweep_front import Outcome, infeasible, row

ONE, TWO = (  # of a strategy that has no supernet to share
    SearchConfig(budget=Budget(max_latency_s=x), strategy="parameters") for x in (0.04, 0.1)
)


def result(config: SearchConfig | BaselineConfig, *, clock: str = "modelled", missed: Sequence[str] = ()) -> dict:
    """What a finished run says, as far as a sweep reads it; its figures follow from budget and seed."""
    limit_s = config.budget.max_latency_s or 0.15
    return {
        "board": config.board, "front_end": "mfcc:400/200/40/40", "macs": 10**6,
        "clock": {"kind": clock, "hz": 120_000_000, "error_percent": 5.0 if clock == "modelled" else None},
        "accuracy_int8": 0.8 + limit_s + config.seed / 100, "accuracy_float": 0.9, "test_clips": 100,
        "bits_equal": True, "limits_missed": list(missed), "data": {"warnings": ["clips are clipped"]},
        "measured": {"front_end_cycles": 1000, "network_cycles": round(limit_s * 1e8),
                     "latency_ms": None if clock == "instructions" else limit_s * 950,
                     "ram_bytes": 50_000, "flash_bytes": 90_000},
    }  # fmt: skip


class Workflows:
    """Stands for `run_search`, `run_search_for_limits` and `run_baseline`: writes run folders as they do, and does as
    told on the way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ran: list[tuple[str, int, bool]] = []
        self.does: Callable[[Any], None] = lambda config: None
        self.missed: Callable[[Any], Sequence[str]] = lambda config: ()
        self.clock = "modelled"
        monkeypatch.setattr(search, "run_search", lambda *x, **y: self.run("search", *x, **y))
        monkeypatch.setattr(search_limits, "run_search_for_limits", self.run_for_limits)
        monkeypatch.setattr(baseline, "run_baseline", lambda *x, **y: self.run("baseline", *x, **y))

    def run(self, command: str, config: Any, folders: Folders, *, resume: bool, progress: Any, **_: Any) -> None:
        run = (
            Run.resume(folders.runs, command, config.to_json())
            if resume
            else Run.create(folders.runs, command, "x", config.to_json())
        )
        self.ran.append((folders.runs.name, config.seed, resume))
        self.finish(run, config, progress)

    def finish(self, run: Run, config: Any, progress: Any, **more: Any) -> dict[str, Any]:
        progress(Progress("training", 1, 2))
        self.does(config)
        missed = self.missed(config)
        whole = {**result(config, clock=self.clock, missed=missed), **more}
        return run.finish("missed" if missed else "complete", whole)

    def run_for_limits(
        self, configs: Sequence[SearchConfig], folders: Folders, *, resume: bool, progress: Any, side_by_side: Any,
        **_: Any,
    ) -> None:  # fmt: skip
        said = {"limits": [x.budget.max_latency_s for x in configs]}
        run = Run.resume(folders.runs, "search", said) if resume else Run.create(folders.runs, "search", "x", said)
        self.ran.append((folders.runs.name, configs[0].seed, resume))
        found: dict[SearchConfig, Outcome] = {}
        for config in configs:
            part = run.part(f"{config.budget.max_latency_s}", "search", config.to_json())
            try:
                ended = self.finish(part, config, progress, supernet_limits_ms=[40.0, 100.0])
                found[config] = row(part.folder, ended, run.folder)
            except InfeasibleError as error:
                found[config] = infeasible(error)
        search_limits.finished(run, found, side_by_side)


def in_this_process(
    jobs: Sequence[Job], run: RunJob
) -> Generator[tuple[Job, list[Outcome]] | None, None, None]:
    for job in jobs:
        yield None
        yield job, run(job)
