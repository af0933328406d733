"""`hil_nas verify --listen`: a model that listens to recordings on a board and on the host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from hil_nas.cli.console import Console
from hil_nas.errors import LimitsMissedError
from hil_nas.units import clock_name, count_unit

if TYPE_CHECKING:
    from hil_nas.cli.commands import Verify


def verify_listen(options: Verify, console: Console) -> int:
    """`hil_nas verify --listen`."""
    from hil_nas.device.hosts import open_device
    from hil_nas.workflows.finished_run import FinishedRun
    from hil_nas.workflows.listen import host_listener, listening_of
    from hil_nas.workflows.verify_listen import verify_listen as check

    finished = (FinishedRun.read if options.model.is_dir() else FinishedRun.of_model)(options.model)
    listening = listening_of(finished, None, console.step)
    host = host_listener(listening, options.boards, options.build)
    with open_device(
        options.board, boards_dir=options.boards, build_dir=options.build, port=options.port, flash=options.flash
    ) as device:  # fmt: skip
        verification = check(
            device, listening, host, options.listen, budget=options.budget, tuned=finished.decisions is not None,
            progress=console.step,
        )  # fmt: skip
    console.result(verification.to_json(), _table(verification.to_json()))
    differing = verification.differing_decisions
    reasons = [*verification.missed, *([f"{differing} decisions differ from the host's"] if differing else [])]
    if reasons:
        raise LimitsMissedError("; ".join(reasons))
    return 0


def _table(data: dict[str, Any]) -> Table:
    unit = count_unit(data["clock"]["kind"])
    title = f"{data['board']} ({clock_name(data['clock'])}), {data['front_end']} {data['way']}"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    table.add_row("audio", f"{data['seconds']:,.1f} s in {data['recordings']} recordings")
    table.add_row(f"decisions, every {data['period_ms']:g} ms", f"{data['decisions']:,}")
    bits = "equal" if data["bits_equal"] else f"{data['differing_decisions']:,} decisions differ"
    table.add_row("answers and decisions, against the host", bits)
    table.add_row("words heard" if data["tuned"] else "words heard, by usual thresholds", f"{data['heard']:,}")
    table.add_section()
    for name in ("median", "worst"):
        cycles, load = data[f"{name}_cycles"], data[f"{name}_load"]
        if cycles is not None:
            table.add_row(f"a decision, {name}", f"{cycles:,} {unit}")
        if load is not None:
            table.add_row(f"load, {name}", f"{load:.2%}")
    table.add_section()
    for memory in ("RAM", "flash"):
        for name, size in data[memory.lower()].items():
            table.add_row(f"{memory}: {name}", f"{size:,} bytes")
    return table
