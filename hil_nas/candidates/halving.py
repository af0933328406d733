"""The choice among candidates by short trainings: the derived network and others first, then neighbours of the best
while they get better, then the few best for longer, as in successive halving; one is then trained in full.

All train from scratch on the same batches, so that rounds compare, and those of a front end share its features. Begun
with a supernet's weights they are ranked by how well the supernet knew them: at 13.3 ms such a race of four epochs put
17th of 18 a network that from scratch was third of 16 and at 0.33 when the inheriting winner was at 0.39. Races have no
branches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import numpy as np

from hil_nas.audio.datasets import KeywordData
from hil_nas.candidates.ranking import ranking
from hil_nas.candidates.sampling import Candidates, Hop, hop_of
from hil_nas.candidates.short_training import Score, short_trainings
from hil_nas.cost.macs import network_macs, parameters
from hil_nas.front_ends import FrontEnd
from hil_nas.nas.grid_search import SearchResult, Trained
from hil_nas.nas.protocols import Derived
from hil_nas.network import Network
from hil_nas.progress import Reporter
from hil_nas.runs import Run
from hil_nas.training.recipe import Recipe


@dataclass(frozen=True)
class Race:
    """How long candidates are trained.

    Attributes:
        epochs: of the first training of all.
        last_epochs: of the second one of the last few; there is none where it would be no longer.
        rounds: of neighbours, at most: they end with one that brings none among the best few.
    """

    epochs: int
    last_epochs: int
    rounds: int

    def recipe(self, epochs: int) -> Recipe:
        return Recipe(epochs=epochs, branches=False)


BEHIND_SUPERNET = Race(6, 15, 1)
ALONE = Race(6, 15, 4)  # with what the supernet's training would have taken
HOPS = 2  # windows and hops that may be raced to the end
UNSURE = 0.02  # of a validation loss: so much two trainings of a network differ
PARENTS = 2  # whose neighbours are trained
LAST = 4  # that are trained for longer


@dataclass(frozen=True)
class Standings:
    """What the trainings said.

    Attributes:
        ranked: all that were trained, best first by validation loss: the last few after their longer training, then the
            others.
        figures: for result.json: `ranking`, as `ranking` gives it, and `derived`, the rank of the most preferred
            network among how many.
    """

    ranked: list[Derived[Any]]
    figures: dict[str, Any]


def by_halving(
    result: SearchResult[Any], candidates: Candidates[Any], data: KeywordData, run: Run, *, count: int, race: Race,
    seed: int, progress: Reporter, beside: Sequence[Derived[Any]] = (),
) -> Standings:  # fmt: skip
    """Races candidates; nothing is trained where there are none.

    The weights' half and the architecture's half of the search are one training split again, so that the validation
    split decides here for the first time; the test split still decides nothing.

    Args:
        candidates: beside the result.
        count: of them that are sampled.
        beside: others that enter the race from its beginning.
    """
    sampled = candidates.sampled(count)
    if not sampled and not beside:
        return Standings([result], {})
    rng, rounds = np.random.default_rng([seed, 3]), _Rounds(data, run, seed, progress, race)
    entered: dict[tuple[FrontEnd, Network], Derived[Any]] = {}
    for x in (result, *sampled, *beside):
        entered.setdefault((x.config, x.network), x)
    scored = rounds.ranked(list(entered.values()), race.epochs)
    children = -(-len(scored) // PARENTS)
    for _ in range(race.rounds):
        best, known = _leading(scored, LAST), {(x.config, x.network) for x, _ in scored}
        near = [y for x in _leading(scored, PARENTS) for y in candidates.neighbours(x, children, rng)]
        new = {(x.config, x.network): x for x in near if (x.config, x.network) not in known}
        scored = _ranked([*scored, *rounds.ranked(list(new.values()), race.epochs)])
        if _leading(scored, LAST) == best:
            break
    longer = _leading(scored, LAST) if race.last_epochs > race.epochs else []  # none where the first was as long
    last, others = rounds.ranked(longer, race.last_epochs), [x for x in scored if all(x[0] is not y for y in longer)]
    ranked = [*((*x, race.last_epochs) for x in last), *((*x, race.epochs) for x in others)]
    beforehand = {id(x): _beforehand(x, result.supernet) for x, _ in scored}
    for rank, (candidate, score, trained) in enumerate(ranked):
        _log(run, rank, candidate, score, trained, candidate is result, beforehand[id(candidate)])
    order, rows = [x for x, *_ in ranked], [beforehand[id(x)] for x, _ in scored]
    figures = {
        "ranking": ranking([x.loss for _, x in scored], {name: [x[name] for x in rows] for name in rows[0]}),
        "derived": {"rank": 1 + next(i for i, x in enumerate(order) if x is result), "of": len(order)},
    }
    return Standings(order, figures)


def _beforehand(candidate: Derived[Any], supernet: Trained[Any] | None) -> dict[str, float | None]:
    """What could order networks without training any, the lower the better: of sizes the negative ones."""
    network, loss = candidate.network, None if supernet is None else supernet.loss(candidate.point)
    return {
        "supernet": loss,
        "score": None if supernet is None or loss is None else supernet.score(candidate.point, loss),
        "parameters": -parameters(network),
        "macs": -network_macs(network),
        "cycles": -candidate.cost.cycles,
    }


def _leading(scored: Sequence[tuple[Derived[Any], Score]], count: int) -> list[Derived[Any]]:
    """So many of the best, best first: as many of each of the two best windows and hops, where the second's best is
    not surely worse than the first's.

    Maps of few rows learn faster, so that short trainings compare hops badly: after eight epochs regular chains at
    13.3 ms were as good on a hop of 480 samples as on one of 320, after fifteen 0.02 worse.
    """
    hops: dict[Hop, list[Derived[Any]]] = {}
    for x, score in scored:
        hop = hop_of(x.config)
        if hop in hops or (len(hops) < HOPS and score.loss <= scored[0][1].loss + UNSURE):
            hops.setdefault(hop, []).append(x)
    shared = {id(x) for own in hops.values() for x in own[: count // len(hops)]}
    order = sorted((x for x, _ in scored), key=lambda x: id(x) not in shared)  # stable: by loss within each
    kept = {id(x) for x in order[:count]}
    return [x for x, _ in scored if id(x) in kept]


def _ranked(scored: list[tuple[Derived[Any], Score]]) -> list[tuple[Derived[Any], Score]]:
    return sorted(scored, key=lambda x: x[1].loss)


class _Rounds:
    """The short trainings of one search, each with a checkpoint: a resumed search goes on in one that was cut off."""

    def __init__(self, data: KeywordData, run: Run, seed: int, progress: Reporter, race: Race) -> None:
        self._data, self._run, self._seed, self._progress, self._count = data, run, seed, progress, 0
        self._race = race

    def ranked(self, entered: Sequence[Derived[Any]], epochs: int) -> list[tuple[Derived[Any], Score]]:
        scored: list[tuple[Derived[Any], Score]] = []
        for config in dict.fromkeys(x.config for x in entered):
            same = [x for x in entered if x.config == config]
            checkpoint = self._run.path(f"candidates-{self._count}.pt")
            scores = short_trainings(
                [x.network for x in same], config, self._data, self._race.recipe(epochs),
                seed=self._seed, progress=self._progress, checkpoint=checkpoint, resume=True,
            )  # fmt: skip
            scored += zip(same, scores, strict=True)
            self._count += 1
        return _ranked(scored)


def _log(
    run: Run, rank: int, candidate: Derived[Any], score: Score, trained: int, derived: bool,
    beforehand: dict[str, float | None],
) -> None:  # fmt: skip
    """One line of metrics.jsonl: `epoch` is the rank, `derived` the most preferred one by the probabilities."""
    run.log({
        "phase": "candidates", "epoch": rank + 1, "trained_epochs": trained, "derived": derived,
        "front_end": str(candidate.config), "loss": score.loss if isfinite(score.loss) else None,
        "accuracy": score.accuracy, "supernet_loss": beforehand["supernet"],
        "parameters": parameters(candidate.network), **asdict(candidate.cost),
        "genotype": candidate.genotype.to_json(),
    })  # fmt: skip
