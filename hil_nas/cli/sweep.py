"""`hil_nas sweep`: the axes of its options as searches, and its tables."""

from __future__ import annotations

import argparse
import copy
import shlex
from dataclasses import dataclass

from hil_nas.baselines import BASELINES
from hil_nas.cli.commands import Search
from hil_nas.cli.console import Console
from hil_nas.cli.parsing import LISTS, combinations, settings
from hil_nas.cli.runs_compared import status, tables
from hil_nas.cli.shared import RunCommand, require_recordings
from hil_nas.config import SearchConfig
from hil_nas.errors import InputError, UsageError
from hil_nas.extras import require
from hil_nas.options import like, option
from hil_nas.tracking import Tracking, tracked
from hil_nas.values import Range, listed, one_of

# Fields of a search that are lists here, and those that are no options.
AXES = ("board", "max_ram_bytes", "max_flash_bytes", "max_latency_s", "max_load", "space", "align")
FIXED = ("preset", "seed")


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host:
        raise InputError(f"'{text}' is no HOST:PORT")
    Range(least=1, most=65535).whole(port)
    return text


@dataclass(frozen=True, kw_only=True)
class Sweep(RunCommand):
    """Options of `hil_nas sweep` beside those of its searches, which `searches` reads."""

    seeds: int = option(3, least=1, most=100, metavar="N", group=LISTS, help="how many of every combination")
    also: tuple[str, ...] = option(
        (), parse=str, repeated=True, metavar="OPTIONS", group=LISTS,
        help="combinations beside these: all of them again with these options changed, like \"--max-latency none\"",
    )  # fmt: skip
    baselines: tuple[str, ...] = option(
        (), parse=listed(one_of(*BASELINES)), metavar="LIST", group=LISTS,
        help=f"published networks to train beside the searched ones: {', '.join(BASELINES)}",
    )  # fmt: skip
    address: str | None = option(
        None, parse=_address, metavar="HOST:PORT",
        help="of a Ray cluster with this file system (default: this machine's cores)",
    )  # fmt: skip
    tracking: Tracking
    resume: bool = like(Search, "resume")
    name: str = like(Search, "name")


def sweep(arguments: argparse.Namespace, console: Console) -> int:
    """`hil_nas sweep`."""
    require("a sweep", ["search", "sweep"])
    from hil_nas.report.page import search_page
    from hil_nas.report.sweep_page import sweep_page
    from hil_nas.workflows.cluster import Cluster, boards_of
    from hil_nas.workflows.sweep import JobRunner, prepare, run_sweep, sweep_points

    options = settings(Sweep, arguments)
    points = sweep_points(searches(arguments), options.baselines, options.seeds)
    boards = boards_of([x.config.board for x in points])
    if options.port and len(boards) > 1:
        raise UsageError(f"--port names one port for {len(boards)} boards", hint="leave it out")
    where = options.folders.absolute()  # processes of a cluster start elsewhere
    how = (search_page, sweep_page, options.port, options.flash, options.tracking.absolute())
    with tracked(options.tracking, where.runs, console.step):
        prepare(points, where, console.step)
        result, folder = run_sweep(
            points, where, lambda x: JobRunner(x, *how), Cluster(options.address), name=options.name,
            resume=options.resume, page=sweep_page, progress=console.step,
        )  # fmt: skip
    console.result({**result, "run": str(folder)}, tables(result, folder))
    return status(result, console)


def searches(arguments: argparse.Namespace) -> list[SearchConfig]:
    """All combinations of the lists, then those of each `--also`, whose options replace the given ones."""
    given = [arguments, *(_changed(arguments, x) for x in arguments.also)]
    configs = [settings(SearchConfig, y) for x in given for y in combinations(x, AXES)]
    for data, words in dict.fromkeys((x.data, x.words) for x in configs):
        require_recordings(data, words)
    return list(dict.fromkeys(configs))


def _changed(arguments: argparse.Namespace, also: str) -> argparse.Namespace:
    own: argparse.ArgumentParser = arguments.parser
    try:
        changed = own.parse_args(shlex.split(also), copy.copy(arguments))
    except (UsageError, ValueError) as error:  # ValueError: shlex found no closing quote
        raise UsageError(f"argument --also: '{also}': {error}") from None
    if changed == arguments:
        raise UsageError(f"argument --also: '{also}' changes nothing", hint="name options that differ, or leave it out")
    return changed
