"""Prints what a search is held against, for run folders of `hil_nas search --max-latency` of chains with recordings:
the derived network alone, random networks that fill the limit, and an even chain made by hand, each trained in full by
the same recipe with the run's seed.

    python tests/bench_searches.py RUN...

One line of JSON each: int8 accuracy on validation and test split, cycles measured on the run's board, and processor
seconds, those of loading data left out. Beside them stand the run's own accuracy and cycles.

    derived     the network that alpha and gamma named, without the trainings that follow a search
    random      24 chains drawn evenly that use 0.95 to 1.0 of what their front end leaves, which is drawn evenly too;
                six epochs each, the best four fifteen, then the best one in full
    even        a convolution and four separable blocks of 9 x 1, all of one width, the widest that holds the limit;
                on the dearest front end of the run's that takes at most 0.4 of it, or on the cheapest
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from time import process_time
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hil_nas.audio.datasets import KeywordData
from hil_nas.budget import Budget
from hil_nas.candidates.halving import ALONE
from hil_nas.candidates.short_training import short_trainings
from hil_nas.config import SearchConfig
from hil_nas.device.hosts import open_device
from hil_nas.folders import usual_folders
from hil_nas.front_ends import FrontEnd, parse_front_end
from hil_nas.front_ends.host import HostFrontEnd
from hil_nas.nas.input_space import Operation
from hil_nas.nas.tiny.architecture import Architecture
from hil_nas.nas.tiny.band import Band
from hil_nas.nas.tiny.genotype import ChainStep, TinyGenotype
from hil_nas.network import Network
from hil_nas.progress import silent
from hil_nas.runs import Run, read_result
from hil_nas.training.product import make_product
from hil_nas.training.recipe import Recipe
from hil_nas.workflows.patience import PatientBoard
from hil_nas.workflows.search import SearchJob, load_all
from hil_nas.workflows.search_board import SearchBoard
from hil_nas.workflows.verify import host_library

Product = tuple[Network, FrontEnd]

FOLDERS = usual_folders()
RANDOM, LAST = 24, 4
DRAWS = 20  # for each of them, at most
FULL = 0.95


def config_of(run: Path) -> SearchConfig:
    """The run's configuration."""
    saved = json.loads((run / "config.json").read_text())
    del saved["command"]
    grid = tuple(map(parse_front_end, saved["grid"]))
    return SearchConfig(**{
        **saved, "budget": Budget(**saved["budget"]), "grid": grid, "words": tuple(saved["words"]),
        "negatives": tuple(saved["negatives"]),
    })  # fmt: skip


def derived(run: Path) -> Product | None:
    """The network that a gradient named."""
    entry = next((x for x in Run(run).metrics() if x["phase"] == "candidates" and x["derived"]), None)
    if entry is None or read_result(run)["ranking"]["kendall_tau"]["supernet"] is None:
        return None
    config = parse_front_end(entry["front_end"])
    return TinyGenotype.from_json(entry["genotype"]).build(config), config


def drawn(job: SearchJob, seed: int) -> Iterator[Product]:
    """Random networks that fill the limit, all different: fewer where a loose limit is hardly ever filled."""
    table, generator = job.cost_table, torch.Generator().manual_seed(seed)
    band = Band(table, job.limits, FULL)
    even = Architecture(table.space).probabilities(torch.ones(len(table.space.configs)))
    found: set[str] = set()
    for _ in range(DRAWS * RANDOM):
        if len(found) == RANDOM:
            return
        config = int(torch.randint(len(table.space.configs), (), generator=generator))
        chains = even.drawn(512, generator)
        choice = chains.choice(config, band.pick(config, chains, 0.0))
        cost = table.cost(choice)
        left = job.limits.values()[0] - table.cycles.front_end[config]
        if not job.limits.held_by(cost) or table.network_cycles(choice) < FULL * left:
            continue
        genotype, front_end = table.space.at(choice)
        product = genotype.build(front_end), front_end
        if str(product) not in found:
            found.add(str(product))
            yield product


def best_of(products: list[Product], data: KeywordData, seed: int) -> Product:
    """By two rounds of short trainings."""
    for epochs, kept in ((ALONE.epochs, LAST), (ALONE.last_epochs, 1)):
        losses: dict[int, float] = {}
        for config in dict.fromkeys(x for _, x in products):
            same = [i for i, x in enumerate(products) if x[1] == config]
            networks = [products[i][0] for i in same]
            scores = short_trainings(networks, config, data, ALONE.recipe(epochs), seed=seed)
            losses |= {i: x.loss for i, x in zip(same, scores, strict=True)}
        products = [products[i] for i in sorted(losses, key=losses.__getitem__)[:kept]]
    return products[0]


def even_chain(job: SearchJob, classes: int) -> Product:
    limit, cycles = job.limits.values()[0], job.footprint.front_end_cycles
    fitting = [x for x in cycles if cycles[x] <= 0.4 * limit]
    config = max(fitting, key=cycles.__getitem__) if fitting else min(cycles, key=cycles.__getitem__)

    def chain(width: int) -> Network:
        stem = ChainStep(Operation("conv", (9, 1), (2, 1)), width)
        return TinyGenotype("channels", None, stem, (ChainStep(Operation("separable", (9, 1)), width),) * 4,
                            classes).build(config)  # fmt: skip

    left = limit - cycles[config]
    width = next(w for w in count(8, 4) if job.target.model.network_cycles(chain(w + 4)) > left)
    return chain(width), config


def whole(product: Product, data: KeywordData, host: HostFrontEnd, job: SearchJob, name: str) -> dict[str, Any]:
    network, config = product
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder), "bench", name, {})
        recipe = Recipe(epochs=job.config.train_epochs)
        made = make_product(network, config, data, host, run, recipe, seed=job.config.seed, progress=silent)
    return {
        "front_end": str(config), "cycles": round(job.target.cost(network, config).cycles),
        "validation_accuracy_int8": round(made.int8_validation.accuracy, 4),
        "accuracy_int8": round(made.int8_test.accuracy, 4),
    }  # fmt: skip


def bench(folder: Path) -> Iterator[dict[str, Any]]:
    config, found = config_of(folder), read_result(folder)
    if config.budget.max_latency_s is None:
        raise SystemExit(f"{folder} is of a search without a latency limit, which nothing else would fill")
    told = {"run": folder.name, "max_latency_ms": found["limits"]["max_latency_ms"], "seed": config.seed}
    yield {
        **told, "what": config.strategy, "front_end": found["front_end"],
        "cycles": found["measured"]["front_end_cycles"] + found["measured"]["network_cycles"],
        "validation_accuracy_int8": round(found["validation_accuracy_int8"], 4),
        "accuracy_int8": round(found["accuracy_int8"], 4), "kendall_tau": found["ranking"]["kendall_tau"],
        "derived": found["derived"],
    }  # fmt: skip
    host = host_library(FOLDERS.boards, FOLDERS.build)
    opened = partial(open_device, config.board, boards_dir=FOLDERS.boards, build_dir=FOLDERS.build, port=None)
    data = load_all(config, FOLDERS, silent)
    with PatientBoard(opened(flash=False), opened, silent) as board:
        target = SearchBoard.of(board, config, FOLDERS)
        job = SearchJob(config, target, target.footprint(config.grid, len(data.classes)), len(data.classes), silent)
        for what, choose in (
            ("derived", lambda: derived(folder)),
            ("random", lambda: best_of(list(drawn(job, config.seed)), data, config.seed)),
            ("even", lambda: even_chain(job, len(data.classes))),
        ):
            start = process_time()
            if (product := choose()) is not None:
                yield {**told, "what": what, **whole(product, data, host, job, what),
                       "processor_s": round(process_time() - start)}  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("runs", nargs="*", type=Path, metavar="RUN")
    torch.set_num_threads(1)
    if not (runs := options.parse_args().runs):
        print("no run folder was named: nothing to hold against others")
    for folder in runs:
        for line in bench(folder):
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
