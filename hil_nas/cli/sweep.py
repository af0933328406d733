"""`hil_nas sweep`: the axes of its options as searches, and its tables."""

from __future__ import annotations

import argparse
import copy
import itertools
import shlex
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from hil_nas.cli.commands import folders, search_config
from hil_nas.cli.console import Console
from hil_nas.config import SearchConfig
from hil_nas.errors import UsageError
from hil_nas.extras import require
from hil_nas.units import clock_name

AXES = ("board", "max_ram", "max_flash", "max_latency", "space", "align")  # options that take a list
OK, FAILED, MISSED = 0, 1, 3


def sweep(arguments: argparse.Namespace, console: Console) -> int:
    """`hil_nas sweep`."""
    require("a sweep", ["search", "sweep"])
    from hil_nas.report.page import search_page
    from hil_nas.report.sweep_page import sweep_page
    from hil_nas.workflows.cluster import Cluster, boards_of
    from hil_nas.workflows.sweep import PointRunner, prepare, run_sweep, sweep_points

    points = sweep_points(searches(arguments), arguments.baselines, arguments.seeds)
    if arguments.port and len(boards_of(points)) > 1:
        raise UsageError(f"--port names one port for {len(boards_of(points))} boards", hint="leave it out")
    where = folders(arguments).absolute()  # processes of a cluster start elsewhere
    prepare(points, where, console.step)
    result, folder = run_sweep(
        points, where, lambda x: PointRunner(x, search_page, arguments.port, arguments.flash),
        Cluster(arguments.address),
        name=arguments.name, resume=arguments.resume, page=sweep_page, report=console.step,
    )  # fmt: skip
    console.result({**result, "run": str(folder)}, _tables(result, folder))
    return _status(result, console)


def searches(arguments: argparse.Namespace) -> list[SearchConfig]:
    """The product of the lists, and that of each `--also` with its options in place of these."""
    given = [arguments]
    for also in arguments.also:
        given.append(_changed(arguments, also))
    found = [search_config(y) for x in given for y in _product(x)]
    return list(dict.fromkeys(found))


def _changed(arguments: argparse.Namespace, also: str) -> argparse.Namespace:
    own: argparse.ArgumentParser = arguments.parser
    try:
        found = own.parse_args(shlex.split(also), copy.copy(arguments))
    except (UsageError, ValueError) as error:  # shlex's, of quotes
        raise UsageError(f"argument --also: '{also}': {error}") from None
    if found == arguments:
        raise UsageError(f"argument --also: '{also}' changes nothing", hint="name options that differ, or leave it out")
    return found


def _product(arguments: argparse.Namespace) -> list[argparse.Namespace]:
    lists = [getattr(arguments, x) for x in AXES]
    return [
        argparse.Namespace(**{**vars(arguments), **dict(zip(AXES, x, strict=True)), "seed": 0})
        for x in itertools.product(*lists)
    ]


def _status(result: dict[str, Any], console: Console) -> int:
    """The exit status; says what did not hold or did not end."""
    ended = [x for x in result["points"] if x["status"] != "complete"]
    for point in ended:
        console.say(f"{point['point']}: {point['status']}: {point['reason']}")
    if result["status"] == "incomplete":
        console.say("the same command with --resume runs the failed points again")
        return FAILED
    return MISSED if ended else OK


def _tables(result: dict[str, Any], folder: Path) -> Group:
    from hil_nas.report.sweep_page import boards_of, cells, heads

    tables = []
    for board, kind in boards_of(result):
        groups = [x for x in result["groups"] if x["ended"] and (x["board"], x["clock"]["kind"]) == (board, kind)]
        table = Table(title=f"{board} ({clock_name(groups[0]['clock'])})", title_justify="left")
        for number, head in enumerate(heads(kind)):
            table.add_column(head, justify="right" if number else "left")
        for group in groups:
            table.add_row(*cells(group))
        tables.append(table)
    told = dict.fromkeys(y for x in result["points"] for y in x.get("data_warnings", ()))
    lines: list[str | Text] = [*map(_beside, result["beside"]), *(Text(f"data: {x}") for x in told)]
    return Group(*tables, *lines, f"{folder}/report.html")


def _beside(found: dict[str, Any]) -> str:
    least, best = found["least"], found["best"]
    cheaper = "none is as accurate" if least is None else f"{least['ratio']:.3f} of its count by {least['group']}"
    gained = "none is as cheap" if best is None else f"{best['gain'] * 100:+.2f} points by {best['group']}"
    return f"beside {found['baseline']}: at its accuracy {cheaper}; at its count {gained}"
