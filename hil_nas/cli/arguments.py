"""The commands and their options."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from hil_nas.baselines import BASELINES
from hil_nas.cli import commands, profile, sweep, values
from hil_nas.cli.console import Console
from hil_nas.cli.doctor import doctor
from hil_nas.cli.usage import Parser
from hil_nas.cli.values import MOST_EPOCHS, integer, listed, number, one_of, or_none
from hil_nas.config import LEAST, PAPER_TRAIN_EPOCHS, SEARCH_EPOCHS, SPACES, TRAIN_EPOCHS, SearchConfig
from hil_nas.device.firmware import Engine
from hil_nas.front_ends import WRITTEN
from hil_nas.places import usual_folders

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[Parser]

DEFAULTS = SearchConfig()
ALIGNMENTS = ("auto", "conv", "pad")
MOST_NETWORKS = 600  # as many as a campaign draws to choose from
MOST_CLIPS = 20_000  # more than the largest test set has
MOST_SEEDS = 100


def parser() -> Parser:
    top = Parser(
        prog="hil_nas",
        description="Finds the front end and the network that recognise your keywords best within the RAM, "
        "flash and milliseconds you name, as measured on the board, and verifies them there.",
        epilog="A board is written BOARD@HOST: nucleo-l4r5@virtual runs the real firmware in an emulator whose cycles "
        "follow published silicon; nucleo-l4r5 alone is the board itself, over its serial port.",
    )
    subparsers = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _search(subparsers)
    _baseline(subparsers)
    _sweep(subparsers)
    _profile(subparsers)
    _verify(subparsers)
    _serve(subparsers)
    _doctor(subparsers)
    return top


def _search(subparsers: Subparsers) -> None:
    add = _command(subparsers, "search", commands.search, "search, train, quantise and verify a network")
    _board(add)
    _limits(add)
    _recognised(add)
    how = add.add_argument_group("how to search")
    how.add_argument(
        "--space",
        choices=SPACES,
        default=DEFAULTS.space,
        help="tiny: chains of depthwise-separable blocks; darts: the cells of PC-DARTS (default: %(default)s)",
    )
    how.add_argument(
        "--align", choices=ALIGNMENTS, default="auto",
        help="how front ends share a supernet; auto: pad for --space darts, else conv (default: %(default)s)",
    )  # fmt: skip
    how.add_argument(
        "--preset",
        choices=("paper",),
        help="the whole protocol of arXiv 2507.15545 on the 35 words of Speech Commands in --data, for a GPU",
    )
    _supernet(how)
    _train(how, 0, f"default: {TRAIN_EPOCHS}, of paper {PAPER_TRAIN_EPOCHS}")
    how.add_argument("--resume", action="store_true", help="go on with the newest unfinished search of these options")
    _name(add)
    _runs(add)


def _sweep(subparsers: Subparsers) -> None:
    add = _command(
        subparsers, "sweep", sweep.sweep, "search under many limits with many seeds, and draw what accuracy costs"
    )
    axes = add.add_argument_group("axes: lists, searched in every combination; a limit may be none")
    for flag, parse, default, example in (
        ("--board", values.board, DEFAULTS.board, "like BOARD@HOST; one on a serial port runs one point at a time"),
        ("--max-ram", or_none(values.size), "none", "like 128k,256k"),
        ("--max-flash", or_none(values.size), "none", "like 512k"),
        ("--max-latency", or_none(values.time), "none", "like 40ms,60ms,none; front end and network"),
        ("--space", one_of(*SPACES), DEFAULTS.space, f"of {', '.join(SPACES)}"),
        ("--align", one_of(*ALIGNMENTS), "auto", f"of {', '.join(ALIGNMENTS)}"),
    ):
        axes.add_argument(
            flag, type=listed(parse), default=default, metavar="LIST", help=f"{example} (default: %(default)s)"
        )
    axes.add_argument(
        "--seeds", type=integer(1, MOST_SEEDS), default=3, metavar="N",
        help="how many of every combination (default: %(default)s)",
    )  # fmt: skip
    axes.add_argument(
        "--also", action="append", default=[], metavar="OPTIONS",
        help="combinations beside these: all of them again with these options changed, like \"--max-latency none\"",
    )  # fmt: skip
    axes.add_argument(
        "--baselines", type=listed(one_of(*BASELINES)), default=(), metavar="LIST",
        help=f"published networks to train beside the searched ones: {', '.join(BASELINES)}",
    )  # fmt: skip
    _recognised(add)
    how = add.add_argument_group("how to search, and where")
    _supernet(how)
    _train_epochs(how, DEFAULTS.train_epochs, "default: %(default)s")
    how.add_argument(
        "--address", type=values.address, metavar="HOST:PORT",
        help="of a Ray cluster with this file system (default: this machine's cores)",
    )  # fmt: skip
    how.add_argument("--resume", action="store_true", help="go on with the newest unfinished sweep of these options")
    _connection(add)
    _name(add)
    _runs(add)


def _baseline(subparsers: Subparsers) -> None:
    add = _command(
        subparsers, "baseline", commands.baseline, "train, quantise and verify a published network, as a search does"
    )
    add.add_argument("network", choices=BASELINES, metavar="NETWORK", help=f"one of: {', '.join(BASELINES)}")
    _board(add)
    _limits(add)
    _recognised(add)
    _train(add)
    add.add_argument("--resume", action="store_true", help="go on with the newest unfinished run of these options")
    _runs(add)


def _profile(subparsers: Subparsers) -> None:
    add = _command(subparsers, "profile", profile.profile, "measure operators and front ends, fit the latency model")
    _board(add, several=True)
    _engine(add)
    add.add_argument(
        "--networks",
        type=integer(1, MOST_NETWORKS),
        default=None,
        metavar="N",
        help="how many to measure (default: 160, with --evaluate 100 of each space)",
    )
    instead = add.add_mutually_exclusive_group()
    instead.add_argument(
        "--evaluate",
        action="store_true",
        help="measure fresh networks, keep none, and print how far predictions of cycles, RAM and flash lie off",
    )
    instead.add_argument(
        "--compare",
        nargs=2,
        default=None,
        metavar=("A", "B"),
        help="measure nothing; say how two latency models differ, each a folder or a BOARD@HOST",
    )
    _seed(add)
    _runs(add)


def _verify(subparsers: Subparsers) -> None:
    add = _command(subparsers, "verify", commands.verify, "run a .tflite on a board: bits, cycles, RAM, flash, limits")
    add.add_argument("model", type=Path, metavar="MODEL.tflite")
    _board(add)
    _engine(add)
    _limits(add)
    add.add_argument(
        "--data", type=Path, metavar="FOLDER", help="run its test clips from audio to logits (default: seeded noise)"
    )
    add.add_argument("--words", type=values.words, default=(), metavar="A,B,...", help="keywords in --data")
    add.add_argument(
        "--clips", type=integer(1, MOST_CLIPS), default=100, metavar="N", help="how many inputs (default: %(default)s)"
    )
    _seed(add)


def _serve(subparsers: Subparsers) -> None:
    add = _command(
        subparsers, "serve", commands.serve, "put a board on a pty or TCP port, for MLPerf Tiny's own runner"
    )
    add.add_argument(
        "model", type=Path, metavar="MODEL.tflite", help="loaded first: that protocol has no command for it"
    )
    _board(add)
    _engine(add)
    told = "of the loopback, 0 for any (default: a pty)"
    add.add_argument("--tcp", type=integer(0, 65535), default=None, metavar="PORT", help=told)


def _doctor(subparsers: Subparsers) -> None:
    add = _command(
        subparsers, "doctor", doctor, "show which hosts, tools and libraries are here, and how to get the rest"
    )
    add.add_argument(
        "--fetch", action="store_true", help="fetch CMSIS-DSP's sources first, with pip, where they are missing"
    )
    add.add_argument(
        "--timing", action="store_true", help="how well the virtual boards' cycles reproduce published silicon instead"
    )


def _command(
    subparsers: Subparsers, name: str, function: Callable[[argparse.Namespace, Console], int], summary: str
) -> Parser:
    add = subparsers.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    add.set_defaults(command=function, parser=add)
    add.add_argument(
        "--json", action="store_true", help="print one JSON object on standard output, the rest on standard error"
    )
    usual = usual_folders()
    folders = add.add_argument_group("folders")
    for flag, folder, what in (
        ("--boards", usual.boards, "descriptions of boards and sources of their firmware"),
        ("--build", usual.build, "what is built or fetched, to be used again"),
        ("--models", usual.models, "latency models, one folder for each board"),
    ):
        folders.add_argument(
            flag, type=Path, default=folder, metavar="FOLDER", help=f"{what} (default: {folder})".replace("%", "%%")
        )
    return add


def _recognised(add: argparse.ArgumentParser) -> None:
    what = add.add_argument_group("what to recognise")
    what.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="recorded words, a folder for each as in Speech Commands (default: words spoken by espeak-ng)",
    )
    what.add_argument(
        "--words",
        type=values.words,
        default=(),
        metavar="A,B,...",
        help="keywords (default: the ten of Speech Commands)",
    )


def _supernet(add: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    add.add_argument(
        "--unpriced-front-end",
        dest="price_front_end",
        action="store_false",
        help="for comparison: search as if the front end cost nothing; the latency limit is then the network's alone",
    )
    add.add_argument(
        "--front-end",
        type=values.grid,
        default=DEFAULTS.grid,
        metavar="NAME,...",
        help=f"front ends to choose from, as {WRITTEN} (default: the paper's eight MFCC, each with 40, 20 and 13 "
        "coefficients), or 'continuous': window, hop and coefficients by gradient",
    )
    add.add_argument(
        "--gamma-ratio",
        type=number(above=1),
        default=DEFAULTS.gamma_ratio,
        metavar="R",
        help="the data search ends once one configuration's gamma is R times every other's; 1e9: never "
        "(default: %(default)s)",
    )
    epochs = ", ".join(f"{count} of {name}" for name, count in SEARCH_EPOCHS.items())
    add.add_argument(
        "--search-epochs", type=integer(LEAST["search_epochs"], MOST_EPOCHS), default=0, metavar="N",
        help=f"default: {epochs}",
    )  # fmt: skip
    add.add_argument(
        "--measure-every",
        type=integer(LEAST["measure_every"], MOST_EPOCHS),
        default=DEFAULTS.measure_every,
        metavar="N",
        help="measure the network of the moment on the board every N epochs, 0 for the end only (default: %(default)s)",
    )


def _train(
    add: argparse.ArgumentParser | argparse._ArgumentGroup,
    epochs: int = TRAIN_EPOCHS,
    told: str = "default: %(default)s",
) -> None:
    _train_epochs(add, epochs, told)
    _seed(add)


def _train_epochs(add: argparse.ArgumentParser | argparse._ArgumentGroup, epochs: int, told: str) -> None:
    add.add_argument(
        "--train-epochs", type=integer(LEAST["train_epochs"], MOST_EPOCHS), default=epochs, metavar="N", help=told
    )


def _seed(add: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    add.add_argument("--seed", type=values.seed, default=DEFAULTS.seed, metavar="N", help="default: %(default)s")


def _board(add: argparse.ArgumentParser, several: bool = False) -> None:
    told = f"default: {DEFAULTS.board}" + "; given again, several boards work at once" * several
    how: dict[str, str] = {"action": "append"} if several else {"default": DEFAULTS.board}
    add.add_argument("--board", type=values.board, metavar="BOARD[@HOST]", help=told, **how)  # type: ignore[arg-type]
    _connection(add)


def _connection(add: argparse.ArgumentParser) -> None:
    add.add_argument(
        "--port", default=None, metavar="PORT", help="the board's serial port, where it is not found by itself"
    )
    add.add_argument("--flash", action="store_true", help="put the firmware on the board first, with pyOCD")


def _engine(add: argparse.ArgumentParser) -> None:
    add.add_argument(
        "--engine",
        choices=get_args(Engine),
        default="cmsis-nn",
        help="what runs networks on the board; tflm is TensorFlow Lite Micro from TFLM_ROOT (default: %(default)s)",
    )


def _name(add: argparse.ArgumentParser) -> None:
    told = "ends the run folder's name (default: %(default)s)"
    add.add_argument("--name", type=values.name, default="kws", metavar="NAME", help=told)


def _runs(add: argparse.ArgumentParser) -> None:
    add.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="FOLDER", help="where results go (default: ./%(default)s)"
    )


def _limits(add: argparse.ArgumentParser) -> None:
    limits = add.add_argument_group("limits, as measured on the board")
    limits.add_argument(
        "--max-ram", type=values.size, metavar="SIZE", help="like 256k; all RAM in use: arena, audio, firmware, stack"
    )
    limits.add_argument(
        "--max-flash", type=values.size, metavar="SIZE", help="like 512k; the firmware with network and tables"
    )
    limits.add_argument(
        "--max-latency", type=values.time, metavar="TIME", help="like 100ms; front end and network, one clip"
    )
