"""Expected cost of a distribution over networks, and the multipliers that hold it inside the limits."""

from __future__ import annotations

from collections.abc import Callable
from math import log

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hil_nas.nas.costs.multipliers import Expectation, Multipliers
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.tiny.architecture import Probabilities
from hil_nas.nas.tiny.cost_table import tabulate
from hil_nas.nas.tiny.expected import ExpectedCost
from hil_nas.nas.tiny.space import Choice, TinySpace
from tests.test_nas_space import random_choice, toy_cycles
from tests.test_nas_supernet import GRID, SPACES


def soft(space: TinySpace, seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(len(space.configs),), (len(space.stems),)]
    shapes += [(1 + space.positions, len(space.widths)), (space.positions, len(space.operations))]
    return [torch.randn(*x, generator=generator, dtype=torch.float64, requires_grad=True) for x in shapes]


def probabilities(logits: list[Tensor]) -> Probabilities:
    return Probabilities(*(torch.softmax(x, -1) for x in logits))


def expectation(space: TinySpace) -> tuple[ExpectedCost, Callable[[Choice], tuple[float, float, float]]]:
    table = tabulate(
        space, toy_cycles, lambda config: config.frames * 2e4, overhead_cycles=500.0,
        front_end_ram_bytes=lambda config: 4000 + 8 * config.mel_bins,
        front_end_flash_bytes=lambda config: 9000 + 16 * config.mel_bins,
    )  # fmt: skip
    return ExpectedCost(table, torch.float64), lambda choice: table.cost(choice).values()


@pytest.mark.parametrize("name", SPACES)
def test_one_hot_expectation_is_the_networks_cost(name: str) -> None:
    space, rng = SPACES[name], np.random.default_rng(0)
    expected, cost = expectation(space)
    for _ in range(20):
        choice = random_choice(space, rng)
        rows = [choice.config, choice.stem[0], [choice.stem[1], *(w for _, w in choice.chain)]]
        rows.append([o for o, _ in choice.chain])
        sizes = (len(space.configs), len(space.stems), len(space.widths), len(space.operations))
        hot = [F.one_hot(torch.tensor(r), n).double() for r, n in zip(rows, sizes, strict=True)]
        mean_cost = expected(Probabilities(*hot))
        cycles, ram, flash = cost(choice)
        assert float(mean_cost.cycles) == pytest.approx(cycles)
        assert float(mean_cost.flash_bytes) == pytest.approx(flash)
        assert 0.9 * ram <= float(mean_cost.ram_bytes) <= ram * 1.001  # smooth: never above the largest, nor far below


def test_expected_cost_is_the_mean_over_drawn_networks() -> None:
    space = SPACES["channels"]
    expected, cost = expectation(space)
    logits = soft(space, 0)
    expected_cost = expected(probabilities(logits))
    rng, shares = np.random.default_rng(0), [torch.softmax(x, -1).detach().numpy() for x in logits]
    drawn = []
    for _ in range(3000):
        config, stem = (int(rng.choice(len(x), p=x)) for x in shares[:2])
        widths, operations = ([int(rng.choice(len(x), p=x)) for x in rows] for rows in shares[2:])
        drawn.append(cost(Choice(config, (stem, widths[0]), tuple(zip(operations, widths[1:], strict=True)))))
    cycles, _, flash = np.mean(drawn, 0)
    spread = np.std(drawn, 0) / np.sqrt(len(drawn))
    assert abs(float(expected_cost.cycles.detach()) - cycles) < 4 * spread[0]
    assert abs(float(expected_cost.flash_bytes.detach()) - flash) < 4 * spread[2]


@pytest.mark.parametrize("name", ["channels", "plane"])
@pytest.mark.parametrize("resource", ["cycles", "ram_bytes", "flash_bytes"])
def test_gradients_of_expected_cost_are_its_finite_differences(name: str, resource: str) -> None:
    space = SPACES[name]
    expected, _ = expectation(space)

    def scaled(*logits: Tensor) -> Tensor:
        value: Tensor = getattr(expected(probabilities(list(logits))), resource)
        return value / 1e4

    if resource == "ram_bytes":  # the smooth maximum's weights are scaled by a constant taken from the largest
        logits = soft(space, 1)
        gradients = torch.autograd.grad(scaled(*logits), logits)
        step = -1e-4
        moved = [x.detach() + step * g for x, g in zip(logits, gradients, strict=True)]
        assert float(scaled(*moved)) < float(scaled(*logits).detach())
        return
    assert torch.autograd.gradcheck(scaled, soft(space, 1), eps=1e-5, atol=1e-5)


# multipliers


def held_after(limits: Limits, floor: float = 0.0, thrift: float = 0.0) -> tuple[float, float]:
    """200 steps of gradient descent with dual ascent on a toy whose taste is for twice the cycles of its start, but
    for a thrift that counts every cycle; expected cycles before and after."""
    space = TinySpace(configs=GRID[:2], classes=4, positions=3, widths=(8, 16, 24))
    table = tabulate(space, toy_cycles, lambda config: 2e4)
    expected = ExpectedCost(table)
    generator = torch.Generator().manual_seed(2)
    logits = [torch.randn(x.shape, generator=generator).requires_grad_() for x in soft(space, 0)]
    optimizer = torch.optim.Adam(logits, 0.05)
    start = expected(probabilities(logits))
    multipliers = Multipliers(limits, floor, [float(x.detach()) for x in start.values()], 0.05)
    taste = [torch.randn(x.shape, generator=generator) for x in logits]
    for _ in range(200):
        chosen = probabilities(logits)
        expected_cost: Expectation = expected(chosen)
        rows = (chosen.configs, chosen.stem, chosen.widths, chosen.operations)
        loss = sum(((x * t).sum() for x, t in zip(rows, taste, strict=True)), torch.zeros(()))
        optimizer.zero_grad()
        (loss + thrift * expected_cost.cycles.log() + multipliers.penalty(expected_cost)).backward()
        optimizer.step()
        multipliers.ascend(expected_cost)
    return float(start.cycles.detach()), float(expected(probabilities(logits)).cycles.detach())


def drawn(cycles: tuple[float, float], ram: tuple[float, float] = (1.0, 1.0)) -> Expectation:
    """A quarter on the first configuration, the rest on the second; flash is 1."""
    rows = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (cycles, ram, (1.0, 1.0)))
    first, second, third = rows
    return Expectation(torch.tensor([0.25, 0.75], dtype=torch.float64, requires_grad=True), (first, second, third))


def test_multipliers_rise_with_a_violation_and_fall_while_there_is_none() -> None:
    """By hand, at a rate of 0.1: log of cost over limit on every configuration, then their mean."""
    multipliers = Multipliers(Limits(cycles=100.0, ram_bytes=1000), 0.5, (80.0, 400.0, 1.0), 0.1)
    assert multipliers.state == [0.0] * 4
    multipliers.ascend(drawn((80.0, 200.0), (2000.0, 500.0)))
    # one configuration's slack pays for no other's excess; the floor lies at 50 cycles, their mean at 170
    assert multipliers.state == pytest.approx([0.1 * 0.75 * log(2), 0.1 * 0.25 * log(2), 0.0, 0.0])
    multipliers.ascend(drawn((20.0, 40.0), (2000.0, 1000.0)))
    held = 0.1 * (0.25 * log(0.2) + 0.75 * log(0.4))
    assert 0.1 * 0.75 * log(2) + held < 0  # so that it stops at nothing
    assert multipliers.state == pytest.approx([0.0, 0.1 * 0.5 * log(2), 0.0, 0.1 * log(50 / 35)])
    multipliers.ascend(drawn((50.0, 50.0), (900.0, 990.0)))
    assert multipliers.state == pytest.approx(
        [0.0, 0.1 * (0.5 * log(2) + 0.25 * log(0.9) + 0.75 * log(0.99)), 0.0, 0.1 * log(50 / 35)]
    )
    before = list(multipliers.state)
    for _ in range(3):  # a violation below a hundredth is none, and no slack either
        multipliers.ascend(drawn((50.0, 50.0), (1004.0, 1009.0)))
        assert multipliers.state == pytest.approx(before)
    multipliers.ascend(drawn((50.0, 50.0), (1004.0, 1013.0)))
    assert multipliers.state[1] == pytest.approx(before[1] + 0.1 * (0.25 * log(1.004) + 0.75 * log(1.013)))


def test_the_penalty_is_the_augmented_lagrangian_on_every_configuration() -> None:
    multipliers = Multipliers(Limits(cycles=100.0, ram_bytes=1000), 0.5, (80.0, 400.0, 1.0), 0.1)
    multipliers.state = [0.3, 0.7, 9.0, 0.2]
    expected_cost = drawn((80.0, 200.0), (2000.0, 500.0))
    penalty = multipliers.penalty(expected_cost)
    cycles, ram = 0.3 * log(2) + 5 * log(2) ** 2, 0.7 * log(2) + 5 * log(2) ** 2
    assert float(penalty.detach()) == pytest.approx(0.75 * cycles + 0.25 * ram - 0.2 * log(170))
    by_config, by_cycles, by_ram = torch.autograd.grad(penalty, (expected_cost.configs, *expected_cost.by_config[:2]))
    assert by_config.tolist() == pytest.approx([ram, cycles])  # the floor says nothing of configurations
    floor = 0.2 / 170
    assert by_cycles.tolist() == pytest.approx(
        [-0.25 * floor, 0.75 * ((0.3 + 10 * log(2)) / 200 - floor)]
    )
    assert by_ram.tolist() == pytest.approx([0.25 * (0.7 + 10 * log(2)) / 2000, 0.0])


@pytest.mark.parametrize(
    ("limits", "start", "progress", "floor"),
    [
        (Limits(cycles=100.0), 400.0, 0.0, 200.0),  # half of what is in force, which begins at the average
        (Limits(cycles=100.0), 400.0, 0.35, 100.0),
        (Limits(cycles=100.0), 400.0, 0.7, 50.0),
        (Limits(cycles=100.0), 400.0, 1.0, 50.0),
        (Limits(cycles=100.0), 30.0, 1.0, 30.0),  # never above the average
        (Limits(ram_bytes=10), 400.0, 1.0, 0.0),  # of nothing
    ],
)
def test_the_floor_is_a_share_of_the_limit_in_force(
    limits: Limits, start: float, progress: float, floor: float
) -> None:
    multipliers = Multipliers(limits, 0.5, (start, 1.0, 1.0), 1.0)
    multipliers.tighten(progress)
    multipliers.ascend(drawn((20.0, 20.0)))
    assert multipliers.state[3] == pytest.approx(log(floor / 20) if floor else 0.0)
    multipliers.ascend(drawn((floor or 1.0, floor or 1.0)))
    assert multipliers.state[3] == pytest.approx(log(floor / 20) if floor else 0.0)


def test_dual_ascent_holds_the_band() -> None:
    start, free = held_after(Limits())
    _, held = held_after(Limits(cycles=0.6 * free))
    assert free > 1.5 * start and held <= 0.6 * free * 1.02
    _, fallen = held_after(Limits(cycles=1e9), thrift=1.0)
    _, lifted = held_after(Limits(cycles=1e9), floor=0.9, thrift=1.0)  # its floor is the start, far below such a limit
    assert fallen < 0.5 * start and lifted > 0.85 * start


def test_the_limits_close_in_from_the_average() -> None:
    expected = ExpectedCost(tabulate(TinySpace(configs=GRID[:1], classes=4), toy_cycles, lambda config: 0.0))
    average = expected(probabilities([x.detach().float() for x in soft(TinySpace(configs=GRID[:1], classes=4), 0)]))
    start = [float(x) for x in average.values()]
    multipliers = Multipliers(Limits(cycles=start[0] / 4, flash_bytes=10**9), 0.0, start, 0.1)

    def penalty(progress: float) -> float:
        multipliers.tighten(progress)
        return float(multipliers.penalty(average))

    assert penalty(0.0) == pytest.approx(0.0, abs=1e-6)
    # half way from the average to a quarter of it on a log scale: a half
    assert penalty(0.35) == pytest.approx(10 / 2 * np.log(2) ** 2, rel=1e-3)
    assert penalty(0.7) == pytest.approx(10 / 2 * np.log(4) ** 2, rel=1e-3) == penalty(1.0)


def test_the_floor_pulls_at_the_network_and_not_at_the_front_end() -> None:
    space = TinySpace(configs=GRID[:2], classes=4, positions=3, widths=(8, 16, 24))
    expected = ExpectedCost(tabulate(space, toy_cycles, lambda config: config.frames * 1e5))
    logits = [x.detach().float().requires_grad_() for x in soft(space, 0)]
    expected_cost = expected(probabilities(logits))
    multipliers = Multipliers(Limits(cycles=1e12), 0.5, (1e12, 0.0, 0.0), 1.0)
    multipliers.ascend(expected_cost)
    assert multipliers.state[:3] == [0.0, 0.0, 0.0] and multipliers.state[3] > 0
    gradients = torch.autograd.grad(multipliers.penalty(expected_cost), logits, allow_unused=True)
    assert gradients[0] is None or float(gradients[0].abs().max()) == 0.0
    assert all(float(g.abs().max()) > 0 for g in gradients[1:] if g is not None)
