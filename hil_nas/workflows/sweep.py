"""Many searches, and published networks beside them: what accuracy costs in time and memory, with its spread.

runs/<utc>-sweep-<name>/
    config.json        what all points share, the seeds, and what sets each group apart
    metrics.jsonl      one line for each point that ended, with its status and figures
    points/<point>/    the point's own run folder; `now` says what it does
    report.html, result.json
"""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hil_nas.config import BaselineConfig, SearchConfig
from hil_nas.device.firmware import build_firmware, find_third_party
from hil_nas.errors import HilNasError, InfeasibleError, InputError
from hil_nas.files import write_atomically
from hil_nas.folders import Folders
from hil_nas.progress import Progress, Reporter
from hil_nas.runs import Run, read_result
from hil_nas.target import BoardTarget
from hil_nas.units import format_bytes
from hil_nas.workflows.finish import PageWriter, load_data
from hil_nas.workflows.sweep_front import compared
from hil_nas.workflows.verify import host_library

Outcome = dict[str, Any]
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
        """Its name in the sweep, and its folder's."""
        return f"{re.sub(r'[^A-Za-z0-9.@_-]+', '-', self.group)}-seed{self.config.seed}"


RunPoint = Callable[[Point], Outcome]
# Takes points and yields each with its outcome as it ends; None now and then, so that progress can be shown.
Executor = Callable[[Sequence[Point], RunPoint], Generator[tuple[Point, Outcome] | None, None, None]]


@dataclass(frozen=True)
class PointRunner:
    """Runs one point in whatever process it is called, going on where an interrupted run of it stopped.

    Attributes:
        folders: those of the points; `folders.runs` holds a folder for each.
        port, flash: as for a search; they matter to boards on a serial port.
    """

    folders: Folders
    page: PageWriter
    port: str | None = None
    flash: bool = False

    def __call__(self, point: Point) -> Outcome:
        """What became of it. A limit missed or no network found is an outcome, as is an error of any kind."""
        folder, started = self.folders.runs / point.label, time.monotonic()
        try:
            if _ended(folder) is None:
                self._run(point, folder)
        except InfeasibleError as error:
            return {"status": "infeasible", "reason": error.message}
        except HilNasError as error:
            return {"status": "failed", "reason": str(error)}
        except Exception as error:  # a bug of ours stops this point only; its traceback is kept
            write_atomically(folder / "error.txt", traceback.format_exc().encode())
            return {"status": "failed", "reason": f"{type(error).__name__}: {error}; see {folder / 'error.txt'}"}
        ended = _ended(folder)
        assert ended is not None, f"{folder} ended without a result"
        return {**_figures(*ended), "took_s": time.monotonic() - started}

    def _run(self, point: Point, folder: Path) -> None:
        from hil_nas.workflows.baseline import run_baseline
        from hil_nas.workflows.search import run_search

        def progress(step: Progress) -> None:
            counted = f" {step.done}/{step.total}" if step.total else ""
            write_atomically(folder / "now", f"{step.task}{counted}".encode())

        folders, config = replace(self.folders, runs=folder), point.config
        serial = BoardTarget.parse(config.board).host == "serial"
        board: dict[str, Any] = {"port": self.port, "flash": self.flash} if serial else {}
        resume = any(not (x.parent / "result.json").exists() for x in folder.glob("*/config.json"))
        if isinstance(config, BaselineConfig):
            run_baseline(config, folders, resume=resume, page=self.page, progress=progress, **board)
        else:
            run_search(config, folders, name="point", resume=resume, page=self.page, progress=progress, **board)


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
    run_point: Callable[[Folders], RunPoint],
    execute: Executor,
    *,
    name: str,
    resume: bool,
    page: Callable[[dict[str, Any]], str],
    progress: Reporter,
) -> tuple[dict[str, Any], Path]:
    """Runs every point that has not ended; returns what result.json says, and the sweep's folder.

    Where a point failed (a board that went away, a tool that is missing), result.json is not written and the
    returned status is `incomplete`: a resumed sweep runs those points again, and those alone.

    Args:
        run_point: what runs one point, given the folders of the points.
        execute: where they run.
    """
    config = sweep_config(points)
    run = Run.resume(folders.runs, "sweep", config) if resume else Run.create(folders.runs, "sweep", name, config)
    where = replace(folders, runs=run.path("points"))
    settled = {x["point"] for x in run.metrics() if x["status"] in SETTLED}
    left = [x for x in points if x.label not in settled]
    for stale in where.runs.glob("*/now"):
        stale.unlink()
    reported = None
    with closing(execute(tuple(left), run_point(where))) as ending:
        for ended in ending:
            if ended is not None:
                point, outcome = ended
                left.remove(point)
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
        return "any latency" if value is None else f"{value * 1e3:g} ms"
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


def _ended(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The finished run in a point's folder, and its result."""
    for path in folder.glob("*/result.json"):
        return path.parent, read_result(path.parent)
    return None


def _figures(folder: Path, result: dict[str, Any]) -> Outcome:
    """What a sweep keeps of a finished run; a count is front end and network, of the clock it names."""
    measured, timeless = result["measured"], result["clock"]["kind"] == "host"
    differ = [] if result["bits_equal"] else ["int8 values differ from the host's"]
    return {
        "status": result["status"],
        "reason": "; ".join([*result["limits_missed"], *differ]),
        "run": f"points/{folder.parent.name}/{folder.name}",
        "board": result["board"],
        "clock": result["clock"],
        "accuracy": result["accuracy_int8"],
        "accuracy_float": result["accuracy_float"],
        "test_clips": result["test_clips"],
        "count": None if timeless else measured["front_end_cycles"] + measured["network_cycles"],
        "latency_ms": measured["latency_ms"],
        "ram_bytes": measured["ram_bytes"],
        "flash_bytes": measured["flash_bytes"],
        "macs": result["macs"],
        "front_end": result["front_end"],
        "data_warnings": result["data"]["warnings"],
    }


def _result(points: Sequence[Point], lines: dict[str, dict[str, Any]]) -> dict[str, Any]:
    rows = [lines[x.label] for x in points]
    baselines = {x.group for x in points if isinstance(x.config, BaselineConfig)}
    return {"points": rows, **compared(rows, baselines)}


def _progress(points: Sequence[Point], left: Sequence[Point], folder: Path) -> Progress:
    """How many points have ended, and what those under way do."""
    now = [(x.label, folder / x.label / "now") for x in left]
    note = "; ".join(f"{label}: {path.read_text()}" for label, path in now if path.exists())
    return Progress("points of the sweep", len(points) - len(left), len(points), note)
