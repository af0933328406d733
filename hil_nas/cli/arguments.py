"""The commands: each with its function, the settings that are its options, and what --help says of it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection
from typing import Any

from hil_nas.cli import commands, compare, data, listen, profile, report, runs, sweep, zoo
from hil_nas.cli.completion import Completion, completion
from hil_nas.cli.console import Console
from hil_nas.cli.doctor import Doctor, doctor
from hil_nas.cli.examples import EXAMPLES
from hil_nas.cli.parsing import LISTS, add_options
from hil_nas.cli.usage import Parser
from hil_nas.config import SearchConfig

Run = Callable[[argparse.Namespace, Console], int]


def parser() -> Parser:
    top = Parser(
        prog="hil_nas",
        description="Finds the front end and the network that recognise your keywords best within the RAM, "
        "flash and milliseconds you name, as measured on the board, and verifies them there.",
        epilog="A board is written BOARD@HOST: nucleo-l4r5@virtual runs the real firmware in an emulator whose cycles "
        "follow published silicon; nucleo-l4r5 alone is the board itself, over its serial port.",
    )
    groups: dict[str, Any] = {"": _commands(top)}

    def add(
        name: str, run: Run, kind: type, summary: str, group: str = "", without: Collection[str] = (),
        lists: Collection[str] = (),
    ) -> Parser:  # fmt: skip
        own = _parser(groups[group], group, name, summary)
        own.set_defaults(command=run, parser=own)
        add_options(own, kind, without=without, lists=lists)
        return own

    add(
        "search", commands.search, commands.Search, "search, train, quantise and verify a network",
        lists=commands.LISTED,
    )  # fmt: skip
    add(
        "baseline", commands.baseline, commands.Baseline,
        "train, quantise and verify a published network, as a search does", without=("max_load",),
    )  # fmt: skip
    many = add(
        "sweep", sweep.sweep, sweep.Sweep, "search under many limits with many seeds, and draw what accuracy costs"
    )
    add_options(many, SearchConfig, lists=sweep.AXES, heading=LISTS, without=sweep.FIXED)
    add("profile", profile.profile, profile.Profile, "measure operators and front ends, fit the latency model")
    add("verify", commands.verify, commands.Verify, "run a .tflite on a board: bits, cycles, RAM, flash, limits")
    add("compare", compare.compare, compare.Compare, "run several .tflite on several boards, side by side in one table")
    add("report", report.report, report.Report, "make a run's page again from its folder")
    add("runs", runs.runs, runs.Runs, "list runs, compare two of them, or remove some")
    add("zoo", zoo.zoo, zoo.Zoo, "show networks that come with the program, and give one as a run folder")
    add("listen", listen.listen, listen.Listen, "hear keywords in long recordings or at the microphone")
    add("tune", listen.tune, listen.Tune, "choose thresholds by false accepts an hour, and count what they miss")
    add("serve", commands.serve, commands.Serve, "put a board on a pty or TCP port, for MLPerf Tiny's own runner")
    groups["data"] = _commands(_parser(groups[""], "", "data", "fetch, check, record or speak the words to learn"))
    add("fetch", data.fetch, data.Fetch, "fetch Speech Commands and its official test set", "data")
    add("check", data.check, data.Check, "say what a search would find in a folder of recordings", "data")
    add("record", data.record, data.Record, "record a word at the microphone", "data")
    add("speak", data.speak, data.Speak, "have words spoken by espeak-ng, and by piper where it is", "data")
    add("doctor", doctor, Doctor, "show which hosts, tools and libraries are here, and how to get the rest")
    add("completion", completion, Completion, "print what makes a shell complete commands, options and files")
    return top


def _commands(parser: Parser) -> Any:
    return parser.add_subparsers(title="commands", required=True, metavar="COMMAND")


def _parser(among: Any, group: str, name: str, summary: str) -> Parser:
    """The parser of a command, or of a group of them, with its examples behind its help."""
    examples = EXAMPLES[f"{group} {name}".strip()]
    own: Parser = among.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", examples=examples
    )
    return own
