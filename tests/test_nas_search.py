"""The search on toy data: what it picks, that it repeats itself, and that it goes on where it stopped."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hil_nas.cost.arena import arena_bytes
from hil_nas.cost.blob import plan_bytes
from hil_nas.errors import DivergedError, InfeasibleError, InputError, RunError
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.learning import threads
from hil_nas.nas import search_loop as loop_module
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.front_ends.choice import rounds_of
from hil_nas.nas.front_ends.feature_store import FeatureSet, FeatureStore
from hil_nas.nas.grid_search import GridSearch, SearchResult, search
from hil_nas.nas.input_space import Operation
from hil_nas.nas.tiny import strategy as tiny_module
from hil_nas.nas.tiny.cost_table import CostTable, tabulate
from hil_nas.nas.tiny.derive import derive
from hil_nas.nas.tiny.settings import TinySettings
from hil_nas.nas.tiny.space import TinySpace
from hil_nas.nas.tiny.strategy import TinyStrategy
from hil_nas.nas.tiny.supernet import TinySupernet
from tests.test_nas_space import toy_cycles

GRID = (Mfcc(640, 640, 20, 6), Mfcc(640, 480, 20, 6), Mfcc(400, 320, 20, 6))
CLASSES = 3
SPACE = TinySpace(
    configs=GRID,
    classes=CLASSES,
    positions=2,
    widths=(4, 8, 12),
    stems=(Operation("conv", (3, 1)), Operation("conv", (3, 1), (2, 1))),
    operations=(
        Operation("skip"),
        Operation("pool", (2, 1), (2, 1)),
        Operation("pointwise"),
        Operation("separable", (3, 1)),
        Operation("separable", (5, 1), (2, 1)),
    ),
)
QUICK = TinySettings(
    epochs=8, warmup_epochs=2, batch=32, rounds=6, decide_every=1, weight_rate=0.01, alpha_rate=0.05, gamma_rate=0.1,
    worth=5.0,
)
CLIPS = 192
CPU = torch.device("cpu")


def clips(seed: int, informed: tuple[int, ...], front_end_noise: float = 1.0) -> FeatureSet:
    """Noise under every configuration; under the informed ones the class is the coefficient that is raised."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (CLIPS,), generator=generator)
    features = []
    for index, config in enumerate(GRID):
        x = front_end_noise * torch.randn(CLIPS, config.frames, config.coefficients, generator=generator)
        if index in informed:
            raised = nn.functional.one_hot(labels, config.coefficients)[:, None]
            x[:, config.frames // 3 : 2 * config.frames // 3] += 1.5 * raised
        features.append(x)
    return FeatureSet(tuple(features), labels)


@pytest.fixture(scope="module")
def cost_table() -> CostTable:
    return tabulate(SPACE, toy_cycles, lambda config: config.frames * 1e3)


def run(
    cost_table: CostTable, informed: tuple[int, ...] = (1,), limits: Limits | None = None, **more: Any
) -> SearchResult:
    settings = more.pop("settings", QUICK)
    seed = more.pop("seed", 0)
    limits = limits or Limits()
    start = partial(TinyStrategy, cost_table, settings)
    (one,) = search(start, clips(1, informed), clips(2, informed), [limits], seed=seed, **more)
    return one.result()


@pytest.mark.parametrize(
    ("most", "clips", "rounds"),
    [(800, 20_000, 800), (800, 6_464, 303), (800, 450, 300), (20, 450, 20), (0, 450, 7), (0, 9, 1)],
)
def test_few_clips_make_shorter_epochs_but_not_short_ones(most: int, clips: int, rounds: int) -> None:
    assert rounds_of(most, clips, 64) == rounds


@pytest.mark.parametrize("informed", range(3))
def test_it_picks_the_only_configuration_that_tells_the_classes(cost_table: CostTable, informed: int) -> None:
    """Behind a warm-up that is long enough: by weights that have not learned, others are picked."""
    result = run(cost_table, (informed,), settings=replace(QUICK, epochs=24, warmup_epochs=8, rounds=12))
    assert result.config == GRID[informed]
    assert max(result.gammas) == result.gammas[informed]
    phases = [x["phase"] for x in result.history]
    assert phases[:8] == ["warm-up"] * 8 and phases[8] == "data" and phases[-1] == "network"  # it stopped early
    assert result.history[-1]["validation_loss"] < 1.0 < result.history[0]["train_loss"]


def test_a_tight_budget_picks_a_cheap_front_end_and_holds() -> None:
    """All configurations tell the classes alike; only the first leaves cycles for a network."""
    table = tabulate(SPACE, toy_cycles, lambda config: {GRID[0]: 2e4, GRID[1]: 9e4, GRID[2]: 4e5}[config])
    result = run(table, (0, 1, 2), Limits(cycles=1.0e5))
    assert result.config == GRID[0]
    assert result.cost.cycles <= 1.0e5


def test_the_cost_of_a_front_end_decides_between_equals() -> None:
    """Two configurations of clips that tell nothing, both within the limit: the dearer loses by its cost alone."""
    twins = (Mfcc(640, 640, 20, 6), Mfcc(640, 640, 40, 6))
    space = replace(SPACE, configs=twins)
    table = tabulate(space, toy_cycles, lambda config: {twins[0]: 9e4, twins[1]: 2e4}[config])
    data = [clips(seed, (), front_end_noise=0.0) for seed in (1, 2)]
    train, validation = (FeatureSet((x.features[0], x.features[0]), x.labels) for x in data)
    limits = Limits(cycles=1.0e5)
    start = partial(TinyStrategy, table, replace(QUICK, multiplier_rate=1.0))
    result = search(start, train, validation, [limits], seed=0)[0].result()
    assert result.config == twins[1] and result.gammas[1] > 0.7


def test_every_limit_holds_on_the_network_itself(cost_table: CostTable) -> None:
    limits = Limits(cycles=9e4, ram_bytes=700, flash_bytes=1500)
    result = run(cost_table, (0, 1, 2), limits, settings=replace(QUICK, measure_every=1))
    network = result.genotype.build(result.config)
    assert network == result.network
    assert SPACE.contains(result.genotype, result.config)
    assert arena_bytes(network) == result.cost.ram_bytes <= 700
    assert plan_bytes(network) == result.cost.flash_bytes <= 1500
    operators = [x for x in network.operators() if x.layer.kind != "reshape"]
    total = toy_cycles(operators).sum() + result.config.frames * 1e3
    assert total == pytest.approx(result.cost.cycles) and total <= 9e4
    derived = [x["derived"] for x in result.history[QUICK.warmup_epochs :]]
    assert len(derived) > 1 and all(x["cycles"] <= 9e4 and x["ram_bytes"] <= 700 for x in derived)


def test_impossible_limits_are_refused_before_anything_is_trained(
    cost_table: CostTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(*args: Any) -> None:
        raise AssertionError("the search began")

    monkeypatch.setattr(tiny_module, "TinySupernet", trained)
    with pytest.raises(InfeasibleError, match="cycles"):
        run(cost_table, limits=Limits(cycles=10.0))


def test_history_is_plain_json_and_says_what_to_watch(cost_table: CostTable) -> None:
    seen: list[dict[str, Any]] = []
    result = run(cost_table, on_epoch=seen.extend, settings=replace(QUICK, epochs=3))
    assert json.loads(json.dumps(seen)) == list(result.history)
    assert len(seen) == 3
    assert {"expected", "skip_share", "entropy", "gammas", "multipliers"} <= set(seen[0])
    assert seen[0]["entropy"]["gamma"] == pytest.approx(1.0)
    assert all(sum(x.values()) == pytest.approx(1.0, abs=1e-3) for x in seen[-1]["alpha"].values())
    assert 0 < seen[-1]["skip_share"] < 1


def test_the_derived_network_is_on_the_front_end_that_gamma_prefers(cost_table: CostTable) -> None:
    """Though others leave a network more of the limit, for parameters that are worth much more than gamma's preference;
    where nothing holds the limits on it, on another."""
    strategy = TinyStrategy(cost_table, replace(QUICK, worth=1e3), Limits(), torch.Generator().manual_seed(0), CPU)
    with torch.no_grad():
        strategy.net.alignment.gamma[2] = 0.1
    limits, front_ends = Limits(cycles=8e4), cost_table.cycles.front_end
    assert front_ends.argmax() == 2 and derive(cost_table, strategy.preference(), limits).config != 2
    assert strategy.derive(1.0, limits).config == 2
    below = Limits(cycles=float(front_ends[2]))
    assert strategy.derive(1.0, below).config != 2
    strategy.net.alignment.chosen = 2  # on which a search had settled before the board said what networks cost there
    assert strategy.derive(1.0, below).config != 2


def test_what_would_be_derived_is_told_where_it_is_measured_and_at_the_end(
    cost_table: CostTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A derivation takes seconds."""
    derive, derived = TinyStrategy.derive, list[object]()
    monkeypatch.setattr(TinyStrategy, "derive", lambda *x: derived.append(derive(*x)) or derived[-1])
    settings = replace(QUICK, epochs=6, warmup_epochs=3, measure_every=2)
    history = run(cost_table, limits=Limits(cycles=6e4), settings=settings).history
    assert [x["epoch"] for x in history if "derived" in x] == [4, 6] and len(derived) == 2
    assert history[2]["expected"] == history[0]["expected"]


class Stopped(Exception):
    """Stands for Ctrl-C."""


def test_stopped_anywhere_and_resumed_it_is_bit_identical(
    cost_table: CostTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits, settings = Limits(cycles=5e4, flash_bytes=900), replace(QUICK, epochs=6)  # the latter binds

    def alone(**more: Any) -> tuple[SearchResult, dict[str, torch.Tensor]]:
        kept: list[nn.Module] = []
        original = tiny_module.TinySupernet

        def keeping(*args: Any) -> nn.Module:
            kept.append(original(*args))
            return kept[0]

        with monkeypatch.context() as patch:
            patch.setattr(tiny_module, "TinySupernet", keeping)
            result = run(cost_table, limits=limits, settings=settings, **more)
        return result, kept[0].state_dict()

    whole, whole_state = alone()
    path = tmp_path / "search.pt"
    steps = 0
    original = loop_module.step

    def stopping(*args: Any) -> None:
        nonlocal steps
        steps += 1
        if steps in (9, 49, 50):  # in the warm-up, in the data search, and at once after a resume
            raise Stopped
        original(*args)

    monkeypatch.setattr(loop_module, "step", stopping)
    for _ in range(3):
        with pytest.raises(Stopped):
            alone(checkpoint=path, resume=True)
    resumed, resumed_state = alone(checkpoint=path, resume=True)
    assert whole.history[3]["multipliers"]["flash_bytes"] > 0  # of the checkpoint that was gone on from
    assert resumed.history == whole.history
    assert (resumed.genotype, resumed.config, resumed.gammas) == (whole.genotype, whole.config, whole.gammas)
    assert resumed_state.keys() == whole_state.keys()
    assert all(torch.equal(resumed_state[x], whole_state[x]) for x in whole_state)


def test_another_seed_searches_differently(cost_table: CostTable) -> None:
    settings = replace(QUICK, epochs=3)
    one, two, other = (run(cost_table, settings=settings, seed=seed) for seed in (0, 0, 1))
    assert one.history == two.history != other.history


def test_networks_of_a_step_that_run_at_the_same_time_decide_as_one_after_another(
    cost_table: CostTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, start = TinySupernet.forward, partial(TinyStrategy, cost_table, replace(QUICK, epochs=3))

    def history(processors: int) -> list[dict[str, Any]]:
        """Where the decisions are made, so many networks have to run at once."""
        barrier = threading.Barrier(processors, timeout=60)

        def met(*args: Any) -> torch.Tensor:
            if not torch.is_grad_enabled():
                barrier.wait()
            return forward(*args)

        with monkeypatch.context() as patch:
            patch.setattr(threads, "_processors", lambda: processors)
            patch.setattr(TinySupernet, "forward", met)
            (one,) = search(start, clips(1, (1,)), clips(2, (1,)), [Limits()], seed=0)
        return one.loop.history

    assert history(1) == history(3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed was 0, is 1"),
        ({"settings": replace(QUICK, epochs=3, alpha_rate=0.01)}, "settings.alpha_rate was 0.05, is 0.01"),
        ({"limits": Limits(cycles=2e5)}, "limits.cycles was null, is 200000.0"),
        ({"informed": (2,)}, "train was"),
    ],
)
def test_a_checkpoint_of_another_search_is_refused_with_both_named(
    cost_table: CostTable, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "search.pt"
    same: dict[str, Any] = {"settings": replace(QUICK, epochs=3), "checkpoint": path, "resume": True}
    run(cost_table, **same)
    with pytest.raises(RunError, match=message):
        run(cost_table, **{**same, **change})


def test_a_damaged_checkpoint_is_refused(cost_table: CostTable, tmp_path: Path) -> None:
    path = tmp_path / "search.pt"
    path.write_bytes(b"no checkpoint")
    with pytest.raises(RunError, match="is damaged"):
        run(cost_table, checkpoint=path, resume=True)
    torch.save({"version": 99, "identity": "{}"}, path)
    with pytest.raises(RunError, match="version 99, expected 2"):
        run(cost_table, checkpoint=path, resume=True)


def test_every_validation_step_sees_a_fresh_batch(cost_table: CostTable, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[FeatureStore, tuple[int, ...]]] = []
    original = FeatureStore.batch

    def watched(self: FeatureStore, clips: torch.Tensor, configs: Any) -> Any:
        seen.append((self, tuple(clips.tolist())))
        return original(self, clips, configs)

    monkeypatch.setattr(FeatureStore, "batch", watched)
    start = partial(TinyStrategy, cost_table, replace(QUICK, epochs=4))
    search(start, clips(1, (1,)), clips(2, (1,)), [Limits()], seed=0)
    stores = list({id(store): store for store, _ in seen}.values())
    assert len(stores) == 2
    for store in stores:
        batches = [x for s, x in seen if s is store]
        each = CLIPS // QUICK.batch
        for start in range(0, len(batches) - each + 1, each):
            epoch = [i for x in batches[start : start + each] for i in x]
            assert sorted(epoch) == list(range(CLIPS))  # every clip once before any comes again
        assert len(set(batches)) == len(batches)


def test_a_step_of_one_half_leaves_the_other_parameters_alone(cost_table: CostTable) -> None:
    generator, device = torch.Generator().manual_seed(0), torch.device("cpu")
    strategy = TinyStrategy(cost_table, QUICK, Limits(), generator, device)
    one = GridSearch(strategy, clips(1, (1,)), clips(2, (1,)), Limits(), generator, device).loop
    before = {k: v.clone() for k, v in one.net.state_dict().items()}
    one.decision_step()
    changed = {k for k, v in one.net.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == set(one.net.architecture_parameters())
    before = {k: v.clone() for k, v in one.net.state_dict().items()}
    one.weight_step()
    changed = {k for k, v in one.net.state_dict().items() if not torch.equal(v, before[k])}
    assert changed and not changed & set(one.net.architecture_parameters())


def test_features_that_do_not_fit_are_refused(cost_table: CostTable) -> None:
    good = clips(1, (0,))
    short = FeatureSet((good.features[0][:, 1:], *good.features[1:]), good.labels)
    start = partial(TinyStrategy, cost_table, QUICK)
    with pytest.raises(InputError, match="24, 6"):
        search(start, short, good, [Limits()], seed=0)
    with pytest.raises(InputError, match="labels run"):
        search(start, good, FeatureSet(good.features, good.labels + 5), [Limits()], seed=0)
    with pytest.raises(InputError, match="same clips"):
        FeatureSet(good.features, good.labels[1:])


@pytest.mark.parametrize(
    "values", [{"epochs": 2, "warmup_epochs": 2}, {"batch": 1}, {"floor": 1.0}, {"paths": 1}, {"front_ends": 1}]
)
def test_settings_that_make_no_search_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        TinySettings(**values)


def test_a_kill_behind_a_checkpoint_loses_no_epochs_figures(
    cost_table: CostTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs: list[dict[str, Any]] = []
    save = loop_module.checkpoints.save

    def killed(*args: Any) -> None:
        save(*args)
        if len(epochs) == 3:
            raise KeyboardInterrupt

    more: dict[str, Any] = {"checkpoint": tmp_path / "search.pt", "resume": True, "on_epoch": epochs.extend}
    monkeypatch.setattr(loop_module.checkpoints, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        run(cost_table, settings=replace(QUICK, epochs=5), **more)
    monkeypatch.undo()
    result = run(cost_table, settings=replace(QUICK, epochs=5), **more)
    assert epochs == list(result.history)


@pytest.mark.parametrize(("half", "epoch"), [("train", 1), ("validation", 3)])
def test_a_loss_that_is_not_finite_ends_the_search_with_a_reason(
    cost_table: CostTable, tmp_path: Path, half: str, epoch: int
) -> None:
    sets = {"train": clips(1, (1,)), "validation": clips(2, (1,))}
    for x in sets[half].features:
        x[...] = torch.nan
    path = tmp_path / "search.pt"
    with pytest.raises(DivergedError, match=f"the loss is nan in the .* of the supernet, epoch {epoch}"):
        search(partial(TinyStrategy, cost_table, QUICK), *sets.values(), [Limits()], seed=0, checkpoint=path)
    assert path.exists() == (epoch > 1)  # of the epochs before
