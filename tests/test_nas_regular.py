"""Regular chains, against all chains of a space: which there are, and which fill a limit best."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch

from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.input_space import Operation
from hil_nas.nas.tiny.band import Band
from hil_nas.nas.tiny.cost_table import CostTable, tabulate
from hil_nas.nas.tiny.expected import average_cycles
from hil_nas.nas.tiny.regular import fullest, regular_chains
from hil_nas.nas.tiny.space import Choice, TinySpace
from hil_nas.nas.tiny.strategy import TinyStrategy
from tests.test_nas_band import every_chain
from tests.test_nas_search import QUICK
from tests.test_nas_search import SPACE as SMALL
from tests.test_nas_space import toy_cycles

SPACE = TinySpace(configs=(Mfcc(640, 640, 20, 6), Mfcc(640, 480, 20, 6)), classes=3, positions=4, widths=(4, 8, 12, 16))


def is_regular(choice: Choice, space: TinySpace) -> bool:
    """By what stands at the point, whatever its indices are."""
    done = [space.operations[o] for o, _ in choice.chain]
    kept = [x for x in done if x != Operation("skip")]
    widths = [choice.stem[1], *[w for _, w in choice.chain[: len(kept)]]]
    return (
        bool(kept) and set(done[len(kept) :]) <= {Operation("skip")}
        and kept[0].kind == "separable" and kept[0].stride == (1, 1) and set(kept[:-1]) <= {kept[0]}
        and kept[-1] in [replace(kept[0], stride=x.stride) for x in space.operations]
        and widths == sorted(widths) and widths[-1] - widths[0] <= 1
        and all(w == widths[-1] for _, w in choice.chain[len(kept) :])
    )  # fmt: skip


def test_they_are_all_that_repeat_one_convolution_and_grow_by_one_width_at_most() -> None:
    """The last one with a stride or without."""
    space = replace(SMALL, operations=(*SMALL.operations, Operation("separable", (3, 1), (2, 1))))
    every, regular = every_chain(space), regular_chains(space)
    expected = {x for x in (every.choice(0, i) for i in range(len(every.stem))) if is_regular(x, space)}
    found = [regular.choice(0, i) for i in range(len(regular.stem))]
    assert set(found) == expected and len(found) == len(expected) > 10
    assert {len({o for o, _ in x.chain}) for x in found} == {1, 2}


def test_a_space_without_skips_has_those_of_its_own_depth() -> None:
    space = TinySpace(configs=SMALL.configs, positions=3, widths=(4, 8), operations=SPACE.operations[1:])
    found = regular_chains(space)
    assert {len(set(x)) for x in found.operations.tolist()} == {1, 2} and found.operations.shape[1] == 3
    assert all(is_regular(found.choice(0, i), space) for i in range(len(found.stem)))


@pytest.fixture(scope="module")
def table() -> CostTable:
    return tabulate(SPACE, toy_cycles, lambda config: config.frames * 1e3)


@pytest.mark.parametrize("limits", [Limits(cycles=1.2e5), Limits(cycles=1.2e5, flash_bytes=3000), Limits(cycles=4e4)])
def test_of_each_kind_the_fullest_inside_the_band_is_found(table: CostTable, limits: Limits) -> None:
    chains, config = regular_chains(SPACE), 1
    band = Band(table, limits, 0.9)
    floor, kinds = 0.9 * (limits.values()[0] - table.cycles.front_end[config]), defaultdict(list)
    for i in range(len(chains.stem)):
        choice = chains.choice(config, i)
        genotype, _ = SPACE.at(choice)
        asked = [SPACE.operations[o] for o, _ in choice.chain if SPACE.operations[o].kind != "skip"]
        taken = [SPACE.stems[choice.stem[0]], *asked]
        same = [genotype.stem.operation, *(x.operation for x in genotype.chain)] == taken
        cycles = table.network_cycles(choice)
        if same and limits.held_by(table.cost(choice)) and cycles >= floor:
            kinds[choice.stem[0], tuple(o for o, _ in choice.chain)].append(cycles)
    found = {}
    for i in fullest(band, config, chains):
        choice = chains.choice(config, int(i))
        kind = choice.stem[0], tuple(o for o, _ in choice.chain)
        assert kind not in found
        found[kind] = table.network_cycles(choice)
    assert found == pytest.approx({kind: max(x) for kind, x in kinds.items()})
    assert found or limits.cycles == 4e4


def test_a_strategy_gives_those_of_a_configuration(table: CostTable) -> None:
    limits = Limits(cycles=1.2e5)
    strategy = TinyStrategy(table, QUICK, limits, torch.Generator().manual_seed(0), torch.device("cpu"))
    found = strategy.regular(0)
    assert len(set(found)) == len(found) > 5 and all(is_regular(x, SPACE) and x.config == 0 for x in found)
    assert all(limits.held_by(table.cost(x)) for x in found)
    narrow = Limits(cycles=table.cycles.front_end[1] + 1e3)  # no network takes so few
    nothing = TinyStrategy(table, QUICK, limits, torch.Generator().manual_seed(0), torch.device("cpu"))
    nothing._filled = Band(table, narrow, 0.9)
    assert nothing.regular(1) == []


@pytest.mark.parametrize(("times", "fills"), [(2.0, True), (40.0, False)])
def test_what_is_asked_for_fills_a_limit_that_can_be_filled(table: CostTable, times: float, fills: bool) -> None:
    """However far the average network lies below; where no regular chain can, it is no smaller than the average."""
    average, own = average_cycles(table)[1], table.cycles.front_end[1]
    left = times * average
    limits = Limits(cycles=own + left)
    strategy = TinyStrategy(table, QUICK, limits, torch.Generator().manual_seed(0), torch.device("cpu"))
    with torch.no_grad():
        strategy.net.alignment.gamma[1] = 9.0
    rng = np.random.default_rng(0)
    drawn = [strategy.filling(1, rng) for _ in range(8)]
    asked = [*strategy.regular(1), *strategy.preferred(1.0, limits, 64), *drawn]
    cycles = np.array([table.network_cycles(x) for x in asked])
    assert len(set(asked)) > 10 and all(x.config == 1 and limits.held_by(table.cost(x)) for x in asked)
    if fills:
        assert cycles.min() >= 0.95 * left > 1.5 * average
    else:
        assert 0.95 * left > cycles.max() and average <= cycles.min() < 0.5 * cycles.max()
