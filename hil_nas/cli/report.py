"""`hil_nas report`: a run's page made again."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from hil_nas.cli.console import Console
from hil_nas.cli.parsing import settings
from hil_nas.cli.shared import Command, RunCommand
from hil_nas.options import like, option
from hil_nas.units import format_bytes


@dataclass(frozen=True, kw_only=True)
class Report(Command):
    """`hil_nas report`."""

    run: str = option(positional=True, parse=str, metavar="RUN", help="a run's name or its folder")
    runs: Path = like(RunCommand, "runs", help="where runs are (default: ./runs)")


def report(arguments: argparse.Namespace, console: Console) -> int:
    """`hil_nas report`."""
    from hil_nas.report.again import write_page
    from hil_nas.workflows.past_runs import find_run

    options = settings(Report, arguments)
    path = write_page(find_run(options.run, options.runs))
    size_bytes = path.stat().st_size
    console.result({"report": str(path), "size_bytes": size_bytes}, f"{path} ({format_bytes(size_bytes)})")
    return 0
