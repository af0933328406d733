"""Measured rows, raw counts of operators, networks and front ends, and their form in measurements.csv."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from hil_nas.errors import HilNasError, InputError
from hil_nas.front_ends import FrontEnd, parse_front_end
from hil_nas.latency.cells import cells_of, joined, operator_of
from hil_nas.network import Network, Operator

COLUMNS = (
    "record", "network", "index", "operator", "inputs", "output", "kernel", "stride", "dilation",
    "padding", "relu", "front_end", "arena_bytes", "cycles",
)  # fmt: skip


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
    """Raw cycles of a front end over one clip, and of its stages, which one more run counted by themselves.

    Raises:
        ValueError: for other stages than the front end has.
    """

    config: FrontEnd
    cycles: tuple[int, ...]
    stages: tuple[tuple[str, int], ...]

    def __post_init__(self) -> None:
        if [name for name, _ in self.stages] != list(self.config.stages):
            found = ", ".join(name for name, _ in self.stages) or "none"
            raise ValueError(f"{self.config} has the stages {', '.join(self.config.stages)}, counted were {found}")

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


def parse_measurements(path: Path, text: str) -> Measurements:
    """The rows of a file's text.

    Args:
        path: named in errors.
        text: with a line of `COLUMNS` first, or empty.

    Raises:
        InputError: naming the line that is damaged.
    """
    operators: list[OperatorRow] = []
    networks: list[NetworkRow] = []
    front_ends: list[FrontEndRow] = []
    stages: list[tuple[str, str, int]] = []  # of the front end that comes: its name, the stage, cycles
    for number, row in _lines(path, text):
        try:
            if row["record"] == "stage":
                (cycles,) = _cycles(row)
                stages.append((row["front_end"], row["operator"], cycles))
                continue
            record = _record(row, stages)
        except (HilNasError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}, line {number}: {error}") from None
        if isinstance(record, OperatorRow):
            operators.append(record)
        elif isinstance(record, NetworkRow):
            networks.append(record)
        else:
            front_ends.append(record)
            stages = []
    return Measurements(tuple(operators), tuple(networks), tuple(front_ends))


def csv_text(rows: Sequence[dict[str, str]], *, header: bool) -> str:
    """Lines of measurements.csv.

    Args:
        rows: as of `network_rows` and `front_end_rows`.
        header: whether the line of `COLUMNS` comes first.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def network_rows(network: NetworkRow, operators: Sequence[OperatorRow]) -> list[dict[str, str]]:
    """The cells of a network's operators and, last, of its total, by column."""
    total = {
        "record": "network",
        "network": network.network,
        "arena_bytes": str(network.arena_bytes),
        "cycles": joined(network.cycles),
    }
    return [*map(_operator_cells, operators), total]


def front_end_rows(row: FrontEndRow) -> list[dict[str, str]]:
    """The cells of a front end's stages and, last, of its total, by column."""
    name = str(row.config)
    stages = [
        {"record": "stage", "front_end": name, "operator": stage, "cycles": str(cycles)} for stage, cycles in row.stages
    ]
    return [*stages, {"record": "front_end", "front_end": name, "cycles": joined(row.cycles)}]


def count_records(text: str) -> dict[str, int]:
    """How many networks and front ends are complete in the rows."""
    lines = text.splitlines()
    kinds = {"networks": "network,", "front_ends": "front_end,"}
    return {kind: sum(x.startswith(begin) for x in lines) for kind, begin in kinds.items()}


def _lines(path: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(io.StringIO(text))
    if text and tuple(reader.fieldnames or ()) != COLUMNS:
        raise InputError(f"{path} has the columns {reader.fieldnames}, expected {list(COLUMNS)}")
    for row in reader:
        if None in row or None in row.values():
            raise InputError(f"{path}, line {reader.line_num}: expected {len(COLUMNS)} columns")
        yield reader.line_num, row


def _cycles(row: dict[str, str]) -> tuple[int, ...]:
    cycles = tuple(int(x) for x in row["cycles"].split())
    if not cycles or min(cycles) < 0:
        raise ValueError(f"'{row['cycles']}' are no cycles")
    return cycles


def _record(row: dict[str, str], stages: Sequence[tuple[str, str, int]]) -> OperatorRow | NetworkRow | FrontEndRow:
    cycles = _cycles(row)
    if row["record"] == "operator":
        return OperatorRow(row["network"], int(row["index"]), operator_of(row), cycles)
    if row["record"] == "network":
        return NetworkRow(row["network"], int(row["arena_bytes"]), cycles)
    if row["record"] == "front_end":
        own = tuple((stage, count) for name, stage, count in stages if name == row["front_end"])
        return FrontEndRow(parse_front_end(row["front_end"]), cycles, own)
    raise ValueError(f"'{row['record']}' is no record")


def _operator_cells(row: OperatorRow) -> dict[str, str]:
    own = {"record": "operator", "network": row.network, "index": str(row.index), "cycles": joined(row.cycles)}
    return own | cells_of(row.operator)
