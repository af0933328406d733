"""Runs that lie in a folder: which there are, how two of them compare, and away with some."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hil_nas.errors import InputError, RunError
from hil_nas.files import writing
from hil_nas.holds import held_elsewhere, hold
from hil_nas.runs import read_json, read_result
from hil_nas.workflows.proportion import wilson

_FIGURES = ("latency_ms", "front_end_cycles", "network_cycles", "ram_bytes", "flash_bytes")
_OF_A_CLOCK = _FIGURES[:3]


@dataclass(frozen=True)
class PastRun:
    """A run folder as a list shows it.

    Attributes:
        status: of result.json (complete, missed), `damaged` where it cannot be read; where there is none,
            `running` while another process is at work in the folder, else `incomplete`.
        started: as environment.json says.
        result: None where there is none that can be read.
    """

    folder: Path
    command: str
    status: str
    started: str
    config: dict[str, Any]
    result: dict[str, Any] | None

    @classmethod
    def read(cls, folder: Path) -> PastRun:
        """
        Raises:
            RunError: for what is no run folder.
        """
        try:
            config, environment = read_json(folder / "config.json"), read_json(folder / "environment.json")
            command, started = str(config["command"]), str(environment["started"])
        except (RunError, KeyError):
            raise RunError(
                f"{folder} is no run folder: a config.json and an environment.json of a run are not both in it",
                hint="`hil_nas runs` lists those there are",
            ) from None
        status, result = "running" if held_elsewhere(folder) else "incomplete", None
        if (folder / "result.json").exists():
            try:
                result = read_result(folder)
                status = str(result["status"])
            except (RunError, KeyError):
                status = "damaged"
        return cls(folder, command, status, started, config, result)

    @property
    def figures(self) -> dict[str, Any]:
        """What was found, by name; empty where that is nothing to be compared."""
        result = self.result
        if result is None or "measured" not in result:
            return {}
        right, clips = round(result["accuracy_int8"] * result["test_clips"]), result["test_clips"]
        return {
            "clock": result["clock"], "front_end": result["front_end"], "accuracy_int8": result["accuracy_int8"],
            "accuracy_interval": list(wilson(right, clips)), "test_clips": clips, "macs": result["macs"],
            "parameters": result["parameters"], "data": result["data"]["name"],
            **{x: result["measured"][x] for x in _FIGURES},
        }  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.folder.name, "folder": str(self.folder), "command": self.command, "started": self.started,
            "board": self.config.get("board"), "limits": self.config.get("budget"), "status": self.status,
            **self.figures,
        }  # fmt: skip


def runs_in(runs_dir: Path) -> list[PastRun]:
    """All of a folder, the oldest first; what is no run is passed over."""
    found = []
    for path in runs_dir.glob("*/config.json"):
        try:
            found.append(PastRun.read(path.parent))
        except RunError:
            continue
    return sorted(found, key=lambda x: (x.started, x.folder.name))


def find_run(name: str, runs_dir: Path) -> Path:
    """The folder of a run by its name in `runs_dir`, or by its path.

    Raises:
        RunError: where neither is there.
    """
    for folder in (runs_dir / name, Path(name)):
        if name and folder.is_dir():
            return folder
    raise RunError(f"there is no run {name!r} in {runs_dir}", hint="`hil_nas runs` lists those there are")


def compared(a: PastRun, b: PastRun) -> dict[str, Any]:
    """Two finished searches or baselines side by side.

    Returns:
        `runs`: both as a list shows them; `ratios`: b over a, of counts and times only where board and clock are the
        same; `same_board`, `same_data`: whether that is so.

    Raises:
        InputError: for a run of something else, or one that has not ended.
    """
    for run in (a, b):
        if not run.figures:
            raise InputError(
                f"{run.folder} is a {run.command} that is {run.status}, and has no figures to compare",
                hint="name two finished runs of search or baseline",
            )
    ours, theirs = a.figures, b.figures
    same_board = (a.result or {})["board"] == (b.result or {})["board"] and ours["clock"] == theirs["clock"]
    names = [x for x in (*_FIGURES, "macs", "parameters") if same_board or x not in _OF_A_CLOCK]
    same_data = all(ours[x] == theirs[x] for x in ("data", "test_clips"))
    return {
        "runs": [a.to_json(), b.to_json()],
        "ratios": {x: theirs[x] / ours[x] for x in names if ours[x] and theirs[x] is not None},
        "same_board": same_board,
        "same_data": same_data,
    }


def remove(names: Sequence[str], runs_dir: Path) -> list[Path]:
    """Removes run folders with all that is in them, and returns them; nothing where one of them is none.

    Raises:
        RunError: for what is no run folder, for a link to one, for one that is named twice, and for one that another
            process is at work in.
        OutputError: where the system refuses.
    """
    folders, marks = [], []
    for name in names:
        folder = find_run(name, runs_dir)
        PastRun.read(folder)
        if (mark := hold(folder)) is None:
            raise RunError(f"another process is at work in {folder}", hint="wait until it is done, or end it")
        marks.append(mark)  # until all are gone
        if folder.is_symlink():
            raise RunError(f"{name} is a link", hint="name the folder that it leads to")
        folders.append(folder.resolve())
    if len(set(folders)) < len(folders):
        raise RunError(f"a run is named twice among {', '.join(names)}", hint="name each once")
    for folder in folders:
        with writing(folder):
            gone = folder.with_name(f".{folder.name}.removed")  # no half a run is ever seen
            os.replace(folder, gone)
            shutil.rmtree(gone)
    return folders
