"""A finished search with everything that its page can show, its figures drawn by a seed."""

from __future__ import annotations

from typing import Any

import numpy as np
from test_clocks import result_of

from hil_nas.baselines import baseline
from hil_nas.cost.macs import network_macs, parameters
from hil_nas.deploy.lower import lower
from hil_nas.deploy.synthetic import random_graph
from hil_nas.front_ends import search_grid
from hil_nas.nas.darts.space import OPERATORS
from hil_nas.network import Network
from hil_nas.operators.table import runs
from hil_nas.report.search_run import SearchRun
from hil_nas.workflows.network_sampling import darts_network
from hil_nas.workflows.worst_clips import WorstClips

STAGES = ("window", "fft", "spectrum", "mel", "log", "dct")
EPOCHS = 30


def whole_run(space: str, kind: str = "modelled") -> SearchRun:
    """Of the space `tiny`, with MLPerf's chain, or of `darts`."""
    rng = np.random.default_rng(4)
    network = darts_network(rng) if space == "darts" else baseline("ds-cnn", 12)[0]
    labels = ["silence", "unknown", *(f"word {i}" for i in range(network.output_shape[2] - 2))]
    worst = WorstClips(
        np.array([7, 3]), np.array([0, 1]), rng.dirichlet(np.ones(len(labels)), 2).astype(np.float32),
        rng.integers(-9999, 9999, (2, 16000), dtype=np.int16), rng.integers(-128, 128, (2, 49, 10), dtype=np.int8),
        np.array(16000),
    )  # fmt: skip
    environment = {
        "started": "2026-01-01T00:00:00+00:00", "python": "3.11", "platform": "Linux", "cpus": 2, "git": "abc",
        "argv": ["search", "--data", "a folder/" + "long" * 30], "packages": {"numpy": "2"},
    }  # fmt: skip
    return SearchRun(
        _result(rng, network, labels, kind), network, _history(rng, kind), {"command": "search"}, environment,
        lower(random_graph(network, 0)), worst,
    )  # fmt: skip


def _result(rng: np.random.Generator, network: Network, labels: list[str], kind: str) -> dict[str, Any]:
    wrong = rng.integers(0, 9, (len(labels), len(labels))) * (rng.random((len(labels), len(labels))) < 0.3)
    confusion = wrong + 60 * np.eye(len(labels), dtype=np.int64)
    timed = kind == "modelled"
    operators = [[x.kind, int(rng.integers(5_000, 300_000))] for x in network.layers if runs(x.kind)]
    limits = {"max_ram_bytes": 900, "max_flash_bytes": 9000, "max_latency_ms": 3.4 if timed else None}
    return {
        **result_of(kind), "front_end": "mfcc:400/200/40/13", "labels": labels, "confusion": confusion.tolist(),
        "test_clips": int(confusion.sum()), "operators": operators, "macs": network_macs(network),
        "parameters": parameters(network), "stages": [[x, int(rng.integers(9_000, 90_000))] for x in STAGES],
        "limits": limits, "energy": {"mj": 0.5, "active_mw": 42.1, "source": "a page"} if timed else None,
        "ranking": {"networks": 9, "kendall_tau": {"supernet": 0.5, "cycles": None}}, "derived": {"rank": 2, "of": 9},
        "ram": {"network arena": 700, "audio": 300}, "flash": {"firmware image": 1500, "front-end tables": 500},
    }  # fmt: skip


def _history(rng: np.random.Generator, kind: str) -> list[dict[str, Any]]:
    names = [str(x) for x in search_grid()]
    lines: list[dict[str, Any]] = []
    for epoch in range(1, EPOCHS + 1):
        gammas = dict(zip(names, rng.dirichlet(np.full(len(names), 0.3)).tolist(), strict=True))
        alpha = {
            f"normal cell, node {i}": dict(zip(OPERATORS, rng.dirichlet(np.full(8, 0.4)).tolist(), strict=True))
            for i in range(8)
        }
        expected = 3.0 + 1 / epoch if kind == "modelled" else None
        lines.append({"phase": "search", "epoch": epoch, "gammas": gammas, "alpha": alpha,
                      "expected_latency_ms": expected})  # fmt: skip
    for rank in range(9):
        lines.append({
            "phase": "candidates", "epoch": rank + 1, "trained_epochs": 10 if rank < 4 else 4, "derived": rank == 1,
            "front_end": names[rank], "loss": 0.4 + rank / 50 if rank < 8 else None, "parameters": 1000 * rank,
            "accuracy": 0.9 - rank / 60, "cycles": 4e5 - 1e3 * rank, "ram_bytes": 900,
        })  # fmt: skip
    for epoch in range(1, EPOCHS + 1):
        lines.append({"phase": "train", "epoch": epoch, "loss": 2 / epoch, "accuracy": 0.95 - 0.4 / epoch})
    return lines
