"""Thresholds and averaging that miss fewest words at so many false accepts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hil_nas.deploy.decisions import ONE, Decisions
from hil_nas.errors import InfeasibleError
from hil_nas.listening.trials import Errors, Trials

_LOGITS = np.linspace(-3.0, 10.0, 66)  # of thresholds that are tried, 0.047 to 0.99995
THRESHOLDS = (*dict.fromkeys(int(x) for x in np.rint(ONE / (1 + np.exp(-_LOGITS)))), ONE)
AVERAGED = (1, 2, 3, 4, 6, 8, 12)
SHARPNESS = (1, 2, 4)


def choose(trials: Trials, start: Decisions, allowed: int, most_averaged: int) -> Errors:
    """The decisions that miss the smallest share of words with at most `allowed` false accepts.

    One threshold for all keywords, the lowest from which on no higher one has more false accepts than allowed; of
    numbers of averaged answers and of sharpnesses the best, the smallest of equals. A threshold for each keyword would
    rest on the few false accepts of that keyword alone.

    Raises:
        InfeasibleError: where even the highest thresholds have more false accepts.
    """
    best: Errors | None = None
    averaged = [x for x in AVERAGED if x <= most_averaged]
    for count, sharpness in itertools.product(averaged, SHARPNESS if trials.logits else (1,)):
        lowest = _lowest(trials, replace(start, averaged=count, sharpness=sharpness), allowed)
        errors = trials.errors(lowest) if lowest else None
        if errors and (best is None or errors.mean_miss_share < best.mean_miss_share):
            best = errors
    if best is None:
        raise InfeasibleError(
            f"no threshold leaves at most {allowed} false accepts in {trials.negatives.hours:.2f} h",
            hint="allow more, or train with such recordings as --negatives",
        )
    return best


def curve(trials: Trials, chosen: Decisions) -> list[Errors]:
    """What thresholds on either side of the chosen ones give, all other things equal, lowest first."""
    return [trials.errors(with_threshold(chosen, x)) for x in THRESHOLDS]


def with_threshold(decisions: Decisions, threshold: int) -> Decisions:
    """The same with this threshold for every keyword."""
    return replace(decisions, thresholds=tuple(threshold if x else 0 for x in decisions.thresholds))


def _lowest(trials: Trials, start: Decisions, allowed: int) -> Decisions | None:
    """None where an average of 1 itself is reached too often."""
    lowest = None
    for threshold in reversed(THRESHOLDS):
        tried = with_threshold(start, threshold)
        if trials.false_accepts(tried).sum() > allowed:
            break
        lowest = tried
    return lowest


def at_rates(errors: Sequence[Errors], per_hour: Sequence[float]) -> list[Errors | None]:
    """Of a curve, lowest threshold first, the point of fewest misses at each rate; None where it has none so low."""
    points: list[Errors | None] = []
    for rate in per_hour:
        held = [x for x in errors if x.rate.per_hour <= rate]
        points.append(min(held, key=lambda x: x.mean_miss_share) if held else None)
    return points
