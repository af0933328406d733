"""Boards as data: `boards/<name>/board.toml` as frozen dataclasses."""

from __future__ import annotations

import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from hil_nas.errors import InputError
from hil_nas.target import HOSTS, board_name
from hil_nas.values import suggestion

T = TypeVar("T")


@dataclass(frozen=True)
class BoardMemory:
    """RAM and flash that the firmware may use, in bytes."""

    ram_bytes: int
    flash_bytes: int


@dataclass(frozen=True)
class Uart:
    """The serial port: its speed in baud, and the USB ids (`0483:374b`) of the adapter on the board."""

    baud: int
    usb_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Build:
    """How the firmware is compiled: paths are relative to the board's folder."""

    compiler: str
    flags: tuple[str, ...]
    sources: tuple[str, ...]
    linker_script: str | None = None


@dataclass(frozen=True)
class Timing:
    """Cycles that the virtual board adds to an instruction's own: per taken branch and per cache miss.

    Attributes:
        error_percent: how far a network's modelled cycles may lie from silicon's, by the evidence for the penalties.
    """

    branch_cycles: float
    instruction_miss_cycles: float
    data_sector_miss_cycles: float
    data_line_miss_cycles: float
    error_percent: float


@dataclass(frozen=True)
class Power:
    """What somebody measured and published: the board's power while it infers, in milliwatts, and where it stands."""

    active_mw: float
    source: str


@dataclass(frozen=True)
class Debug:
    """The name of the part for pyOCD, which flashes it."""

    pyocd_target: str


@dataclass(frozen=True)
class Qemu:
    """QEMU's machine, and its -icount shift: an instruction takes 2**shift ns of its clock."""

    machine: str
    icount_shift: int


@dataclass(frozen=True)
class Board:
    """A kind of hardware, as its board.toml says.

    Attributes:
        name: equals the folder's name and what the firmware answers.
        core: as the compiler's -mcpu names it.
        cpu_hz: the clock that the firmware sets.
        hosts: where its firmware runs.
        timing: None where no virtual board models it.
        power: None where nobody published any.
        debug: None where nothing is flashed.
        qemu: None where QEMU has no such machine.
    """

    name: str
    core: str
    cpu_hz: int
    hosts: tuple[str, ...]
    memory: BoardMemory
    uart: Uart
    build: Build
    timing: Timing | None = None
    power: Power | None = None
    debug: Debug | None = None
    qemu: Qemu | None = None


def board_names(boards_dir: Path) -> tuple[str, ...]:
    """The folders that hold a board.toml, sorted."""
    return tuple(sorted(x.parent.name for x in boards_dir.glob("*/board.toml")))


def load_board(name: str, boards_dir: Path) -> Board:
    """Read `boards_dir/<name>/board.toml`.

    Args:
        name: with dashes or underscores.

    Raises:
        InputError: for an unknown board, and for a file with unknown, missing or wrong keys.
    """
    folder, known = board_name(name), board_names(boards_dir)
    if folder not in known:
        raise InputError(f"'{name}' is no board in {boards_dir}", hint=suggestion(folder, known, "boards"))
    path = boards_dir / folder / "board.toml"
    try:
        board = _read(Board, tomllib.loads(path.read_text(encoding="utf-8")), "")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from None
    except InputError as error:
        raise InputError(f"{path}: {error.message}", hint=error.hint) from None
    _check(board, folder, path)
    return board


def _check(board: Board, folder: str, path: Path) -> None:
    if board.name != folder:
        raise InputError(f"{path}: name is '{board.name}', expected the folder's name '{folder}'")
    for host in board.hosts:
        if host not in HOSTS:
            raise InputError(f"{path}: '{host}' is no host of a board", hint=suggestion(host, HOSTS, "hosts"))
    needs = {"virtual": "timing", "qemu": "qemu", "serial": "debug"}
    for host, table in needs.items():
        if host in board.hosts and getattr(board, table) is None:
            raise InputError(f"{path}: the host '{host}' needs the table [{table}]")
    sizes = (board.cpu_hz, board.memory.ram_bytes, board.memory.flash_bytes, board.uart.baud)
    if min(sizes) < 1:
        raise InputError(f"{path}: cpu_hz, ram_bytes, flash_bytes and baud are above 0, found {sizes}")
    if board.power is not None and not board.power.active_mw > 0:
        raise InputError(f"{path}: power.active_mw is above 0, found {board.power.active_mw:g}")


def _read(kind: type[T], data: Mapping[str, Any], where: str) -> T:
    known = {x.name: x for x in fields(kind)}  # type: ignore[arg-type]
    for key in data:
        if key not in known:
            raise InputError(f"unknown key '{where}{key}'", hint=suggestion(key, known, "keys"))
    missing = [x for x, f in known.items() if x not in data and f.default is MISSING]
    if missing:
        raise InputError(f"missing {', '.join(f'{where}{x}' for x in missing)}")
    hints = typing.get_type_hints(kind)
    return kind(**{key: _value(hints[key], value, f"{where}{key}") for key, value in data.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    if isinstance(hint, types.UnionType):  # T | None: TOML has no null, so a key that is there holds a T
        hint = next(x for x in get_args(hint) if x is not type(None))
    if is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise InputError(f"{where} is a table, found {value!r}")
        return _read(hint, value, f"{where}.")
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list) or not all(isinstance(x, str) for x in value):
            raise InputError(f"{where} is a list of texts, found {value!r}")
        return tuple(value)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise InputError(f"{where} is of type {hint.__name__}, found {value!r}")
    return value
