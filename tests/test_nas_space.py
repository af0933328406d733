"""The tiny space: what it contains, what it refuses, and that its tables are the networks' own figures."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest

from hil_nas.baselines import ds_cnn, micronet_kws_s
from hil_nas.cost.arena import arena_bytes
from hil_nas.cost.blob import plan_bytes
from hil_nas.cost.macs import network_macs, operator_macs
from hil_nas.errors import InputError
from hil_nas.front_ends import paper_grid
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.nas.costs.network_limits import Cost, Limits
from hil_nas.nas.input_space import Operation
from hil_nas.nas.tiny.cost_table import CostTable, cost_requests, tabulate
from hil_nas.nas.tiny.space import ChainStep, Choice, TinyGenotype, TinySpace
from hil_nas.network import INPUT, Layer, Network, Operator

SPACES = {
    "channels": TinySpace(),
    "pad": TinySpace(align="pad"),
    "plane": TinySpace(configs=paper_grid(10), arrangement="plane"),
}
MLPERF = Mfcc(480, 320, 40, 10)  # 49 frames of 10 coefficients


def random_choice(space: TinySpace, rng: np.random.Generator) -> Choice:
    def index(things: Sequence[object]) -> int:
        return int(rng.integers(len(things)))

    chain = tuple((index(space.operations), index(space.widths)) for _ in range(space.positions))
    return Choice(index(space.configs), (index(space.stems), index(space.widths)), chain)


def toy_cycles(operators: Sequence[Operator]) -> np.ndarray:
    return np.array([1000.0 + 2.5 * operator_macs(x) + 3 * np.prod(x.output) for x in operators])


def toy_costs(space: TinySpace, **more: float) -> CostTable:
    return tabulate(space, toy_cycles, lambda config: config.frames * 2.0e4, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SPACES)
def test_samples_are_valid_spread_over_sizes_and_inside(name: str) -> None:
    space, rng = SPACES[name], np.random.default_rng(0)
    macs = []
    for index in range(200):
        config = space.configs[index % len(space.configs)]
        genotype = space.sample_genotype(rng, config)
        network = genotype.build(config)
        assert network.output_shape == (1, 1, space.classes)
        assert space.contains(genotype, config)
        assert TinyGenotype.from_network(network) == genotype
        assert TinyGenotype.from_json(json.loads(json.dumps(genotype.to_json()))) == genotype
        macs.append(network_macs(network))
    low, middle, high = np.quantile(macs, (0.05, 0.5, 0.95))
    assert low < middle / 3 and high > middle * 2


def test_sampling_repeats_itself() -> None:
    space = TinySpace()
    one, two = (space.sample(np.random.default_rng(7), space.configs[2]) for _ in range(2))
    assert one == two != space.sample(np.random.default_rng(8), space.configs[2])


def test_published_networks_are_points_of_a_plane_space() -> None:
    for network, widths in ((ds_cnn(), (16, 64)), (micronet_kws_s(), (84, 112, 196))):
        space = TinySpace(
            configs=(MLPERF,),
            arrangement="plane",
            widths=widths,
            stems=(Operation("conv", (10, 4), (2, 2)), Operation("conv", (10, 4))),
        )
        genotype = TinyGenotype.from_network(network)
        assert space.contains(genotype, MLPERF)
        assert genotype.build(MLPERF) == network


def test_a_tc_resnet_like_chain_is_a_point_of_the_default_space() -> None:
    space, config = TinySpace(align="pad"), Mfcc(400, 200, 40, 40)
    blocks = [((9, 1), (2, 1), 24), ((9, 1), (1, 1), 24), ((9, 1), (2, 1), 32), ((9, 1), (1, 1), 48)]
    chain = tuple(ChainStep(Operation("separable", k, s), w) for k, s, w in blocks)
    genotype = TinyGenotype("channels", None, ChainStep(Operation("conv", (3, 1)), 16), chain, 12)
    assert space.contains(genotype, config)
    network = genotype.build(config)
    assert network.shapes[0] == (79, 1, 40)  # frequency as channels
    assert network.shapes[-3] == (20, 1, 48)


def test_a_network_of_another_form_is_no_genotype() -> None:
    layers = (Layer("conv", (INPUT,), 8, (3, 3), relu=True), Layer("add", (0, 0)), Layer("fully_connected", (1,), 12))
    with pytest.raises(InputError, match="no chain"):
        TinyGenotype.from_network(Network((49, 10, 1), layers))


@pytest.mark.parametrize(
    "change",
    [
        {"arrangement": "line"},
        {"classes": "12"},
        {"chain": [{"operation": {"kind": "mystery", "kernel": [1, 1], "stride": [1, 1]}, "width": 8}]},
        {"stem": {"operation": {"kind": "conv", "kernel": [3], "stride": [1, 1]}, "width": 8}},
        {"extra": 1},
    ],
)
def test_a_damaged_genotype_is_refused(change: dict[str, object]) -> None:
    space = TinySpace()
    data = space.sample_genotype(np.random.default_rng(0), space.configs[0]).to_json()
    with pytest.raises(InputError):
        TinyGenotype.from_json({**data, **change})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"widths": (16, 30)}, "multiples of 4"),
        ({"widths": (32, 16)}, "ascending"),
        ({"configs": ()}, "at least one front end"),
        ({"positions": 0}, "positions"),
        ({"stems": (Operation("separable", (3, 1)),)}, "stem"),
        ({"operations": (Operation("skip"),)}, "weights"),
        ({"operations": (Operation("separable", (3, 3)),)}, "frequency"),
        ({"operations": (Operation("separable", (3, 1), (2, 1)),)}, "without a stride"),
        ({"stems": (Operation("conv", (9, 1), (8, 1)),)}, "largest scale"),
    ],
)
def test_choices_that_make_no_network_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TinySpace(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SPACES)
def test_a_path_through_the_tables_costs_what_the_network_costs(name: str) -> None:
    space, rng = SPACES[name], np.random.default_rng(1)
    table = tabulate(
        space,
        toy_cycles,
        lambda config: config.frames * 2.0e4,
        overhead_cycles=777.0,
        front_end_ram_bytes=lambda config: config.fft_size,
        front_end_flash_bytes=lambda config: config.mel_bins,
    )
    for _ in range(60):
        choice = random_choice(space, rng)
        genotype, config = space.at(choice)
        network = genotype.build(config)
        operators = [x for x in network.operators() if x.layer.kind != "reshape"]
        expected = Cost(
            toy_cycles(operators).sum() + config.frames * 2.0e4 + 777.0,
            arena_bytes(network) + config.fft_size,
            plan_bytes(network) + config.mel_bins,
        )
        assert space.contains(genotype, config)
        assert table.cost(choice).values() == pytest.approx(expected.values())
        assert table.network_macs(choice) == network_macs(network)


def test_every_operator_of_a_sample_is_asked_for_once() -> None:
    space, rng = TinySpace(), np.random.default_rng(2)
    config, parts = space.configs[3], cost_requests(space, 3).parts
    assert len(set(parts)) == len(parts)
    requested = [y for x in parts for y in x.operators()]
    shapes = {(x.layer.kind, x.layer.kernel, x.layer.stride, x.inputs, x.output) for x in requested}
    for _ in range(30):
        for x in space.sample(rng, config).operators():
            if x.layer.kind != "reshape":
                assert (x.layer.kind, x.layer.kernel, x.layer.stride, x.inputs, x.output) in shapes


def test_a_correction_moves_the_network_and_not_the_front_end() -> None:
    space = TinySpace()
    table, choice = toy_costs(space), random_choice(space, np.random.default_rng(0))
    front_end = float(table.cycles.front_end[choice.config])
    corrected = table.corrected(1.5)
    assert corrected.network_cycles(choice) == pytest.approx(1.5 * table.network_cycles(choice))
    assert corrected.cost(choice).cycles == pytest.approx(front_end + 1.5 * table.network_cycles(choice))


def test_a_cost_that_is_no_cost_is_refused() -> None:
    space = TinySpace(configs=paper_grid()[:1])
    with pytest.raises(InputError, match="-1.0 cycles"):
        tabulate(space, lambda x: np.full(len(x), -1.0), lambda config: 1.0)
    with pytest.raises(InputError, match=f"at {space.configs[0]} is nan cycles"):
        tabulate(space, toy_cycles, lambda config: float("nan"))
    free = tabulate(space, lambda x: np.zeros(len(x)), lambda config: 0.0)
    assert free.cost(random_choice(space, np.random.default_rng(0))).cycles == 0.0  # nothing is a cost
    with pytest.raises(InputError, match="-0.25 cycles"):
        tabulate(space, lambda x: np.array([0.0, 0.5, -0.25] + [1.0] * (len(x) - 3)), lambda config: 1.0)


def test_limits_hold_where_every_one_holds() -> None:
    cost = Cost(100.0, 200, 300)
    assert Limits().held_by(cost) and Limits(100.0, 200, 300).held_by(cost)
    assert not Limits(99.0, 200, 300).held_by(cost)
    assert not Limits(100.0, 199, 300).held_by(cost)
    assert not Limits(100.0, 200, 299).held_by(cost)


def test_the_space_needs_no_torch() -> None:
    code = "import sys, hil_nas.nas.tiny.cost_table, hil_nas.nas.tiny.derive; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
