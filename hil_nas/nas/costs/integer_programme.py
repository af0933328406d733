"""Integer programmes over yes and no, which HiGHS solves exactly: what both derivations end in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

_OPTIMAL, _INFEASIBLE = 0, 2  # of `scipy.optimize.milp`


def chosen(value: NDArray[np.float64], rows: Sequence[LinearConstraint]) -> NDArray[np.intp] | None:
    """Places of the choices whose values sum to the most; None where no choice holds all rows.

    Args:
        value: (choices,).
        rows: of sums over the choices.

    Raises:
        RuntimeError: where the solver gave up, which says nothing about the rows.
    """
    done = milp(
        -value, constraints=rows, integrality=np.ones(len(value)), bounds=Bounds(0, 1), options={"mip_rel_gap": 0}
    )
    if done.status == _INFEASIBLE:
        return None
    if done.status != _OPTIMAL:
        raise RuntimeError(f"HiGHS proved neither a best choice nor that there is none: {done.message}")
    return np.flatnonzero(done.x > 0.5)
