"""Settings that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hil_nas.audio.layout import find_recordings
from hil_nas.errors import InputError
from hil_nas.files import plain_name
from hil_nas.folders import Folders, usual_folders
from hil_nas.options import option

_FOLDERS = "folders"


@dataclass(frozen=True, kw_only=True)
class Command:
    """Options of every command."""

    json: bool = option(False, help="print one JSON object on standard output, the rest on standard error")
    boards: Path = option(
        factory=lambda: usual_folders().boards, metavar="FOLDER", group=_FOLDERS,
        help="descriptions of boards and sources of their firmware",
    )  # fmt: skip
    build: Path = option(
        factory=lambda: usual_folders().build, metavar="FOLDER", group=_FOLDERS,
        help="what is built or fetched, to be used again",
    )  # fmt: skip
    models: Path = option(
        factory=lambda: usual_folders().models, metavar="FOLDER", group=_FOLDERS,
        help="latency models, one folder for each board",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class BoardCommand(Command):
    """Options of a command that opens a board."""

    port: str | None = option(None, metavar="PORT", help="the board's serial port, where it is not found by itself")
    flash: bool = option(False, help="put the firmware on the board first, with pyOCD")


@dataclass(frozen=True, kw_only=True)
class RunCommand(BoardCommand):
    """Options of a command that leaves a run folder."""

    runs: Path = option(Path("runs"), metavar="FOLDER", group=_FOLDERS, help="where results go (default: ./runs)")

    @property
    def folders(self) -> Folders:
        """The folders that the options name. Where --models names one, no shipped latency models are read beside it."""
        usual = usual_folders()
        shipped = usual.shipped_models if self.models == usual.models else None
        return Folders(self.boards, self.build, self.models, self.runs, shipped)


def each_once(boards: Sequence[str], usual: str, port: str | None) -> list[str]:
    """The boards that were named, each once, or the usual one.

    Raises:
        InputError: for one port and several boards.
    """
    named = list(dict.fromkeys(boards or [usual]))
    if port is not None and len(named) > 1:
        raise InputError(f"--port {port} with {len(named)} boards", hint="name one board, or leave it out")
    return named


def require_recordings(folder: str | None, words: Sequence[str]) -> None:
    """
    Raises:
        InputError: where the folder of --data is none, or holds no recordings of words: better now than when torch is
            loaded and the board has been measured.
    """
    if folder is None:
        return
    if not Path(folder).is_dir():
        raise InputError(f"{folder} is no folder", hint="name the folder of recordings with --data")
    find_recordings(Path(folder), [plain_name(x) for x in words])
