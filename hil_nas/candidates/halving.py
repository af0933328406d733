"""The finals: the derived network and its rivals race, then neighbours of the best while they get better, then the few
best for longer; one is then trained in full.

A short training of a small network costs less than an epoch of the supernet, and all candidates of a configuration
share its features. All train on the same batches, so that rounds compare. The first epochs tell good networks from
bad ones, but what learns fast is not what learns most, so the few best race again for half of a whole training.
"""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite
from typing import Any

import numpy as np

from hil_nas.audio.datasets import KeywordData
from hil_nas.candidates.sampling import Candidates
from hil_nas.candidates.short_training import Standing, race
from hil_nas.nas.protocols import Derived
from hil_nas.nas.search import SearchResult
from hil_nas.progress import Reporter
from hil_nas.runs import Run
from hil_nas.training.recipe import Recipe

ROUNDS = 4  # of neighbours, at most: they end with one that brings none among the best few
PARENTS = 2  # whose neighbours race
LAST = 4  # that race for longer


def by_race(
    result: SearchResult[Any], candidates: Candidates[Any], data: KeywordData, run: Run, *, count: int, epochs: int,
    last_epochs: int, seed: int, progress: Reporter,
) -> list[Derived[Any]]:  # fmt: skip
    """All that raced, best first by validation loss: the last few after their longer race, behind them the others.

    The weights' half and the architecture's half of the search are one training split again, so that the validation
    split decides here for the first time; the test split still decides nothing. Without candidates there is no race.

    Args:
        candidates: beside the result.
        count: of them that are sampled.
        epochs: of the races of all.
        last_epochs: of the race of the last few; there is none where it would be no longer.
    """
    if not (sampled := candidates.sampled(count)):
        return [result]
    rng, races = np.random.default_rng([seed, 3]), _Races(data, run, seed, progress)
    raced = races.ranked([result, *sampled], epochs)
    children = -(-len(raced) // PARENTS)
    for _ in range(ROUNDS):
        best, known = [x for x, _ in raced[:LAST]], {(x.config, x.network) for x, _ in raced}
        near = [y for x in best[:PARENTS] for y in candidates.neighbours(x, children, rng)]
        new = {(x.config, x.network): x for x in near if (x.config, x.network) not in known}
        raced = _ranked([*raced, *races.ranked(list(new.values()), epochs)])
        if [x for x, _ in raced[:LAST]] == best:
            break
    longer = raced[:LAST] if last_epochs > epochs else []  # of a short training the first race was the longer one
    last = races.ranked([x for x, _ in longer], last_epochs)
    ranked = [*((*x, last_epochs) for x in last), *((*x, epochs) for x in raced[len(longer) :])]
    for rank, (finalist, standing, trained) in enumerate(ranked):
        _log(run, rank, finalist, standing, trained, finalist is result)
    return [x for x, *_ in ranked]


def _ranked(raced: list[tuple[Derived[Any], Standing]]) -> list[tuple[Derived[Any], Standing]]:
    return sorted(raced, key=lambda x: x[1].loss)


class _Races:
    """The races of one search, each with a checkpoint: a resumed search goes on in the one that was cut off."""

    def __init__(self, data: KeywordData, run: Run, seed: int, progress: Reporter) -> None:
        self._data, self._run, self._seed, self._progress, self._count = data, run, seed, progress, 0

    def ranked(self, entered: list[Derived[Any]], epochs: int) -> list[tuple[Derived[Any], Standing]]:
        found: list[tuple[Derived[Any], Standing]] = []
        for config in dict.fromkeys(x.config for x in entered):
            same = [x for x in entered if x.config == config]
            checkpoint = self._run.path(f"race-{self._count}.pt")
            standings = race(
                [x.network for x in same], config, self._data, Recipe(epochs=epochs),
                seed=self._seed, progress=self._progress, checkpoint=checkpoint, resume=True,
            )  # fmt: skip
            found += zip(same, standings, strict=True)
            self._count += 1
        return _ranked(found)


def _log(run: Run, rank: int, finalist: Derived[Any], standing: Standing, trained: int, derived: bool) -> None:
    """One line of metrics.jsonl: `epoch` is the rank, `derived` the most preferred one by the probabilities."""
    run.log({
        "phase": "finals", "epoch": rank + 1, "trained_epochs": trained, "derived": derived,
        "front_end": str(finalist.config), "loss": standing.loss if isfinite(standing.loss) else None,
        "accuracy": standing.accuracy, **asdict(finalist.cost),
        "genotype": finalist.genotype.to_json(),
    })  # fmt: skip
