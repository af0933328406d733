"""The darts search: what it learns, that it holds limits, resumes bit by bit, and measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hil_nas.candidates.sampling import Candidates
from hil_nas.errors import InfeasibleError, InputError, RunError
from hil_nas.front_ends import FrontEnd
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.darts.cost_table import DartsCostTable, tabulate_darts
from hil_nas.nas.darts.derive import DartsPreference, derive_darts
from hil_nas.nas.darts.genotype import DartsGenotype
from hil_nas.nas.darts.settings import DartsSettings
from hil_nas.nas.darts.space import SKIP, DartsSpace
from hil_nas.nas.darts.strategy import DartsPoint, DartsStrategy
from hil_nas.nas.front_ends.feature_store import FeatureSet
from hil_nas.nas.grid_search import GridSearch, SearchResult, search
from hil_nas.nas.search_loop import Loop
from hil_nas.network import Network
from tests.test_nas_space import toy_cycles

GRID = (Mfcc(640, 640, 40, 4), Mfcc(400, 800, 40, 4))  # 25 and 20 frames
SPACE = DartsSpace(GRID, classes=3, cells=3, nodes=2, channels=4, align="pad")
QUICK = DartsSettings(
    epochs=4, warmup_epochs=1, batch=16, weight_rate=0.05, alpha_rate=0.1, gamma_rate=0.1, drawn=1, shift_s=0.05,
)  # fmt: skip
CLIPS = 48


def clips(seed: int, informed: tuple[int, ...] = (0, 1)) -> FeatureSet:
    """High, low and alternating values under the informed configurations alone; noise elsewhere."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(CLIPS) % 3
    features = []
    for index, config in enumerate(GRID):
        x = torch.randn(CLIPS, config.frames, 4, generator=random)
        if index in informed:
            alternating = 2.0 * (torch.arange(config.frames) // 2 % 2) - 1
            levels = torch.stack([torch.ones(config.frames), -torch.ones(config.frames), alternating])
            x = x + 2 * levels[labels][:, :, None]
        features.append(x)
    return FeatureSet(tuple(features), labels)


@pytest.fixture(scope="module")
def cost_table() -> DartsCostTable:
    return tabulate_darts(SPACE, toy_cycles, lambda config: config.frames * 1e3)


def run(cost_table: DartsCostTable, **change: Any) -> SearchResult:
    given: dict[str, Any] = {"limits": Limits(), "settings": QUICK, "seed": 0, "informed": (0, 1), **change}
    informed = given.pop("informed")
    limits, settings = given.pop("limits"), given.pop("settings")
    start = partial(DartsStrategy, cost_table, settings)
    (one,) = search(start, clips(1, informed), clips(2, informed), [limits], **given)
    return one.result()


def test_a_search_learns_and_says_what_it_did(cost_table: DartsCostTable) -> None:
    epochs: list[dict[str, Any]] = []
    settings = replace(QUICK, epochs=10, drawn=0, weight_rate=0.1)
    result = run(cost_table, settings=settings, on_epoch=epochs.extend)
    assert tuple(epochs) == result.history and [x["epoch"] for x in epochs] == list(range(1, 11))
    assert epochs[0]["phase"] == "warm-up" and epochs[0]["validation_loss"] is None
    assert epochs[-1]["validation_loss"] < 0.8 < epochs[0]["train_loss"]  # a third of all guesses: 1.1
    assert result.network == result.genotype.build(result.config)
    assert isinstance(result.genotype, DartsGenotype)
    assert cost_table.cost(result.genotype, GRID.index(result.config)) == result.cost
    assert 0 <= epochs[-1]["skip_share"] <= 1 and epochs[-1]["derived_skips"] == result.genotype.skips


@pytest.mark.parametrize("informed", [0, 1])
def test_the_configuration_that_tells_the_classes_is_chosen(cost_table: DartsCostTable, informed: int) -> None:
    result = run(cost_table, settings=replace(QUICK, epochs=12, warmup_epochs=4, drawn=0), informed=(informed,))
    assert result.config == GRID[informed]
    phases = [x["phase"] for x in result.history]
    assert phases == sorted(phases, key=["warm-up", "data", "network"].index)


def test_limits_are_held_every_epoch_and_at_the_end(cost_table: DartsCostTable) -> None:
    free = run(cost_table)
    limits = Limits(0.8 * free.cost.cycles, free.cost.ram_bytes, int(0.95 * free.cost.flash_bytes))
    result = run(cost_table, limits=limits, settings=replace(QUICK, measure_every=1))
    assert limits.held_by(result.cost)
    derived = [x["derived"]["cycles"] for x in result.history[QUICK.warmup_epochs :]]
    assert len(derived) > 1 and max(derived) <= (limits.cycles or 0)
    with pytest.raises(InfeasibleError, match="no network holds the limits: cycles"):
        run(cost_table, limits=Limits(cycles=10.0))


def test_cost_pressure_lowers_the_expected_cost(cost_table: DartsCostTable) -> None:
    free = run(cost_table, settings=replace(QUICK, epochs=10))
    pressed = run(cost_table, settings=replace(QUICK, epochs=10), limits=Limits(cycles=0.7 * free.cost.cycles))
    costs = [x.history[-1]["expected"]["cycles"] for x in (free, pressed)]
    assert costs[1] < 0.97 * costs[0]
    assert max(x["multipliers"]["cycles"] for x in pressed.history) > 0
    assert pressed.history[-1]["expected"]["cycles"] < 1.05 * 0.7 * free.cost.cycles


class Stopped(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("change", [{}, {"drawn": 2}])
def test_a_killed_search_resumes_to_the_same_bits(
    cost_table: DartsCostTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    settings, states = replace(QUICK, **change), []
    original = GridSearch.result

    def watched(self: Any) -> Any:
        states.append(self.loop.net.state_dict())
        return original(self)

    monkeypatch.setattr(GridSearch, "result", watched)
    whole = run(cost_table, settings=settings)
    steps, step = 0, Loop.weight_step

    def stopping(self: Any, *args: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps in (2, 8):  # in the warm-up and in the search
            raise Stopped
        return step(self, *args)

    monkeypatch.setattr(Loop, "weight_step", stopping)
    path = tmp_path / "search.pt"
    for _ in range(2):
        with pytest.raises(Stopped):
            run(cost_table, settings=settings, checkpoint=path, resume=True)
    resumed = run(cost_table, settings=settings, checkpoint=path, resume=True)
    assert resumed.history == whole.history
    assert (resumed.genotype, resumed.config, resumed.gammas) == (whole.genotype, whole.config, whole.gammas)
    assert all(torch.equal(states[1][x], states[0][x]) for x in states[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed was 0, is 1"),
        ({"settings": replace(QUICK, epochs=2, drawn=2)}, "settings.drawn was 1, is 2"),
        ({"limits": Limits(cycles=9e8)}, "limits.cycles was null"),
        ({"informed": (1,)}, "train was"),
    ],
)
def test_a_checkpoint_of_another_search_is_refused(
    cost_table: DartsCostTable, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    same: dict[str, Any] = {
        "settings": replace(QUICK, epochs=2), "checkpoint": tmp_path / "search.pt", "resume": True
    }  # fmt: skip
    run(cost_table, **same)
    with pytest.raises(RunError, match=message):
        run(cost_table, **{**same, **change})


def test_a_step_of_one_half_leaves_the_other_parameters_alone(cost_table: DartsCostTable) -> None:
    generator, device = torch.Generator().manual_seed(0), torch.device("cpu")
    strategy = DartsStrategy(cost_table, replace(QUICK, drawn=0), Limits(), generator, device)
    one = GridSearch(strategy, clips(1), clips(2), Limits(), generator, device).loop
    before = {k: v.clone() for k, v in one.net.state_dict().items()}
    one.decision_step()
    changed = {k for k, v in one.net.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == set(one.net.architecture_parameters())
    before = {k: v.clone() for k, v in one.net.state_dict().items()}
    one.weight_step()
    changed = {k for k, v in one.net.state_dict().items() if not torch.equal(v, before[k])}
    assert changed and not changed & set(one.net.architecture_parameters())


def board(ratio: float, measured: list[Network]) -> Callable[[Network, FrontEnd], float]:
    """A board on which every network takes `ratio` times its cost."""

    def measure(network: Network, front_end: FrontEnd) -> float:
        measured.append(network)
        return ratio * float(toy_cycles([x for x in network.operators() if x.layer.kind != "reshape"]).sum())

    return measure


def test_measurements_correct_the_costs_and_the_limit_holds_as_measured(cost_table: DartsCostTable) -> None:
    timed: list[Network] = []
    limit = 1.3 * run(cost_table).cost.cycles
    result = run(cost_table, limits=Limits(limit), settings=replace(QUICK, measure_every=2), measure=board(1.4, timed))
    assert len(timed) >= 2 and result.calibration == pytest.approx(1.4)
    assert [x["calibration"] for x in result.history] == pytest.approx([1, 1.4, 1.4, 1.4])
    measured = board(1.4, [])(result.network, result.config) + result.config.frames * 1e3
    assert result.cost.cycles == pytest.approx(measured) and measured <= limit
    with pytest.raises(InfeasibleError):
        run(cost_table, limits=Limits(limit), measure=board(1000.0, []))


def test_candidates_hold_the_limits_as_measured_and_are_all_different(cost_table: DartsCostTable) -> None:
    limits = Limits(1.3 * run(cost_table).cost.cycles)
    result = run(cost_table, limits=limits, measure=board(1.1, []))
    sampled = Candidates(result).sampled(4)
    networks = {(x.config, x.network) for x in sampled} | {(result.config, result.network)}
    assert len(sampled) == 4 and len(networks) == 5
    for one in sampled:
        measured = board(1.1, [])(one.network, one.config) + one.config.frames * 1e3
        assert measured == pytest.approx(one.cost.cycles) and limits.held_by(one.cost)
    near = Candidates(result).neighbours(result, 3, np.random.default_rng(0))
    assert near and result.network not in {x.network for x in near} and all(limits.held_by(x.cost) for x in near)


def test_what_does_not_fit_is_refused(cost_table: DartsCostTable) -> None:
    good = clips(1)
    start = partial(DartsStrategy, cost_table, QUICK)
    with pytest.raises(InputError, match="labels run"):
        search(start, FeatureSet(good.features, good.labels + 5), good, [Limits()], seed=0)
    for values in ({"epochs": 1}, {"batch": 1}, {"drawn": 9}, {"drawn": -1}, {"floor": 1.0}, {"gamma_ratio": 1.0}):
        with pytest.raises(InputError):
            replace(QUICK, **values)  # type: ignore[arg-type]


def test_a_searched_genotype_survives_json(cost_table: DartsCostTable) -> None:
    genotype = run(cost_table, settings=replace(QUICK, epochs=2)).genotype
    assert DartsGenotype.from_json(genotype.to_json()) == genotype


@pytest.mark.parametrize("preferred", range(len(GRID)))
def test_cells_are_derived_on_the_configuration_that_gamma_prefers(cost_table: DartsCostTable, preferred: int) -> None:
    """By however little, and though with a dearer front end skips would fill the band below the limit."""
    limits = Limits(cycles=1.2 * max(cost_table.cost(*_any(cost_table, x)).cycles for x in range(len(GRID))))
    strategy = DartsStrategy(cost_table, QUICK, limits, torch.Generator().manual_seed(0), torch.device("cpu"))
    with torch.no_grad():
        strategy.net.alignment.gamma[preferred] = 1e-3
        strategy.net.architecture.alpha[..., SKIP] = 3.0
    assert strategy.derive(1.0, limits)[1] == preferred


def _any(cost_table: DartsCostTable, config: int) -> DartsPoint:
    preference = replace(
        DartsPreference.none(cost_table.space), configs=np.where(np.arange(len(GRID)) == config, 0.0, -np.inf)
    )
    return derive_darts(cost_table, preference, Limits())
