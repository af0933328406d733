"""What a decision of a stream costs: the same each time, and no more than a search was told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hil_nas.deploy.listening import Listening
from hil_nas.deploy.lower import lower
from hil_nas.deploy.synthetic import random_graph
from hil_nas.device.heard import uploads
from hil_nas.device.hosts import open_device
from hil_nas.front_ends import parse_front_end
from hil_nas.network import INPUT, Layer, Network
from hil_nas.workflows.listen import usual_decisions
from hil_nas.workflows.measure_stream import measure_decision


@pytest.mark.parametrize(
    ("period", "size"), [(1600, 16_000), (960, 15_360), (9000, 9000), (16_000, 16_000), (16_200, 16_000)]
)
def test_an_upload_is_as_many_whole_periods_as_a_board_takes(period: int, size: int) -> None:
    samples = np.arange(40_000, dtype=np.int16)
    parts = list(uploads(samples, period))
    assert [len(x) for x in parts[:-1]] == [size] * (len(parts) - 1) and 0 < len(parts[-1]) <= size
    assert np.array_equal(np.concatenate(parts), samples)


@pytest.mark.parametrize(("name", "period_samples"), [("480/320/24/13/256", 1280), ("640/320/40/20", 960)])
def test_no_decision_takes_more_than_was_measured(
    boards_dir: Path, build_dir: Path, name: str, period_samples: int
) -> None:
    """Over five uploads of a stream in which words are heard and waited for. The answers themselves move
    a few cycles; a period that two uploads shared took 3,350 more."""
    config = parse_front_end(name)
    frames, labels = period_samples // config.hop_samples, [f"class {i}" for i in range(4)]
    step = Network((frames, config.columns, 1), (Layer("fully_connected", (INPUT,), len(labels)),))
    with open_device(
        "nucleo-l4r5@virtual", boards_dir=boards_dir, build_dir=build_dir, port=None, flash=False
    ) as device:
        device.identify()
        measured = measure_decision(device, step, config)
        usual = usual_decisions(labels, config, period_samples)
        listening = Listening(lower(random_graph(step, 3)), config, usual, frames, 16, stream=True)
        device.load_plan(listening.plan.to_bytes())
        device.load_front_end(listening.blob)
        device.load_listening(listening.packed())
        samples = np.random.default_rng(1).normal(0, 3000, 80_000).astype(np.int16)
        decisions = [x for part in uploads(samples, period_samples) for x in device.listen(part)][1:]
    cycles = [x.cycles for x in decisions]
    assert len(cycles) > 30 and any(x.heard >= 0 for x in decisions) and any(x.heard < 0 for x in decisions)
    assert max(cycles) <= measured * 1.0002 and min(cycles) > measured * 0.99
