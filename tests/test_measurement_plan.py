"""Which networks a measurement plan holds: every kernel path, the low and the high end of the spaces, what fits."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from hil_nas.cost.arena import arena_bytes
from hil_nas.cost.macs import network_macs
from hil_nas.latency.kernel_work import PATHS, is_executed, kernel_path
from hil_nas.network import Network
from hil_nas.workflows import fitting, measurement_plan, network_sampling
from hil_nas.workflows.fitting import fits
from tests.test_profile import IDENTITY, few_candidates  # noqa: F401  (few_candidates is a fixture)

# these run windows or inputs of more than 1024 values, which no space has
OF_SPACES = set(PATHS) - {"conv_1x1", "conv_im2col", "fully_connected"}


def test_every_kernel_is_run_to_see_the_deepest_stack() -> None:
    networks = measurement_plan.every_kernel()
    assert {kernel_path(y) for x in networks for y in x.operators()} == set(PATHS)
    assert max(map(network_macs, networks)) < 2_000_000
    assert {x.output[2] % 4 == 0 for network in networks for x in network.operators()} == {True, False}


def test_the_smallest_network_has_the_least_of_every_kernel() -> None:
    random = np.random.default_rng(3)
    sizes = [(kernel_path(y), math.prod(y.output)) for x in measurement_plan.smallest() for y in x.operators()]
    least = {path: min(size for other, size in sizes if other == path) for path, _ in sizes}
    assert set(least) == OF_SPACES
    for space in network_sampling.OF_SPACE.values():
        for operator in (y for _ in range(40) for y in space(random).operators()):
            assert not is_executed(operator) or math.prod(operator.output) >= least[kernel_path(operator)]


@pytest.fixture(scope="module")
def planned() -> list[Network]:
    return measurement_plan.networks(120, 0, lambda x: fitting.is_measured(x, IDENTITY))


def test_the_list_of_networks_is_the_same_every_time(planned: list[Network]) -> None:
    assert measurement_plan.networks(120, 0, lambda x: fitting.is_measured(x, IDENTITY)) == planned
    assert len(set(planned)) == 120
    assert measurement_plan.networks(120, 1, lambda x: fitting.is_measured(x, IDENTITY)) != planned


def test_the_list_covers_every_kernel_path(planned: list[Network]) -> None:
    paths = [kernel_path(y) for x in planned for y in x.operators() if is_executed(y)]
    assert {path: paths.count(path) >= 5 for path in OF_SPACES} == dict.fromkeys(OF_SPACES, True)


def test_every_network_fits_the_board(planned: list[Network]) -> None:
    tight = replace(IDENTITY, pool_bytes=100_000)
    assert all(fits(x, IDENTITY) for x in planned)
    small = measurement_plan.networks(20, 0, lambda x: fitting.is_measured(x, tight))
    assert len(small) == 20 and max(arena_bytes(x) for x in small) <= 100_000
