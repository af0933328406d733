"""`hil_nas listen` and `hil_nas tune`: a finished run on audio of any length."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table

from hil_nas.cli.console import Console
from hil_nas.cli.parsing import settings
from hil_nas.cli.shared import RunCommand
from hil_nas.config import SearchConfig
from hil_nas.errors import InputError
from hil_nas.extras import require
from hil_nas.options import like, option
from hil_nas.units import parse_seconds
from hil_nas.values import Range, listed


def _per_hour(text: str) -> float:
    """`0.5/h` as a number."""
    number, _, unit = text.partition("/")
    if unit != "h":
        raise InputError(f"'{text}' is no rate, expected one an hour, like 0.5/h")
    return Range(above=0.0).number(number)


@dataclass(frozen=True, kw_only=True)
class Listen(RunCommand):
    """`hil_nas listen`."""

    run: str = option(
        positional=True, parse=str, metavar="RUN",
        help="a search, baseline or tuning: its folder, or its name in --runs",
    )  # fmt: skip
    audio: tuple[Path, ...] = option(
        (), positional=True, parse=Path, nargs="*", metavar="AUDIO",
        help="recordings of any length, or folders of them (default: the microphone)",
    )  # fmt: skip
    period_s: float | None = option(
        None, flag="--listen", parse=parse_seconds, metavar="TIME",
        help="decide so often: the whole hops of the front end that it holds (default: as tuned, else as its stream's "
        "step, else 100ms)",
    )  # fmt: skip
    keep: Path | None = option(
        None, metavar="FOLDER", help="write the clips in which words were heard: a training learns from false ones"
    )


def listen(arguments: argparse.Namespace, console: Console) -> int:
    """`hil_nas listen`."""
    from hil_nas.report.listen_page import listen_page
    from hil_nas.workflows.listen import run_listen
    from hil_nas.workflows.past_runs import find_run

    options = settings(Listen, arguments)
    run = find_run(options.run, options.runs)
    with _interrupts(catch=not options.audio) as stop:
        result, folder = run_listen(
            run, options.audio, options.period_s, options.folders,
            keep=options.keep, stop=stop, page=listen_page, progress=console.step,
        )  # fmt: skip
    console.result({**result, "run": str(folder)}, _heard_table(result, folder))
    return 0


@dataclass(frozen=True, kw_only=True)
class Tune(RunCommand):
    """`hil_nas tune`."""

    run: str = like(Listen, "run")
    negatives: tuple[Path, ...] = option(
        (), parse=Path, repeated=True, metavar="FOLDER",
        help="recordings of any length, of several people, in which no keyword is said; may be given several times",
    )  # fmt: skip
    false_accepts_per_hour: float = option(
        0.5, flag="--false-accepts", parse=_per_hour, metavar="N/h", help="at most so many an hour (default: 0.5/h)"
    )
    period_s: float | None = like(
        Listen, "period_s",
        help="decide so often: the whole hops of the front end that it holds (default: as its stream's step, else "
        "100ms)",
    )  # fmt: skip
    snr_db: tuple[float, ...] = option(
        (10.0,), flag="--snr", parse=listed(Range(-20.0, most=60.0).number), metavar="LIST",
        help="of the keywords that must not be missed, in dB against noise and against speech (default: 10)",
    )  # fmt: skip
    clips: int = option(30, least=1, most=10_000, metavar="N", help="of each keyword, to choose on and to report on")
    seed: int = like(SearchConfig, "seed", group="")

    def __post_init__(self) -> None:
        if not self.negatives:
            raise InputError("there is nothing to be silent in", hint="name recordings with --negatives")


def tune(arguments: argparse.Namespace, console: Console) -> int:
    """`hil_nas tune`."""
    require("tuning", ["search"])
    from hil_nas.report.tune_page import tune_page
    from hil_nas.workflows.past_runs import find_run
    from hil_nas.workflows.tune import Tuning, run_tune

    options = settings(Tune, arguments)
    run = find_run(options.run, options.runs)
    tuning = Tuning(options.false_accepts_per_hour, options.period_s, options.snr_db, options.clips, options.seed)
    result, folder = run_tune(
        run, options.negatives, tuning, options.folders, page=tune_page, progress=console.step
    )
    console.result({**result, "run": str(folder)}, _tuned_table(result, folder))
    return 0


@contextmanager
def _interrupts(catch: bool) -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed; it ends the program at once where it is not to be caught."""
    pressed: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if catch:
        signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)


def _heard_table(result: dict[str, Any], folder: Path) -> Group:
    table = Table(title=f"{result['model']}, {result['way']}, every {result['period_ms']:g} ms", title_justify="left")
    for name, justify in (("recording", "left"), ("at", "right"), ("heard", "left"), ("posterior", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for recording in result["recordings"]:
        for heard in recording["heard"]:
            table.add_row(recording["name"], f"{heard['time_s']:.2f} s", heard["word"], f"{heard['posterior']:.2f}")
    words = sum(len(x["heard"]) for x in result["recordings"])
    return Group(table, f"{words} heard in {result['hours']:.3f} h of audio", f"{folder}/report.html")


def _tuned_table(result: dict[str, Any], folder: Path) -> Table:
    decisions, parts = result["decisions"], (result["chosen"], result["reported"])
    threshold = max(x["threshold"] for x in result["chosen"]["keywords"])
    averaged = f"{decisions['averaged']} averaged posteriors, every {result['period_ms']:g} ms"
    table = Table(title=f"threshold {threshold:.4f} of {averaged}", title_justify="left")
    for name in ("", "chosen on", "reported on"):
        table.add_column(name, justify="right" if name else "left")
    table.add_row("recordings, speakers", *(f"{x['recordings']}, {x['speakers']}" for x in parts))
    table.add_row("false accepts", *(x["false_accepts"]["text"] for x in parts))
    for condition in parts[0]["misses"]:
        table.add_row(f"missed in {condition}", *(f"{x['misses'][condition]:.1%}" for x in parts))
    table.add_row("words", *(str(x["words"]) for x in parts))
    table.add_row("delay", *("–" if x["delay_ms"] is None else f"{x['delay_ms']:.0f} ms" for x in parts))
    table.caption = f"{folder}/report.html"
    return table
