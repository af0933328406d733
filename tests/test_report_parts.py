"""The parts of a page against what others say of the same: intervals, the arena, clips, the network's picture."""

from __future__ import annotations

import io
import struct
import wave
import zlib
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from hil_nas.audio.clips import Clips
from hil_nas.audio.long_audio import wav_file
from hil_nas.baselines import baseline
from hil_nas.cost.arena import network_steps, plan_steps
from hil_nas.deploy.lower import lower
from hil_nas.deploy.plan import Plan
from hil_nas.deploy.synthetic import random_graph
from hil_nas.errors import RunError
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.network import INPUT, Layer, Network
from hil_nas.operators.table import runs
from hil_nas.report import scales
from hil_nas.report.arena_blocks import blocks_of, bytes_at
from hil_nas.report.arena_picture import arena_picture, arena_rows, fullest
from hil_nas.report.candidates import chosen_of
from hil_nas.report.clips import png, stretched
from hil_nas.report.confusions import most_confused
from hil_nas.report.gauges import gauges
from hil_nas.report.network_picture import network_picture, nodes_of
from hil_nas.report.shares import Part, bar
from hil_nas.workflows.proportion import wilson
from hil_nas.workflows.worst_clips import MOST, WorstClips, worst_clips
from tests.step_networks import step_network
from tests.test_clocks import result_of

CELL = Network((12, 10, 1), (
    Layer("conv", (INPUT,), 8, kernel=(3, 3), stride=(2, 2), relu=True),
    Layer("depthwise", (0,), kernel=(3, 3), relu=True),
    Layer("conv", (1,), 8),
    Layer("max_pool", (0,), kernel=(3, 3)),
    Layer("add", (2, 3)),
    Layer("concatenation", (4, 0)),
    Layer("average_pool", (5,), kernel=(6, 5), stride=(6, 5), padding="valid"),
    Layer("reshape", (6,), shape=(1, 1, 16)),
    Layer("fully_connected", (7,), 3),
))  # fmt: skip
CHAIN = baseline("ds-cnn", 12)[0]
RESIDUAL = baseline("ds-tc-resnet", 12)[0]


@pytest.mark.parametrize(("hits", "trials"), [(0, 7), (7, 7), (1461, 1566), (1, 2), (30, 31)])
def test_intervals_are_wilsons(hits: int, trials: int) -> None:
    known = binomtest(hits, trials).proportion_ci(0.95, method="wilson")
    assert wilson(hits, trials) == pytest.approx((known.low, known.high), abs=1e-12)


def test_nothing_is_known_of_what_was_never_tried() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("network", [CHAIN, CELL, *map(step_network, range(3))], ids=["chain", "cell", *"012"])
def test_the_arena_is_read_from_the_plan_as_it_was_planned(network: Network) -> None:
    """Against the planner, which knows lifetimes: the same tensors, steps and places."""
    plan = Plan.from_bytes(lower(random_graph(network, 0)).to_bytes())
    sizes, steps, output = network_steps(network)
    planned = plan_steps(sizes, steps, 0, output)
    last = {x: i for i, step in enumerate(steps) for x in step.inputs} | {output: len(steps) - 1}
    expected = {(0, planned.tensors[0], sizes[0], 0, last[0], False)}
    for i, step in enumerate(steps):
        life = (0, len(steps) - 1) if step.keeps else (i, last[step.output])
        expected.add((i + 1, planned.tensors[step.output], sizes[step.output], *life, False))
        if step.scratch_bytes:
            expected.add((i + 1, planned.scratch[i], step.scratch_bytes, i, i, True))
    blocks = blocks_of(plan)
    assert {(x.writer, x.offset_bytes, x.size_bytes, x.first, x.last, x.scratch) for x in blocks} == expected
    used = [bytes_at(blocks, i) for i in range(len(steps))]
    assert fullest(plan) == (used.index(max(used)) + 1, max(used)) and max(used) <= plan.arena_bytes
    assert max(x.end_bytes for x in blocks) > plan.arena_bytes - 16
    assert len(arena_rows(plan)) == len(blocks) == arena_picture(plan).count("<rect")


def test_bytes_that_lie_over_each_other_count_once() -> None:
    plan = lower(random_graph(CHAIN, 0))
    blocks = blocks_of(plan)
    for step in range(len(plan.operators)):
        marked = np.zeros(plan.arena_bytes, bool)
        for x in blocks:
            if x.first <= step <= x.last:
                marked[x.offset_bytes : x.end_bytes] = True
        assert bytes_at(blocks, step) == np.count_nonzero(marked)


@pytest.mark.parametrize("network", [CHAIN, CELL, RESIDUAL], ids=["chain", "cell", "residual"])
def test_every_layer_is_drawn_and_every_wire(network: Network) -> None:
    nodes = nodes_of(network, ["1 %" if runs(x.kind) else "" for x in network.layers])
    drawn = network_picture(nodes)
    assert drawn.count("<rect") == len(network.layers) + 1
    assert drawn.count('class="wire"') == sum(len(set(x.inputs)) for x in network.layers)
    assert all(" × ".join(map(str, x)) in drawn for x in network.shapes)


def test_the_worst_clips_are_the_wrong_ones_with_least_of_what_was_spoken(tmp_path: Path) -> None:
    rng, config = np.random.default_rng(0), Mfcc(640, 640, 20, 4)
    labels, answers = rng.integers(0, 4, 40), rng.integers(-128, 128, (40, 4), dtype=np.int8)
    test = Clips(rng.integers(-9, 9, (40, 16000), dtype=np.int16), labels)
    graph = random_graph(Network((25, 4, 1), (Layer("fully_connected", (INPUT,), 4),)), 0)
    seen: list[np.ndarray] = []

    class Host:
        def features(self, blob: bytes, clips: Any) -> Any:
            seen.append(clips)
            return np.full((len(clips), 25, 4), 3, np.int8)

    host: Any = Host()
    kept = worst_clips(answers, test, graph, config, host)
    scale = graph.tensors[graph.output].scale
    powers = np.exp(answers * scale) / np.exp(answers * scale).sum(1, keepdims=True)  # a zero point changes nothing
    wrong = [i for i in range(40) if answers[i].argmax() != labels[i]]
    expected = sorted(wrong, key=lambda i: (powers[i, labels[i]], i))[:MOST]
    assert kept.places.tolist() == expected and len(wrong) > MOST == len(kept)
    np.testing.assert_allclose(kept.posteriors, powers[expected], rtol=1e-5)
    assert np.array_equal(kept.samples, test.samples[expected]) and np.array_equal(seen[0], kept.samples)
    path = tmp_path / "worst.npz"
    path.write_bytes(kept.to_bytes())
    again = WorstClips.read(path)
    for name in ("places", "labels", "posteriors", "samples", "features", "sample_rate_hz"):
        assert np.array_equal(getattr(again, name), getattr(kept, name))
    for broken in (kept.to_bytes()[:-30], b"", b"text"):
        path.write_bytes(broken)
        with pytest.raises(RunError, match="is damaged"):
            WorstClips.read(path)


def test_long_clips_are_fewer_and_a_perfect_model_has_none() -> None:
    graph = random_graph(Network((25, 4, 1), (Layer("fully_connected", (INPUT,), 2),)), 0)
    host: Any = type("Host", (), {"features": lambda self, blob, clips: np.zeros((len(clips), 25, 4), np.int8)})()
    for labels, samples, count in ((np.ones(9, np.int64), 40_000, 2), (np.zeros(9, np.int64), 100, 0)):
        test = Clips(np.zeros((9, samples), np.int16), labels)
        answers = np.tile(np.array([[5, -5]], np.int8), (9, 1))
        assert len(worst_clips(answers, test, graph, Mfcc(640, 640, 20, 4), host)) == count


def test_a_clip_is_heard_as_it_is() -> None:
    samples = np.random.default_rng(0).integers(-32768, 32768, 500, dtype=np.int16)
    with wave.open(io.BytesIO(wav_file(samples, 8000))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
        assert np.array_equal(np.frombuffer(file.readframes(500), "<i2"), samples)


def test_a_picture_is_a_png_of_a_pixel_each() -> None:
    """Read back by the format's specification, part by part."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5), dtype=np.uint8)
    data = png(pixels)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    parts, at = {}, 8
    while at < len(data):
        (length,), kind = struct.unpack_from(">I", data, at), data[at + 4 : at + 8]
        body, (check,) = data[at + 8 : at + 8 + length], struct.unpack_from(">I", data, at + 8 + length)
        assert zlib.crc32(kind + body) == check
        parts[kind], at = body, at + 12 + length
    assert list(parts) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBBBBB", parts[b"IHDR"]) == (5, 3, 8, 3, 0, 0, 0) and len(parts[b"PLTE"]) == 768
    lines = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(3, 6)
    assert not lines[:, 0].any() and np.array_equal(lines[:, 1:], pixels)


def test_coefficients_are_stretched_each_over_its_range() -> None:
    features = np.array([[[-128, 5], [127, 6]], [[0, 7], [0, 7]]], np.int8)
    assert stretched(features).tolist() == [[[0, 0], [255, 128]], [[128, 255], [128, 255]]]
    assert not stretched(np.full((1, 2, 2), 9, np.int8)).any()


def test_confusions_are_listed_by_their_share() -> None:
    counts = np.array([[90, 10, 0], [0, 5, 1], [2, 0, 0]])
    assert most_confused(counts, ["a", "b", "c"]) == [
        ("c", "a", "2 of 2"), ("b", "c", "1 of 6"), ("a", "b", "10 of 100")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "limit", "state", "left", "doubt"),
    [
        (10.0, 20.0, "held", "10.00 ms left, 50.0 % of the limit", False),
        (19.5, 20.0, "held", "0.50 ms left, 2.5 % of the limit", True),
        (20.5, 20.0, "missed", "0.50 ms too much, 2.5 % of the limit", True),
        (25.0, 20.0, "missed", "5.00 ms too much, 25.0 % of the limit", False),
    ],
)
def test_a_gauge_says_what_is_left_and_what_the_clock_leaves_open(
    value: float, limit: float, state: str, left: str, doubt: bool
) -> None:
    result = result_of("modelled")
    result["measured"] = {**result["measured"], "latency_ms": value}
    result["limits"] = {**result["limits"], "max_latency_ms": limit}
    latency, ram, flash = gauges(result)
    assert (latency.state, latency.left, bool(latency.doubt)) == (state, left, doubt)
    assert latency.measured == f"{value:.2f} ms ± 5 %" and latency.limit == "20.00 ms"
    assert (ram.state, flash.state, flash.bar) == ("held", "", "")
    silicon = {**result, "clock": {"kind": "silicon", "hz": 1, "error_percent": None}}
    assert not gauges(silicon)[0].doubt and "±" not in gauges(silicon)[0].measured


def test_what_listens_has_a_load_that_a_clock_may_be_off_by() -> None:
    result = result_of("modelled")
    result |= {"listen": {"load": 0.32}, "limits": {**result["limits"], "max_load": 0.5}}
    assert [x.name for x in gauges(result)] == ["latency", "load", "RAM", "flash"]
    load = gauges(result)[1]
    assert (load.measured, load.limit, load.state) == ("32.0 %, ± 5 % of it", "50.0 %", "held")
    assert load.left == "18.0 % left, 36.0 % of the limit"
    counted = {**result_of("instructions"), "listen": {"load": None}}
    assert [x.name for x in gauges(counted)] == ["RAM", "flash"]


def test_a_clock_without_time_has_no_latency() -> None:
    assert [x.name for x in gauges(result_of("instructions"))] == ["RAM", "flash"]


def test_parts_of_a_bar_are_as_wide_as_they_are_large() -> None:
    drawn = bar([Part("a", 3, "fe"), Part("b", 1, "net")], "whole")
    assert "flex-grow: 0.75000" in drawn and "flex-grow: 0.25000" in drawn
    assert 'aria-label="whole: a 75.0 %, b 25.0 %"' in drawn


def test_the_chosen_candidate_is_the_best_ranked_of_its_front_end_and_size() -> None:
    lines = [{"front_end": x, "parameters": y} for x, y in (("a", 1), ("b", 2), ("b", 3), ("b", 2))]
    assert chosen_of({"front_end": "b", "parameters": 2}, lines) == 1
    assert chosen_of({"front_end": "c", "parameters": 2}, lines) is None


@pytest.mark.parametrize("low", [1e-3, 0.7, 12.0, 4e5])
@pytest.mark.parametrize("times", [1.0, 1.01, 1.9, 30.0, 1e5])
def test_axes_have_a_few_ticks_inside_and_hold_all_values(low: float, times: float) -> None:
    for scale in (scales.linear([low, low * times]), scales.logarithmic([low, low * times])):
        assert 1 <= len(scale.ticks) <= 9 and all(scale.low <= x <= scale.high for x in scale.ticks)
        assert 0 <= scale.share(low) <= scale.share(low * times) <= 1
    errors = scales.symmetric([-low, low * times])
    assert errors.share(0.0) == pytest.approx(0.5) and 0 <= errors.share(-low) < 0.5 < errors.share(low * times) <= 1


def test_sizes_of_the_blocks_are_those_of_the_maps() -> None:
    plan = lower(random_graph(CELL, 0))
    run = [i for i, x in enumerate(CELL.layers) if runs(x.kind)]
    sizes = {x.writer: x.size_bytes for x in blocks_of(plan) if not x.scratch and x.writer}
    assert sizes == {n: prod(CELL.shapes[i]) for n, i in enumerate(run, 1)}
