"""The data search without a grid, on toy clips: where it goes, what it costs, and that it goes on where it stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hil_nas.errors import InfeasibleError, InputError, RunError
from hil_nas.front_ends import parse_front_end
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.nas import search_loop as loop_module
from hil_nas.nas.costs.network_limits import Cost, Limits
from hil_nas.nas.front_ends.anchors import AnchorCosts, FrontEndCosts, FrontEndSpace, between, holds
from hil_nas.nas.front_ends.point import ClipSet, ContinuousSettings, kept, standardised
from hil_nas.nas.front_ends.search_continuous import FrontEndResult, FrontEndSearch, search_front_end
from hil_nas.nas.input_space import Operation
from hil_nas.nas.tiny import strategy as tiny_module
from hil_nas.nas.tiny.architecture import Architecture, Probabilities
from hil_nas.nas.tiny.expected import ExpectedCost
from hil_nas.nas.tiny.space import TinySpace
from tests.test_nas_space import toy_cycles

SPACE = FrontEndSpace(hops=(400, 640, 1000), coefficients=(4, 8), like=Mfcc(400, 640, 8, 8), start=(400, 640, 6))
TINY = TinySpace(
    classes=3,
    positions=2,
    widths=(4, 8, 12),
    stems=(Operation("conv", (3, 1)), Operation("conv", (3, 1), (2, 1))),
    operations=(
        Operation("skip"),
        Operation("pointwise"),
        Operation("separable", (3, 1)),
        Operation("separable", (5, 1), (2, 1)),
    ),
)
QUICK = ContinuousSettings(epochs=8, warmup_epochs=2, rounds=12, batch=32)
CLIPS, LONGEST = 384, 40  # frames at the shortest hop


def front_end(config: Mfcc) -> Cost:
    """As mfcc.c's: pairs of frames, each an FFT and some more for each sample."""
    pairs = (config.frames + 1) // 2
    cycles = pairs * (8 * config.fft_size + config.window_samples + 20 * config.coefficients)
    return Cost(cycles, 8 * config.fft_size + config.frames * config.coefficients, 4 * config.window_samples)


COSTS = FrontEndCosts(toy_cycles, 100.0, front_end)


def clips(seed: int) -> ClipSet:
    """Noise in every frame, and in the last two columns the class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(TINY.classes, (CLIPS,), generator=generator)
    noise = 1000 * torch.randn(CLIPS, LONGEST * 8, generator=generator)
    return ClipSet(torch.cat([noise, labels[:, None].float()], 1).to(torch.int16), labels)


def heard_at(best: float) -> Any:
    """A front end that hears the class best at one window: (batch, frames, 8)."""

    def extract(samples: torch.Tensor, window: torch.Tensor, hop: torch.Tensor) -> torch.Tensor:
        frames = 1 + int((16000 - float(window.detach())) // float(hop.detach()))
        loudness = 1.5 * torch.exp(-((window.log() - log(best)) ** 2) / 0.1)
        noise = samples[:, :-1].float().reshape(-1, LONGEST, 8)[:, :frames] / 1000
        raised = torch.nn.functional.one_hot(samples[:, -1].long(), 8).float()
        return noise + loudness * raised[:, None]

    return extract


def run(limits: Limits | None = None, best: float = 400.0, **more: Any) -> FrontEndResult:
    settings, seed = more.pop("settings", QUICK), more.pop("seed", 0)
    sets = clips(1), clips(2)
    return search_front_end(SPACE, TINY, heard_at(best), *sets, COSTS, limits or Limits(), settings, seed=seed, **more)


@pytest.mark.parametrize("best", [300.0, 530.0])
def test_it_goes_to_the_window_that_hears_the_classes_best(best: float) -> None:
    settings = replace(QUICK, epochs=10, weight_rate=0.01, data_rate=0.05, settled=0.0, spread=(0.3, 0.1, 0.05))
    result = run(best=best, settings=settings)
    assert abs(log(result.point[0] / best)) < 0.5 * abs(log(400 / best))
    assert result.history[-1]["validation_loss"] < 0.9


def test_a_tight_limit_makes_the_front_end_cheaper_and_holds() -> None:
    loose = run(settings=QUICK)
    cheapest = front_end(SPACE.cheapest).cycles
    limits = Limits(cycles=1.5 * cheapest)
    tight = run(limits)
    assert front_end(tight.config).cycles < front_end(loose.config).cycles
    assert holds(COSTS.table(replace(TINY, configs=(tight.config,))), limits)


def test_impossible_limits_are_refused_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(*args: Any) -> None:
        raise AssertionError("the search began")

    monkeypatch.setattr(tiny_module, "TinySupernet", trained)
    with pytest.raises(InfeasibleError, match="cycles"):
        run(Limits(cycles=10.0))


def test_of_few_recordings_batches_are_as_small_as_they_are() -> None:
    few = [ClipSet(x.samples[:20], x.labels[:20]) for x in (clips(1), clips(2))]
    settings = replace(QUICK, epochs=3, warmup_epochs=1)
    result = search_front_end(SPACE, TINY, heard_at(400.0), *few, COSTS, Limits(), settings, seed=0)
    assert [x["epoch"] for x in result.history] == [1, 2, 3]


def test_the_search_ends_when_the_point_has_settled() -> None:
    result = run(settings=replace(QUICK, rounds=2, data_rate=0.001))
    assert len(result.history) == QUICK.warmup_epochs + 3
    assert json.loads(json.dumps(result.history)) == list(result.history)
    limited = run(Limits(cycles=1e9), settings=replace(QUICK, rounds=2, data_rate=0.001))
    assert len(limited.history) == QUICK.warmup_epochs + 5  # not before the limits are in force, at 0.7 of 6


class Stopped(Exception):
    """Stands for Ctrl-C."""


def test_stopped_anywhere_and_resumed_it_is_bit_identical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits, settings = Limits(cycles=4e4), replace(QUICK, epochs=5, rounds=4)
    whole, steps, path = run(limits, settings=settings), 0, tmp_path / "data.pt"
    original = loop_module.step

    def stopping(*args: Any) -> None:
        nonlocal steps
        steps += 1
        if steps in (6, 15, 16):  # in the warm-up, behind it, and at once after a resume
            raise Stopped
        original(*args)

    monkeypatch.setattr(loop_module, "step", stopping)
    for _ in range(3):
        with pytest.raises(Stopped):
            run(limits, settings=settings, checkpoint=path, resume=True)
    assert run(limits, settings=settings, checkpoint=path, resume=True) == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed was 0, is 1"),
        ({"settings": replace(QUICK, epochs=3, rounds=2, data_rate=0.5)}, "settings.data_rate was 0.01, is 0.5"),
        ({"limits": Limits(cycles=2e5)}, "limits.cycles was null, is 200000.0"),
    ],
)
def test_a_checkpoint_of_another_search_is_refused_with_both_named(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    same: dict[str, Any] = {"settings": replace(QUICK, epochs=3, rounds=2), "checkpoint": tmp_path / "data.pt"}
    run(**same)
    with pytest.raises(RunError, match=message):
        run(**{**same, **change}, resume=True)


def begun(settings: ContinuousSettings, limits: Limits | None = None) -> FrontEndSearch:
    sets, device = (clips(1), clips(2)), torch.device("cpu")
    return FrontEndSearch(SPACE, TINY, heard_at(300.0), *sets, COSTS, limits or Limits(), settings, 0, device)


def test_a_step_of_one_half_leaves_the_other_parameters_alone() -> None:
    one = begun(QUICK, Limits(cycles=6e4))  # chains behind either stem fill it

    def changed(step: Any) -> set[str]:
        parameters = {**dict(one.loop.net.named_parameters()), **dict(one.front_end.point.named_parameters())}
        before = {k: v.detach().clone() for k, v in parameters.items()}
        step()
        return {k for k, v in parameters.items() if not torch.equal(v, before[k])}

    decided = {"share", *one.loop.net.architecture_parameters()} - {"alignment.gamma"}
    assert changed(one.loop.decision_step) == decided
    learned = changed(one.loop.weight_step)  # those of the network that was drawn
    assert learned and learned <= set(one.loop.net.weight_parameters())


def test_the_limits_close_in_from_what_the_start_costs() -> None:
    one = begun(QUICK)
    with torch.no_grad():
        there = one.anchors(torch.tensor(SPACE.start, dtype=torch.float32), one.networks.probabilities())
        expectation = one.front_end.expected()
    for ours, theirs in zip(expectation.values(), there.values(), strict=True):
        assert float(ours) == pytest.approx(float(theirs), rel=1e-4)


def test_one_batch_pulls_no_harder_than_it_may() -> None:
    one = begun(replace(QUICK, data_clip=1e-3))
    one.loop.decision_step()
    pull = one.front_end.parameter.grad
    assert pull is not None and float(pull.abs().max()) == pytest.approx(1e-3)


def chosen(one_hot: bool) -> Probabilities:
    """Of every choice at random; all on one where it is one-hot."""
    generator = torch.Generator().manual_seed(0)

    def rows(*shape: int) -> torch.Tensor:
        logits = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return torch.softmax(1e6 * logits if one_hot else logits, -1)

    operations = rows(TINY.positions, len(TINY.operations))
    widths = rows(1 + TINY.positions, len(TINY.widths))
    return Probabilities(torch.ones(1, dtype=torch.float64), rows(len(TINY.stems)), widths, operations)


@pytest.fixture(scope="module")
def anchors() -> AnchorCosts:
    return AnchorCosts(SPACE, TINY, COSTS).double()


@pytest.fixture(scope="module")
def board_costs() -> tuple[FrontEndCosts, AnchorCosts]:
    """Cycles of the shipped latency model."""
    from hil_nas.latency.model import LatencyModel

    model = LatencyModel.load(Path(__file__).resolve().parent.parent / "latency_models" / "nucleo-l4r5@virtual")

    def cost(config: Mfcc) -> Cost:
        return replace(front_end(config), cycles=model.extrapolated_front_end_cycles(config))

    costs = FrontEndCosts(model.operator_cycles, model.overhead_cycles, cost)
    return costs, AnchorCosts(FrontEndSpace(), TinySpace(), costs)


@pytest.mark.parametrize("text", ["400/640/8/8", "200/1000/8/4", "512/400/8/8"])
def test_at_anchors_a_single_network_costs_what_the_exact_table_says(anchors: AnchorCosts, text: str) -> None:
    """But for the last pair of frames, of which a configuration may have one more than the line says."""
    config = parse_front_end(text)
    exact = ExpectedCost(COSTS.table(replace(TINY, configs=(config,))), torch.float64)(chosen(one_hot=True))
    point = torch.tensor([config.window_samples, config.hop_samples, config.coefficients], dtype=torch.float64)
    expectation = anchors(point, chosen(one_hot=True))
    for ours, theirs in zip(expectation.values(), exact.values(), strict=True):
        assert float(ours) == pytest.approx(float(theirs), rel=0.08)


@pytest.mark.parametrize("text", ["326/179/40/28", "205/308/40/12", "888/231/40/40"])
def test_anywhere_on_a_board_the_expected_cost_is_within_some_percent_of_the_exact_one(
    board_costs: tuple[FrontEndCosts, AnchorCosts], text: str
) -> None:
    costs, anchors = board_costs
    config, networks = parse_front_end(text), TinySpace()
    with torch.no_grad():
        uniform = Architecture(networks).probabilities(torch.ones(1))
        exact = ExpectedCost(costs.table(replace(networks, configs=(config,))))(uniform)
        point = torch.tensor([config.window_samples, config.hop_samples, config.coefficients], dtype=torch.float32)
        expectation = anchors(point, uniform)
    for ours, theirs, error in zip(expectation.values(), exact.values(), (0.04, 0.1, 0.001), strict=True):
        assert float(ours) == pytest.approx(float(theirs), rel=error)


@pytest.mark.parametrize("point", [(410.0, 700.0, 6.3), (530.0, 450.0, 4.5), (270.0, 900.0, 7.7)])
def test_costs_have_the_slopes_that_finite_differences_find(
    anchors: AnchorCosts, point: tuple[float, float, float]
) -> None:
    def costs(x: torch.Tensor) -> torch.Tensor:
        return torch.stack(anchors(x, chosen(one_hot=False)).values())

    assert torch.autograd.gradcheck(costs, torch.tensor(point, dtype=torch.float64, requires_grad=True), eps=1e-4)


def test_interpolation_is_linear_between_anchors_and_ends_with_them() -> None:
    anchors = torch.tensor([1.0, 2.0, 4.0])
    for value, weights in (
        (0.5, (1, 0, 0)),
        (1.5, (0.5, 0.5, 0)),
        (2.0, (0, 1, 0)),
        (3.5, (0, 0.25, 0.75)),
        (9, (0, 0, 1)),
    ):
        assert between(torch.tensor(value), anchors).tolist() == pytest.approx(weights)


def test_a_window_just_above_an_fft_is_compared_with_that_fft() -> None:
    assert FrontEndSpace().roundings(540.4, 211.7, 21.9) == (Mfcc(540, 212, 40, 20), Mfcc(512, 212, 40, 20))
    assert FrontEndSpace().roundings(256.2, 211.7, 22.1) == (Mfcc(256, 212, 40, 24),)


def test_the_dear_side_of_a_step_in_cost_is_left() -> None:
    """A front end that hears all windows alike, and a limit that a longer FFT breaks."""
    space = replace(SPACE, start=(560, 640, 6))
    limits = Limits(cycles=1.05 * front_end(Mfcc(512, 640, 8, 8)).cycles + 4000)
    flat = heard_at(1.0)
    result = search_front_end(space, TINY, flat, clips(1), clips(2), COSTS, limits, replace(QUICK, rounds=4), seed=0)
    assert result.config.fft_size <= 512


def test_what_is_kept_and_how_it_is_scaled() -> None:
    x = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(0))
    moved = standardised(3 * x + 7)
    np.testing.assert_allclose(moved.mean((0, 1)), torch.zeros(6), atol=1e-6)
    np.testing.assert_allclose(moved.std((0, 1), correction=0), torch.ones(6), rtol=1e-5)
    torch.testing.assert_close(standardised(x), moved)
    masked = kept(torch.ones(1, 1, 6), torch.tensor(3.25))
    assert masked.flatten().tolist() == [1, 1, 1, 0.25, 0, 0]


@pytest.mark.parametrize(
    "change", [{"hops": (100,)}, {"windows": (512, 256)}, {"coefficients": (40, 12)}, {"start": (100, 200, 20)}]
)
def test_a_space_that_spans_nothing_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected two or more|lies outside"):
        replace(FrontEndSpace(), **change)
