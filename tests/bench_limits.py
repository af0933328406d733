"""Searches over random budgets that some network holds, each to the end: does the board agree that the limits hold?

    python tests/bench_limits.py [SEARCHES] [SEED]

Each budget is what a random network of the space on a random configuration of the grid needs, and up to a fifth more:
all three limits at once. Words are tones, and searches and trainings are short: what is asked is not accuracy.
Prints a line for each search and how many held every limit, and every bit, on nucleo-l4r5@virtual.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch loads

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tones import KEYWORDS, write_tones

from hil_nas.budget import Budget
from hil_nas.config import SearchConfig
from hil_nas.device.hosts import open_device
from hil_nas.errors import HilNasError
from hil_nas.latency.model import LatencyModel
from hil_nas.nas.tiny.space import TinySpace
from hil_nas.progress import silent
from hil_nas.report.page import search_page
from hil_nas.workflows.finish import Folders
from hil_nas.workflows.footprint import measure_footprint
from hil_nas.workflows.measure import folder_name, provenance_of
from hil_nas.workflows.search import run_search

ROOT = Path(__file__).resolve().parent.parent
BOARD = "nucleo-l4r5@virtual"
MOST = 1.2  # times what the random network needs


def budgets(count: int, rng: np.random.Generator) -> Iterator[Budget]:
    """Limits that a known network holds, by the cost table."""
    grid = SearchConfig().grid
    space = TinySpace(configs=grid, classes=len(KEYWORDS) + 2)
    with open_device(BOARD, boards_dir=ROOT / "boards", build_dir=ROOT / "build") as device:
        identity = device.identify()
        footprint = measure_footprint(device, grid)
    model = LatencyModel.load(ROOT / "latency_models" / folder_name(identity), expected=provenance_of(identity))
    for _ in range(count):
        config = grid[rng.integers(len(grid))]
        network = space.sample(rng, config)
        slack = rng.uniform(1.01, MOST, 3)
        cycles = footprint.front_end_cycles[config] + model.network_cycles(network)
        yield Budget(
            int(footprint.ram(network, config) * slack[0]),
            int(footprint.flash(network, config) * slack[1]),
            cycles * slack[2] / identity.clock_hz,
        )


def outcome(config: SearchConfig, folders: Folders) -> tuple[bool, str]:
    """Whether every limit and every bit held, and what the board said."""
    try:
        result, _ = run_search(config, folders, name="limits", resume=False, page=search_page, progress=silent)
    except HilNasError as error:
        return False, str(error)
    measured, limits = result["measured"], result["limits"]
    shares = [f"{name} {measured[name] / limits[f'max_{name}']:.1%}" for name in measured if f"max_{name}" in limits]
    return result["limits_held"] and result["bits_equal"], f"{result['front_end']}, of the limits: {', '.join(shares)}"


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    rng = np.random.default_rng(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    held = 0
    with tempfile.TemporaryDirectory() as scratch:
        words = Path(scratch) / "words"
        words.mkdir()
        write_tones(words)
        folders = Folders(ROOT / "boards", ROOT / "build", ROOT / "latency_models", Path(scratch) / "runs")
        for number, budget in enumerate(budgets(count, rng)):
            config = SearchConfig(
                BOARD, budget, KEYWORDS, str(words), search_epochs=5, candidates=2, train_epochs=1,
                clips=50, seed=number,
            )  # fmt: skip
            ok, message = outcome(config, folders)
            held += ok
            print(f"{number + 1:3}  {'held' if ok else 'NOT HELD'}  {message}", flush=True)
    print(f"{held} of {count} searches held every limit and every bit on {BOARD}")
    return 0 if held == count else 1


if __name__ == "__main__":
    sys.exit(main())
