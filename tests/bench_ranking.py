"""Prints how well what a search knows orders networks: Kendall's tau with trainings of each alone, and what it took.

    python tests/bench_ranking.py [../shared/data/speech_commands] [--networks 20] [--epochs 15] [--cycles 1.2e6]

Without a folder of recordings it learns words spoken by espeak-ng.
The networks are random chains of the space `tiny` that fill the cycles, on one front end, and as many regular ones
(`nas/tiny/regular.py`) where there are as many; cycles are those of the shipped latency model. Each is trained as in a
race, so many epochs long. Two trainings of one network with different seeds differ by about 0.02 in loss, and tau
over twenty networks has an error of 0.1 to 0.2.
Some ten minutes of one processor by default.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


from hil_nas.audio.augment import Augmentation
from hil_nas.candidates.halving import ALONE
from hil_nas.candidates.short_training import short_trainings
from hil_nas.config import USUAL
from hil_nas.front_ends import parse_front_end
from hil_nas.latency.model import LatencyModel
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.grid_search import GridSearch
from hil_nas.nas.spaces import KINDS
from hil_nas.nas.tiny.architecture import Architecture
from hil_nas.nas.tiny.band import Band, Chains
from hil_nas.nas.tiny.cost_table import CostTable, tabulate
from hil_nas.nas.tiny.regular import fullest, regular_chains
from hil_nas.nas.tiny.space import Choice, TinySpace
from hil_nas.nas.tiny.strategy import TinyStrategy
from hil_nas.progress import silent
from hil_nas.training.recipe import Recipe
from hil_nas.workflows.finish import load_data
from hil_nas.workflows.search_data import search_features

FULL = 0.95  # of the cycles: so many a network uses
_DRAWS = 4  # for each network drawn evenly: at loose limits few of them fill it
ROOT = Path(__file__).resolve().parent.parent


def random_networks(table: CostTable, limits: Limits, count: int) -> tuple[list[Choice], list[Choice]]:
    """Different networks that fill the limits: so many drawn evenly, and up to as many regular ones."""
    space, generator = table.space, torch.Generator().manual_seed(0)
    band, even = Band(table, limits, FULL), Architecture(space).probabilities(torch.ones(1))
    alike = regular_chains(space)
    inside = torch.from_numpy(fullest(band, 0, alike))
    regular = [alike.choice(0, int(x)) for x in inside[torch.randperm(len(inside), generator=generator)]]
    found: dict[str, Choice] = {}
    for _ in range(_DRAWS * count):
        chains = even.drawn(512, generator)
        choice = chains.choice(0, band.pick(0, chains, 0.0))
        if len(found) < count and len(band.inside(0, Chains.of([choice]))[0]):
            found.setdefault(str(space.at(choice)[0]), choice)
    return list(found.values()), regular[:count]


def timed(what: Callable[[], Any]) -> tuple[Any, float]:
    start = process_time()
    return what(), process_time() - start


def tell(name: str, scores: Sequence[float], losses: Sequence[float], seconds: float, even: int) -> None:
    """Tau over all, over the first so many, drawn evenly, and over regular ones, and where the first by these scores
    truly stands."""
    values, truth = np.array(scores), np.array(losses)
    taus = [kendalltau(values[x], truth[x]).statistic for x in (slice(None), slice(even), slice(even, None))]
    rank = 1 + int((truth < truth[values.argmin()]).sum())
    found = f"tau {taus[0]:5.2f}, even {taus[1]:5.2f}, regular {taus[2]:5.2f}, its first is {rank:2}."
    print(f"{name:44} {found} {seconds:6.0f} s", flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", nargs="?")
    options.add_argument("--networks", type=int, default=20)
    options.add_argument("--epochs", type=int, default=15)
    options.add_argument("--cycles", type=float, default=1.2e6)
    options.add_argument("--front-end", default="mfcc:400/200/40/13")
    given = options.parse_args()
    torch.set_num_threads(1)
    config, limits = parse_front_end(given.front_end), Limits(cycles=given.cycles)
    model = LatencyModel.load(ROOT / "latency_models" / "nucleo-l4r5@virtual")
    space = TinySpace(configs=(config,))
    table = tabulate(space, model.operator_cycles, lambda _: 0.0, overhead_cycles=model.overhead_cycles)
    data = load_data(given.data, (), config.clip, ROOT / "build" / "speech", silent)
    drawn, regular = random_networks(table, limits, given.networks // 2)
    choices, told = [*drawn, *regular], partial(tell, even=len(drawn))
    networks = [space.at(x)[0].build(config) for x in choices]
    alone, seconds = timed(lambda: short_trainings(networks, config, data, Recipe(epochs=given.epochs), seed=0))
    losses = [x.loss for x in alone]
    print(f"{len(drawn)} networks drawn evenly, {len(regular)} regular, {seconds:.0f} s:")
    print(f"losses {min(losses):.3f} to {max(losses):.3f}")
    told("parameters", [-table.network_parameters(x) for x in choices], losses, 0)
    told("MACs", [-table.network_macs(x) for x in choices], losses, 0)
    told("cycles per MAC", [table.network_cycles(x) / table.network_macs(x) for x in choices], losses, 0)
    told("cycles", [-table.network_cycles(x) for x in choices], losses, 0)

    def searched() -> tuple[TinyStrategy, Any]:
        settings = KINDS["tiny"].settings(USUAL["tiny"].search_epochs)
        train, validation = search_features(data, (config,), (0,), Augmentation(), settings, 0, silent)
        generator, device = torch.Generator().manual_seed(0), torch.device("cpu")
        strategy = TinyStrategy(table, settings, limits, generator, device)
        search = GridSearch(strategy, train, validation, limits, generator, device)
        search.loop.run({})
        return strategy, search.result()

    (strategy, result), seconds = timed(searched)
    own, judging = timed(lambda: [result.supernet.loss(x) for x in choices])
    told("the supernet's loss", own, losses, seconds + judging)
    scores = [result.supernet.score(x, loss) for x, loss in zip(choices, own, strict=True)]
    told("that times cycles per MAC", scores, losses, seconds + judging)
    with torch.no_grad():
        alpha = (-strategy.net.architecture.log_probabilities(Chains.of(choices))).tolist()
    told("alpha", alpha, losses, seconds)
    short, seconds = timed(lambda: short_trainings(networks, config, data, ALONE.recipe(6), seed=1))
    told("6 epochs", [x.loss for x in short], losses, seconds)


if __name__ == "__main__":
    main()
