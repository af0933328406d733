"""`hil_nas runs`: those that are there, two side by side, and away with some."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hil_nas.cli.console import Console
from hil_nas.cli.parsing import settings
from hil_nas.cli.shared import Command, RunCommand
from hil_nas.errors import InputError
from hil_nas.options import like, option
from hil_nas.units import clock_name, count_unit, format_bytes, format_latency

if TYPE_CHECKING:
    from hil_nas.workflows.past_runs import PastRun

_HINT = "write `runs`, `runs compare A B` or `runs remove RUN...`"


@dataclass(frozen=True, kw_only=True)
class Runs(Command):
    """`hil_nas runs`."""

    action: tuple[str, ...] = option(
        (), positional=True, parse=str, nargs="*", metavar="ACTION",
        help="compare A B: two runs side by side; remove RUN...: these, with all that is in them (default: list all)",
    )  # fmt: skip
    runs: Path = like(RunCommand, "runs", help="where runs are (default: ./runs)")

    def __post_init__(self) -> None:
        if not self.action:
            return
        name, *named = self.action
        if name not in ("compare", "remove"):
            raise InputError(f"there is no action '{name}' of runs", hint=_HINT)
        if name == "compare" and len(named) != 2 or not named:
            expected = "two runs" if name == "compare" else "runs"
            raise InputError(f"runs {name} takes {expected}, {len(named) or 'none'} given", hint=_HINT)


def runs(arguments: argparse.Namespace, console: Console) -> int:
    """`hil_nas runs`."""
    from hil_nas.workflows.past_runs import PastRun, compared, find_run, remove, runs_in

    options = settings(Runs, arguments)
    action, *named = options.action or ("list",)
    if action == "list":
        found = runs_in(options.runs)
        console.result({"runs": [x.to_json() for x in found]}, _list(found, options.runs))
    elif action == "compare":
        a, b = (PastRun.read(find_run(x, options.runs)) for x in named)
        comparison = compared(a, b)
        console.result(comparison, _comparison(comparison))
    else:
        gone = [str(x) for x in remove(named, options.runs)]
        console.result({"removed": gone}, Text("\n".join(f"removed {x}" for x in gone)))
    return 0


def _list(found: list[PastRun], runs_dir: Path) -> RenderableType:
    if not found:
        return Text(f"no runs in {runs_dir.absolute()}")
    table = Table(box=None, pad_edge=False)
    for name in ("run", "command", "board", "limits", "accuracy", "latency", "RAM", "status"):
        table.add_column(name, overflow="fold", justify="right" if name in ("accuracy", "latency", "RAM") else "left")
    for run in found:
        data = run.to_json()
        table.add_row(*map(Text, (
            data["name"], run.command, data["board"] or "–", _limits(data["limits"]),
            _shown(data, "accuracy_int8", lambda x: f"{x:.2%}"), _latency(data),
            _shown(data, "ram_bytes", format_bytes), run.status,
        )))  # fmt: skip
    return table


def _comparison(comparison: dict[str, Any]) -> Group:
    a, b = comparison["runs"]
    table = Table(title_justify="left")
    for name in ("", a["name"], b["name"], "ratio"):
        table.add_column(Text(name), justify="left" if not name else "right", overflow="fold")

    def add(name: str, key: str, show: Callable[[dict[str, Any]], str]) -> None:
        ratio = comparison["ratios"].get(key)
        table.add_row(name, Text(show(a)), Text(show(b)), "" if ratio is None else f"{ratio:.3f}")

    add("command", "", lambda x: x["command"])
    add("board", "", lambda x: x["board"])
    add("clock", "", lambda x: clock_name(x["clock"]))
    add("limits", "", lambda x: _limits(x["limits"]))
    add("status", "", lambda x: x["status"])
    add("data", "", lambda x: f"{x['data']}, {x['test_clips']:,} test clips")
    table.add_section()
    add("front end", "", lambda x: x["front_end"])
    add("accuracy int8", "", lambda x: f"{x['accuracy_int8']:.2%}")
    add("  95 % interval", "", lambda x: " to ".join(f"{y:.2%}" for y in x["accuracy_interval"]))
    add("latency", "latency_ms", _latency)
    for key in ("front_end_cycles", "network_cycles"):
        name = key.removesuffix("_cycles").replace("_", " ")
        add(f"  {name}", key, lambda x, key=key: f"{x[key]:,} {count_unit(x['clock']['kind'])}")  # type: ignore[misc]
    add("RAM", "ram_bytes", lambda x: format_bytes(x["ram_bytes"]))
    add("flash", "flash_bytes", lambda x: format_bytes(x["flash_bytes"]))
    add("MACs", "macs", lambda x: f"{x['macs']:,}")
    add("parameters", "parameters", lambda x: f"{x['parameters']:,}")
    notes = []
    if not comparison["same_board"]:
        notes.append(Text("board or clock differ: counts and times do not compare"))
    if not comparison["same_data"]:
        notes.append(Text("the test clips differ: accuracies do not compare"))
    return Group(table, *notes)


def _limits(budget: dict[str, Any] | None) -> str:
    if not budget:
        return "–"
    seconds, ram, flash = (budget.get(x) for x in ("max_latency_s", "max_ram_bytes", "max_flash_bytes"))
    several = seconds if isinstance(seconds, list) else [seconds]  # a search may have several latency limits
    shown = [f"{x * 1e3:g} ms" for x in several if x is not None]
    shown += [f"{format_bytes(ram)} RAM"] if ram is not None else []
    shown += [f"{format_bytes(flash)} flash"] if flash is not None else []
    return ", ".join(shown) or "none"


def _latency(data: dict[str, Any]) -> str:
    return _shown(data, "latency_ms", lambda x: format_latency(x, data["clock"]["error_percent"]))


def _shown(data: dict[str, Any], key: str, show: Callable[[Any], str]) -> str:
    return "–" if data.get(key) is None else show(data[key])
