"""The solver's answers told apart: a best choice, a proof that there is none, and neither."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import LinearConstraint

from hil_nas.nas.costs import integer_programme as programme
from hil_nas.nas.costs.integer_programme import chosen


@pytest.mark.parametrize("seed", range(8))
def test_it_is_the_best_of_all_choices(seed: int) -> None:
    rng = np.random.default_rng(seed)
    value, weights = rng.normal(size=8), rng.uniform(0.1, 1.0, (2, 8))
    taken = chosen(value, [LinearConstraint(weights, -np.inf, 1.5)])
    assert taken is not None
    every = (np.array(x) for x in product((0, 1), repeat=8))
    assert value[taken].sum() == pytest.approx(max(value @ x for x in every if (weights @ x <= 1.5).all()))


def test_what_nothing_holds_is_proved() -> None:
    assert chosen(np.ones(3), [LinearConstraint(np.ones((1, 3)), 4.0, np.inf)]) is None


@pytest.mark.parametrize("status", [1, 3, 4])
def test_a_solver_that_gives_up_is_not_a_limit_that_cannot_be_held(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves no solution either, and was taken for infeasible."""
    monkeypatch.setattr(
        programme, "milp", lambda *args, **more: SimpleNamespace(status=status, x=None, message="time limit reached")
    )
    with pytest.raises(RuntimeError, match="time limit reached"):
        chosen(np.ones(3), [LinearConstraint(np.ones((1, 3)), -np.inf, 2.0)])
