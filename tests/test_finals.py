"""The finals' rounds, on races whose outcome is known beforehand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from hil_nas.mfcc import MfccConfig
from hil_nas.nas.genotype import Operation, Step, TinyGenotype
from hil_nas.nas.prices import Cost
from hil_nas.nas.strategy import Derived, SearchResult
from hil_nas.network import Network
from hil_nas.progress import silent
from hil_nas.runs import Run
from hil_nas.training.race import Standing
from hil_nas.training.recipe import Recipe
from hil_nas.workflows import finals

CONFIG = MfccConfig(640, 320, 20, 6)


def derived(width: int) -> dict[str, Any]:
    genotype = TinyGenotype("channels", None, Step(Operation("conv", (3, 1)), width), (), 3)
    near = {"neighbours": lambda count, rng: []}
    return {"genotype": genotype, "config": CONFIG, "network": genotype.build(CONFIG), "cost": Cost(1.0, 1, 1), **near}


@pytest.mark.parametrize(("last_epochs", "best"), [(3, 24), (2, 4), (1, 4)])
def test_a_longer_race_of_the_best_few_decides_and_a_shorter_one_is_not_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, last_epochs: int, best: int
) -> None:
    """In a race of 2 epochs narrow networks lead, in a longer one wide ones."""
    raced: list[int] = []

    def race(networks: Sequence[Network], config: MfccConfig, data: Any, recipe: Recipe, **more: Any) -> list[Standing]:
        assert more["checkpoint"] == tmp_path / f"race-{len(raced)}.pt" and more["resume"]
        raced.append(recipe.epochs)
        widths = [x.layers[1].out_channels for x in networks]
        return [Standing(float(x if recipe.epochs == 2 else -x), 0.5) for x in widths]

    monkeypatch.setattr(finals, "race", race)
    rivals = tuple(Derived(**derived(x)) for x in (16, 4, 24, 12, 32))
    result = SearchResult(**derived(40), rivals=rivals, gammas=(1.0,), price_ratio=1.0, history=())
    run = Run(tmp_path)
    found = finals.by_race(
        result, cast(Any, None), run, epochs=2, last_epochs=last_epochs, seed=0, report=silent
    )
    assert raced == [2, 3][: 2 if last_epochs > 2 else 1]
    widths = [x.network.layers[1].out_channels for x in found]
    assert widths == ([24, 16, 12, 4, 32, 40] if last_epochs > 2 else [4, 12, 16, 24, 32, 40]) and widths[0] == best
    told = [json.loads(x)["trained_epochs"] for x in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert told == ([3] * 4 + [2] * 2 if last_epochs > 2 else [2] * 6)
