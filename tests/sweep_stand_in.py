"""What stands for searches and trainings where a sweep's own logic is tested."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import pytest

from hil_nas.budget import Budget
from hil_nas.config import BaselineConfig, SearchConfig
from hil_nas.progress import Progress
from hil_nas.runs import Run
from hil_nas.workflows import baseline, search
from hil_nas.workflows.finish import Folders
from hil_nas.workflows.sweep import Outcome, Point, RunPoint

ONE, TWO = SearchConfig(budget=Budget(max_latency_s=0.04)), SearchConfig(budget=Budget(max_latency_s=0.1))


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
    """Stands for `run_search` and `run_baseline`: writes a run folder as they do, and does as told on the way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ran: list[tuple[str, int, bool]] = []
        self.does: Callable[[Any], None] = lambda config: None
        self.missed: Callable[[Any], Sequence[str]] = lambda config: ()
        self.clock = "modelled"
        monkeypatch.setattr(search, "run_search", lambda *x, **y: self.run("search", *x, **y))
        monkeypatch.setattr(baseline, "run_baseline", lambda *x, **y: self.run("baseline", *x, **y))

    def run(self, command: str, config: Any, folders: Folders, *, resume: bool, progress: Any, **_: Any) -> None:
        run = (
            Run.resume(folders.runs, command, config.to_json())
            if resume
            else Run.create(folders.runs, command, "x", config.to_json())
        )
        self.ran.append((folders.runs.name, config.seed, resume))
        progress(Progress("training", 1, 2))
        self.does(config)
        missed = self.missed(config)
        run.finish("missed" if missed else "complete", result(config, clock=self.clock, missed=missed))


def in_this_process(
    points: Sequence[Point], run: RunPoint
) -> Generator[tuple[Point, Outcome] | None, None, None]:
    for point in points:
        yield None
        yield point, run(point)
