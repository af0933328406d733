"""Derivation: optimal against trying everything, and clear where nothing fits."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pytest

from hil_nas.errors import InfeasibleError
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.input_space import Operation
from hil_nas.nas.tiny.chain_graph import Preference
from hil_nas.nas.tiny.cost_table import CostTable, tabulate
from hil_nas.nas.tiny.derive import cheapest, derive, feasible_configs, nearest
from hil_nas.nas.tiny.space import Choice, TinySpace
from hil_nas.units import parse_bytes, parse_seconds
from tests.test_nas_space import toy_cycles

GRID = (Mfcc(640, 320, 40, 10), Mfcc(400, 200, 40, 10))
OPERATIONS = (
    Operation("skip"),
    Operation("pool", (2, 1), (2, 1)),
    Operation("pointwise"),
    Operation("separable", (3, 1)),
    Operation("separable", (9, 1), (2, 1)),
)
STEMS = (Operation("conv", (3, 1)), Operation("conv", (9, 1), (2, 1)))
SPACE = TinySpace(
    configs=GRID, classes=4, positions=2, widths=(8, 20), max_scale=(4, 1), stems=STEMS, operations=OPERATIONS
)


@pytest.fixture(scope="module")
def table() -> CostTable:
    return tabulate(SPACE, toy_cycles, lambda config: config.frames * 500.0)


def every_network() -> list[Choice]:
    """All points whose strides are all taken; the width of what keeps its width is counted once."""
    steps = [(o, w) for o, x in enumerate(OPERATIONS) for w in range(2) if w == 0 or not x.keeps_width]
    networks = []
    for config, stem, width, *chain in product(range(2), range(2), range(2), steps, steps):
        scale, taken = STEMS[stem].stride, True
        for index, _ in chain:
            taken = taken and SPACE.allowed(SPACE.configs[0], scale, OPERATIONS[index])
            scale = SPACE.scale_after(SPACE.configs[0], scale, OPERATIONS[index])
        if taken:
            networks.append(Choice(config, (stem, width), tuple(chain)))
    return networks


def random_preference(rng: np.random.Generator, spread: float) -> Preference:
    def logs(*shape: int) -> np.ndarray:
        x = rng.normal(size=shape) * spread
        return np.asarray(x - np.log(np.exp(x).sum(-1, keepdims=True)))

    return Preference(logs(2), logs(2), logs(3, 2), logs(2, len(OPERATIONS)))


def test_derived_networks_are_the_most_preferred_that_hold_every_limit(table: CostTable) -> None:
    rng, networks = np.random.default_rng(0), every_network()
    costs = {x: table.cost(x) for x in networks}
    levels = [np.quantile([c.values()[i] for c in costs.values()], (0.1, 0.4, 0.8)) for i in range(3)]
    binding = 0
    for trial in range(60):
        preference = random_preference(rng, float(rng.choice([0.3, 1.0, 3.0])))
        cycles, ram, flash = (float(rng.choice(x)) for x in levels)
        limits = Limits(cycles, int(ram), int(flash)) if trial % 4 else Limits(cycles=cycles)
        holding = [x for x in networks if limits.held_by(costs[x])]
        if not holding:
            with pytest.raises(InfeasibleError):
                derive(table, preference, limits)
            continue
        derived = derive(table, preference, limits)
        assert limits.held_by(table.cost(derived))
        best = max(preference.of(x, table) for x in holding)
        assert preference.of(derived, table) == pytest.approx(best, abs=1e-9)
        binding += best < max(preference.of(x, table) for x in networks)
    assert binding > 20  # the limits did decide


def test_without_limits_it_is_the_argmax(table: CostTable) -> None:
    preference = random_preference(np.random.default_rng(3), 1.0)
    best = max(every_network(), key=lambda x: preference.of(x, table))
    assert preference.of(derive(table, preference, Limits()), table) == pytest.approx(preference.of(best, table))


def test_a_configuration_that_is_out_is_never_derived(table: CostTable) -> None:
    preference = random_preference(np.random.default_rng(0), 1.0)
    for config in range(2):
        out = np.where(np.arange(2) == config, 0.0, -np.inf)
        only = Preference(out, preference.stem, preference.widths, preference.operations)
        assert derive(table, only, Limits()).config == config


@pytest.mark.parametrize("resource", range(3))
def test_the_cheapest_network_is_the_cheapest(table: CostTable, resource: int) -> None:
    for config in range(2):
        everything = [table.cost(x).values()[resource] for x in every_network() if x.config == config]
        assert table.cost(cheapest(table, resource, config)).values()[resource] == pytest.approx(min(everything))


def test_limits_just_above_and_below_the_cheapest(table: CostTable) -> None:
    least = min(table.cost(x).cycles for x in every_network())
    assert feasible_configs(table, Limits(cycles=least * 1.0001))
    with pytest.raises(InfeasibleError):
        feasible_configs(table, Limits(cycles=least * 0.9999))


def test_a_limit_out_of_reach_names_the_nearest_network(table: CostTable) -> None:
    limits = Limits(cycles=1e3, ram_bytes=16)
    with pytest.raises(InfeasibleError, match=r"cycles [\d,]+ cycles at least .*limit is 1,000 cycles; RAM"):
        derive(table, Preference.none(table), limits)
    names = [(name, table.space.at(choice)[0].classes) for name, choice, _ in nearest(table, limits)]
    assert names == [("cycles", 4), ("RAM", 4)]


def test_the_nearest_is_told_in_the_unit_of_the_limit_and_is_enough_when_asked(table: CostTable) -> None:
    """Read from the message and asked for in turn, as a person does."""
    hz, costs = 120_000_000, [table.cost(x) for x in every_network()]
    least = (min(x.cycles for x in costs) / hz, min(x.ram_bytes for x in costs), min(x.flash_bytes for x in costs))
    for resource, (flag, limit, read) in enumerate(
        (("latency", "1us", parse_seconds), ("RAM", "10B", parse_bytes), ("flash", "99B", parse_bytes))
    ):
        def limits(value: float, at: int = resource) -> Limits:
            given = [None, None, None]
            given[at] = value * (hz if at == 0 else 1)  # type: ignore[call-overload]
            return Limits(*given, latency_s=value if at == 0 else None)

        with pytest.raises(InfeasibleError) as caught:
            feasible_configs(table, limits(read(limit)))
        said = caught.value.message.replace(" bytes", "B")
        match = re.search(rf"{flag} (\S+) at least \(.*\), the limit is (\S+)$", said)
        assert match is not None and match[2] == limit, said
        nearest_value = read(match[1].replace(",", ""))
        assert least[resource] <= nearest_value <= least[resource] * 1.1 + 1
        assert feasible_configs(table, limits(nearest_value))


def test_limits_that_only_together_are_out_of_reach_are_said_so() -> None:
    """One configuration is fast and large, the other slow and small."""
    slow, fast = GRID
    table = tabulate(
        SPACE,
        toy_cycles,
        lambda config: {slow: 1e6, fast: 1e3}[config],
        front_end_flash_bytes=lambda config: {slow: 100, fast: 100_000}[config],
    )
    assert feasible_configs(table, Limits(cycles=5e5)) == (1,)
    assert feasible_configs(table, Limits(flash_bytes=50_000)) == (0,)
    with pytest.raises(InfeasibleError, match="found that holds all: cycles 500,000 cycles, flash 50,000 bytes"):
        derive(table, Preference.none(table), Limits(5e5, None, 50_000))


def test_a_large_space_is_solved_in_a_moment() -> None:
    space = TinySpace()
    whole = tabulate(space, toy_cycles, lambda config: config.frames * 2e4)
    rng = np.random.default_rng(0)
    shapes = [(8,), (len(space.stems),), (7, 8), (6, len(space.operations))]
    logs = [rng.normal(size=x) for x in shapes]
    logs = [x - np.log(np.exp(x).sum(-1, keepdims=True)) for x in logs]
    preference, limits = Preference(*logs), Limits(3e6, 8000, 20000)
    derived = derive(whole, preference, limits)
    assert limits.held_by(whole.cost(derived))
    # no single change of one choice is preferred and holds the limits
    for position, (operation, width) in enumerate(derived.chain):
        for o, w in product(range(len(space.operations)), range(8)):
            chain = (*derived.chain[:position], (o, w), *derived.chain[position + 1 :])
            other = Choice(derived.config, derived.stem, chain)
            if (o, w) != (operation, width) and _all_taken(space, other) and limits.held_by(whole.cost(other)):
                assert preference.of(other, whole) <= preference.of(derived, whole) + 1e-9


def _all_taken(space: TinySpace, choice: Choice) -> bool:
    scale = space.stems[choice.stem[0]].stride
    for index, _ in choice.chain:
        if not space.allowed(space.configs[0], scale, space.operations[index]):
            return False
        scale = space.scale_after(space.configs[0], scale, space.operations[index])
    return True
