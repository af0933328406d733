"""Which figures of a run folder trackers get: every number of metrics.jsonl and result.json, none made here.

A number of an object within stands under the names that lead to it (`search/expected/cycles`), true and false are 1 and
0. Text, null and lists are left out, and so is what lies in a list.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hil_nas.runs import Run, read_json


@dataclass(frozen=True)
class Point:
    """Figures of one moment.

    Attributes:
        step: the epoch, counted in each phase from 1 on; among candidates the rank; 0 of the result.
        figures: by `phase/key`, those of the result by `result/key`.
    """

    step: int
    figures: dict[str, float]


def points(run: Run) -> Iterator[Point]:
    """What a run folder says so far: a point for each line that names its phase and epoch, then the result's."""
    for line in run.metrics():
        if line.get("phase") is not None and line.get("epoch") is not None:
            told = {k: v for k, v in line.items() if k != "epoch"}
            yield Point(line["epoch"], dict(_numbers(told, line["phase"])))
    if run.path("result.json").exists():
        told = {k: v for k, v in read_json(run.path("result.json")).items() if k not in ("schema", "version")}
        yield Point(0, dict(_numbers(told, "result")))


def configuration(run: Run) -> dict[str, str]:
    """What config.json says, each value as text, by the names that lead to it."""
    return dict(_texts(read_json(run.path("config.json"))))


def _numbers(values: Mapping[str, Any], name: str) -> Iterator[tuple[str, float]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{name}/{key}")
        elif isinstance(value, int | float):
            yield f"{name}/{key}", float(value)


def _texts(values: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _texts(value, f"{within}{key}/")
        else:
            yield f"{within}{key}", value if isinstance(value, str) else json.dumps(value)
