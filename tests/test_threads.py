"""What is done at the same time, against the same one after another."""

from __future__ import annotations

from threading import Barrier, get_ident

import pytest
import torch

from hil_nas.learning import threads
from hil_nas.learning.threads import Threads
from hil_nas.nas.costs.network_limits import Limits
from tests.test_nas_search import cost_table, run  # noqa: F401  (a fixture)


def test_results_come_in_order_from_as_many_threads_as_are_of_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 3)
    together = Barrier(3, timeout=30)  # all three must be at work at once
    with Threads(torch.device("cpu"), 8) as three:
        assert three.map(lambda x: (together.wait(), x)[1], [5, 1, 4]) == [5, 1, 4]
    with Threads(torch.device("cpu"), 1) as one:
        assert len(set(one.map(lambda _: get_ident(), range(9)))) == 1


def test_a_gpu_s_work_stays_on_the_thread_that_asks() -> None:
    with Threads(torch.device("cuda"), 8) as none:
        assert none.map(lambda _: get_ident(), range(3)) == [get_ident()] * 3


def test_an_error_on_a_thread_is_its_caller_s() -> None:
    with pytest.raises(ZeroDivisionError), Threads(torch.device("cpu"), 2) as two:
        two.map(lambda x: 1 // x, [1, 0, 2])


def test_a_supernet_judges_many_as_it_judges_each(cost_table) -> None:  # noqa: F811, ANN001
    result = run(cost_table, limits=Limits(cycles=9e4))
    assert result.supernet is not None
    points = [*result.supernet.regular(1), result.point]
    losses = result.supernet.losses(points)
    assert losses == [result.supernet.loss(x) for x in points] and len(set(losses)) > 2
