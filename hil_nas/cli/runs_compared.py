"""Several searches side by side: their tables, and the exit status of them all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from hil_nas.cli.console import Console
from hil_nas.units import clock_name

OK, FAILED, MISSED = 0, 1, 3


def status(result: dict[str, Any], console: Console) -> int:
    """The exit status; says what did not hold or did not end."""
    ended = [x for x in result["points"] if x["status"] != "complete"]
    for point in ended:
        console.say(f"{point['point']}: {point['status']}: {point['reason']}")
    if result["status"] == "incomplete":
        console.say("the same command with --resume runs the failed points again")
        return FAILED
    return MISSED if ended else OK


def tables(result: dict[str, Any], folder: Path) -> Group:
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
    data_warnings = dict.fromkeys(y for x in result["points"] for y in x.get("data_warnings", ()))
    lines: list[str | Text] = [*map(_beside, result["beside"]), *(Text(f"data: {x}") for x in data_warnings)]
    return Group(*tables, *lines, f"{folder}/report.html")


def _beside(comparison: dict[str, Any]) -> str:
    least, best = comparison["least"], comparison["best"]
    cheaper = "none is as accurate" if least is None else f"{least['ratio']:.3f} of its count by {least['group']}"
    gained = "none is as cheap" if best is None else f"{best['gain'] * 100:+.2f} points by {best['group']}"
    return f"beside {comparison['baseline']}: at its accuracy {cheaper}; at its count {gained}"
