"""What each command does with its arguments: builds the configuration, calls one workflow, shows the result."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from hil_nas.budget import Budget
from hil_nas.cli.console import Console
from hil_nas.cli.parsing import combinations, settings
from hil_nas.cli.runs_compared import status, tables
from hil_nas.cli.shared import BoardCommand, RunCommand, require_recordings
from hil_nas.config import BaselineConfig, SearchConfig
from hil_nas.device.firmware import USUAL_ENGINE, Engine
from hil_nas.errors import InputError, LimitsMissedError, naming
from hil_nas.extras import require
from hil_nas.kernels import First
from hil_nas.options import like, option
from hil_nas.progress import Progress
from hil_nas.tracking import Tracking, tracked
from hil_nas.units import clock_name, count_unit, format_bytes, format_latency
from hil_nas.values import some_text

LISTED = ("max_latency_s",)  # fields of which a search takes several


@dataclass(frozen=True, kw_only=True)
class Search(RunCommand):
    """`hil_nas search`."""

    config: SearchConfig
    tracking: Tracking
    resume: bool = option(False, help="go on with the newest unfinished run of these options")
    name: str = option("kws", parse=some_text, metavar="NAME", help="ends the run folder's name")


def search(arguments: argparse.Namespace, console: Console) -> int:
    """`hil_nas search`."""
    require("a search", ["search"])
    options, *others = (settings(Search, x) for x in combinations(arguments, LISTED))
    require_recordings(options.config.data, options.config.words)
    console.step(Progress("search", 0, 0, _ahead(options.config), lasting=True))  # torch takes its time to load
    from hil_nas.report.page import search_page
    from hil_nas.workflows.search import run_search

    if others:
        return _search_for_limits([options, *others], console)
    with tracked(options.tracking, options.runs, console.step):
        result, folder = run_search(
            options.config, options.folders, name=options.name, resume=options.resume, page=search_page,
            progress=console.step, port=options.port, flash=options.flash,
        )  # fmt: skip
    return _finished(result, folder, console)


def _ahead(config: SearchConfig) -> str:
    learned = config.strategy == "gradient"
    parts = [f"a supernet of {config.search_epochs} epochs"] if learned else []
    parts += ["a race of short trainings"] if config.candidates else []
    return ", ".join([*parts, "a training in full", "the board"])


def _search_for_limits(options: Sequence[Search], console: Console) -> int:
    """A search with several latency limits."""
    from hil_nas.report.page import search_page
    from hil_nas.report.sweep_page import sweep_page
    from hil_nas.workflows.search_limits import run_search_for_limits, several_limits

    first = options[0]
    configs = several_limits([x.config for x in options])
    with tracked(first.tracking, first.runs, console.step):
        result, folder = run_search_for_limits(
            configs, first.folders, name=first.name, resume=first.resume, page=search_page, side_by_side=sweep_page,
            progress=console.step, port=first.port, flash=first.flash,
        )  # fmt: skip
    console.result({**result, "run": str(folder)}, tables(result, folder))
    return status(result, console)


@dataclass(frozen=True, kw_only=True)
class Baseline(RunCommand):
    """`hil_nas baseline`."""

    config: BaselineConfig
    tracking: Tracking
    resume: bool = like(Search, "resume")


def baseline(arguments: argparse.Namespace, console: Console) -> int:
    """`hil_nas baseline`."""
    require("a baseline", ["search"])
    options = settings(Baseline, arguments)
    require_recordings(options.config.data, options.config.words)
    from hil_nas.report.page import search_page
    from hil_nas.workflows.baseline import run_baseline

    with tracked(options.tracking, options.runs, console.step):
        result, folder = run_baseline(
            options.config, options.folders, resume=options.resume, page=search_page, progress=console.step,
            port=options.port, flash=options.flash,
        )  # fmt: skip
    return _finished(result, folder, console)


def _finished(result: dict[str, Any], folder: Path, console: Console) -> int:
    console.result({**result, "run": str(folder)}, Group(search_table(result, folder), *_warnings(result)))
    _check(result["limits_missed"], result["differing_bytes"], hint=f"see {folder / 'report.html'}")
    return 0


def _check(missed: Sequence[str], differing_bytes: int, hint: str | None = None) -> None:
    """Raises LimitsMissedError where a limit or a bit was broken."""
    reasons = [*missed, *([f"{differing_bytes} int8 values differ from the host's"] if differing_bytes else [])]
    if reasons:
        raise LimitsMissedError("; ".join(reasons), hint=hint)


@dataclass(frozen=True, kw_only=True)
class Verify(BoardCommand):
    """`hil_nas verify`."""

    model: Path = option(
        positional=True, metavar="MODEL.tflite", help="any that is quantised to int8, or the folder of a run"
    )
    board: str = like(SearchConfig, "board")
    engine: Engine = option(
        USUAL_ENGINE, help="what runs networks on the board; tflm is TensorFlow Lite Micro from TFLM_ROOT"
    )
    kernels: First = option("dsp", help="which are asked first; cmsis-nn leaves out those of our own, to compare")
    budget: Budget
    data: str | None = like(
        SearchConfig, "data", group="", help="run its test clips from audio to logits (default: seeded noise)"
    )
    words: tuple[str, ...] = like(SearchConfig, "words", group="", help="keywords in --data")
    clips: int = option(100, least=1, most=20_000, metavar="N", help="how many inputs")  # no test set has as many
    listen: tuple[Path, ...] = option(
        (), parse=Path, repeated=True, metavar="AUDIO",
        help="listen to recordings instead, files or folders of them: bits, cycles and load of each decision; "
        "may be given several times",
    )  # fmt: skip
    seed: int = like(SearchConfig, "seed", group="")

    def __post_init__(self) -> None:
        if self.words and self.data is None:
            raise InputError("--words names words of --data, which is not given", hint="add --data FOLDER")
        self.budget.expect_stream(bool(self.listen))
        if self.listen and (self.data is not None or self.engine != USUAL_ENGINE or self.kernels != "dsp"):
            raise InputError("--listen does not go with --data, --engine and --kernels", hint="leave those out")
        if self.engine == "tflm" and self.kernels != "dsp":
            raise InputError(f"--kernels {self.kernels} is of plans, the engine tflm has its own", hint="leave one out")


def verify(arguments: argparse.Namespace, console: Console) -> int:
    """`hil_nas verify`."""
    from hil_nas.cli.verify_listen import verify_listen
    from hil_nas.workflows.verify_file import verify_file

    options = settings(Verify, arguments)
    if options.listen:
        return verify_listen(options, console)
    require_recordings(options.data, options.words)
    verification, findings = verify_file(
        options.model, options.board, boards_dir=options.boards, build_dir=options.build, budget=options.budget,
        data=None if options.data is None else Path(options.data), words=options.words, clips=options.clips,
        seed=options.seed, engine=options.engine, kernels=options.kernels, port=options.port, flash=options.flash,
        progress=console.step,
    )  # fmt: skip
    data = {**verification.to_json(), **({"data": findings.to_json()} if findings else {})}
    console.result(data, Group(_verify_table(data), *_warnings(data)))
    _check(verification.missed, verification.differing_bytes)
    return 0


@dataclass(frozen=True, kw_only=True)
class Serve(BoardCommand):
    """`hil_nas serve`."""

    model: Path = like(Verify, "model", help="loaded first: that protocol has no command for it")
    board: str = like(SearchConfig, "board")
    engine: Engine = like(Verify, "engine")
    tcp: int | None = option(
        None, least=0, most=65535, metavar="PORT", help="of the loopback, 0 for any (default: a pty)"
    )


def serve(arguments: argparse.Namespace, console: Console) -> int:
    """`hil_nas serve`."""
    from hil_nas.deploy.lower import lower
    from hil_nas.deploy.tflite import read_tflite
    from hil_nas.device.serve import serve as bridge
    from hil_nas.workflows.verify_file import read_model

    options = settings(Serve, arguments)
    with naming(options.model, InputError):
        model = read_model(options.model)
        plan = model if options.engine == "tflm" else lower(read_tflite(model)).to_bytes()
    bridge(
        options.board, boards_dir=options.boards, build_dir=options.build, tcp_port=options.tcp,
        ready=lambda address: console.result({"address": address}, f"{options.board} answers on {address}"),
        plan=plan, port=options.port, flash=options.flash, engine=options.engine,
    )  # fmt: skip
    return 0


def _warnings(result: dict[str, Any]) -> list[Text]:
    """A line for each warning about the data."""
    return [Text(f"data: {x}") for x in result.get("data", {}).get("warnings", ())]


def search_table(result: dict[str, Any], folder: Path) -> Table:
    measured, predicted, limits = result["measured"], result["predicted"], result["limits"]
    table = Table(
        title=f"{result['board']}, {result['front_end']} ({clock_name(result['clock'])})", title_justify="left"
    )
    for name in ("", "measured", "predicted", "limit"):
        table.add_column(name, justify="left" if not name else "right")
    error_percent = result["clock"]["error_percent"]

    def latency(milliseconds: float) -> str:
        return format_latency(milliseconds, error_percent)

    for name, key, show in (
        ("latency", "latency_ms", latency),
        ("  front end", "front_end_ms", latency),
        ("  network", "network_ms", latency),
        ("RAM", "ram_bytes", format_bytes),
        ("flash", "flash_bytes", format_bytes),
    ):
        figures = ("–" if x is None else show(x) for x in (measured[key], predicted.get(key)))
        limit = limits.get(f"max_{key}")
        exactly = "–" if limit is None else format_latency(limit, None) if key == "latency_ms" else show(limit)
        table.add_row(name, *figures, exactly)
    table.add_section()
    bits = "equal" if result["bits_equal"] else "NOT equal"
    table.add_row("bits", bits, "", f"{result['clips_compared']} clips")
    table.add_row("accuracy int8", f"{result['accuracy_int8']:.2%}", "", f"{result['test_clips']} clips")
    table.add_row("accuracy float", f"{result['accuracy_float']:.2%}", "", "")
    table.caption = f"{folder}/report.html"
    return table


def _verify_table(data: dict[str, Any]) -> Table:
    kind = data["clock"]["kind"]
    unit = count_unit(kind)
    table = Table(title=f"{data['board']} ({clock_name(data['clock'])}, {data['engine']})", title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    for name, count in data["operators"]:
        table.add_row(name, f"{count:,} {unit}")
    table.add_section()
    by = f", kernels {', '.join(data['kernels'])}" if data["kernels"] else ""
    table.add_row(f"network{by}", f"{data['network_cycles']:,} {unit}")
    if data["front_end_cycles"] is not None:
        table.add_section()
        for name, count in data["stages"]:
            table.add_row(name, f"{count:,} {unit}")
        table.add_section()
        table.add_row(f"front end {data['front_end']}", f"{data['front_end_cycles']:,} {unit}")
    if data["latency_ms"] is not None:
        table.add_row("latency", format_latency(data["latency_ms"], data["clock"]["error_percent"]))
    if data["energy"] is not None:
        table.add_row(f"energy, at {data['energy']['active_mw']:g} mW", f"{data['energy']['mj']:.2f} mJ")
        table.caption = f"power: {data['energy']['source']}"
    table.add_section()
    for name, size in data["ram"].items():
        table.add_row(f"RAM: {name}", f"{size:,} bytes")
    for name, size in data["flash"].items():
        table.add_row(f"flash: {name}", f"{size:,} bytes")
    table.add_section()
    bits = "equal" if data["bits_equal"] else f"{data['differing_bytes']} values differ"
    table.add_row(f"{data['compared']}, against the host", f"{bits} over {data['clips_compared']}")
    if data["accuracy"] is not None:
        table.add_row("accuracy of the board's answers", f"{data['accuracy']:.2%}")
    return table
