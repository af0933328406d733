"""Errors counted by hand, and the decisions that are chosen by them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hil_nas.deploy.decisions import ONE, Decisions
from hil_nas.errors import InfeasibleError
from hil_nas.listening.choice import THRESHOLDS, at_rates, choose, curve
from hil_nas.listening.decider import build_decide_library
from hil_nas.listening.trials import Negatives, Trials, Words

PROBABILITIES = (1 / 256, -128)
USUAL = Decisions(("no", "yes", "silence"), (ONE // 2, ONE // 2, 0), period_samples=1600, averaged=1, refractory=3)


@pytest.fixture(scope="module")
def library(boards_dir: Path, build_dir: Path) -> Path:
    return build_decide_library(boards_dir, build_dir)


def answers(*highest: tuple[int, float], length: int = 12) -> np.ndarray:
    """Answers that are silence but for some, each a class and its probability, from the second on."""
    out = np.zeros((length, 3))
    out[:, 2] = 1
    for i, (label, probability) in enumerate(highest, start=1):
        out[i] = (0, 0, 1 - probability)
        out[i, label] += probability
    return np.clip(np.round(256 * out) - 128, -128, 127).astype(np.int8)


def words_of(*streams: tuple[int, np.ndarray]) -> Words:
    labels = np.array([x for x, _ in streams])
    return Words(np.stack([x for _, x in streams]), labels, np.full(len(streams), 0.5))


def trials(library: Path, negatives: list[np.ndarray], hours: float, words: dict[str, Words]) -> Trials:
    return Trials(Negatives(negatives, hours), words, PROBABILITIES, library)


def test_errors_are_counted_as_by_hand(library: Path) -> None:
    late = answers((0, 0.9), (2, 1), (2, 1), (2, 1), (1, 0.9))
    words = {
        "silence": words_of((0, answers((0, 0.9))), (1, answers((2, 1), (1, 0.9))), (1, answers((0, 0.9), (1, 0.9)))),
        "noise": words_of((0, answers((0, 0.3))), (1, answers((1, 0.9))), (1, late)),
    }
    negatives = [answers((1, 0.9), (1, 0.9), (1, 0.9)), answers((0, 0.6), length=2), answers(length=1)]
    actual = trials(library, negatives, 0.5, words).errors(USUAL)
    assert actual.false_accepts.tolist() == [1, 1, 0] and actual.rate.per_hour == 4.0
    # yes behind no within the refractory answers is missed; behind them it is not
    assert {k: v.tolist() for k, v in actual.misses.items()} == {"silence": [0, 1, 0], "noise": [1, 0, 0]}
    assert actual.words.tolist() == [1, 2, 0]
    assert actual.miss_share("silence") == pytest.approx(1 / 3)
    assert actual.class_miss_share(0) == 0.5 and np.isnan(actual.class_miss_share(2))
    assert actual.delay == np.median([1 - 0.5, 2 - 0.5, 1 - 0.5, 5 - 0.5])


def test_the_lowest_threshold_that_holds_is_chosen(library: Path) -> None:
    said = {"silence": words_of(*((1, answers((1, p))) for p in (0.3, 0.55, 0.7, 0.9)))}
    negatives = [answers((0, 0.6)), answers((1, 0.8))]
    for allowed, missed in ((0, 3), (1, 2), (2, 0)):
        chosen = choose(trials(library, negatives, 1.0, said), USUAL, allowed, 1)
        assert chosen.rate.count <= allowed and chosen.misses["silence"].sum() == missed
        threshold = chosen.decisions.thresholds[0]
        assert chosen.decisions.thresholds == (threshold, threshold, 0) and threshold in THRESHOLDS


def test_answers_are_averaged_where_that_misses_less(library: Path) -> None:
    """False accepts of one loud answer, words of three weaker ones."""
    said = {"silence": words_of(*[(1, answers(*[(1, 0.7)] * 3))] * 4)}
    negatives = [answers((1, 0.95))] * 5
    chosen = choose(trials(library, negatives, 1.0, said), USUAL, 0, 12)
    assert chosen.decisions.averaged in (2, 3) and chosen.misses["silence"].sum() == 0
    alone = choose(trials(library, negatives, 1.0, said), USUAL, 0, 1)
    assert alone.decisions.averaged == 1 and alone.misses["silence"].sum() == 4


def test_where_no_threshold_is_high_enough(library: Path) -> None:
    """Sharp posteriors reach 1 itself; the rounding of decide.c makes 1 of what lies within 2^-16 of it."""
    loud = np.full((12, 3), -128, np.int8)
    loud[5, 1] = 127
    said = {"silence": words_of((1, loud))}
    logits = Trials(Negatives([loud] * 3, 1.0), said, (0.1, 0), library)
    assert choose(logits, USUAL, 3, 1).misses["silence"].sum() == 0
    with pytest.raises(InfeasibleError, match="at most 2 false accepts in 1.00 h"):
        choose(logits, USUAL, 2, 1)
    averaged = choose(logits, USUAL, 0, 4)
    assert averaged.decisions.averaged > 1 and averaged.rate.count == 0


def test_the_curve_falls_and_is_read_at_rates(library: Path) -> None:
    rng = np.random.default_rng(0)
    said = {"silence": words_of(*((1, answers((1, p))) for p in rng.uniform(0.2, 1, 30)))}
    negatives = [answers((int(i), p)) for i, p in zip(rng.integers(2, size=40), rng.uniform(0, 0.9, 40), strict=True)]
    points = curve(trials(library, negatives, 2.0, said), replace(USUAL, refractory=20))
    counts = [x.rate.count for x in points]
    misses = [x.miss_share("silence") for x in points]
    assert counts == sorted(counts, reverse=True) and counts[0] > 30 and counts[-1] == 0
    assert misses == sorted(misses) and misses[-1] == 1.0
    few, many, none = at_rates(points, [1.0, 1e9, -1.0])
    assert few is not None and few.rate.count <= 2 and none is None
    assert many is not None and many.miss_share("silence") == misses[0]
