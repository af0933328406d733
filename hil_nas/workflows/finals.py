"""The finals: the derived network and its rivals in a short race, the best of which is then trained in full."""

from __future__ import annotations

from dataclasses import asdict

from hil_nas.audio.datasets import KeywordData
from hil_nas.mfcc import MfccConfig
from hil_nas.nas.strategy import Derived, SearchResult
from hil_nas.progress import Reporter
from hil_nas.runs import Run
from hil_nas.training.race import Standing, race
from hil_nas.training.recipe import Recipe


def by_race(
    result: SearchResult, data: KeywordData, run: Run, *, epochs: int, seed: int, report: Reporter
) -> list[Derived]:
    """The derived network and its rivals, best first by validation loss after so many epochs.

    The weights' half and the architecture's half of the search are one training split again, so that the validation
    split decides here for the first time; the test split still decides nothing.
    """
    finalists: list[Derived] = [result, *result.rivals]
    if len(finalists) == 1:
        return finalists
    standings: dict[int, Standing] = {}
    for config in dict.fromkeys(x.config for x in finalists):
        places = [i for i, x in enumerate(finalists) if x.config == config]
        networks = [finalists[i].network for i in places]
        found = race(networks, config, data, Recipe(epochs=epochs), seed=seed, progress=report)
        standings |= dict(zip(places, found, strict=True))
    order = sorted(standings, key=lambda i: standings[i].loss)
    for rank, place in enumerate(order):
        _log(run, rank, place, finalists[place], finalists[place].config, standings[place])
    return [finalists[i] for i in order]


def _log(run: Run, rank: int, place: int, finalist: Derived, config: MfccConfig, standing: Standing) -> None:
    """One line of metrics.jsonl: `epoch` is the rank, `derived` the most preferred one by the probabilities."""
    run.log({
        "phase": "finals", "epoch": rank + 1, "derived": place == 0, "mfcc": str(config), **asdict(standing),
        **asdict(finalist.cost), "genotype": finalist.genotype.to_json(),
    })  # fmt: skip
