"""The differentiable front end against the one for training, and its gradients against finite differences."""

from __future__ import annotations

import pytest
from front_end_signals import mixed_clips

from hil_nas.errors import InputError
from hil_nas.front_ends import paper_grid
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.front_ends.scale import int8_quantisation

torch = pytest.importorskip("torch", reason="the differentiable front end needs torch")

WHOLE = (*paper_grid(), Mfcc(512, 256, 40, 20), Mfcc(101, 997, 8, 8), Mfcc(1024, 431, 64, 64))
BETWEEN = ((400.3, 200.6), (511.9, 317.25), (513.2, 160.1), (300.75, 111.1), (777.7, 402.9))
STEP = 1e-4  # samples


def continuous(clips: torch.Tensor, window: torch.Tensor, hop: torch.Tensor, coefficients: int) -> torch.Tensor:
    return Mfcc(400, 200, 40, coefficients).continuous()(clips, window, hop)


def features(clips: torch.Tensor, window: float, hop: float) -> torch.Tensor:
    return continuous(clips, torch.tensor(window, dtype=torch.float64), torch.tensor(hop, dtype=torch.float64), 40)


def noisy(clips: int) -> torch.Tensor:
    """Noise that fills every filter, in float64: (clips, 16000)."""
    return 0.1 * torch.randn(clips, 16000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("config", WHOLE, ids=str)
def test_at_whole_numbers_it_is_within_half_an_int8_step_of_the_front_end_for_training(config: Mfcc) -> None:
    clips = torch.from_numpy(mixed_clips(12))
    expected = config.module()(clips)
    window, hop = torch.tensor(float(config.window_samples)), torch.tensor(float(config.hop_samples))
    actual = config.continuous()(clips, window, hop)
    scale, _ = int8_quantisation(float(expected.min()), float(expected.max()))
    assert actual.shape == expected.shape and actual.dtype == torch.float32
    assert (actual - expected).abs().max() / scale < 0.5


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own forward mode calls it
@pytest.mark.parametrize("moved", ["window", "hop"])
@pytest.mark.parametrize(("window", "hop"), BETWEEN)
def test_every_feature_has_the_slope_that_finite_differences_find(window: float, hop: float, moved: str) -> None:
    """Forward mode, so that each feature's own derivative is compared and not one sum of them."""
    clips, at = noisy(2), {"window": window, "hop": hop}
    forward = torch.autograd.forward_ad
    with forward.dual_level():
        place = torch.tensor(at[moved], dtype=torch.float64)
        inputs = {k: torch.tensor(x, dtype=torch.float64) for k, x in at.items()}
        inputs[moved] = forward.make_dual(place, torch.ones_like(place))
        slope = forward.unpack_dual(continuous(clips, inputs["window"], inputs["hop"], 40)).tangent
    ahead, behind = (features(clips, **{**at, moved: at[moved] + step}) for step in (STEP, -STEP))
    actual = (ahead - behind) / (2 * STEP)
    assert slope.abs().max() > 1e-4
    assert (slope - actual).abs().max() < 1e-5 * slope.abs().max()


@pytest.mark.parametrize(("window", "hop"), BETWEEN)
def test_backwards_gives_the_gradient_of_a_loss(window: float, hop: float) -> None:
    clips = noisy(2)

    def loss(window: torch.Tensor, hop: torch.Tensor) -> torch.Tensor:
        x = continuous(clips, window, hop, 13)
        return (x * torch.linspace(-1, 1, 13, dtype=x.dtype)).square().mean()

    inputs = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (window, hop)]
    assert torch.autograd.gradcheck(loss, inputs, eps=STEP, atol=1e-7, rtol=1e-5)


def test_features_are_smooth_where_a_window_grows_past_a_sample_or_a_hop_past_one() -> None:
    clips = noisy(2)
    for window, hop in ((1e-7, 0.0), (0.0, 1e-7)):
        before, after = features(clips, 400.0 - window, 200.0 - hop), features(clips, 400.0 + window, 200.0 + hop)
        frames = min(before.shape[1], after.shape[1])
        assert (before[:, :frames] - after[:, :frames]).abs().max() < 1e-5


@pytest.mark.parametrize(("window", "hop"), [(400.0, 200.0), (400.7, 200.0), (400.0, 200.3), (511.9, 100.1)])
def test_only_frames_that_fit_the_clip_are_there(window: float, hop: float) -> None:
    frames = features(noisy(1), window, hop).shape[1]
    assert (frames - 1) * hop + window <= 16000 < frames * hop + window


def test_what_no_front_end_has_is_refused() -> None:
    clips = noisy(1)
    with pytest.raises(InputError, match="window of 3000"):
        features(clips, 3000.0, 200.0)
    with pytest.raises(InputError, match="hop of 3"):
        features(clips, 400.0, 3.5)
    with pytest.raises(InputError, match="waveform"):
        features(clips[:, 1:], 400.0, 200.0)
