"""`hil_nas zoo`: the networks that come with the program, and one of them as a run folder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from hil_nas.audio.layout import SILENCE, UNKNOWN
from hil_nas.cli.commands import search_table
from hil_nas.cli.console import Console
from hil_nas.cli.parsing import settings
from hil_nas.cli.shared import Command
from hil_nas.folders import usual_folders, zoo_folder
from hil_nas.options import like, option
from hil_nas.units import clock_name, count_unit, format_bytes

if TYPE_CHECKING:
    from hil_nas.workflows.zoo import ZooNetwork

NAME = "zoo_name"


@dataclass(frozen=True, kw_only=True)
class Zoo:
    """`hil_nas zoo`."""

    zoo_name: str | None = option(
        None, positional=True, nargs="?", metavar="NAME", help="the network that is wanted (default: show all)"
    )
    folder: Path | None = option(
        None, positional=True, nargs="?", metavar="FOLDER", help="to be made of it, a run folder (default: runs/NAME)"
    )
    boards: Path = like(Command, "boards")
    json: bool = like(Command, "json")


def zoo(arguments: argparse.Namespace, console: Console) -> int:
    """`hil_nas zoo`."""
    from hil_nas.report.page import search_page
    from hil_nas.workflows.zoo import give, zoo_network, zoo_networks

    options = settings(Zoo, arguments)
    if options.zoo_name is None:
        networks = zoo_networks(zoo_folder())
        console.result({"networks": [x.to_json() for x in networks]}, _list(networks))
        return 0
    network = zoo_network(options.zoo_name, zoo_folder())
    folder = options.folder or Path("runs", network.name)
    give(network, folder, replace(usual_folders(), boards=options.boards), page=search_page)
    found = Text(f"found at revision {network.environment['git']} by: {network.command}")
    console.result({**network.to_json(), "run": str(folder)}, Group(search_table(network.result, folder), found))
    return 0


def _list(networks: Sequence[ZooNetwork]) -> Group:
    """A table for each board and clock: counts of different ones do not compare."""
    tables = [_table(list(x)) for _, x in groupby(networks, lambda x: x.measured_by)]
    lines = dict.fromkeys(y for x in networks for y in (_words(x), _clips(x)))
    give = "`hil_nas zoo NAME` makes the run folder of one: model, export in C, report; `hil_nas verify` runs its model"
    return Group(*tables, *map(Text, lines), Text(f"{give} on any board"))


def _table(networks: Sequence[ZooNetwork]) -> Table:
    result = networks[0].result
    unit, timed = count_unit(result["clock"]["kind"]), result["measured"]["latency_ms"] is not None
    title = f"{result['board']} ({clock_name(result['clock'])}); of one clip, or of one decision of a stream"
    table = Table(title=Text(title), title_justify="left")
    left = ("network", "hears", "front end")
    times = ("ms",) if timed else ()
    for head in (*left, "words", "accuracy int8", "95 % interval", unit, *times, "RAM", "flash"):
        table.add_column(head, justify="left" if head in left else "right", overflow="fold")
    for x in networks:
        measured, (low, high) = x.result["measured"], x.figures["accuracy_interval"]
        hears = "clips" if x.period_ms is None else f"a stream, every {x.period_ms:g} ms"
        table.add_row(*map(Text, (
            x.name, hears, x.result["front_end"], str(len(_keywords(x))), f"{x.result['accuracy_int8']:.2%}",
            f"{low:.1%} to {high:.1%}", f"{x.count:,}", *((f"{measured['latency_ms']:.2f}",) if timed else ()),
            format_bytes(measured["ram_bytes"]), format_bytes(measured["flash_bytes"]),
        )))  # fmt: skip
    return table


def _keywords(network: ZooNetwork) -> list[str]:
    return [x for x in network.result["labels"] if x not in (SILENCE, UNKNOWN)]


def _words(network: ZooNetwork) -> str:
    keywords = _keywords(network)
    others = [x for x in network.result["labels"] if x not in keywords]
    return f"{len(keywords)} words: {', '.join(keywords)}; beside them {' and '.join(others)}"


def _clips(network: ZooNetwork) -> str:
    return f"accuracy: of {network.result['test_clips']:,} test clips of {network.result['data']['name']}"
