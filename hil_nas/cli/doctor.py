"""`hil_nas doctor`: what is here, what is missing and how to get it, and how far the virtual board can be trusted."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from hil_nas.cli.console import Console
from hil_nas.cli.parsing import settings
from hil_nas.cli.shared import Command
from hil_nas.options import option

if TYPE_CHECKING:
    from hil_nas.device.timing_fit import NetworkError
    from hil_nas.workflows.doctor import Diagnosis, Part


@dataclass(frozen=True, kw_only=True)
class Doctor(Command):
    """`hil_nas doctor`."""

    timing: bool = option(False, help="how well the virtual boards' cycles reproduce published silicon instead")


def doctor(arguments: argparse.Namespace, console: Console) -> int:
    """`hil_nas doctor`; a missing part is shown and is no failure."""
    options = settings(Doctor, arguments)
    if options.timing:
        return _timing(options.boards, console)
    from hil_nas.workflows.doctor import examine

    diagnosis = examine(options.boards)
    console.result(diagnosis.to_json(), _table(diagnosis))
    return 0


def _timing(boards_dir: Path, console: Console) -> int:
    from hil_nas.device.boards import board_names
    from hil_nas.device.timing_fit import fit_timing

    tables = {x: boards_dir / x / "silicon.csv" for x in board_names(boards_dir)}
    reports = {name: fit_timing(path) for name, path in tables.items() if path.is_file()}
    data = {
        name: {
            "penalties_cycles": asdict(x.timing),
            "mean_error": x.mean,
            "worst_error": x.worst,
            "left_out_mean_error": x.left_out_mean,
            "left_out_worst_error": x.left_out_worst,
            "one_cpi_mean_error": x.one_cpi,
            "networks": [_network(y) for y in (*x.fitted, *x.beside)],
            "held_out": [asdict(y) for y in x.held_out],
        }
        for name, x in reports.items()
    }
    lines = [y for name, x in reports.items() for y in (f"{name}, modelled against published silicon", *x.lines())]
    console.result({"timing": data}, "\n".join(lines))
    return 0


def _network(network: NetworkError) -> dict[str, Any]:
    rows = [
        {**asdict(row), "error": error, "left_out_error": left_out}
        for row, error, left_out in zip(network.rows, network.errors, network.left_out_errors, strict=True)
    ]
    fitted = network.rows[0].fitted
    return {"error": network.error, "left_out_error": network.left_out_error, "fitted": fitted, "rows": rows}


def _table(diagnosis: Diagnosis) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("", "", "version or clock", "where it is, or how to get it"):
        table.add_column(name, overflow="fold")
    for host in diagnosis.hosts:
        state = f"needs {', '.join(host.missing)}" if host.missing else "ready"
        table.add_row("host", host.target, host.counts, state)
    for group in ("tool", "library", "source"):
        table.add_section()
        for part in diagnosis.parts:
            if part.group == group:
                version = part.version if part.version is not None else "missing"
                table.add_row(group, part.name, version, _description(part))
    table.add_section()
    for port in diagnosis.ports:
        table.add_row("port", port.device, port.usb_id, f"{port.product} {', '.join(port.boards)}".strip())
    if not diagnosis.ports:
        table.add_row("port", "none", "", "attach a board by its ST-LINK, with a USB cable that carries data")
    return table


def _description(part: Part) -> str:
    return escape(f"{part.how} (for {part.purpose})" if part.how else part.where)  # 'hil_nas[flash]' is no markup
