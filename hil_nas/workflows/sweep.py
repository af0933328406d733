"""Many searches, and published networks beside them: what accuracy costs in time and memory, with its spread.

Searches of one seed that differ in their latency limits alone share a supernet where their space and strategy have one
(`search_limits`): they are one job. Every other point is a job of its own; jobs know nothing of each other.

runs/<utc>-sweep-<name>/
    config.json        what all points share, the seeds, and what sets each group apart
    metrics.jsonl      one line for each point that ended, with its status and figures
    points/<job>/      the job's own run folder; `now` says what it does, notes.txt what a search would have warned of
    report.html, result.json
"""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

from hil_nas.config import BaselineConfig, SearchConfig
from hil_nas.device.firmware import build_firmware, find_third_party
from hil_nas.errors import HilNasError, InfeasibleError, InputError
from hil_nas.files import append, write_atomically
from hil_nas.folders import Folders
from hil_nas.progress import Progress, Reporter
from hil_nas.runs import Run, read_result
from hil_nas.target import BoardTarget
from hil_nas.tracking import Tracking, tracked
from hil_nas.units import format_bytes
from hil_nas.workflows.finish import PageWriter, load_data
from hil_nas.workflows.search_limits import SideBySide, latency_name, share_a_supernet, with_latency
from hil_nas.workflows.sweep_front import Outcome, compared, infeasible, row
from hil_nas.workflows.verify import host_library

SETTLED = ("complete", "missed", "infeasible")  # running such a point again would give the same
_MEMORIES = {"max_ram_bytes": "RAM", "max_flash_bytes": "flash"}


@dataclass(frozen=True)
class Point:
    """One search or baseline of a sweep.

    Attributes:
        group: what it is but for its seed; points of one group are averaged.
    """

    group: str
    config: SearchConfig | BaselineConfig

    @property
    def label(self) -> str:
        """Its name in the sweep."""
        return f"{_plain(self.group)}-seed{self.config.seed}"


@dataclass(frozen=True)
class Job:
    """Points that run together: one, or searches that share a supernet, the tightest limit first."""

    points: tuple[Point, ...]

    @property
    def label(self) -> str:
        """Its folder's name."""
        first, last = self.points[0], self.points[-1]
        return first.label if first == last else f"{_plain(first.group)}-to-{last.label}"

    @property
    def board(self) -> str:
        return self.points[0].config.board


RunJob = Callable[[Job], list[Outcome]]  # an outcome for each of its points
# Takes jobs and yields each with its outcomes as it ends; None now and then, so that progress can be shown.
Executor = Callable[[Sequence[Job], RunJob], Generator[tuple[Job, list[Outcome]] | None, None, None]]


@dataclass(frozen=True)
class JobRunner:
    """Runs one job in whatever process it is called, going on where an interrupted run of it stopped.

    Attributes:
        folders: those of the jobs; `folders.runs` holds a folder for each.
        page, side_by_side: as for a search with several limits.
        port, flash: as for a search; they matter to boards on a serial port.
        tracking: follows the run folders of the jobs.
    """

    folders: Folders
    page: PageWriter
    side_by_side: SideBySide
    port: str | None = None
    flash: bool = False
    tracking: Tracking = Tracking()

    def __call__(self, job: Job) -> list[Outcome]:
        """What became of its points. A limit missed or no network found is an outcome, as is an error of any kind."""
        folder, started = self.folders.runs / job.label, time.monotonic()
        try:
            if _ended(folder) is None:
                runs_dir, progress = self.folders.runs.parent.parent, partial(_now, folder)
                with tracked(self.tracking, runs_dir, progress, expected=False):
                    self._run(job, folder)
        except InfeasibleError as error:
            return [infeasible(error)] * len(job.points)
        except HilNasError as error:
            return failed(job, str(error))
        except Exception as error:  # a bug of ours stops this job only; its traceback is kept
            write_atomically(folder / "error.txt", traceback.format_exc().encode())
            return failed(job, f"{type(error).__name__}: {error}; see {folder / 'error.txt'}")
        ended = _ended(folder)
        assert ended is not None, f"{folder} ended without a result"
        took = {"took_s": time.monotonic() - started}
        return [{**x, **took} for x in self._outcomes(job, *ended)]

    def _run(self, job: Job, folder: Path) -> None:
        from hil_nas.workflows.baseline import run_baseline
        from hil_nas.workflows.search import run_search
        from hil_nas.workflows.search_limits import run_search_for_limits

        serial = BoardTarget.parse(job.board).host == "serial"
        how: dict[str, Any] = {"port": self.port, "flash": self.flash} if serial else {}
        how["resume"] = any(not (x.parent / "result.json").exists() for x in folder.glob("*/config.json"))
        folders, config = replace(self.folders, runs=folder), job.points[0].config
        how |= {"page": self.page, "progress": partial(_now, folder)}
        if isinstance(config, BaselineConfig):
            run_baseline(config, folders, **how)
        elif len(job.points) == 1:
            run_search(config, folders, name="point", **how)
        else:
            limits = [x.config for x in job.points if isinstance(x.config, SearchConfig)]
            run_search_for_limits(limits, folders, name="points", side_by_side=self.side_by_side, **how)

    def _outcomes(self, job: Job, folder: Path, result: dict[str, Any]) -> list[Outcome]:
        within = self.folders.runs.parent
        if len(job.points) == 1:
            return [row(folder, result, within)]
        parts = [{k: v for k, v in x.items() if k not in ("point", "group", "seed")} for x in result["points"]]
        return [
            {**x, "run": (folder / x["run"]).relative_to(within).as_posix()} if "run" in x else x for x in parts
        ]


def _now(folder: Path, step: Progress) -> None:
    """Says in a job's folder what it does, and keeps there what is to stay in sight."""
    counted = f" {step.done}/{step.total}" if step.total else ""
    write_atomically(folder / "now", f"{step.task}{counted}".encode())
    if step.lasting:
        append(folder / "notes.txt", f"{step.task}: {step.note}\n".encode())


def failed(job: Job, reason: str) -> list[Outcome]:
    """That none of its points ended; they run again with a resumed sweep."""
    return [{"status": "failed", "reason": reason} for _ in job.points]


def sweep_jobs(points: Sequence[Point]) -> tuple[Job, ...]:
    """What runs together, in the order of its first points."""
    together: dict[SearchConfig | str, list[Point]] = {}
    for point in points:
        config = point.config
        if isinstance(config, SearchConfig) and share_a_supernet(config):
            together.setdefault(with_latency(config, None), []).append(point)
        else:
            together.setdefault(point.label, []).append(point)
    return tuple(Job(tuple(sorted(x, key=_limit_s))) for x in together.values())


def _limit_s(point: Point) -> float:
    return point.config.budget.max_latency_s or inf


def sweep_points(searches: Sequence[SearchConfig], networks: Sequence[str], seeds: int) -> tuple[Point, ...]:
    """Every search with every seed, and every published network on every board of them.

    Published networks are held to no limit: they are what they are.

    Raises:
        InputError: where there is nothing to run, or a point occurs twice.
    """
    if not searches or seeds < 1:
        raise InputError(f"{len(searches)} searches with {seeds} seeds make no sweep")
    first = searches[0]
    boards = tuple(dict.fromkeys(x.board for x in searches))
    shared: dict[str, Any] = {x: getattr(first, x) for x in ("words", "data", "negatives", "train_epochs", "clips")}
    configs: dict[str, SearchConfig | BaselineConfig] = dict(zip(_names(searches), searches, strict=True))
    for network in networks:
        for board in boards:
            name = network if len(boards) == 1 else f"{board} {network}"
            configs[name] = BaselineConfig(network, board=board, **shared)
    points = tuple(Point(name, replace(x, seed=seed)) for name, x in configs.items() for seed in range(seeds))
    if len({x.label for x in points}) != (len(searches) + len(networks) * len(boards)) * seeds:
        raise InputError(f"a point is named twice among {', '.join(sorted(configs))}")
    return points


def run_sweep(
    points: Sequence[Point],
    folders: Folders,
    run_job: Callable[[Folders], RunJob],
    execute: Executor,
    *,
    name: str,
    resume: bool,
    page: SideBySide,
    progress: Reporter,
) -> tuple[dict[str, Any], Path]:
    """Runs every point that has not ended; returns what result.json says, and the sweep's folder.

    Where a point failed (a board that went away, a tool that is missing), result.json is not written and the
    returned status is `incomplete`: a resumed sweep runs the jobs of those points again, and those alone.

    Args:
        run_job: what runs one job, given the folders of the jobs.
        execute: where they run.
    """
    config = sweep_config(points)
    run = Run.resume(folders.runs, "sweep", config) if resume else Run.create(folders.runs, "sweep", name, config)
    where = replace(folders, runs=run.path("points"))
    settled = {x["point"] for x in run.metrics() if x["status"] in SETTLED}
    left = [x for x in sweep_jobs(points) if not all(y.label in settled for y in x.points)]
    for stale in where.runs.glob("*/now"):
        stale.unlink()
    reported = None
    with closing(execute(tuple(left), run_job(where))) as ending:
        for ended in ending:
            if ended is not None:
                job, outcomes = ended
                left.remove(job)
                for point, outcome in zip(job.points, outcomes, strict=True):
                    run.log({"point": point.label, "group": point.group, "seed": point.config.seed, **outcome})
            if (now := _progress(points, left, where.runs)) != reported:
                progress(now)
                reported = now
    result = _result(points, {x["point"]: x for x in run.metrics()})
    run.write_bytes("report.html", page(result).encode())
    if any(x["status"] == "failed" for x in result["points"]):
        return {**result, "status": "incomplete"}, run.folder
    return run.finish("complete", result), run.folder


def prepare(points: Sequence[Point], folders: Folders, progress: Reporter) -> None:
    """Builds once what all points need, so that no point has to.

    Raises:
        InputError: for an unknown board.
        MissingToolError, BuildError: as they come.
    """
    configs = [x.config for x in points]
    host_library(folders.boards, folders.build)
    for board in dict.fromkeys(BoardTarget.parse(x.board).board for x in configs):
        build_firmware(board, folders.boards, folders.build, find_third_party())
    if configs[0].data is None:
        load_data(None, configs[0].words, configs[0].clip, folders.build / "speech", progress)


def sweep_config(points: Sequence[Point]) -> dict[str, Any]:
    """What config.json says: what the searches share, the seeds, and what sets each group apart."""
    groups = {x.group: x.config for x in points}
    searches = [x for x in groups.values() if isinstance(x, SearchConfig)]
    varying = _varying(searches)
    return {
        **{k: v for k, v in _flat(searches[0]).items() if k not in varying},
        "seeds": sorted({x.config.seed for x in points}),
        "groups": {
            name: {"network": x.network, "board": x.board} if isinstance(x, BaselineConfig)
            else {k: v for k, v in _flat(x).items() if k in varying}
            for name, x in groups.items()
        },
    }  # fmt: skip


def _flat(config: SearchConfig) -> dict[str, Any]:
    """The configuration without its seed, the limits among all else."""
    data = config.to_json()
    budget = data.pop("budget")
    del data["seed"]
    return {"board": data.pop("board"), **budget, **data}


def _varying(searches: Sequence[SearchConfig]) -> list[str]:
    flat = [_flat(x) for x in searches]
    return [k for k in flat[0] if any(x[k] != flat[0][k] for x in flat)]


def _names(searches: Sequence[SearchConfig]) -> list[str]:
    """A name for each search, of what sets them apart; numbers and switches that are as usual go without saying, and so
    does the alignment that each space has."""
    varying, names = _varying(searches), []
    for search in searches:
        usual, flat = _flat(SearchConfig(space=search.space)), _flat(search)
        of_space = _varying([x for x in searches if x.space == search.space])
        always = [k for k, v in flat.items() if _always_named(k, v) and (k != "align" or k in of_space)]
        parts = [_part(k, v) for k, v in flat.items() if k in varying and (k in always or v != usual[k])]
        names.append(" ".join(parts) or "search")
    return names


def _always_named(key: str, value: Any) -> bool:
    return key in _MEMORIES or key in ("max_latency_s", "max_load") or isinstance(value, str)


def _part(key: str, value: Any) -> str:
    if key == "max_latency_s":
        return latency_name(value)
    if key == "max_load":
        return "any load" if value is None else f"{100 * value:g} % load"
    if key in _MEMORIES:
        return f"{'any' if value is None else format_bytes(value)} {_MEMORIES[key]}"
    if isinstance(value, str):
        return value
    shown = key.replace("_", " ")
    if isinstance(value, bool):
        return shown if value else f"no {shown}"
    return f"{shown} {','.join(value) if isinstance(value, list | tuple) else value}"


def _plain(name: str) -> str:
    """The name as a file's."""
    return re.sub(r"[^A-Za-z0-9.@_-]+", "-", name)


def _ended(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The finished run in a point's folder, and its result."""
    for path in folder.glob("*/result.json"):
        return path.parent, read_result(path.parent)
    return None


def _result(points: Sequence[Point], lines: dict[str, dict[str, Any]]) -> dict[str, Any]:
    rows = [lines[x.label] for x in points]
    baselines = {x.group for x in points if isinstance(x.config, BaselineConfig)}
    return {"points": rows, **compared(rows, baselines)}


def _progress(points: Sequence[Point], left: Sequence[Job], folder: Path) -> Progress:
    """How many points have ended, and what those under way do."""
    now = [(x.label, folder / x.label / "now") for x in left]
    note = "; ".join(f"{label}: {path.read_text()}" for label, path in now if path.exists())
    done = len(points) - sum(len(x.points) for x in left)
    return Progress("points of the sweep", done, len(points), note)
