"""Whether all that a search and a training compute lies in one place, where that is not the CPU."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from hil_nas.audio.datasets import KeywordData
from hil_nas.candidates.short_training import short_trainings
from hil_nas.front_ends import parse_front_end
from hil_nas.front_ends.host import HostFrontEnd
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.darts.strategy import DartsStrategy
from hil_nas.nas.front_ends.search_continuous import FrontEndSearch
from hil_nas.nas.grid_search import GridSearch
from hil_nas.nas.tiny.cost_table import tabulate
from hil_nas.nas.tiny.strategy import TinyStrategy
from hil_nas.training.tune import tune_for_int8
from hil_nas.training.whole_training import train
from tests import test_darts_search as darts
from tests import test_nas_continuous as continuous
from tests import test_nas_search as tiny
from tests.absent_gpu import DEVICE, AbsentGpu
from tests.test_nas_space import toy_cycles
from tests.test_whole_training import CONFIG, SMALL, data, front_end, network  # noqa: F401  (fixtures)

LIMITS = Limits(cycles=1e9)


def test_the_stand_in_refuses_what_a_gpu_would() -> None:
    weight = torch.empty(3, 3, device=DEVICE)
    with AbsentGpu() as gpu:
        with pytest.raises(AssertionError, match="two places"):
            weight @ torch.ones(3, 3)
        with pytest.raises(AssertionError, match="two places"):
            torch.nn.functional.conv2d(torch.empty(1, 1, 4, 4, device=DEVICE), torch.ones(1, 1, 3, 3))
        assert (weight * torch.tensor(0.5)).device == DEVICE and float(weight.sum()) == 1.0
    assert gpu.operations > 3


@pytest.mark.parametrize("change", [{}, {"drawn": 0}])
def test_a_search_of_cells(change: dict[str, Any]) -> None:
    cost_table = darts.tabulate_darts(darts.SPACE, toy_cycles, lambda config: config.frames * 1e3)
    start = partial(DartsStrategy, cost_table, replace(darts.QUICK, batch=darts.CLIPS // 2, **change))
    sets = darts.clips(1), darts.clips(2)
    searched(start, sets)


def test_a_search_of_chains() -> None:
    cost_table = tabulate(tiny.SPACE, toy_cycles, lambda config: config.frames * 1e3)
    start = partial(TinyStrategy, cost_table, replace(tiny.QUICK, batch=tiny.CLIPS // 2))
    searched(start, (tiny.clips(1, (1,)), tiny.clips(2, (1,))))


def searched(start: Any, sets: Any) -> None:
    with AbsentGpu() as gpu:
        generator = torch.Generator().manual_seed(0)
        run = GridSearch(start(LIMITS, generator, DEVICE), *sets, LIMITS, generator, DEVICE)
        for _ in range(run.loop.settings.warmup_epochs + 1):
            run.loop.advance()
        run.result()
        run.loop.load_state_dict(run.loop.state_dict())
    assert gpu.operations > 1000


def test_a_search_of_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    objectives = []

    def judged(self: FrontEndSearch) -> None:
        config = continuous.SPACE.cheapest
        objectives.append(self.objective(config, self.table(config)))
        self.loop.load_state_dict(self.loop.state_dict())

    monkeypatch.setattr(FrontEndSearch, "result", judged)
    with AbsentGpu(number=400.0):
        continuous.run(LIMITS, device=DEVICE, settings=replace(continuous.QUICK, epochs=3, batch=continuous.CLIPS // 2))
        window, hop = torch.empty(2, device=DEVICE)
        features = parse_front_end("400/200/40/12").continuous()(torch.empty(3, 16000, device=DEVICE), window, hop)
    assert objectives == [400.0] and features.shape == (3, 40, 12)


def test_a_training_with_the_device_s_features_and_its_tuning(
    data: KeywordData, front_end: HostFrontEnd  # noqa: F811
) -> None:
    representative = torch.zeros(8, CONFIG.frames, CONFIG.coefficients, 1)
    with AbsentGpu() as gpu:
        trained = train(network(), CONFIG, data, SMALL, front_end=front_end, device=DEVICE)
        tuned = tune_for_int8(
            trained, CONFIG, data, representative, SMALL, epochs=1, front_end=front_end, device=DEVICE
        )  # fmt: skip
    assert gpu.operations > 1000
    assert {x.device.type for x in (*trained.module.parameters(), *tuned.module.parameters())} == {"cpu"}


def test_a_race(data: KeywordData) -> None:  # noqa: F811
    with AbsentGpu() as gpu:
        short_trainings([network()], CONFIG, data, SMALL, seed=0, device=DEVICE)
    assert gpu.operations > 1000
