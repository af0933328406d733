"""`hil_nas data`: where recordings come from, and what they are worth."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from hil_nas.cli.console import Console
from hil_nas.cli.parsing import settings
from hil_nas.cli.shared import Command
from hil_nas.config import SearchConfig
from hil_nas.options import like, option
from hil_nas.values import listed

if TYPE_CHECKING:
    from hil_nas.audio.data_check import ClassReport, DataCheck

FAILED = 1
_NAMED = 5  # problems, uses or equal files that are shown; the rest is counted, and stands in --json


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


@dataclass(frozen=True, kw_only=True)
class Check:
    """`hil_nas data check`."""

    folder: Path = option(positional=True, metavar="FOLDER", help="of recorded words, as --data of a search takes it")
    words: tuple[str, ...] = like(SearchConfig, "words", group="")
    json: bool = like(Command, "json")


def check(arguments: argparse.Namespace, console: Console) -> int:
    """`hil_nas data check`; the exit status is 1 where a search would refuse the folder."""
    from hil_nas.audio.data_check import check_data

    options = settings(Check, arguments)
    checked = check_data(options.folder, options.words or None, progress=console.step)
    console.result(checked.to_json(), Group(_check_table(checked), *_check_lines(checked)))
    return 0 if checked.ok else FAILED


@dataclass(frozen=True, kw_only=True)
class Record:
    """`hil_nas data record`."""

    word: str = option(positional=True, metavar="WORD", help="to be said")
    folder: Path = option(metavar="FOLDER", help="of recorded words; the clips go to FOLDER/WORD")
    speaker: str = option("", metavar="NAME", help="who says it: letters and digits, so that no voice is in two splits")
    count: int = option(10, least=1, most=1000, metavar="N", help="how many clips")
    json: bool = like(Command, "json")


def record(arguments: argparse.Namespace, console: Console) -> int:
    """`hil_nas data record`."""
    from hil_nas.audio.microphone import microphone_blocks
    from hil_nas.audio.record import check_names, record_word
    from hil_nas.front_ends import ONE_SECOND

    options, rate_hz = settings(Record, arguments), ONE_SECOND.sample_rate_hz
    check_names(options.word, options.speaker)
    blocks = microphone_blocks(rate_hz, rate_hz // 20)
    takes = record_word(
        options.word, options.folder, blocks, speaker=options.speaker, count=options.count, progress=console.step
    )
    data = {"word": options.word, "speaker": options.speaker, "takes": [vars(x) for x in takes]}
    console.result(data, Text(f"{len(takes)} clips in {options.folder / options.word}"))
    return 0


@dataclass(frozen=True, kw_only=True)
class Speak:
    """`hil_nas data speak`."""

    words: tuple[str, ...] = option(
        positional=True, parse=listed(str), metavar="WORDS", help="to be said, with commas between"
    )
    folder: Path = option(metavar="FOLDER", help="to be made; --data of a search takes it")
    clips: int = option(300, least=10, most=10_000, metavar="N", help="of each word, in all splits together")
    build: Path = like(Command, "build", group="")
    json: bool = like(Command, "json")


def speak(arguments: argparse.Namespace, console: Console) -> int:
    """`hil_nas data speak`."""
    from hil_nas.audio.spoken_folder import speak_words

    options = settings(Speak, arguments)
    spoken = speak_words(
        options.words, options.folder, options.build / "speech", clips=options.clips, progress=console.step
    )
    voices = " and ".join(f"{count} voices of {name}" for name, count in spoken.voices.items())
    console.result(vars(spoken), Text(f"{spoken.folder}: {spoken.clips:,} clips by {voices}"))
    return 0


def _check_table(checked: DataCheck) -> Table:
    clip_s = checked.clip.samples / checked.clip.sample_rate_hz
    table = Table(title=Text(f"{checked.folder}: {len(checked.files):,} recordings"), title_justify="left")
    names = ("", "train", "validation", "test", "speakers", "seconds", "dB", "clipped", "DC", "silent", "padded", "cut")
    for name in (*names, "resampled"):
        table.add_column(name, justify="right" if name else "left")
    for x in checked.classes:
        table.add_row(*_check_cells(x))
    table.caption = (
        f"seconds and dB (RMS against full scale): least, median, most; padded with zeros or cut to the loudest "
        f"{clip_s:g} s; brought to {checked.clip.sample_rate_hz:,} Hz"
    )
    return table


def _check_cells(x: ClassReport) -> Iterator[Text]:
    seconds = "–" if x.seconds is None else " ".join(f"{y:.2f}" for y in x.seconds)
    level = "–" if x.level_db is None else " ".join(f"{y:.0f}" for y in x.level_db)
    yield Text(x.name)
    yield from (Text(f"{y:,}") for y in (*x.clips.values(), x.speakers))
    yield from (Text(seconds), Text(level))
    yield from (Text(f"{y:,}" if y else "–") for y in (*x.faults.values(), *x.changes.values()))


def _check_lines(checked: DataCheck) -> Iterator[Text]:
    """What becomes of files beside the classes, equal files, what a search says of the folder, and its problems."""
    for use, count in checked.uses.items():
        if use.startswith(("left out", "cut for")):
            yield Text(f"{count:,} {use}")
    for names in checked.same[:_NAMED]:
        yield Text(f"equal: {' = '.join(names)}")
    if len(checked.same) > _NAMED:
        yield Text(f"equal: {len(checked.same) - _NAMED:,} more clips under several names")
    for note in checked.findings.notes:
        yield Text(f"data: {note}")
    for problem in checked.problems[:_NAMED]:
        yield Text(f"problem: {problem.message}{f' ({problem.hint})' if problem.hint else ''}")
    if len(checked.problems) > _NAMED:
        yield Text(f"problem: {len(checked.problems) - _NAMED:,} more")
