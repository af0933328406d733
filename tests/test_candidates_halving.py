"""The rounds of candidates, on short trainings whose outcome is known beforehand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hil_nas.candidates import halving
from hil_nas.candidates.halving import Race, Standings
from hil_nas.candidates.ranking import ranking
from hil_nas.candidates.short_training import Score
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.nas.costs.network_limits import Cost
from hil_nas.nas.grid_search import SearchResult
from hil_nas.nas.input_space import Operation
from hil_nas.nas.protocols import Derived
from hil_nas.nas.tiny.genotype import ChainStep, TinyGenotype
from hil_nas.network import Network
from hil_nas.progress import Progress
from hil_nas.runs import Run
from hil_nas.training.recipe import Recipe

CONFIG = Mfcc(640, 320, 20, 6)
OTHER = Mfcc(640, 320, 40, 6)  # as many frames and coefficients, so that a network fits both
DATA: Any = object()


def progress(step: Progress) -> None:
    pass


def derived(width: int, config: Mfcc = CONFIG, near: Any = lambda count, rng: []) -> dict[str, Any]:
    genotype = TinyGenotype("channels", None, ChainStep(Operation("conv", (3, 1)), width), (), 3)
    cost = Cost(100.0 * width, width, 2 * width)
    return {
        "point": near, "genotype": genotype, "config": config, "network": genotype.build(config), "cost": cost
    }  # fmt: skip


def width_of(network: Network) -> int:
    return network.layers[1].out_channels


class Trainings:
    """Losses by width and epochs; remembers what was trained."""

    def __init__(self, folder: Path, loss: Callable[[int, int], float], seed: int = 0) -> None:
        self.folder, self.loss, self.seed = folder, loss, seed
        self.trained_networks: list[tuple[int, list[int]]] = []  # epochs and widths
        self.configs: list[Mfcc] = []

    def __call__(self, networks: Sequence[Network], config: Mfcc, data: Any, recipe: Recipe, **more: Any) -> Any:
        checkpoint = self.folder / f"candidates-{len(self.trained_networks)}.pt"
        assert more == {"seed": self.seed, "progress": progress, "checkpoint": checkpoint, "resume": True}
        assert data is DATA and not recipe.branches
        widths = [width_of(x) for x in networks]
        self.trained_networks.append((recipe.epochs, widths))
        self.configs.append(config)
        return [Score(self.loss(x, recipe.epochs), 1 / x) for x in widths]


class Sampled:
    """Candidates known beforehand; the point of a network gives its neighbours."""

    def __init__(self, sampled: list[Derived[Any]]) -> None:
        self._sampled = sampled

    def sampled(self, count: int) -> list[Derived[Any]]:
        assert count == len(self._sampled)
        return self._sampled

    def neighbours(self, of: Derived[Any], count: int, rng: np.random.Generator) -> list[Derived[Any]]:
        near: list[Derived[Any]] = of.point(count, rng)
        return near


def held(
    monkeypatch: pytest.MonkeyPatch, trainings: Trainings, *entered: dict[str, Any], epochs: int = 2,
    last_epochs: int = 1,
) -> list[Derived[Any]]:  # fmt: skip
    """The candidates of a search whose most preferred network comes first."""
    return standings(monkeypatch, trainings, *entered, race=Race(epochs, last_epochs, 4)).ranked


def standings(
    monkeypatch: pytest.MonkeyPatch, trainings: Trainings, *entered: dict[str, Any], race: Race, supernet: Any = None,
    beside: Sequence[Derived[Any]] = (),
) -> Standings:  # fmt: skip
    monkeypatch.setattr(halving, "short_trainings", trainings)
    result: Any = SearchResult(
        **entered[0], gammas=(1.0,), calibration=1.0, history=(), calibrated=DATA, next_seed=0, supernet=supernet
    )
    candidates: Any = Sampled([Derived(**x) for x in entered[1:]])
    more: dict[str, Any] = {"race": race, "seed": trainings.seed, "progress": progress, "beside": beside}
    return halving.by_halving(result, candidates, DATA, Run(trainings.folder), count=len(entered) - 1, **more)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("last_epochs", [3, 2, 1])
def test_a_longer_training_of_the_best_few_decides_and_a_shorter_one_is_not_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, last_epochs: int
) -> None:
    """After 2 epochs narrow networks lead, after more wide ones."""
    trainings = Trainings(tmp_path, lambda width, epochs: float(width if epochs == 2 else -width))
    entered = [derived(x) for x in (40, 16, 4, 24, 12, 32)]
    widths = [width_of(x.network) for x in held(monkeypatch, trainings, *entered, last_epochs=last_epochs)]
    trained = [x["trained_epochs"] for x in lines(tmp_path)]
    if last_epochs > 2:
        assert trainings.trained_networks == [(2, [40, 16, 4, 24, 12, 32]), (3, [4, 12, 16, 24])]
        assert widths == [24, 16, 12, 4, 32, 40] and trained == [3] * 4 + [2] * 2
    else:
        assert trainings.trained_networks == [(2, [40, 16, 4, 24, 12, 32])]
        assert widths == [4, 12, 16, 24, 32, 40] and trained == [2] * 6


def test_neighbours_of_the_two_best_are_trained_for_four_rounds_while_they_get_better(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every network has neighbours a little narrower, and the narrower wins."""
    requests: list[tuple[int, int]] = []

    def narrower(width: int) -> dict[str, Any]:
        def near(count: int, rng: np.random.Generator) -> list[Derived[Any]]:
            requests.append((width, count))
            return [Derived(**narrower(width - x)) for x in range(1, count + 1)]

        return derived(width, near=near)

    trainings = Trainings(tmp_path, lambda width, epochs: float(width))
    ranked = held(monkeypatch, trainings, *(narrower(x) for x in (40, 44, 36, 32, 28)))
    # half as many from each parent as entered, rounded up; none is trained twice
    assert requests == [(28, 3), (32, 3), (25, 3), (26, 3), (22, 3), (23, 3), (19, 3), (20, 3)]
    assert [sorted(x) for _, x in trainings.trained_networks] == [
        [28, 32, 36, 40, 44], [25, 26, 27, 29, 30, 31], [22, 23, 24], [19, 20, 21], [16, 17, 18]
    ]  # fmt: skip
    assert {x for x, _ in trainings.trained_networks} == {2}
    assert [width_of(x.network) for x in ranked] == [*range(16, 33), 36, 40, 44]


@pytest.mark.parametrize("neighbours", [[], [36, 32], [50, 51]])
def test_a_round_that_brings_none_among_the_best_few_is_the_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, neighbours: list[int]
) -> None:
    rounds = []

    def near(count: int, rng: np.random.Generator) -> list[Derived[Any]]:
        rounds.append(count)
        return [Derived(**derived(x)) for x in neighbours]

    trainings = Trainings(tmp_path, lambda width, epochs: float(width))
    ranked = held(monkeypatch, trainings, *(derived(x, near=near) for x in (40, 36, 32, 28, 48, 44)))
    assert len(rounds) == 2  # both parents', once
    new = sorted({*neighbours} - {36, 32})  # what was trained is not trained again
    assert trainings.trained_networks == [(2, [40, 36, 32, 28, 48, 44]), *([(2, new)] if new else [])]
    assert [width_of(x.network) for x in ranked] == [28, 32, 36, 40, 44, 48, *new]


def test_each_configuration_has_a_training_and_all_are_ranked_together(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A network on another configuration is another candidate."""
    twin = Derived(**derived(12, OTHER))
    entered = [derived(12, near=lambda count, rng: [twin]), derived(24, OTHER), derived(16), derived(8, OTHER)]
    trainings = Trainings(tmp_path, lambda width, epochs: float(width))
    ranked = held(monkeypatch, trainings, *entered)
    assert [x for _, x in trainings.trained_networks] == [[12, 16], [24, 8], [12]]
    assert trainings.configs == [CONFIG, OTHER, OTHER]
    assert [(width_of(x.network), x.config) for x in ranked] == [
        (8, OTHER), (12, CONFIG), (12, OTHER), (16, CONFIG), (24, OTHER)
    ]  # fmt: skip


@pytest.mark.parametrize("unit", [1e-3, 1e-2])
def test_two_windows_and_hops_are_raced_to_the_end_unless_one_is_surely_better(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unit: float
) -> None:
    """After 2 epochs all of one hop lead, which another beats after 3: 0.2 behind, that other is left behind, as the
    third best hop is anyway."""
    slower, slowest, parents = Mfcc(640, 160, 20, 6), Mfcc(640, 100, 20, 6), []

    def entered(width: int, config: Mfcc = CONFIG) -> dict[str, Any]:
        def near(count: int, rng: np.random.Generator) -> list[Derived[Any]]:
            parents.append((width, count))
            return []

        return derived(width, config, near)

    trainings = Trainings(tmp_path, lambda width, epochs: unit * (width if epochs == 2 else 100 - width))
    products = [*(entered(x) for x in (20, 8, 12, 16, 24)), entered(44, slowest)]
    products += [entered(x, slower) for x in (36, 28, 32)]
    ranked = [width_of(x.network) for x in held(monkeypatch, trainings, *products, last_epochs=3)]
    last = [x for x in trainings.trained_networks if x[0] == 3]
    if unit == 1e-3:
        assert parents == [(8, 5), (28, 5)] and last == [(3, [8, 12]), (3, [28, 32])]
        assert ranked == [32, 28, 12, 8, 16, 20, 24, 36, 44]
    else:
        assert parents == [(8, 5), (12, 5)] and last == [(3, [8, 12, 16, 20])]
        assert ranked == [20, 16, 12, 8, 24, 28, 32, 36, 44]


def test_where_the_second_hop_has_too_few_the_next_best_are_raced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trainings = Trainings(tmp_path, lambda width, epochs: width / 1000)
    products = [derived(x) for x in (8, 12, 16, 20, 24)] + [derived(26, Mfcc(640, 160, 20, 6))]
    held(monkeypatch, trainings, *products, last_epochs=3)
    assert [x for x in trainings.trained_networks if x[0] == 3] == [(3, [8, 12, 16]), (3, [26])]


def test_candidates_are_told_by_rank(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One that diverged comes last, its loss told as null."""
    trainings = Trainings(tmp_path, lambda width, epochs: inf if width == 8 else width / 100)
    held(monkeypatch, trainings, *(derived(x) for x in (40, 8, 10)))
    reported = [
        {
            "phase": "candidates", "epoch": rank, "trained_epochs": 2, "derived": width == 40,
            "front_end": "mfcc:640/320/20/6",
            "loss": loss, "accuracy": 1 / width, "supernet_loss": None,
            "parameters": 6 * 3 * width + width + 3 * width + 3,  # stem and head
            "cycles": 100.0 * width, "ram_bytes": width, "flash_bytes": 2 * width,
        }
        for rank, width, loss in ((1, 10, 0.1), (2, 40, 0.4), (3, 8, None))
    ]  # fmt: skip
    logged = lines(tmp_path)
    assert [x.pop("genotype")["stem"]["width"] for x in logged] == [10, 40, 8] and logged == reported


def test_the_seed_decides_which_neighbours_are_drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def drawn(seed: int) -> list[int]:
        neighbours: list[int] = []

        def near(count: int, rng: np.random.Generator) -> list[Derived[Any]]:
            neighbours.append(int(rng.integers(10**9)))
            return []

        held(monkeypatch, Trainings(tmp_path, lambda width, epochs: width, seed), derived(8, near=near), derived(12))
        return neighbours

    assert drawn(0) == drawn(0) != drawn(1)


def test_without_candidates_nothing_is_trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trainings = Trainings(tmp_path, lambda width, epochs: pytest.fail("it trained"))
    (only,) = held(monkeypatch, trainings, derived(8), last_epochs=9)
    assert width_of(only.network) == 8 and not trainings.trained_networks and not (tmp_path / "metrics.jsonl").exists()


def test_others_race_beside_them_each_network_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trainings = Trainings(tmp_path, lambda width, epochs: float(width))
    beside = [Derived(**derived(x)) for x in (12, 40, 16)]
    found = standings(
        monkeypatch, trainings, *(derived(x) for x in (40, 20, 12)), race=Race(2, 1, 0), beside=beside
    )
    assert trainings.trained_networks == [(2, [40, 20, 12, 16])]
    assert [width_of(x.network) for x in found.ranked] == [12, 16, 20, 40]
    assert found.figures["derived"] == {"rank": 4, "of": 4}


def test_others_race_where_there_are_no_candidates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trainings = Trainings(tmp_path, lambda width, epochs: float(width))
    beside = [Derived(**derived(12))]
    found = standings(monkeypatch, trainings, derived(40), race=Race(2, 1, 0), beside=beside)
    assert trainings.trained_networks == [(2, [40, 12])]
    assert [width_of(x.network) for x in found.ranked] == [12, 40] and found.figures["derived"]["rank"] == 2


class Supernet:
    """What a supernet says, known beforehand: it takes wide networks for good, and does not know the widest."""

    def loss(self, point: Any) -> float | None:
        return None if point == 48 else 1 / point

    def score(self, point: Any, loss: float) -> float:
        return -loss


def test_what_ranked_before_the_trainings_is_held_against_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Narrow networks win: the supernet's losses and all sizes have it the wrong way round, its scores the right one;
    the last few change no tau."""
    trainings = Trainings(tmp_path, lambda width, epochs: width if epochs == 2 else -width)
    entered = [{**derived(x), "point": x} for x in (40, 16, 48, 24, 12, 32)]
    found = standings(monkeypatch, trainings, *entered, race=Race(2, 5, 0), supernet=Supernet())
    assert found.figures["derived"] == {"rank": 5, "of": 6}
    assert found.figures["ranking"]["networks"] == 6
    taus = found.figures["ranking"]["kendall_tau"]
    known = {"supernet": -1.0, "score": 1.0, "parameters": -1.0, "macs": -1.0, "cycles": -1.0}
    assert taus == pytest.approx(known)
    alone = standings(monkeypatch, Trainings(tmp_path / "x", trainings.loss), derived(8), race=Race(2, 5, 0))
    assert alone.figures == {}


@pytest.mark.parametrize(
    ("scores", "tau"),
    [([1, 2, 3, 4], 1.0), ([4, 3, 2, 1], -1.0), ([1, 3, 2, 4], 2 / 3), ([5, 5, 5, 5], None), ([1, None, None, 2], None),
     ([1, None, 2, 3], 1.0)],
)  # fmt: skip
def test_tau_is_one_where_the_lower_score_has_the_lower_loss(scores: list[float | None], tau: float | None) -> None:
    """By hand: of the six pairs of four networks one is the wrong way round in the third row."""
    found = ranking([0.1, 0.2, 0.3, inf], {"x": scores})
    assert found["networks"] == 4 and found["kendall_tau"]["x"] == (tau if tau is None else pytest.approx(tau))
