"""Rates of rare events: against scipy's chi-square distribution, which gives the exact interval in another way."""

from __future__ import annotations

import pytest

from hil_nas.listening.rates import Rate, hours_for

scipy_stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize("count", [1, 2, 3, 10, 57, 400, 3000])
@pytest.mark.parametrize("hours", [0.2, 1.0, 24.0])
def test_the_interval_is_garwoods(count: int, hours: float) -> None:
    low, high = Rate(count, hours).interval
    assert low == pytest.approx(scipy_stats.chi2.ppf(0.025, 2 * count) / 2 / hours, rel=1e-6)
    assert high == pytest.approx(scipy_stats.chi2.ppf(0.975, 2 * count + 2) / 2 / hours, rel=1e-6)


def test_none_seen_is_the_rule_of_three() -> None:
    low, high = Rate(0, 2.0).interval
    assert low == 0 and high == pytest.approx(scipy_stats.chi2.ppf(0.95, 2) / 2 / 2.0)
    assert 2.9 < high * 2 < 3.0
    assert str(Rate(0, 2.0)) == "none in 2.00 h: below 1.5/h (rule of three)"
    assert Rate(0, hours_for(0.5)).interval[1] == pytest.approx(0.5)


def test_what_is_said_of_some() -> None:
    assert str(Rate(4, 0.5)) == "4 in 0.50 h: 8/h (2.2 to 20)"
    assert Rate(4, 0.5).to_json()["per_hour"] == 8.0
