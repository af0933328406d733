"""What the records of a run mean: counts of its runs, of the network's operators and of the front end's stages."""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hil_nas.device.protocol import shown
from hil_nas.device.replies import NUMBER, What
from hil_nas.errors import ProtocolError
from hil_nas.operators.table import BY_NAME, PLAN_CODES

# The engine tflm names the file's own operators, these beside those of the table.
KINDS = {*PLAN_CODES, *BY_NAME, "shape", "pack", "expand_dims", "squeeze"}
_COUNTER_LIMIT = 1 << 32
_SLACK_SHARE, _SLACK_PER_PART_CYCLES = 0.1, 500


class OperatorCycles(NamedTuple):
    """One operator of one run with probes between operators."""

    kind: str
    cycles: int


class StageCycles(NamedTuple):
    """One stage of a front end over one clip, of one run with probes between stages."""

    name: str
    cycles: int


@dataclass(frozen=True)
class RunCounts:
    """Raw counts of one `run`; what did not run is empty.

    Attributes:
        front_end_cycles, network_cycles: one count per run, without probes inside.
        operators: from one extra run, in the plan's order.
        stages: of the front end, from one extra run, in their order.
    """

    front_end_cycles: tuple[int, ...]
    network_cycles: tuple[int, ...]
    operators: tuple[OperatorCycles, ...]
    stages: tuple[StageCycles, ...] = ()

    @property
    def front_end_median_cycles(self) -> int:
        """The lower median, a count that was seen; 0 where the front end did not run."""
        return statistics.median_low(self.front_end_cycles) if self.front_end_cycles else 0

    @property
    def network_median_cycles(self) -> int:
        """The lower median, a count that was seen; 0 where the network did not run."""
        return statistics.median_low(self.network_cycles) if self.network_cycles else 0

    @property
    def total_median_cycles(self) -> int:
        """Front end plus network."""
        return self.front_end_median_cycles + self.network_median_cycles


def parse_run(records: Sequence[str], what: What, runs: int, op_count: int | None, exact: bool) -> RunCounts:
    """The records of `hil run`.

    Args:
        op_count: operators of the loaded plan; None where it is not known.
        exact: the counter is a clock of the board, so that stages and operators must add up to the totals.

    Raises:
        ProtocolError: for counts missing, doubled or out of order, for a counter that stands still, and for
            counts that contradict each other.
    """
    totals, rest = records[:runs], list(records[runs:])
    pairs = [_run(text, index, what) for index, text in enumerate(totals)]
    if len(pairs) != runs:
        raise ProtocolError(f"{len(pairs)} runs came back, expected {runs}")
    stages = tuple(_stage(x, index) for index, x in enumerate(itertools.takewhile(_is_stage, rest)))
    operators = tuple(_operator(text, index) for index, text in enumerate(rest[len(stages) :]))
    if (what in ("network", "step")) == bool(stages):
        raise ProtocolError(f"{len(stages)} stages of a front end came back from a run of '{what}'")
    expected = 0 if what in ("step", "frontend") else op_count
    if expected is not None and len(operators) != expected:
        raise ProtocolError(f"{len(operators)} operators came back, expected {expected}")
    front_end = () if what in ("network", "step") else tuple(x for x, _ in pairs)
    network = () if what == "frontend" else tuple(x for _, x in pairs)
    if exact and operators:
        _check_sum("operators", "network", network, operators)
    if exact and stages:
        _check_sum("stages", "front end", front_end, stages)
    return RunCounts(front_end, network, operators, stages)


def _run(text: str, index: int, what: What) -> tuple[int, int]:
    match = re.fullmatch(rf"run-{NUMBER}-{NUMBER}-{NUMBER}", text)
    if match is None or int(match.group(1)) != index:
        raise ProtocolError(f"expected run {index}, found {shown(text)}")
    front_end, network = _count(match.group(2)), _count(match.group(3))
    ran = {"network": (False, True), "step": (False, True), "frontend": (True, False), "all": (True, True)}[what]
    for name, count, expected in zip(("front end", "network"), (front_end, network), ran, strict=True):
        if expected and not count:
            raise _stands_still(f"the {name} of run {index}")
        if count and not expected:
            raise ProtocolError(f"run {index} counted {count} cycles of the {name}, which was not asked for")
    return front_end, network


def _operator(text: str, index: int) -> OperatorCycles:
    match = re.fullmatch(rf"op-{NUMBER}-([a-z_]+)-{NUMBER}", text)
    if match is None or int(match.group(1)) != index or match.group(2) not in KINDS:
        raise ProtocolError(f"expected operator {index}, found {shown(text)}")
    cycles = _count(match.group(3))
    if not cycles:
        raise _stands_still(f"operator {index}")
    return OperatorCycles(match.group(2), cycles)


def _is_stage(text: str) -> bool:
    return text.startswith("stage-")


def _stage(text: str, index: int) -> StageCycles:
    match = re.fullmatch(rf"stage-{NUMBER}-([a-z_]+)-{NUMBER}", text)
    if match is None or int(match.group(1)) != index:
        raise ProtocolError(f"expected stage {index}, found {shown(text)}")
    return StageCycles(match.group(2), _count(match.group(3)))


def _check_sum(parts: str, what: str, whole: Sequence[int], counted: Sequence[OperatorCycles | StageCycles]) -> None:
    total = sum(x.cycles for x in counted)
    slack = _SLACK_PER_PART_CYCLES * len(counted)
    low, high = min(whole) * (1 - _SLACK_SHARE) - slack, max(whole) * (1 + _SLACK_SHARE) + slack
    if not low <= total <= high:
        raise ProtocolError(
            f"the {parts} add up to {total} cycles, the {what} took {min(whole)} to {max(whole)}",
            hint="the cycle counter is read wrongly, or it stops while the processor sleeps",
        )


def _stands_still(what: str) -> ProtocolError:
    return ProtocolError(
        f"the cycle counter did not move during {what}",
        hint="the board's counter is missing or not enabled (DWT CYCCNT; Renode needs a DWT in its platform)",
    )


def _count(text: str) -> int:
    if int(text) >= _COUNTER_LIMIT:
        raise ProtocolError(f"a count of {text} does not fit the 32-bit counter")
    return int(text)
