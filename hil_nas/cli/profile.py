"""`hil_nas profile`: measurements, their evaluation, or two latency models side by side."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table

from hil_nas.cli.commands import Verify
from hil_nas.cli.console import Console, failure
from hil_nas.cli.parsing import settings
from hil_nas.cli.shared import RunCommand, each_once
from hil_nas.config import SPACES, SearchConfig
from hil_nas.device.firmware import Engine
from hil_nas.errors import HilNasError, InputError
from hil_nas.folders import Folders
from hil_nas.options import like, option
from hil_nas.progress import Reporter
from hil_nas.units import count_unit

if TYPE_CHECKING:
    from hil_nas.latency.compare import Comparison, Ratio

MEANING = {
    "network_mean_error_percent": "networks, mean error",
    "network_worst_error_percent": "networks, worst error",
    "networks_within_5_percent": "networks within 5 %",
    "networks_within_10_percent": "networks within 10 %",
    "network_rank_correlation": "networks, Spearman",
    "operator_mean_error_percent": "operators, mean error",
    "front_end_mean_error_percent": "front ends, mean error",
}
BESIDE = {
    "networks_within_spread_percent": "networks as near as the model says it is",
    "networks_outside_range": "networks outside the measured range",
    "ram_under_bytes": "RAM, the most below the board's account",
    "ram_over_percent": "RAM, the most above it",
    "flash_under_bytes": "flash, the most below the board's account",
    "flash_over_percent": "flash, the most above it",
}


@dataclass(frozen=True, kw_only=True)
class Profile(RunCommand):
    """`hil_nas profile`."""

    board: tuple[str, ...] = like(
        SearchConfig, "board", (), repeated=True,
        help=f"default: {SearchConfig().board}; given again, several boards work at once",
    )  # fmt: skip
    engine: Engine = like(Verify, "engine")
    networks: int | None = option(  # at most as many as a plan samples to choose from
        None, least=1, most=600, metavar="N",
        help="how many to measure (default: 160, with --evaluate 100 of each space)",
    )  # fmt: skip
    evaluate: bool = option(
        False, help="measure fresh networks, keep none, and print how far predictions of cycles, RAM and flash lie off"
    )
    compare: tuple[str, str] | None = option(
        None, parse=str, nargs=2, metavar=("A", "B"),
        help="measure nothing; say how two latency models differ, each a folder or a BOARD@HOST",
    )  # fmt: skip
    seed: int = like(SearchConfig, "seed", group="")

    def __post_init__(self) -> None:
        if self.evaluate and self.compare is not None:
            raise InputError("--compare measures nothing that --evaluate could use", hint="leave out one of the two")
        _ = self.boards_named

    @property
    def boards_named(self) -> list[str]:
        """The boards, each once: one folder takes the rows of one board."""
        return each_once(self.board, SearchConfig().board, self.port)


def profile(arguments: argparse.Namespace, console: Console) -> int:
    """`hil_nas profile`."""
    options = settings(Profile, arguments)
    if options.compare is not None:
        return _compare(options.compare, options.folders, console)
    boards = options.boards_named
    if len(boards) > 1:
        return _profile_several(options, boards, console)
    console.result(*_profile_one(options, boards[0], console.step))
    return 0


def _profile_several(options: Profile, boards: list[str], console: Console) -> int:
    """Profiles all boards at once; errors are shown last and make the exit status 1."""
    from hil_nas.workflows.side_by_side import side_by_side

    work = {x: partial(_profile_one, options, x) for x in boards}
    outcomes = side_by_side(work, console.step)
    good = {x: y for x, y in outcomes.items() if not isinstance(y, HilNasError)}
    failed = {x: y for x, y in outcomes.items() if isinstance(y, HilNasError)}
    data = {**{x: y for x, (y, _) in good.items()}, **{x: failure(y) for x, y in failed.items()}}
    console.result({"boards": data}, Group(*(y for _, y in good.values())))
    for board, error in failed.items():
        console.tell(error, f"{board}: ")
    return 1 if failed else 0


def _profile_one(options: Profile, board: str, progress: Reporter) -> tuple[dict[str, Any], Group]:
    """The result of one board, as JSON and as tables."""
    folders = options.folders
    where: dict[str, Any] = {
        "boards_dir": folders.boards,
        "build_dir": folders.build,
        "models_dir": folders.models,
        "shipped_dir": folders.shipped_models,
        "progress": progress,
        "seed": options.seed,
        "port": options.port,
        "flash": options.flash,
        "engine": options.engine,
    }
    if options.networks is not None:
        where["networks"] = options.networks
    if options.evaluate:
        return _evaluate(board, where)
    from hil_nas.report.profile_page import profile_page
    from hil_nas.workflows.profile import run_profile

    result, folder = run_profile(board, runs_dir=options.runs, page=profile_page, **where)
    counted = f"{result['networks']} networks, {result['operators']} operators, {result['front_ends']} front ends"
    if (error_percent := result["clock"]["error_percent"]) is not None:
        counted += f", counted within {error_percent:g} % of silicon"
    table = _error_table(f"{result['folder']}: {counted}", result)
    table.caption = f"{folder}/report.html"
    return {**result, "run": str(folder)}, Group(table)


def _evaluate(board: str, where: dict[str, Any]) -> tuple[dict[str, Any], Group]:
    from hil_nas.workflows.fresh_networks import evaluate

    report = {x: y if math.isfinite(y) else None for x, y in evaluate(board, **where).items()}
    tables = [_error_table(f"{board}: {report['networks']:.0f} networks that were never seen", report)]
    for space in SPACES:
        own = {x.removeprefix(f"{space}_"): y for x, y in report.items() if x.startswith(f"{space}_")}
        tables.append(_error_table(f"{board}: the {own['networks']:.0f} of the space {space}", own))
    return report, Group(*tables)


def _compare(names: tuple[str, str], where: Folders, console: Console) -> int:
    from hil_nas.latency.compare import compare
    from hil_nas.latency.store import model_folder

    def folder(name: str) -> Path:
        """The folder that is named, or for a BOARD@HOST the one below `latency_models`."""
        if Path(name).is_dir():
            return Path(name)
        board, _, host = name.partition("@")
        return model_folder(f"{board.replace('_', '-')}@{host or 'serial'}", None, where.models, where.shipped_models)

    comparison = compare(*map(folder, names))
    console.result(comparison.to_json(), _comparison(comparison))
    return 0


def _error_table(title: str, report: dict[str, Any]) -> Table:
    """Errors of the model beside those of the baselines, then the figures that only the model has."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in ("this model", "linear in MACs", "look-up table"):
        table.add_column(name, justify="right")
    for name, meaning in MEANING.items():
        if name in report:
            table.add_row(meaning, *(_shown(name, report[f"{x}{name}"]) for x in ("", "macs_linear_", "look_up_")))
    table.add_section()
    for name, meaning in BESIDE.items():
        if name in report:
            table.add_row(meaning, _shown(name, report[name]))
    return table


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    if name.endswith("_bytes"):
        return f"{value:,.0f} bytes"
    if name.endswith("_range"):
        return f"{value:.0f}"
    return f"{value:.4f}" if name.endswith("correlation") else f"{value:.2f} %"


def _comparison(comparison: Comparison) -> Group:
    first, second = comparison.names
    provenance = Table(title="What was measured", title_justify="left")
    for name in ("", first, second):
        provenance.add_column(name)
    sides = [vars(x) for x in comparison.provenances]
    for key in sides[0]:
        mark = "≠ " if key in comparison.differences else ""
        provenance.add_row(f"{mark}{key}", str(sides[0][key]), str(sides[1][key]))
    units = [count_unit(x.clock) for x in comparison.provenances]
    unit = units[0] if comparison.same_clock else f"{units[1]} / {units[0]} ({comparison.provenances[1].clock} / "
    unit += "" if comparison.same_clock else f"{comparison.provenances[0].clock} clock): no ratio of times"
    ratios = Table(title=f"{second} / {first}, in {unit}", title_justify="left")
    ratios.add_column("")
    for name in ("measured in both", "median", "least", "most"):
        ratios.add_column(name, justify="right")
    networks = () if comparison.networks is None else (comparison.networks,)
    for group in (comparison.operators, comparison.front_ends, networks):
        for ratio in group:
            ratios.add_row(*_cells(ratio))
        ratios.add_section()
    return Group(provenance, ratios)


def _cells(ratio: Ratio) -> tuple[str, ...]:
    return (ratio.what, str(ratio.count), f"{ratio.median:.3f}", f"{ratio.least:.3f}", f"{ratio.most:.3f}")
