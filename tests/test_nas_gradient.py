"""The gradient of alpha and gamma, against the mean over all networks that they choose among, and what they name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hil_nas.cost.macs import network_macs
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.protocols import Reading
from hil_nas.nas.tiny.architecture import Architecture
from hil_nas.nas.tiny.cost_table import CostTable, tabulate
from hil_nas.nas.tiny.expected import average_cycles
from hil_nas.nas.tiny.space import Choice
from hil_nas.nas.tiny.strategy import TinyStrategy
from tests.test_nas_band import every_chain
from tests.test_nas_regular import is_regular
from tests.test_nas_search import QUICK, SPACE, cost_table, run  # noqa: F401
from tests.test_nas_space import toy_cycles


def test_a_step_of_the_decisions_follows_the_gradient_of_the_mean_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle is the mean over all regular networks that fill the limit, with losses known beforehand."""
    space = replace(SPACE, configs=SPACE.configs[:2], positions=2)
    table = tabulate(space, toy_cycles, lambda config: config.frames * 1e3)
    settings = replace(QUICK, front_ends=4, paths=4)
    limits = Limits(cycles=7e4)
    generator = torch.Generator().manual_seed(0)
    strategy = TinyStrategy(table, settings, limits, generator, torch.device("cpu"))
    decided = [strategy.net.alignment.gamma, *strategy.net.architecture.parameters()]
    with torch.no_grad():
        for x in decided:
            x.copy_(0.5 * torch.randn(x.shape, generator=generator))

    def loss_of(choice: Choice) -> float:
        return 0.5 + 0.3 * choice.config + 0.2 * choice.stem[0] - 0.1 * choice.stem[1] + 0.05 * choice.chain[0][0] ** 2

    class Net(torch.nn.Module):
        alignment, architecture = strategy.net.alignment, strategy.net.architecture

        def forward(self, features: torch.Tensor, choice: Choice) -> torch.Tensor:
            return torch.tensor([[0.0, np.log(np.expm1(loss_of(choice)))]], dtype=torch.float32)

    monkeypatch.setattr(strategy, "net", Net())
    every = every_chain(space)
    choices = (every.choice(g, i) for g in range(2) for i in range(len(every.stem)))
    regular = [x for x in choices if is_regular(x, space)]
    inside = [x for x in regular if _fills(table, limits, x)]
    assert 10 < len(inside) < len(regular)

    def mean_loss() -> torch.Tensor:
        """On each front end the mean of the networks that fill the limit, by gamma."""
        gammas, total = strategy.net.alignment.weights(), torch.zeros(())
        for g in range(2):
            own = [x for x in inside if x.config == g]
            shares = torch.softmax(torch.stack([_log_probability(strategy.net.architecture, x) for x in own]), 0)
            total = total + gammas[g] * (shares @ torch.tensor([loss_of(x) for x in own]))
        return total

    exact = torch.autograd.grad(mean_loss(), decided)
    label = torch.zeros(1, dtype=torch.long)
    totals = [torch.zeros_like(x) for x in decided]
    rounds = 800
    for _ in range(rounds):
        configs = strategy.reads("validation", generator)
        reading = Reading(configs, [torch.zeros(1, 1, 1)] * 4, label, lambda: pytest.fail("not asked"))
        loss = strategy.loss(reading, "validation", generator)
        for total, x in zip(totals, torch.autograd.grad(loss, decided), strict=True):
            total += x / rounds
    for found, expected in zip(totals, exact, strict=True):
        assert (found - expected).abs().max() < 0.015
    assert max(float(x.abs().max()) for x in exact) > 0.05


@pytest.mark.parametrize("cycles", [7e4, 9e4])
def test_what_is_derived_alpha_prefers_to_every_other_regular_chain_that_fills_the_limit(cycles: float) -> None:
    """On the front end that gamma prefers, with costs as the board corrected them."""
    table = tabulate(SPACE, toy_cycles, lambda config: config.frames * 1e3)
    limits, ratio, every = Limits(cycles=cycles), 1.1, every_chain()
    corrected = table.corrected(ratio)
    regular = [x for x in (every.choice(1, i) for i in range(len(every.stem))) if is_regular(x, SPACE)]
    inside = [x for x in regular if _fills(corrected, limits, x)]
    derived = set()
    for seed in range(8):
        generator = torch.Generator().manual_seed(seed)
        strategy = TinyStrategy(table, QUICK, limits, generator, torch.device("cpu"))
        with torch.no_grad():
            strategy.net.alignment.gamma[1] = 1.0
            for x in strategy.net.architecture.parameters():
                x.copy_(torch.randn(x.shape, generator=generator))
            order = sorted(inside, key=lambda x: -float(_log_probability(strategy.net.architecture, x)))
        assert strategy.derive(ratio, limits) == order[0]
        assert strategy.preferred(ratio, limits, 5) == order[:5] and len(order) > 5
        derived.add(order[0])
    assert len(derived) > 1


def test_of_what_alpha_prefers_that_of_the_lowest_loss_times_cycles_per_mac_is_named(cost_table: CostTable) -> None:  # noqa: F811
    limits, named = Limits(cycles=9e4), list[int]()
    for seed in range(3):
        result = run(cost_table, limits=limits, seed=seed)
        strategy = result.calibrated.deriving
        assert isinstance(strategy, TinyStrategy) and result.supernet is not None
        liked = strategy.preferred(1.0, limits, 64)
        losses = result.supernet.losses(liked)
        built = [genotype.build(config) for genotype, config in map(strategy.at, liked)]
        cycles = map(strategy.network_cycles, liked)
        scores = [(x or 0.0) * y / network_macs(z) for x, y, z in zip(losses, cycles, built, strict=True)]
        assert result.supernet.scores(liked) == scores
        named.append(scores.index(min(scores)))
        assert result.point == liked[named[-1]] and len(liked) > 4
        assert strategy.derive(1.0, limits) == liked[0]
    assert any(named)  # not always what alpha prefers to all


def _log_probability(alpha: Architecture, choice: Choice) -> torch.Tensor:
    """Of drawing each choice by itself; where the width is kept, none is chosen."""
    total = torch.log_softmax(alpha.stem, 0)[choice.stem[0]] + torch.log_softmax(alpha.widths[0], 0)[choice.stem[1]]
    for (operation, width), operations, widths in zip(choice.chain, alpha.operations, alpha.widths[1:], strict=True):
        total = total + torch.log_softmax(operations, 0)[operation]
        if not SPACE.operations[operation].keeps_width:
            total = total + torch.log_softmax(widths, 0)[width]
    return total


def _fills(table: CostTable, limits: Limits, x: Choice) -> bool:
    """Whether it uses 0.95 of the cycles that its front end leaves, and breaks no limit."""
    genotype, _ = table.space.at(x)
    asked = sum(table.space.operations[o].kind != "skip" for o, _ in x.chain)
    left = limits.values()[0] - table.cycles.front_end[x.config]
    own = table.network_cycles(x)
    return len(genotype.chain) == asked and min(0.95 * left, average_cycles(table)[x.config]) <= own <= left
