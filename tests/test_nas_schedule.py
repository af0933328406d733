"""What falls and closes in over a search: its ends, and that it never turns back."""

from __future__ import annotations

import pytest

from hil_nas.nas.schedule import Schedule


@pytest.mark.parametrize(("epochs", "warmup"), [(14, 4), (5, 0), (6, 5), (7, 5)])
def test_temperatures_pass_through_their_three_values(epochs: int, warmup: int) -> None:
    schedule, values = Schedule(epochs, warmup), (4.0, 0.7, 0.2)
    actual = [schedule.falling(values, x) for x in range(epochs)]
    assert actual == sorted(actual, reverse=True) and actual[warmup] == pytest.approx(0.7)
    if warmup:
        assert actual[0] == 4.0
        shares = [b / a for a, b in zip(actual, actual[1 : warmup + 1], strict=False)]
        assert shares == pytest.approx([shares[0]] * warmup)
    if epochs - warmup > 1:
        assert actual[-1] == pytest.approx(0.2)


def test_the_search_begins_behind_the_warm_up_and_rates_end_at_zero() -> None:
    schedule = Schedule(14, 4)
    assert [schedule.searched(x) for x in (4, 9, 14)] == [0, 0.5, 1] and schedule.searched(2) < 0
    assert [schedule.cosine(x) for x in (0, 7, 14)] == pytest.approx([1, 0.5, 0])
