"""`hil_nas data`: where recordings come from, and what they are worth."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from hil_nas.cli.console import Console
from hil_nas.cli.parsing import settings
from hil_nas.cli.shared import Command
from hil_nas.options import like, option


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """`hil_nas data fetch`."""

    folder: Path = option(
        Path("speech_commands"), positional=True, nargs="?", metavar="FOLDER",
        help="to be made, or to be added to what an earlier fetch left",
    )  # fmt: skip
    json: bool = like(Command, "json")


def fetch(arguments: argparse.Namespace, console: Console) -> int:
    """`hil_nas data fetch`."""
    from hil_nas.audio.fetch import SPEECH_COMMANDS
    from hil_nas.audio.fetch import fetch as fetch_archives

    folder = settings(Fetch, arguments).folder
    fetched = fetch_archives(folder, SPEECH_COMMANDS, console.step)
    there = [x.name for x in SPEECH_COMMANDS if x.name not in fetched]
    what = f"fetched {', '.join(fetched)}" if fetched else "nothing was fetched, all is there"
    console.result({"folder": str(folder), "fetched": list(fetched), "there": there}, Text(f"{folder}: {what}"))
    return 0
