"""What a page shows of a latency model: predictions of what was held out, how they got better, coefficients."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hil_nas.kernels.kernel import Counts
from hil_nas.latency.kernel_work import kernel_work, stage_path
from hil_nas.latency.measurements import Measurements
from hil_nas.latency.model import LatencyModel
from hil_nas.latency.prediction_errors import CurvePoint, Predictions, held_out, learning_curve
from hil_nas.latency.provenance import Provenance
from hil_nas.latency.store import Store


@dataclass(frozen=True)
class Coefficient:
    """What one turn of a loop costs.

    Attributes:
        path: the kernel path.
        name: of the feature.
        cycles: for each turn.
        share: of all the cycles that were measured on this path, as the model divides them.
        most_turns: in one operator that was measured.
    """

    path: str
    name: str
    cycles: float
    share: float
    most_turns: float


@dataclass(frozen=True)
class Summary:
    """A folder below `latency_models` in figures."""

    provenance: Provenance
    networks: int  # that were measured
    predictions: dict[str, Predictions]
    curve: list[CurvePoint]
    coefficients: list[Coefficient]
    spreads: dict[str, float]  # relative errors that 9 of 10 held-out operators stay below, by kernel path


def summarise(folder: Path) -> Summary:
    """Everything that a page shows; some seconds, for the refits.

    Raises:
        InputError: where the folder holds no rows, or damaged ones.
    """
    store = Store(folder)
    rows, provenance = store.read(), store.provenance()
    model = LatencyModel.fit(rows, provenance)
    spreads = {path: x.spread for path, x in model.paths.items()}
    predictions, costs = held_out(rows), coefficients(model, rows)
    return Summary(provenance, len(rows.networks), predictions, learning_curve(rows), costs, spreads)


def coefficients(model: LatencyModel, rows: Measurements) -> list[Coefficient]:
    """All that are not 0, by kernel path, the dearest share first."""
    turns: dict[str, list[Counts]] = defaultdict(list)
    for row in rows.operators:
        work = kernel_work(row.operator)
        turns[work.path].append(work.counts)
    for end in rows.front_ends:
        for stage, own in end.config.work().items():
            turns[stage_path(stage)].append(own)
    costs = []
    for path, fitted in model.paths.items():
        counts = np.array([list(x.values()) for x in turns[path]])  # (rows, features)
        cycles = counts.sum(axis=0) * fitted.regressor.coef_  # (features,)
        shares = cycles / cycles.sum()
        for index in np.argsort(-shares):
            if shares[index] > 0:
                cost, most = fitted.regressor.coef_[index], counts[:, index].max()
                costs.append(Coefficient(path, fitted.names[index], float(cost), float(shares[index]), float(most)))
    return costs
