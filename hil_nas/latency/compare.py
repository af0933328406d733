"""How two boards, or two builds for one, differ: by kernel path, by front end, by whole network."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from hil_nas.errors import InputError
from hil_nas.latency.kernel_work import kernel_path
from hil_nas.latency.measurements import Measurements
from hil_nas.latency.provenance import Provenance
from hil_nas.latency.store import Store
from hil_nas.network import Operator


@dataclass(frozen=True)
class Ratio:
    """Counts of the second divided by those of the first, over what both have measured.

    Attributes:
        what: a kernel path, a front end's configuration, or `networks`.
        count: how many were measured in both.
    """

    what: str
    count: int
    median: float
    least: float
    most: float


@dataclass(frozen=True)
class Comparison:
    """Two latency models side by side; a ratio of counts of different clocks is no ratio of times."""

    names: tuple[str, str]
    provenances: tuple[Provenance, Provenance]
    operators: tuple[Ratio, ...]
    front_ends: tuple[Ratio, ...]
    networks: Ratio | None

    @property
    def same_clock(self) -> bool:
        """Whether the counts are of one kind, so that their ratio means something for cycles."""
        first, second = self.provenances
        return first.clock == second.clock

    @property
    def differences(self) -> dict[str, tuple[str, str]]:
        """What of the provenance differs, both sides."""
        first, second = (asdict(x) for x in self.provenances)
        return {k: (str(first[k]), str(second[k])) for k in first if first[k] != second[k]}

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "same_clock": self.same_clock, "differences": self.differences}


def compare(first: Path, second: Path) -> Comparison:
    """Compare two folders below `latency_models`.

    Raises:
        InputError: where one holds no rows or damaged ones, or where they have nothing in common.
    """
    stores = (Store(first), Store(second))
    provenances = (stores[0].provenance(), stores[1].provenance())
    rows = (stores[0].read(), stores[1].read())
    operators, ends = _operators(*rows), _front_ends(*rows)
    if not operators and not ends:
        raise InputError(
            f"{stores[0].name} and {stores[1].name} have no operator and no front end in common",
            hint="measure both with `hil_nas profile` and the same --seed",
        )
    names = (stores[0].name, stores[1].name)
    return Comparison(names, provenances, operators, ends, _networks(*rows))


def _operators(first: Measurements, second: Measurements) -> tuple[Ratio, ...]:
    """By kernel path; an operator that stands in several networks counts once, by the median of its counts."""
    before = _medians((x.operator, x.median_cycles) for x in first.operators)
    after = _medians((x.operator, x.median_cycles) for x in second.operators)
    ratios: dict[str, list[float]] = defaultdict(list)
    for operator, cycles in before.items():
        if operator in after and cycles > 0:
            assert isinstance(operator, Operator)
            ratios[kernel_path(operator)].append(after[operator] / cycles)
    return tuple(_ratio(path, values) for path, values in sorted(ratios.items()))


def _front_ends(first: Measurements, second: Measurements) -> tuple[Ratio, ...]:
    before = _medians((x.config, x.median_cycles) for x in first.front_ends)
    after = _medians((x.config, x.median_cycles) for x in second.front_ends)
    return tuple(_ratio(str(x), [after[x] / before[x]]) for x in before if x in after)


def _networks(first: Measurements, second: Measurements) -> Ratio | None:
    before = _medians((x.network, x.median_cycles) for x in first.networks)
    after = _medians((x.network, x.median_cycles) for x in second.networks)
    both = [after[x] / before[x] for x in before if x in after]
    return _ratio("networks", both) if both else None


def _medians(rows: Iterable[tuple[Hashable, float]]) -> dict[Hashable, float]:
    gathered: dict[Hashable, list[float]] = defaultdict(list)
    for key, cycles in rows:
        gathered[key].append(cycles)
    return {key: float(median(values)) for key, values in gathered.items()}


def _ratio(what: str, ratios: list[float]) -> Ratio:
    return Ratio(what, len(ratios), float(median(ratios)), min(ratios), max(ratios))
