"""What each command does with its arguments: builds the configuration, calls one workflow, shows the result."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Group
from rich.table import Table
from rich.text import Text

from hil_nas.budget import Budget
from hil_nas.cli.console import Console
from hil_nas.config import BaselineConfig, SearchConfig
from hil_nas.device.hosts import open_device
from hil_nas.errors import HilNasError, InputError, LimitsMissedError, RefusedError, UsageError
from hil_nas.extras import require
from hil_nas.places import Folders, usual_folders
from hil_nas.units import clock_name, count_unit, format_bytes, format_latency

Config = TypeVar("Config", SearchConfig, BaselineConfig)


def search(arguments: argparse.Namespace, console: Console) -> int:
    """`hil_nas search`."""
    require("a search", ["search"])
    from hil_nas.report.page import search_page
    from hil_nas.workflows.search import run_search

    result, folder = run_search(
        search_config(arguments),
        folders(arguments),
        name=arguments.name,
        resume=arguments.resume,
        page=search_page,
        report=console.step,
        port=arguments.port,
        flash=arguments.flash,
    )
    return _finished(result, folder, console)


def folders(arguments: argparse.Namespace) -> Folders:
    """Those that the options name; latency models that are named stand alone."""
    usual = usual_folders()
    shipped = usual.shipped_models if arguments.models == usual.models else None
    return Folders(arguments.boards, arguments.build, arguments.models, arguments.runs, shipped)


def search_config(arguments: argparse.Namespace) -> SearchConfig:
    """What a search is asked by its options.

    Raises:
        UsageError: for options that do not go together.
        InputError: where the folder of --data is none.
    """
    return _asked(
        SearchConfig,
        board=arguments.board,
        budget=_budget(arguments),
        words=arguments.words,
        data=data_folder(arguments),
        preset=getattr(arguments, "preset", None),
        space=arguments.space,
        grid=arguments.front_end,
        price_front_end=arguments.price_front_end,
        align=arguments.align,
        gamma_ratio=arguments.gamma_ratio,
        search_epochs=arguments.search_epochs,
        train_epochs=arguments.train_epochs,
        measure_every=arguments.measure_every,
        seed=arguments.seed,
    )


def _asked(kind: Callable[..., Config], **given: Any) -> Config:
    try:
        return kind(**given)
    except InputError as error:
        raise UsageError(error.message, hint=error.hint) from None


def data_folder(arguments: argparse.Namespace) -> str | None:
    """The folder of recordings, wherever a resumed run or a cluster's process starts.

    Raises:
        InputError: where there is none: better now than when the board has been measured.
    """
    if arguments.data is None:
        return None
    if not arguments.data.is_dir():
        raise InputError(f"{arguments.data} is no folder", hint="name the folder of recordings with --data")
    return str(arguments.data.resolve())


def baseline(arguments: argparse.Namespace, console: Console) -> int:
    """`hil_nas baseline`."""
    require("a baseline", ["search"])
    from hil_nas.report.page import search_page
    from hil_nas.workflows.baseline import run_baseline

    config = _asked(
        BaselineConfig,
        network=arguments.network,
        board=arguments.board,
        budget=_budget(arguments),
        words=arguments.words,
        data=data_folder(arguments),
        train_epochs=arguments.train_epochs,
        seed=arguments.seed,
    )
    result, folder = run_baseline(
        config, folders(arguments), resume=arguments.resume, page=search_page, report=console.step,
        port=arguments.port, flash=arguments.flash,
    )  # fmt: skip
    return _finished(result, folder, console)


def _finished(result: dict[str, Any], folder: Path, console: Console) -> int:
    console.result({**result, "run": str(folder)}, Group(_search_table(result, folder), *_warnings(result)))
    _check(result["limits_missed"], result["differing_bytes"], hint=f"see {folder / 'report.html'}")
    return 0


def _check(missed: Sequence[str], differing_bytes: int, hint: str | None = None) -> None:
    """Raises LimitsMissedError where a limit or a bit was broken."""
    reasons = [*missed, *([f"{differing_bytes} int8 values differ from the host's"] if differing_bytes else [])]
    if reasons:
        raise LimitsMissedError("; ".join(reasons), hint=hint)


def verify(arguments: argparse.Namespace, console: Console) -> int:
    """`hil_nas verify`."""
    from hil_nas.workflows.verify import Model, drawn_clips, host_library
    from hil_nas.workflows.verify import verify as check

    if arguments.words and arguments.data is None:
        raise UsageError("--words names words of --data, which is not given", hint="add --data FOLDER")
    with _naming(arguments.model, InputError):
        model = Model.read(_read(arguments.model))
    clips = labels = None
    told: dict[str, Any] = {}
    if (folder := data_folder(arguments)) is not None:
        drawn, findings = drawn_clips(Path(folder), arguments.words, arguments.clips, arguments.seed, console.step)
        clips, labels, told = drawn.samples, drawn.labels, {"data": findings.to_json()}
    host = host_library(arguments.boards, arguments.build)
    with open_device(
        arguments.board, boards_dir=arguments.boards, build_dir=arguments.build,
        port=arguments.port, flash=arguments.flash, engine=arguments.engine,
    ) as device, _naming(arguments.model, RefusedError):  # fmt: skip
        found = check(
            device, model, host, budget=_budget(arguments), clips=clips, labels=labels,
            count=arguments.clips, seed=arguments.seed, report=console.step,
        )  # fmt: skip
    data = {**found.to_json(), **told}
    console.result(data, Group(_verify_table(data), *_warnings(data)))
    _check(found.missed, found.differing_bytes)
    return 0


def serve(arguments: argparse.Namespace, console: Console) -> int:
    """`hil_nas serve`."""
    from hil_nas.deploy.lower import lower
    from hil_nas.deploy.tflite import read_tflite
    from hil_nas.device.serve import serve as bridge

    with _naming(arguments.model, InputError):
        model = _read(arguments.model)
        plan = model if arguments.engine == "tflm" else lower(read_tflite(model)).to_bytes()
    bridge(
        arguments.board, boards_dir=arguments.boards, build_dir=arguments.build, tcp_port=arguments.tcp,
        ready=lambda address: console.result({"address": address}, f"{arguments.board} answers on {address}"),
        plan=plan, port=arguments.port, flash=arguments.flash, engine=arguments.engine,
    )  # fmt: skip
    return 0


def _budget(arguments: argparse.Namespace) -> Budget:
    return Budget(arguments.max_ram, arguments.max_flash, arguments.max_latency)


@contextmanager
def _naming(path: Path, kind: type[HilNasError]) -> Iterator[None]:
    """Puts a file's name before what is wrong with it."""
    try:
        yield
    except kind as error:
        raise type(error)(f"{path}: {error.message}", hint=error.hint) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", hint="name a .tflite") from None


def _warnings(result: dict[str, Any]) -> list[Text]:
    """A line for each warning about the data."""
    return [Text(f"data: {x}") for x in result.get("data", {}).get("warnings", ())]


def _search_table(result: dict[str, Any], folder: Path) -> Table:
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
        found = ("–" if x is None else show(x) for x in (measured[key], predicted.get(key)))
        limit = limits.get(f"max_{key}")
        exactly = "–" if limit is None else format_latency(limit, None) if key == "latency_ms" else show(limit)
        table.add_row(name, *found, exactly)
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
    table.add_row("network", f"{data['network_cycles']:,} {unit}")
    if data["front_end_cycles"] is not None:
        table.add_row(f"front end {data['front_end']}", f"{data['front_end_cycles']:,} {unit}")
    if data["latency_ms"] is not None:
        table.add_row("latency", format_latency(data["latency_ms"], data["clock"]["error_percent"]))
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
