"""One supernet for several limits, on toy data: what each step trains, what each limit gets, and that it repeats."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hil_nas.nas import search_loop as loop_module
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.grid_search import GridSearch, search
from hil_nas.nas.tiny.cost_table import CostTable, tabulate
from hil_nas.nas.tiny.space import Choice
from hil_nas.nas.tiny.strategy import TinyNetworks, TinyStrategy
from tests.test_nas_search import CPU, QUICK, SPACE, clips
from tests.test_nas_space import toy_cycles

LIMITS = [Limits(cycles=x, flash_bytes=1500) for x in (4.2e4, 6e4, 1.2e5)]  # the first leaves too little to one of GRID
SETTINGS = replace(QUICK, epochs=5, decide_every=2)


@pytest.fixture(scope="module")
def cost_table() -> CostTable:
    return tabulate(SPACE, toy_cycles, lambda config: config.frames * 1e3)


def searched(cost_table: CostTable, limits: list[Limits] = LIMITS, **more: Any) -> list[GridSearch]:
    settings = more.pop("settings", SETTINGS)
    start = partial(TinyStrategy, cost_table, settings)
    return search(start, clips(1, (1,)), clips(2, (1,)), limits, seed=0, **more)


def weights(one: GridSearch) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in one.loop.net.state_dict().items()}


def test_every_limit_is_held_by_its_own_choice_of_one_set_of_weights(cost_table: CostTable) -> None:
    searches = searched(cost_table, measure=lambda network, config: 1.1 * toy_network_cycles(network))
    for one, limits in zip(searches, LIMITS, strict=True):
        result = one.result()
        measured = 1.1 * toy_network_cycles(result.network) + result.config.frames * 1e3
        assert result.cost.cycles == pytest.approx(measured) and measured <= limits.values()[0]
        assert result.cost.flash_bytes <= 1500
    nets = [x.loop.net for x in searches]
    assert nets[0].alignment.configs != (0, 1, 2)  # it has gammas of its own feasible front ends
    for net in nets[:2]:
        theirs, widest = net.weight_parameters(), nets[2].weight_parameters()
        assert theirs.keys() == widest.keys() and all(theirs[x] is widest[x] for x in theirs)
        decided = net.architecture_parameters()
        assert not any(torch.equal(x, nets[2].architecture_parameters()[name]) for name, x in decided.items())


def toy_network_cycles(network: Any) -> float:
    return float(toy_cycles([x for x in network.operators() if x.layer.kind != "reshape"]).sum())


def test_limits_take_equal_shares_of_the_steps_and_draw_in_their_own_bands(
    cost_table: CostTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt, decided, drawn = Counter[int](), list[int](), list[tuple[float, float]]()
    learn, decide = loop_module.Loop.learn, loop_module.Loop.decide
    draw, choose = TinyNetworks.drawn, TinyNetworks.chosen

    def learning(self: loop_module.Loop, now: float) -> None:
        learnt[id(self)] += 1
        learn(self, now)

    def deciding(self: loop_module.Loop, now: float) -> None:
        decided.append(id(self))
        decide(self, now)

    def drawing(self: TinyNetworks, *args: Any) -> Choice:
        choice = draw(self, *args)
        drawn.append((cost_table.cost(choice).cycles, self._band._limits[0]))
        return choice

    def choosing(self: TinyNetworks, *args: Any) -> tuple[list[Choice], Tensor]:
        choices, logs = choose(self, *args)
        drawn.extend((cost_table.cost(x).cycles, self._band._limits[0]) for x in choices)
        return choices, logs

    monkeypatch.setattr(loop_module.Loop, "learn", learning)
    monkeypatch.setattr(loop_module.Loop, "decide", deciding)
    monkeypatch.setattr(TinyNetworks, "drawn", drawing)
    monkeypatch.setattr(TinyNetworks, "chosen", choosing)
    searches = searched(cost_table, settings=replace(SETTINGS, rounds=63, batch=8))
    loops = [id(x.loop) for x in searches]
    assert sum(learnt.values()) == 5 * 63  # as many as for one limit
    assert all(abs(learnt[x] - 105) < 3 * (315 * 2 / 9) ** 0.5 for x in loops)  # three standard deviations
    assert decided == [loops[i % 3] for i in range(3 * 32)]  # in turn, over the ends of epochs too
    assert {limit for _, limit in drawn} == {x.values()[0] for x in LIMITS}
    held = [cycles <= limit for cycles, limit in drawn]
    assert sum(held) > 0.99 * len(held)
    widest = [cycles for cycles, limit in drawn if limit == 1.2e5]
    assert min(widest) > 4.2e4  # the band of the widest limit ends above the tightest limit


class Stopped(Exception):
    """Stands for Ctrl-C."""


def test_stopped_anywhere_and_resumed_it_is_bit_identical(
    cost_table: CostTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, steps, step = searched(cost_table), 0, loop_module.step

    def stopping(*args: Any) -> None:
        nonlocal steps
        steps += 1
        if steps in (9, 31, 32):  # in the warm-up, in the search, and at once after a resume
            raise Stopped
        step(*args)

    monkeypatch.setattr(loop_module, "step", stopping)
    kept: dict[str, Any] = {"checkpoint": tmp_path / "search.pt", "resume": True}
    for _ in range(3):
        with pytest.raises(Stopped):
            searched(cost_table, **kept)
    resumed = searched(cost_table, **kept)
    # the last first, and one not at all: what a limit gets goes by no other's result
    for one, other in list(zip(whole, resumed, strict=True))[:0:-1]:
        expected, result = one.result(), other.result()
        assert result.point == expected.point and result.history == expected.history
        assert result.next_seed == expected.next_seed
    for one, other in zip(whole, resumed, strict=True):
        ours, theirs = weights(one), weights(other)
        assert all(torch.equal(ours[x], theirs[x]) for x in ours)
    size = (tmp_path / "search.pt").stat().st_size
    searched(cost_table, LIMITS[2:], checkpoint=tmp_path / "one.pt")
    assert size < 2 * (tmp_path / "one.pt").stat().st_size  # weights and their moments are written once


def test_one_limit_alone_goes_as_its_loop_does_by_itself(cost_table: CostTable) -> None:
    (one,) = searched(cost_table, LIMITS[1:2])
    generator = torch.Generator().manual_seed(0)
    strategy = TinyStrategy(cost_table, SETTINGS, LIMITS[1], generator, CPU)
    alone = GridSearch(strategy, clips(1, (1,)), clips(2, (1,)), LIMITS[1], generator, CPU)
    alone.loop.run({})
    assert alone.loop.history == one.loop.history
    assert all(torch.equal(x, weights(alone)[name]) for name, x in weights(one).items())
    assert alone.result().next_seed == one.result().next_seed
