"""Chains that hear a stream: what a decision costs, what holds the limits, and that nothing is padded."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hil_nas.cost.arena import arena_bytes
from hil_nas.cost.blob import plan_bytes
from hil_nas.errors import InfeasibleError, InputError
from hil_nas.front_ends import ClipFormat, paper_grid
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.nas.blocks.shared_weights import BATCH_NORM_EPSILON
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.input_space import Operation
from hil_nas.nas.tiny.architecture import Probabilities
from hil_nas.nas.tiny.band import Band, Chains
from hil_nas.nas.tiny.chain_graph import Preference
from hil_nas.nas.tiny.cost_table import CostTable, tabulate
from hil_nas.nas.tiny.derive import cheapest, derive, feasible_configs
from hil_nas.nas.tiny.expected import ExpectedCost
from hil_nas.nas.tiny.genotype import TinyGenotype
from hil_nas.nas.tiny.space import Choice, TinySpace
from hil_nas.nas.tiny.supernet import TinySupernet
from hil_nas.network import Operator
from hil_nas.streaming import step_network
from hil_nas.training.network_module import NetworkModule
from tests.supernet_weights import take_over
from tests.test_nas_derive import OPERATIONS, STEMS

CLIP = ClipFormat(16_000, 4800)
GRID = (Mfcc(640, 320, 40, 10, clip=CLIP), Mfcc(400, 160, 40, 10, clip=CLIP), Mfcc(400, 80, 40, 8, clip=CLIP))
FRAMES, NEW = (14, 28, 56), (3, 6, 12)  # of a window, and of a decision
SPACE = TinySpace(
    configs=GRID, classes=4, align="pad", positions=2, widths=(8, 20), max_scale=(4, 1), stems=STEMS,
    operations=OPERATIONS, period_samples=960,
)  # fmt: skip


def toy_cycles(operators: tuple[Operator, ...]) -> np.ndarray:
    """A delay line costs what it holds."""
    kernels = [np.prod(x.layer.kernel) * (x.layer.out_channels or 1) * np.prod(x.inputs[0]) for x in operators]
    return np.array([100.0 + 0.5 * k + 3 * np.prod(x.output) for k, x in zip(kernels, operators, strict=True)])


@pytest.fixture(scope="module")
def table() -> CostTable:
    return tabulate(
        SPACE, toy_cycles, lambda config: 500.0 * SPACE.step_frames(config), overhead_cycles=77.0,
        front_end_ram_bytes=lambda config: 200, front_end_flash_bytes=lambda config: 300,
    )  # fmt: skip


def every_network() -> list[Choice]:
    """All points that do what they say, by the rule itself; the width of what keeps its width is counted once."""
    steps = [(o, w) for o, x in enumerate(OPERATIONS) for w in range(2) if w == 0 or not x.keeps_width]
    points = product(range(3), range(2), range(2), product(steps, repeat=2))
    return [Choice(g, (stem, w), chain) for g, stem, w, chain in points if says_what_it_does(g, stem, chain)]


def says_what_it_does(config: int, stem: int, chain: tuple[tuple[int, int], ...]) -> bool:
    scale, reach, taken = 1, 0, True
    for x in (STEMS[stem], *(OPERATIONS[o] for o, _ in chain)):
        reach += (x.kernel[0] - 1) * scale
        scale *= x.stride[0]
        taken = taken and scale <= 4 and NEW[config] % scale == 0
    return taken and reach <= FRAMES[config] - NEW[config]


def random_preference(rng: np.random.Generator, spread: float) -> Preference:
    def logs(*shape: int) -> np.ndarray:
        x = rng.normal(size=shape) * spread
        return np.asarray(x - np.log(np.exp(x).sum(-1, keepdims=True)))

    return Preference(logs(3), logs(2), logs(3, 2), logs(2, len(OPERATIONS)))


def test_a_decision_costs_what_the_network_of_one_step_costs(table: CostTable) -> None:
    assert [x.frames for x in GRID] == list(FRAMES) and [SPACE.step_frames(x) for x in GRID] == list(NEW)
    networks, reached = every_network(), set()
    for choice in [networks[i] for i in np.random.default_rng(0).choice(len(networks), 150, replace=False)]:
        genotype, config = SPACE.at(choice)
        assert SPACE.contains(genotype, config) and TinyGenotype.from_json(genotype.to_json()) == genotype
        window = genotype.build(config)
        assert TinyGenotype.from_network(window) == genotype and all(
            x.padding == "valid" for x in window.layers if x.kind not in ("reshape", "fully_connected")
        )
        step = step_network(window, NEW[choice.config])
        operators = tuple(x for x in step.operators() if x.layer.kind != "reshape")
        cost = table.cost(choice)
        assert cost.cycles == pytest.approx(toy_cycles(operators).sum() + 77 + 500 * NEW[choice.config])
        assert cost.flash_bytes == plan_bytes(step) + 300
        assert cost.ram_bytes == arena_bytes(step) + 200
        reached.add(window.layers[-2].kernel[0])
    assert len(reached) > 10  # maps of many heights


def test_what_does_not_fit_does_nothing() -> None:
    long, slow = Operation("separable", (9, 1), (2, 1)), GRID[0]
    assert SPACE.taken(slow, ((1, 1), 2), long) == Operation("separable", (9, 1))  # 2 does not divide 3 frames
    assert SPACE.taken(slow, ((1, 1), 3), long) == Operation("separable", (9, 1))
    assert SPACE.taken(slow, ((1, 1), 4), long) == Operation("skip")  # 12 beyond the first, with 3 new ones, of 14
    assert SPACE.taken(slow, ((1, 1), 0), OPERATIONS[1]) == Operation("skip")
    assert SPACE.taken(GRID[2], ((2, 1), 20), long) == long
    assert SPACE.taken(GRID[2], ((4, 1), 20), long) == Operation("skip")
    assert SPACE.stem_at(slow, STEMS[1]) == Operation("conv", (9, 1))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"period_samples": 800}, "320/40/10@16000/4800 has no whole number of frames in 800 samples"),
        ({"period_samples": 6400}, "has no whole number of frames in 6400 samples"),
        ({"align": "conv"}, "aligns nothing"),
        ({"configs": paper_grid(10), "arrangement": "plane", "stems": (), "operations": ()}, "found 'plane'"),
    ],
)
def test_spaces_that_cannot_stream_are_refused(values: dict[str, object], message: str) -> None:
    given = {"configs": GRID, "align": "pad", "period_samples": 960, **values}
    with pytest.raises(InputError, match=message):
        TinySpace(**given)  # type: ignore[arg-type]


def test_samples_fit_their_windows() -> None:
    space, rng = TinySpace(align="pad", configs=paper_grid()[4:], period_samples=960), np.random.default_rng(0)
    for index in range(60):
        config = space.configs[index % len(space.configs)]
        genotype = space.sample_genotype(rng, config)
        assert space.contains(genotype, config)
        step_network(genotype.build(config), space.step_frames(config))


# derivation


def test_derived_networks_are_the_most_preferred_that_hold_every_limit(table: CostTable) -> None:
    rng, networks = np.random.default_rng(0), every_network()
    costs = {x: table.cost(x) for x in networks}
    levels = [np.quantile([c.values()[i] for c in costs.values()], (0.1, 0.4, 0.8)) for i in range(3)]
    binding, by_ram = 0, 0
    for trial in range(60):
        preference = random_preference(rng, float(rng.choice([0.3, 1.0, 3.0])))
        cycles, ram, flash = (float(rng.choice(x)) for x in levels)
        limits = (Limits(cycles, int(ram), int(flash)), Limits(ram_bytes=int(ram)), Limits(cycles=cycles))[trial % 3]
        holding = [x for x in networks if limits.held_by(costs[x])]
        if not holding:
            with pytest.raises(InfeasibleError):
                derive(table, preference, limits)
            continue
        derived = derive(table, preference, limits)
        assert says_what_it_does(derived.config, derived.stem[0], derived.chain)
        assert limits.held_by(table.cost(derived))
        best = max(preference.of(x, table) for x in holding)
        assert preference.of(derived, table) == pytest.approx(best, abs=1e-9)
        binding += best < max(preference.of(x, table) for x in networks)
        by_ram += trial % 3 == 1 and best < max(preference.of(x, table) for x in networks)
    assert binding > 20 and by_ram > 5  # the limits did decide


def test_without_limits_the_window_still_binds(table: CostTable) -> None:
    rng, bound = np.random.default_rng(3), 0
    for _ in range(20):
        preference = random_preference(rng, 2.0)
        best = max(every_network(), key=lambda x: preference.of(x, table))
        assert preference.of(derive(table, preference, Limits()), table) == pytest.approx(preference.of(best, table))
        free = sum(x.max() for x in (preference.configs, preference.stem, preference.widths[0]))
        bound += preference.of(best, table) < free + preference.operations.max(1).sum() - 1e-9
    assert bound > 5


@pytest.mark.parametrize("resource", range(3))
def test_the_cheapest_network_is_the_cheapest(table: CostTable, resource: int) -> None:
    for config in range(3):
        everything = [table.cost(x).values()[resource] for x in every_network() if x.config == config]
        choice = cheapest(table, resource, config)
        assert choice is not None and table.cost(choice).values()[resource] == pytest.approx(min(everything))


def test_limits_just_above_and_below_the_cheapest(table: CostTable) -> None:
    costs = [table.cost(x) for x in every_network()]
    least, smallest = min(x.cycles for x in costs), min(x.ram_bytes for x in costs)
    assert feasible_configs(table, Limits(cycles=least * 1.0001))
    assert feasible_configs(table, Limits(ram_bytes=smallest))
    with pytest.raises(InfeasibleError):
        feasible_configs(table, Limits(cycles=least * 0.9999))
    with pytest.raises(InfeasibleError, match=f"RAM {smallest:,} bytes at least"):
        feasible_configs(table, Limits(ram_bytes=smallest - 1))


def test_a_window_too_short_for_any_kernel_is_said_so() -> None:
    space = TinySpace(
        configs=GRID[:1], classes=4, align="pad", positions=1, widths=(8,), stems=STEMS, operations=OPERATIONS,
        max_scale=(4, 1), period_samples=13 * 320,
    )  # fmt: skip
    with pytest.raises(InfeasibleError, match="too few for any kernel"):
        feasible_configs(tabulate(space, toy_cycles, lambda config: 0.0), Limits())


# what is drawn


def every_chain() -> Chains:
    rows = product(range(2), product(range(2), repeat=3), product(range(len(OPERATIONS)), repeat=2))
    stem, width, operation = zip(*rows, strict=True)
    return Chains(np.array(stem), np.array(width), np.array(operation))


def test_many_chains_cost_what_each_costs_in_the_table(table: CostTable) -> None:
    chains, band = every_chain(), Band(table, Limits(), 0.6, np.zeros(3))
    for config in range(3):
        own = np.array([x.front_end[config] for x in (table.cycles, table.ram, table.flash)])
        costs, there = band.costs(config, chains)
        for i in range(len(costs)):
            choice = chains.choice(config, i)
            np.testing.assert_allclose(costs[i] + own, table.cost(choice).values())
            assert there[i] == says_what_it_does(config, choice.stem[0], choice.chain)


def soft(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(3,), (2,), (3, 2), (2, len(OPERATIONS))]
    return [torch.randn(*x, generator=generator, dtype=torch.float64, requires_grad=True) for x in shapes]


def probabilities(logits: list[Tensor]) -> Probabilities:
    return Probabilities(*(torch.softmax(x, -1) for x in logits))


def test_expected_cost_is_the_mean_over_all_chains(table: CostTable) -> None:
    """Each by its probability: no sampling."""
    chains, expected = every_chain(), ExpectedCost(table, torch.float64)
    chosen = probabilities(soft(0))
    stem, widths, operations = (x.detach().numpy() for x in (chosen.stem, chosen.widths, chosen.operations))
    shares = stem[chains.stem] * np.prod([widths[i][chains.widths[:, i]] for i in range(3)], 0)
    shares = shares * np.prod([operations[i][chains.operations[:, i]] for i in range(2)], 0)
    assert shares.sum() == pytest.approx(1.0)
    by_config = expected(chosen).by_config
    for config in range(3):
        costs = np.array([table.cost(chains.choice(config, i)).values() for i in range(len(chains.stem))])
        assert float(by_config[0][config].detach()) == pytest.approx(shares @ costs[:, 0])
        assert float(by_config[2][config].detach()) == pytest.approx(shares @ costs[:, 2])


def test_expected_ram_of_one_chain_is_its_own(table: CostTable) -> None:
    """The largest smoothed: never above it, nor far below."""
    chains, expected = every_chain(), ExpectedCost(table, torch.float64)
    for i in np.random.default_rng(0).choice(len(chains.stem), 40, replace=False):
        choice = chains.choice(1, i)
        rows = ([1], [choice.stem[0]], chains.widths[i], chains.operations[i])
        hot = [F.one_hot(torch.tensor(r), n).double() for r, n in zip(rows, (3, 2, 2, len(OPERATIONS)), strict=True)]
        ram = float(expected(Probabilities(hot[0][0], hot[1][0], hot[2], hot[3])).by_config[1][1])
        assert 0.9 * table.cost(choice).ram_bytes <= ram <= table.cost(choice).ram_bytes * 1.001


def test_gradients_of_expected_cost_are_its_finite_differences(table: CostTable) -> None:
    expected = ExpectedCost(table, torch.float64)
    assert torch.autograd.gradcheck(
        lambda *x: expected(probabilities(list(x))).cycles / 1e4, soft(1), eps=1e-5, atol=1e-5
    )


# the supernet


def test_every_chain_runs_as_it_is_built_without_padding() -> None:
    """A network's logits by the supernet's weights are those of the trainable network that begins with them."""
    net = TinySupernet(SPACE, torch.Generator().manual_seed(0))
    chains, rng, idle = every_chain(), np.random.default_rng(0), 0
    for config in range(3):
        x = torch.randn(5, FRAMES[config], GRID[config].columns, generator=torch.Generator().manual_seed(1))
        for i in rng.choice(len(chains.stem), 25, replace=False):
            choice = chains.choice(config, i)
            genotype, front_end = SPACE.at(choice)
            module = NetworkModule(genotype.build(front_end), torch.Generator().manual_seed(0)).train()
            begin_with(module, net, choice)
            expected = module(x[..., None])
            found = net(x.permute(2, 0, 1), choice)
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
            idle += not says_what_it_does(config, choice.stem[0], choice.chain)
    assert 10 < idle < 70  # twins of what does something run too


def begin_with(module: NetworkModule, net: TinySupernet, choice: Choice) -> None:
    take_over(module, net, choice, torch.ones(GRID[choice.config].columns))
    for x in module.modules():
        if isinstance(x, torch.nn.BatchNorm2d):
            assert x.eps == BATCH_NORM_EPSILON
