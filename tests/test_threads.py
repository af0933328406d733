"""What is done at the same time, against the same one after another."""

from __future__ import annotations

import os
from threading import Barrier, BrokenBarrierError, get_ident

import pytest
import torch

from hil_nas.learning import threads
from hil_nas.learning.threads import Threads
from hil_nas.nas.costs.network_limits import Limits
from tests.test_nas_search import cost_table, run  # noqa: F401  (a fixture)


def test_results_come_in_order_from_as_many_threads_as_are_of_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_processors", lambda: 3)
    together = Barrier(3, timeout=30)  # all three must be at work at once
    with Threads(torch.device("cpu"), 8) as three:
        assert three.map(lambda x: (together.wait(), x)[1], [5, 1, 4]) == [5, 1, 4]
    with Threads(torch.device("cpu"), 1) as one:
        assert one.map(lambda _: get_ident(), range(9)) == [get_ident()] * 9


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system binds no process to processors")
def test_a_process_that_may_use_one_processor_has_one_thread() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        with Threads(torch.device("cpu"), 8) as one:
            together = Barrier(2, timeout=0.2)  # which one thread alone never passes
            with pytest.raises(BrokenBarrierError):
                one.map(lambda _: together.wait(), range(2))
    finally:
        os.sched_setaffinity(0, allowed)


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
