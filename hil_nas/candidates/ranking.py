"""How well what is known of networks before any training orders them: Kendall's tau against their short trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from scipy.stats import kendalltau

FEWEST = 3  # networks that have an order worth a number


def ranking(losses: Sequence[float], scores: Mapping[str, Sequence[float | None]]) -> dict[str, Any]:
    """Tau-b of each score with the losses of all networks that have both: 1 where the lower score has the lower loss.

    Args:
        losses: of short trainings of equal length; those of networks that diverged are infinite, and last.
        scores: by name, the lower the better; None where a network has none.

    Returns:
        `networks`, how many were trained, and `kendall_tau` by name; None where fewer than three networks have a score,
        or all have the same.
    """
    taus: dict[str, float | None] = {}
    for name, values in scores.items():
        pairs = [(x, y) for x, y in zip(values, losses, strict=True) if x is not None]
        tau = float(kendalltau(*zip(*pairs, strict=True)).statistic) if len(pairs) >= FEWEST else float("nan")
        taus[name] = tau if isfinite(tau) else None
    return {"networks": len(losses), "kendall_tau": taus}
