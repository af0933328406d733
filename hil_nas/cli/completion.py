"""`hil_nas completion`: a script by which a shell completes the program's commands, options and values."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from hil_nas.cli.console import Console, standard_output
from hil_nas.cli.parsing import settings
from hil_nas.cli.shared import Command
from hil_nas.options import like, option

Shell = Literal["bash", "zsh", "fish"]
_FOLDERS = ("FOLDER", "RUN")
_FILES = ("MODEL.tflite", "AUDIO")


@dataclass(frozen=True, kw_only=True)
class Completion:
    """`hil_nas completion`."""

    shell: Shell = option(positional=True, help="the one that is to complete")
    json: bool = like(Command, "json")


def completion(arguments: argparse.Namespace, console: Console) -> int:
    """`hil_nas completion`: the script on standard output. Nothing of the program runs while a shell completes."""
    import shtab

    from hil_nas.cli.arguments import parser
    from hil_nas.cli.zoo import NAME
    from hil_nas.folders import zoo_folder
    from hil_nas.workflows.zoo import zoo_networks

    top = parser()
    for action in _actions(top):
        if action.metavar in _FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.dest == NAME:
            action.choices = [x.name for x in zoo_networks(zoo_folder())]
        elif isinstance(action.metavar, str) and action.metavar.startswith("{"):
            action.choices = action.metavar.strip("{}").split(",")
    shell = settings(Completion, arguments).shell
    script = shtab.complete(top, shell=shell)
    if console.as_json:
        console.result({"shell": shell, "script": script}, "")
        return 0
    with standard_output():  # as it is: no line of it may be wrapped
        print(script)
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The options of a parser and of all below it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _actions(below)
        else:
            yield action
