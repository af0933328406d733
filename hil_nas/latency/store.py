"""The rows of a measuring campaign on disk: appended as they come, read again after an interruption.

`measurements.csv` holds the raw counts, `campaign.json` beside it what they hold for. A network's rows end
with its total, and all of them reach the disk before the next network begins; what an interruption left
half-written has no total or no line end, is not read, and is cut off before the next row is appended.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Literal, cast, get_args

from filelock import FileLock, Timeout

from hil_nas.errors import HilNasError, InputError
from hil_nas.files import append, write_atomically, writing
from hil_nas.mfcc import MfccConfig
from hil_nas.network import INPUT, Kind, Layer, Network, Operator, Pair, Shape, output_shape

SCHEMA, VERSION = "hil_nas.measurements", 1
ROWS, HEADER, LOCK = "measurements.csv", "campaign.json", ".lock"
COLUMNS = (
    "record", "network", "index", "operator", "inputs", "output", "kernel", "stride", "dilation",
    "padding", "relu", "front_end", "arena_bytes", "cycles",
)  # fmt: skip
REMEASURE = "measure again with `hil_nas profile`, or name the board that was measured"


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

    def require(self, found: Provenance, folder: Path) -> None:
        """Refuse rows of a folder that do not hold here.

        Raises:
            InputError: naming the first difference, both sides of it.
        """
        names = [x.name for x in fields(self)]
        for key in sorted(names, key=lambda x: x == "kernels"):  # last: a hash does not tell that it was the compiler
            here, there = getattr(self, key), getattr(found, key)
            if here != there:
                hint = f"move {folder} away and measure anew, or name another folder with --models"
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

    config: MfccConfig
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
        _write_header(self.folder / HEADER, provenance, kept)
        if first is not None and first.folder != self.folder:
            write_atomically(self.folder / ROWS, (first.folder / ROWS).read_bytes())
        self._cut_unfinished()

    def _first_rows(self, provenance: Provenance, shipped_dir: Path | None) -> Store | None:
        """Where the rows stand that a campaign goes on behind: here, among the shipped, or nowhere."""
        if (self.folder / HEADER).exists() or self.has_rows():
            provenance.require(self.provenance(), self.folder)
            return self
        shipped = None if shipped_dir is None else Store(shipped_dir / self.name)
        if shipped is None or not shipped.has_rows() or shipped.provenance() != provenance:
            return None
        return shipped

    def read(self) -> Measurements:
        """Every complete row.

        Raises:
            InputError: naming the line that is damaged.
        """
        path = self.folder / ROWS
        if not path.is_file():
            raise InputError(f"there are no measurements in {self.folder}", hint="run `hil_nas profile` first")
        text, _ = _finished(path)
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
        cells = {"record": "front_end", "front_end": str(row.config), "cycles": _join(row.cycles)}
        self._append([cells])

    def _append(self, rows: Sequence[dict[str, str]]) -> None:
        path = self.folder / ROWS
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
        if not path.exists() or path.stat().st_size == 0:
            writer.writeheader()
        writer.writerows(rows)
        append(path, text.getvalue().encode())

    def _cut_unfinished(self) -> None:
        path = self.folder / ROWS
        if not path.exists():
            return
        _, size_bytes = _finished(path)
        with path.open("r+b") as file:
            file.truncate(size_bytes)


def model_folder(name: str, models_dir: Path, shipped_dir: Path | None) -> Path:
    """The folder of a board's rows: this user's own, or those that came with the program where there are none."""
    if shipped_dir is None or Store(models_dir / name).has_rows() or not Store(shipped_dir / name).has_rows():
        return models_dir / name
    return shipped_dir / name


def _finished(path: Path) -> tuple[str, int]:
    """The text up to the last network total or front end, and how many bytes that is."""
    data = path.read_bytes()
    end = start = 0
    while (stop := data.find(b"\n", start)) >= 0:
        line = data[start : stop + 1]
        if start == 0 or line.startswith((b"network,", b"front_end,")):
            end = stop + 1
        start = stop + 1
    try:
        return data[:end].decode("utf-8"), end
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text", hint=f"restore it, or delete it and {REMEASURE}") from None


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
        return OperatorRow(row["network"], int(row["index"]), _operator(row), cycles)
    if row["record"] == "network":
        return NetworkRow(row["network"], int(row["arena_bytes"]), cycles)
    if row["record"] == "front_end":
        return FrontEndRow(MfccConfig.parse(row["front_end"]), cycles)
    raise ValueError(f"'{row['record']}' is no record")


def _operator(row: dict[str, str]) -> Operator:
    inputs = tuple(_shape(x) for x in row["inputs"].split("+"))
    output = _shape(row["output"])
    kind, padding, relu = row["operator"], row["padding"], row["relu"]
    if kind not in get_args(Kind) or padding not in ("same", "valid") or relu not in ("0", "1"):
        raise ValueError(f"'{kind}' with padding '{padding}' and relu '{relu}' is no operator")
    layer = Layer(
        kind=cast(Kind, kind),
        inputs=(INPUT,) * len(inputs),  # the wiring costs nothing and is not kept
        out_channels=output[2] if kind in ("conv", "dense") else 0,
        kernel=_pair(row["kernel"]),
        stride=_pair(row["stride"]),
        dilation=_pair(row["dilation"]),
        padding=cast(Literal["same", "valid"], padding),
        relu=relu == "1",
    )
    if output_shape(layer, inputs) != output:
        raise ValueError(f"a {kind} of {inputs} does not give {output}")
    return Operator(layer, inputs, output)


def _operator_cells(row: OperatorRow) -> dict[str, str]:
    layer = row.operator.layer
    return {
        "record": "operator",
        "network": row.network,
        "index": str(row.index),
        "operator": layer.kind,
        "inputs": "+".join(_join(x, "x") for x in row.operator.inputs),
        "output": _join(row.operator.output, "x"),
        "kernel": _join(layer.kernel, "x"),
        "stride": _join(layer.stride, "x"),
        "dilation": _join(layer.dilation, "x"),
        "padding": layer.padding,
        "relu": "1" if layer.relu else "0",
        "cycles": _join(row.cycles),
    }


def _network_cells(row: NetworkRow) -> dict[str, str]:
    return {
        "record": "network",
        "network": row.network,
        "arena_bytes": str(row.arena_bytes),
        "cycles": _join(row.cycles),
    }


def _read_header(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is missing", hint=REMEASURE) from None
    except ValueError:
        raise InputError(f"{path} is not JSON", hint=REMEASURE) from None
    if not isinstance(data, dict) or (data.get("schema"), data.get("version")) != (SCHEMA, VERSION):
        raise InputError(f"{path} is not '{SCHEMA}' of version {VERSION}", hint=REMEASURE)
    if not isinstance(data.get("provenance"), dict):
        raise InputError(f"{path} does not name {_names(Provenance)}")
    return data


def _write_header(path: Path, provenance: Provenance, history: dict[str, list[str]]) -> None:
    data = {"schema": SCHEMA, "version": VERSION, "provenance": asdict(provenance), **history}
    write_atomically(path, (json.dumps(data, indent=2) + "\n").encode())


def _names(kind: type) -> str:
    return ", ".join(x.name for x in fields(kind))


def _join(values: Sequence[int], separator: str = " ") -> str:
    return separator.join(str(x) for x in values)


def _shape(text: str) -> Shape:
    if not re.fullmatch(r"\d+x\d+x\d+", text):
        raise ValueError(f"'{text}' is no shape")
    height, width, channels = (int(x) for x in text.split("x"))
    return (height, width, channels)


def _pair(text: str) -> Pair:
    if not re.fullmatch(r"\d+x\d+", text):
        raise ValueError(f"'{text}' is no pair")
    first, second = (int(x) for x in text.split("x"))
    return (first, second)
