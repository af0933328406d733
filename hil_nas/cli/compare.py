"""`hil_nas compare`: several models on several boards, one table for each board."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from hil_nas.cli.commands import Verify
from hil_nas.cli.console import Console, failure
from hil_nas.cli.parsing import settings
from hil_nas.cli.shared import BoardCommand, each_once
from hil_nas.config import SearchConfig
from hil_nas.errors import HilNasError, LimitsMissedError
from hil_nas.options import like, option
from hil_nas.units import clock_name, count_unit, format_bytes, format_latency

if TYPE_CHECKING:
    from hil_nas.workflows.compare import Compared
    from hil_nas.workflows.verify import Verification


@dataclass(frozen=True, kw_only=True)
class Compare(BoardCommand):
    """`hil_nas compare`."""

    models_named: tuple[Path, ...] = option(
        positional=True, parse=Path, nargs="+", metavar="MODEL.tflite",
        help="any that are quantised to int8, or folders of runs",
    )  # fmt: skip
    board: tuple[str, ...] = like(
        SearchConfig, "board", (), repeated=True,
        help=f"default: {SearchConfig().board}; given again, each model runs on each",
    )  # fmt: skip
    clips: int = like(Verify, "clips", 10)
    seed: int = like(SearchConfig, "seed", group="")

    def __post_init__(self) -> None:
        _ = self.boards_named

    @property
    def boards_named(self) -> list[str]:
        """The boards, each once."""
        return each_once(self.board, SearchConfig().board, self.port)


def compare(arguments: argparse.Namespace, console: Console) -> int:
    """`hil_nas compare`; 1 where a model did not run on a board, 3 where one gave other bits than the host."""
    from hil_nas.workflows.compare import compare as run

    options = settings(Compare, arguments)
    models = list(dict.fromkeys(options.models_named))
    compared = run(
        models, options.boards_named, boards_dir=options.boards, build_dir=options.build, clips=options.clips,
        seed=options.seed, port=options.port, flash=options.flash, progress=console.step,
    )  # fmt: skip
    tables = [_table(x, [y for y in compared if y.board == x]) for x in options.boards_named]
    console.result({"compared": [_json(x) for x in compared]}, Group(*tables))
    failed = [x for x in compared if isinstance(x.outcome, HilNasError)]
    for x in failed:
        console.tell(x.outcome, f"{x.board}, {x.model}: ")  # type: ignore[arg-type]
    if failed:
        return 1
    if differ := [x for x in compared if not x.outcome.bits_equal]:  # type: ignore[union-attr]
        names = ", ".join(f"{x.model} on {x.board}" for x in differ)
        raise LimitsMissedError(f"values differ from the host's: {names}", hint="hil_nas verify counts them")
    return 0


def _json(x: Compared) -> dict[str, Any]:
    from hil_nas.workflows.compare import kind_counts

    named = {"model": str(x.model), "board": x.board}
    if isinstance(x.outcome, HilNasError):
        return {**failure(x.outcome), **named}
    return {**x.outcome.to_json(), **named, "status": "complete", "kinds": kind_counts(x.outcome)}


def _table(board: str, compared: Sequence[Compared]) -> Table:
    """A column for each model, a row for all that any of them has."""
    good = [x.outcome for x in compared if not isinstance(x.outcome, HilNasError)]
    clock = good[0].clock if good else None
    counts = f" ({clock_name(clock)}), counts are {count_unit(clock['kind'])}" if clock else ""
    table = Table(title=Text(f"{board}{counts}"), title_justify="left")
    table.add_column("")
    for x in compared:
        table.add_column(Text(str(x.model)), justify="right", overflow="fold")
    columns = [_column(x.outcome) for x in compared]
    for sections in zip_longest(*columns, fillvalue={}):
        for name in dict.fromkeys(name for x in sections for name in x):
            table.add_row(name, *(x.get(name, "") for x in sections))
        table.add_section()
    return table


def _column(outcome: Verification | HilNasError) -> list[dict[str, str]]:
    """Sections of cells by the name of their row."""
    from hil_nas.workflows.compare import kind_counts

    if isinstance(outcome, HilNasError):
        return [{"bits": "failed"}]
    bits = "equal" if outcome.bits_equal else f"{outcome.differing_bytes} values differ"
    front_end = outcome.front_end_cycles
    whole = {"network": f"{outcome.network_cycles:,}", "front end": "none" if front_end is None else f"{front_end:,}"}
    if outcome.latency_ms is not None:
        whole["latency"] = format_latency(outcome.latency_ms, outcome.clock["error_percent"])
    return [
        {"bits": bits, "compared over": str(outcome.clips_compared)},
        {kind: f"{count:,}" for kind, count in kind_counts(outcome).items()},
        whole,
        {"RAM": format_bytes(outcome.ram_bytes), "flash": format_bytes(outcome.flash_bytes)},
    ]
