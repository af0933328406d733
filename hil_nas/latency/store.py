"""The rows of measurements on disk: appended as they come, read again after an interruption.

`measurements.csv` holds the raw counts, `provenance.json` beside it what they hold for and how many they are. A
network's rows end with its total, and all of them reach the disk before the next network begins. What an interruption
left half-written has no total or no line end; it is not read, and is cut off before the next row is appended. A file
that ends before what was counted has been cut by something else. A warning says in both cases what was lost.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from filelock import FileLock, Timeout

from hil_nas.errors import CutOffWarning, HilNasError, InputError
from hil_nas.files import append, write_atomically, writing
from hil_nas.front_ends import FrontEnd, parse_front_end
from hil_nas.latency.cells import cells_of, joined, operator_of
from hil_nas.network import Network, Operator

SCHEMA, VERSION = "hil_nas.measurements", 2
ROWS, HEADER, LOCK = "measurements.csv", "provenance.json", ".lock"
COLUMNS = (
    "record", "network", "index", "operator", "inputs", "output", "kernel", "stride", "dilation",
    "padding", "relu", "front_end", "arena_bytes", "cycles",
)  # fmt: skip
_ANEW = "restore it, or move its folder away and measure anew with `hil_nas profile`"


@dataclass(frozen=True)
class Provenance:
    """What a measurement holds for; two that differ in any of these are never mixed.

    Attributes:
        clock: `silicon`, `modelled` or `instructions`.
        kernels: a hash of the measured code, its compiler and flags (not of the whole image).
        versions: kernel libraries and compiler, as the device names them.
        weights: where a plan's constants lie, `flash` or `ram`.
    """

    board: str
    host: str
    clock: str
    cpu_hz: int
    engine: str
    kernels: str
    versions: str
    weights: str

    def require(self, other: Provenance, folder: Path, hint: str | None = None) -> None:
        """Refuse rows of a folder that do not hold here.

        Args:
            hint: what to do, where it is not to move that folder away.

        Raises:
            InputError: naming the first difference, both sides of it.
        """
        names = [x.name for x in fields(self)]
        for key in sorted(names, key=lambda x: x == "kernels"):  # last: a hash does not tell that it was the compiler
            here, there = getattr(self, key), getattr(other, key)
            if here != there:
                hint = hint or f"move {folder} away and measure anew with `hil_nas profile`"
                raise InputError(f"{folder.name} was measured with {key} '{there}', this is '{here}'", hint=hint)


@dataclass(frozen=True)
class OperatorRow:
    """Raw cycles of one operator in one network; an entry per run."""

    network: str
    index: int
    operator: Operator
    cycles: tuple[int, ...]

    @property
    def median_cycles(self) -> float:
        return float(median(self.cycles))


@dataclass(frozen=True)
class NetworkRow:
    """Raw cycles of a whole network, measured without the counters of its operators."""

    network: str
    arena_bytes: int
    cycles: tuple[int, ...]

    @property
    def median_cycles(self) -> float:
        return float(median(self.cycles))


@dataclass(frozen=True)
class FrontEndRow:
    """Raw cycles of a front end over one clip."""

    config: FrontEnd
    cycles: tuple[int, ...]

    @property
    def median_cycles(self) -> float:
        return float(median(self.cycles))


@dataclass(frozen=True)
class Measurements:
    """All complete rows of one board; operators come grouped by their network."""

    operators: tuple[OperatorRow, ...] = ()
    networks: tuple[NetworkRow, ...] = ()
    front_ends: tuple[FrontEndRow, ...] = ()

    def of_networks(self, names: Sequence[str] | set[str]) -> Measurements:
        """The rows of some networks, with all front ends."""
        keep = set(names)
        return Measurements(
            tuple(x for x in self.operators if x.network in keep),
            tuple(x for x in self.networks if x.network in keep),
            self.front_ends,
        )

    def __add__(self, other: Measurements) -> Measurements:
        return Measurements(
            self.operators + other.operators,
            self.networks + other.networks,
            self.front_ends + other.front_ends,
        )


def network_id(network: Network) -> str:
    """A short name that says which network it is, by its content."""
    return hashlib.sha256(str(network).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Store:
    """The folder `latency_models/<BOARD@HOST>/`.

    Raises:
        InputError: for rows or a header that are damaged, or of another version.
    """

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    def has_rows(self) -> bool:
        """Whether anything was measured yet."""
        return (self.folder / ROWS).is_file()

    def provenance(self) -> Provenance:
        """What the rows were measured with."""
        if not self.has_rows() and not (self.folder / HEADER).exists():
            raise InputError(f"there are no measurements in {self.folder}", hint="run `hil_nas profile` first")
        data = _read_header(self.folder / HEADER)
        try:
            return Provenance(**data["provenance"])
        except TypeError:
            raise InputError(f"{self.folder / HEADER} does not name {_names(Provenance)}") from None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While it lasts no other process measures into this folder.

        Raises:
            InputError: where one does.
        """
        lock = FileLock(self.folder / LOCK, blocking=False)
        try:
            with writing(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                lock.acquire()
        except Timeout:
            message = f"another process is measuring into {self.folder}"
            raise InputError(message, hint="let it end, or name another folder with --models") from None
        try:
            yield
        finally:
            lock.release()

    def open(self, provenance: Provenance, build: str, shipped_dir: Path | None = None) -> None:
        """Make the folder ready to append, after an interruption too.

        Args:
            provenance: what is about to be measured.
            build: the firmware image; recorded with the day, neither is compared.
            shipped_dir: holds folders as this one; a new one begins with its namesake's rows, where they are of the
                same provenance.

        Raises:
            InputError: where the folder holds rows of another provenance.
        """
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        first = self._first_rows(provenance, shipped_dir)
        seen = {} if first is None else _read_header(first.folder / HEADER)
        today = datetime.now(UTC).date().isoformat()
        history = {"builds": build, "days": today}
        kept = {key: list(dict.fromkeys([*seen.get(key, []), value])) for key, value in history.items()}
        if first is not None and first.folder != self.folder:
            _write_header(self.folder / HEADER, provenance, kept)
            write_atomically(self.folder / ROWS, (first.folder / ROWS).read_bytes())
        text, lost = self._whole_rows()
        if lost:
            warnings.warn(CutOffWarning(f"{lost}; measured again"), stacklevel=2)
        if self.has_rows():
            with writing(self.folder / ROWS):
                os.truncate(self.folder / ROWS, len(text.encode()))
        _write_header(self.folder / HEADER, provenance, {**kept, "rows": _counted(text)})

    def _first_rows(self, provenance: Provenance, shipped_dir: Path | None) -> Store | None:
        """Where the rows stand that measuring goes on behind: here, among the shipped, or nowhere."""
        if self.has_rows() or any(self._promised().values()):
            provenance.require(self.provenance(), self.folder)
            return self
        shipped = None if shipped_dir is None else Store(shipped_dir / self.name)
        if shipped is None or not shipped.has_rows() or shipped.provenance() != provenance:
            return None
        return shipped

    def read(self) -> Measurements:
        """Every complete row; warns of those that were lost.

        Raises:
            InputError: naming the line that is damaged.
        """
        path = self.folder / ROWS
        if not path.is_file():
            raise InputError(f"there are no measurements in {self.folder}", hint="run `hil_nas profile` first")
        text, lost = self._whole_rows()
        if lost:
            warnings.warn(CutOffWarning(f"{lost}; `hil_nas profile` measures what is missing"), stacklevel=2)
        operators: list[OperatorRow] = []
        networks: list[NetworkRow] = []
        front_ends: list[FrontEndRow] = []
        for number, row in _parsed(path, text):
            try:
                record = _record(row)
            except (HilNasError, ValueError, KeyError, TypeError) as error:
                raise InputError(f"{path}, line {number}: {error}") from None
            if isinstance(record, OperatorRow):
                operators.append(record)
            elif isinstance(record, NetworkRow):
                networks.append(record)
            else:
                front_ends.append(record)
        return Measurements(tuple(operators), tuple(networks), tuple(front_ends))

    def append_network(self, network: NetworkRow, operators: Sequence[OperatorRow]) -> None:
        """A network's operators and, last, its total; on disk when this returns."""
        self._append([*(_operator_cells(x) for x in operators), _network_cells(network)])

    def append_front_end(self, row: FrontEndRow) -> None:
        """A front end; on disk when this returns."""
        cells = {"record": "front_end", "front_end": str(row.config), "cycles": joined(row.cycles)}
        self._append([cells])

    def _append(self, rows: Sequence[dict[str, str]]) -> None:
        path = self.folder / ROWS
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
        if not path.exists() or path.stat().st_size == 0:
            writer.writeheader()
        writer.writerows(rows)
        append(path, text.getvalue().encode())
        header = _read_header(self.folder / HEADER)
        header["rows"] = {kind: header["rows"][kind] + more for kind, more in _counted(text.getvalue()).items()}
        _write_json(self.folder / HEADER, header)

    def _whole_rows(self) -> tuple[str, str]:
        """The text of all complete rows, and in words what was lost, empty where nothing was."""
        path = self.folder / ROWS
        text, left = _finished(path) if path.is_file() else ("", 0)
        complete = _counted(text)
        gone = [
            f"{count - complete[kind]} of {count} {kind.replace('_', ' ')}"
            for kind, count in self._promised().items()
            if count > complete[kind]
        ]
        if gone:
            return text, f"{path} was cut off: {' and '.join(gone)} are gone"
        unfinished = f"{left} {'row' if left == 1 else 'rows'} of what was being measured"
        return text, f"{path} ends in {unfinished} when it was interrupted, which count for nothing" if left else ""

    def _promised(self) -> dict[str, int]:
        """How many networks and front ends were written, as the header counts them."""
        header = _read_header(self.folder / HEADER) if (self.folder / HEADER).exists() else {}
        rows: dict[str, int] = header.get("rows", _counted(""))
        return rows


def model_folder(name: str, expected: Provenance | None, models_dir: Path, shipped_dir: Path | None) -> Path:
    """The folder of a board's rows: this user's own, or those that came with the program where there are none.

    Raises:
        InputError: where the latter would be needed and do not hold here.
    """
    own = models_dir / name
    if shipped_dir is None or Store(own).has_rows() or not (shipped := Store(shipped_dir / name)).has_rows():
        return own
    if expected is not None:
        expected.require(shipped.provenance(), shipped.folder, "measure anew with `hil_nas profile`")
    return shipped.folder


def _finished(path: Path) -> tuple[str, int]:
    """The text up to the last network total or front end, and how many rows were begun behind it."""
    data = path.read_bytes()
    end = start = 0
    while (stop := data.find(b"\n", start)) >= 0:
        line = data[start : stop + 1]
        if start == 0 or line.startswith((b"network,", b"front_end,")):
            end = stop + 1
        start = stop + 1
    try:
        return data[:end].decode("utf-8"), len(data[end:].splitlines())
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text", hint=_ANEW) from None


def _counted(text: str) -> dict[str, int]:
    """How many networks and front ends are complete in the rows."""
    lines = text.splitlines()
    kinds = {"networks": "network,", "front_ends": "front_end,"}
    return {kind: sum(x.startswith(begin) for x in lines) for kind, begin in kinds.items()}


def _parsed(path: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(io.StringIO(text))
    if text and tuple(reader.fieldnames or ()) != COLUMNS:
        raise InputError(f"{path} has the columns {reader.fieldnames}, expected {list(COLUMNS)}")
    for row in reader:
        if None in row or None in row.values():
            raise InputError(f"{path}, line {reader.line_num}: expected {len(COLUMNS)} columns")
        yield reader.line_num, row


def _record(row: dict[str, str]) -> OperatorRow | NetworkRow | FrontEndRow:
    cycles = tuple(int(x) for x in row["cycles"].split())
    if not cycles or min(cycles) < 0:
        raise ValueError(f"'{row['cycles']}' are no cycles")
    if row["record"] == "operator":
        return OperatorRow(row["network"], int(row["index"]), operator_of(row), cycles)
    if row["record"] == "network":
        return NetworkRow(row["network"], int(row["arena_bytes"]), cycles)
    if row["record"] == "front_end":
        return FrontEndRow(parse_front_end(row["front_end"]), cycles)
    raise ValueError(f"'{row['record']}' is no record")


def _operator_cells(row: OperatorRow) -> dict[str, str]:
    own = {"record": "operator", "network": row.network, "index": str(row.index), "cycles": joined(row.cycles)}
    return own | cells_of(row.operator)


def _network_cells(row: NetworkRow) -> dict[str, str]:
    return {
        "record": "network",
        "network": row.network,
        "arena_bytes": str(row.arena_bytes),
        "cycles": joined(row.cycles),
    }


def _read_header(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is missing", hint=_ANEW) from None
    except ValueError:
        raise InputError(f"{path} is not JSON", hint=_ANEW) from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise InputError(f"{path} is not '{SCHEMA}'", hint=_ANEW)
    if data.get("version") != VERSION:
        raise InputError(f"{path} is of version {data.get('version')}, expected {VERSION}", hint=_ANEW)
    if not isinstance(data.get("provenance"), dict):
        raise InputError(f"{path} does not name {_names(Provenance)}")
    rows = data.get("rows", _counted(""))
    if not isinstance(rows, dict) or rows.keys() != _counted("").keys() or {type(x) for x in rows.values()} != {int}:
        raise InputError(f"{path} counts {rows}, expected numbers of {' and '.join(_counted(''))}", hint=_ANEW)
    return {**data, "rows": rows}


def _write_header(path: Path, provenance: Provenance, more: dict[str, Any]) -> None:
    _write_json(path, {"schema": SCHEMA, "version": VERSION, "provenance": asdict(provenance), **more})


def _write_json(path: Path, data: dict[str, Any]) -> None:
    write_atomically(path, (json.dumps(data, indent=2) + "\n").encode())


def _names(kind: type) -> str:
    return ", ".join(x.name for x in fields(kind))
