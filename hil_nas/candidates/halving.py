"""The choice among candidates by short trainings: the derived network and samples first, then neighbours of the best
while they get better, then the few best for longer, as in successive halving; one is then trained in full.

A short training of a small network costs less than an epoch of the supernet, and all candidates of a front end
share its features. All train on the same batches, so that rounds compare. The first epochs tell good networks from
bad ones, but what learns fast is not what learns most, so the few best are trained again, for half of a whole training.
"""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite
from typing import Any

import numpy as np

from hil_nas.audio.datasets import KeywordData
from hil_nas.candidates.sampling import Candidates
from hil_nas.candidates.short_training import Score, short_trainings
from hil_nas.nas.grid_search import SearchResult
from hil_nas.nas.protocols import Derived
from hil_nas.progress import Reporter
from hil_nas.runs import Run
from hil_nas.training.recipe import Recipe

ROUNDS = 4  # of neighbours, at most: they end with one that brings none among the best few
PARENTS = 2  # whose neighbours are trained
LAST = 4  # that are trained for longer


def by_halving(
    result: SearchResult[Any], candidates: Candidates[Any], data: KeywordData, run: Run, *, count: int, epochs: int,
    last_epochs: int, seed: int, progress: Reporter,
) -> list[Derived[Any]]:  # fmt: skip
    """All that were trained, best first by validation loss: the last few after their longer training, then the others.

    The weights' half and the architecture's half of the search are one training split again, so that the validation
    split decides here for the first time; the test split still decides nothing. Without candidates nothing is trained.

    Args:
        candidates: beside the result.
        count: of them that are sampled.
        epochs: of the first training of all.
        last_epochs: of the second one of the last few; there is none where it would be no longer.
    """
    if not (sampled := candidates.sampled(count)):
        return [result]
    rng, rounds = np.random.default_rng([seed, 3]), _Rounds(data, run, seed, progress)
    scored = rounds.ranked([result, *sampled], epochs)
    children = -(-len(scored) // PARENTS)
    for _ in range(ROUNDS):
        best, known = [x for x, _ in scored[:LAST]], {(x.config, x.network) for x, _ in scored}
        near = [y for x in best[:PARENTS] for y in candidates.neighbours(x, children, rng)]
        new = {(x.config, x.network): x for x in near if (x.config, x.network) not in known}
        scored = _ranked([*scored, *rounds.ranked(list(new.values()), epochs)])
        if [x for x, _ in scored[:LAST]] == best:
            break
    longer = scored[:LAST] if last_epochs > epochs else []  # none where the first training was as long
    last = rounds.ranked([x for x, _ in longer], last_epochs)
    ranked = [*((*x, last_epochs) for x in last), *((*x, epochs) for x in scored[len(longer) :])]
    for rank, (candidate, score, trained) in enumerate(ranked):
        _log(run, rank, candidate, score, trained, candidate is result)
    return [x for x, *_ in ranked]


def _ranked(scored: list[tuple[Derived[Any], Score]]) -> list[tuple[Derived[Any], Score]]:
    return sorted(scored, key=lambda x: x[1].loss)


class _Rounds:
    """The short trainings of one search, each with a checkpoint: a resumed search goes on in one that was cut off."""

    def __init__(self, data: KeywordData, run: Run, seed: int, progress: Reporter) -> None:
        self._data, self._run, self._seed, self._progress, self._count = data, run, seed, progress, 0

    def ranked(self, entered: list[Derived[Any]], epochs: int) -> list[tuple[Derived[Any], Score]]:
        scored: list[tuple[Derived[Any], Score]] = []
        for config in dict.fromkeys(x.config for x in entered):
            same = [x for x in entered if x.config == config]
            checkpoint = self._run.path(f"candidates-{self._count}.pt")
            scores = short_trainings(
                [x.network for x in same], config, self._data, Recipe(epochs=epochs),
                seed=self._seed, progress=self._progress, checkpoint=checkpoint, resume=True,
            )  # fmt: skip
            scored += zip(same, scores, strict=True)
            self._count += 1
        return _ranked(scored)


def _log(run: Run, rank: int, candidate: Derived[Any], score: Score, trained: int, derived: bool) -> None:
    """One line of metrics.jsonl: `epoch` is the rank, `derived` the most preferred one by the probabilities."""
    run.log({
        "phase": "candidates", "epoch": rank + 1, "trained_epochs": trained, "derived": derived,
        "front_end": str(candidate.config), "loss": score.loss if isfinite(score.loss) else None,
        "accuracy": score.accuracy, **asdict(candidate.cost),
        "genotype": candidate.genotype.to_json(),
    })  # fmt: skip
