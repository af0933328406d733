"""Prints seconds a step of the darts search, drawn operators beside the full mixture of plain PC-DARTS.

    python tests/bench_darts_step.py

A step is one of alpha and one of the weights: first order, 5 cells of 3 nodes, 8 channels, batches of 64 clips of one
configuration, one thread. Variants take turns, so that other load on the machine meets all of them alike.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hil_nas.cost import operator_macs
from hil_nas.mfcc import MfccConfig
from hil_nas.nas.darts.prices import price_darts
from hil_nas.nas.darts.settings import DartsSettings
from hil_nas.nas.darts.space import DartsSpace
from hil_nas.nas.darts.strategy import DartsPoint, DartsStrategy
from hil_nas.nas.features import FeatureSet
from hil_nas.nas.prices import Limits
from hil_nas.nas.search import _Search

ROUNDS = 7
SPACE = DartsSpace((MfccConfig(640, 320, 40, 40),))
VARIANTS = {"all operators": 0, "2 drawn": 2, "1 drawn": 1}


def searches() -> dict[str, _Search[DartsPoint]]:
    random = torch.Generator().manual_seed(0)
    features = torch.randn(256, SPACE.configs[0].frames, SPACE.configs[0].coefficients, generator=random)
    data = FeatureSet((features,), torch.arange(256) % SPACE.classes)
    prices = price_darts(SPACE, lambda x: np.array([float(operator_macs(o)) for o in x]), lambda config: 0.0)
    device, limits, found = torch.device("cpu"), Limits(cycles=1e7), {}
    for name, count in VARIANTS.items():
        generator = torch.Generator().manual_seed(0)
        strategy = DartsStrategy(prices, DartsSettings(drawn=count), limits, generator, device)
        found[name] = _Search(strategy, data, data, limits, generator, device)
    return found


def seconds(search: _Search[DartsPoint]) -> float:
    start = perf_counter()
    clips = search._batch(search.train, search.train_batches)
    search._alpha_step(lambda: clips)
    search._weight_step(lambda: clips)
    return perf_counter() - start


def main() -> None:
    torch.set_num_threads(1)
    running = searches()
    times: dict[str, list[float]] = {name: [] for name in running}
    for turn in range(ROUNDS + 1):  # the first one warms up
        for name, search in running.items():
            found = seconds(search)
            if turn:
                times[name].append(found)
    plain = median(times["all operators"])
    for name, found in times.items():
        print(f"{name:14} {median(found):6.3f} s a step, plain PC-DARTS takes {plain / median(found):.1f} times that")


if __name__ == "__main__":
    main()
