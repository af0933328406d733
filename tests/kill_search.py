"""Kills a toy search at random moments until it gets through, and says whether it ended as an undisturbed one.

    python -m tests.kill_search tiny|darts FOLDER SEED

Every life is a fork of this process, which imports and never computes, so that a life costs its own work alone.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import torch
import torch._dynamo  # seconds, which the first optimizer of every life would take

from hil_nas.candidates.sampling import Candidates
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.darts.cost_table import tabulate_darts
from hil_nas.nas.tiny.cost_table import tabulate
from tests import test_darts_search as darts
from tests import test_nas_search as tiny

ENOUGH_KILLS, FEWEST_KILLS = 4, 2


def live(space: str, checkpoint: Path) -> None:
    """One life: a search from its checkpoint, where there is one, to the end."""
    torch.set_num_threads(1)
    toy: Any = {"tiny": tiny, "darts": darts}[space]
    ask = {"tiny": tabulate, "darts": tabulate_darts}[space]
    cost_table = ask(toy.SPACE, toy.toy_cycles, lambda config: config.frames * 1e3)  # type: ignore[operator]
    settings = replace(toy.QUICK, epochs=8, warmup_epochs=2)
    result = toy.run(cost_table, limits=Limits(ram_bytes=10**6), settings=settings, checkpoint=checkpoint, resume=True)
    sampled = [x.genotype.to_json() for x in Candidates(result).sampled(2)]
    outcome = {"history": result.history, "genotype": result.genotype.to_json(), "config": str(result.config),
             "gammas": result.gammas, "sampled": sampled}  # fmt: skip
    checkpoint.with_suffix(".json").write_text(json.dumps(outcome))


def born(space: str, checkpoint: Path) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            live(space, checkpoint)
        finally:
            os._exit(0)
    return pid


def killed(pid: int, after_s: float) -> bool:
    """Whether it was: one that ends before is left to."""
    end = monotonic() + after_s
    while monotonic() < end:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False
        sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def main() -> None:
    space, folder, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    whole, pieces = folder / "whole.pt", folder / "pieces.pt"
    start = monotonic()
    os.waitpid(born(space, whole), 0)
    whole_s, moments, kills = monotonic() - start, random.Random(seed), 0
    while True:
        # once often enough, the moments lie further apart, so that it ends on a machine that got slower too
        kills += killed(born(space, pieces), whole_s * moments.uniform(0.05, 0.5 * 1.2 ** max(0, kills - ENOUGH_KILLS)))
        if not pieces.with_suffix(".json").exists():
            continue
        if kills >= FEWEST_KILLS:
            break
        # the whole one took longer than it takes now: again, with moments closer together
        pieces.unlink()
        pieces.with_suffix(".json").unlink()
        whole_s, kills = whole_s / 2, 0
    states = [torch.load(x, weights_only=True)["loops"][0] for x in (whole, pieces)]
    json.dump({
        "kills": kills,
        "same_result": whole.with_suffix(".json").read_text() == pieces.with_suffix(".json").read_text(),
        "same_weights": all(torch.equal(states[0]["net"][x], states[1]["net"][x]) for x in states[0]["net"]),
        "epochs": states[1]["epoch"],
    }, sys.stdout)  # fmt: skip


if __name__ == "__main__":
    main()
