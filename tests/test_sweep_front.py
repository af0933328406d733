"""The Pareto front against the definition, written out."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from hil_nas.workflows.sweep_front import front


def beats(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


# few values: ties and equal points are the hard part
points = st.integers(1, 3).flatmap(lambda n: st.lists(st.tuples(*[st.integers(0, 4)] * n), max_size=12))


@given(points)
def test_the_front_is_what_nothing_beats(costs: list[tuple[int, ...]]) -> None:
    assert front(costs) == [not any(beats(x, y) for x in costs) for y in costs]


@given(points)
def test_everything_else_is_beaten_by_something_on_it(costs: list[tuple[int, ...]]) -> None:
    on = front(costs)
    best = [x for x, kept in zip(costs, on, strict=True) if kept]
    assert all(kept or any(beats(x, y) for x in best) for y, kept in zip(costs, on, strict=True))


def test_two_costs_make_a_staircase() -> None:
    grid = list(product(range(3), repeat=2))
    assert [x for x, on in zip(grid, front(grid), strict=True) if on] == [(0, 0)]
    assert front([(0, 2), (1, 1), (2, 0), (2, 2)]) == [True, True, True, False]
