"""The torch front end against the C source, an independent formula and torchaudio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from front_end_signals import CONFIGS, HARD_CLIPS, LOG_MEL, WRAPPED, bounds, mixed_clips, oracle

from hil_nas.errors import InputError
from hil_nas.front_ends import paper_grid, search_grid, transforms
from hil_nas.front_ends.host import HostFrontEnd, build_host_library
from hil_nas.front_ends.log_mel import LogMel
from hil_nas.front_ends.mel import MelFrontEnd
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.front_ends.scale import int8_quantisation

torch = pytest.importorskip("torch", reason="the torch front end needs torch")


@pytest.fixture(scope="module")
def front_end(boards_dir: Path, build_dir: Path) -> HostFrontEnd:
    return HostFrontEnd(build_host_library(boards_dir, build_dir / "host"))


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_torch_is_float64_and_the_c_source_near_it(front_end: HostFrontEnd, config: MelFrontEnd) -> None:
    clips = mixed_clips(8)
    features = config.module()(torch.from_numpy(clips)).numpy()
    scale, zero_point = int8_quantisation(float(features.min()), float(features.max()))
    steps = np.abs(features - oracle(config, clips)) / scale
    assert steps[:-HARD_CLIPS].max() < 0.1 and steps.max() < 0.15  # float32, between the lines of loud tones
    by_c_source = front_end.features(config.blob(scale, zero_point), clips).astype(float) - zero_point
    low, high = bounds(config, clips)
    assert np.all(by_c_source > low / scale - 0.51) and np.all(by_c_source < high / scale + 0.51)


def test_a_bank_gives_what_each_configuration_gives() -> None:
    from hil_nas.front_ends.bank import FrontEndBank

    waveform = torch.from_numpy(mixed_clips(4))
    for config, features in zip(paper_grid(13), FrontEndBank(paper_grid(13))(waveform), strict=True):
        assert torch.equal(features, config.module()(waveform))


@pytest.mark.parametrize("config", WRAPPED[:3], ids=str)
def test_a_wrapped_window_gives_every_second_bin(config: MelFrontEnd) -> None:
    from hil_nas.front_ends.mel_module import power_spectrum

    frames = torch.randn(3, config.window_samples, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = torch.fft.rfft(frames, n=2 * config.fft_size).abs().square()
    torch.testing.assert_close(power_spectrum(frames, config.fft_size), whole[:, ::2])


def test_float_and_int16_waveforms_of_any_batch_shape() -> None:
    module = Mfcc(400, 200, 40, 10).module()
    clips = torch.from_numpy(mixed_clips(3)[:6])
    features = module(clips)
    assert features.shape == (6, 79, 10) and features.dtype == torch.float32
    assert torch.equal(module(clips.float() / 32768), features)
    assert torch.allclose(module(clips.reshape(2, 3, 16000)).reshape(6, 79, 10), features, atol=1e-3)
    assert module(clips[0]).shape == (79, 10)


def test_the_tables_are_no_state_and_follow_the_device() -> None:
    module = Mfcc(400, 200, 40, 10).module()
    assert module.state_dict() == {} and list(module.parameters()) == []
    assert {buffer.device.type for buffer in module.to("meta").buffers()} == {"meta"}


def test_gradients_reach_the_waveform() -> None:
    waveform = torch.randn(16000).mul(0.1).requires_grad_()
    Mfcc(400, 200, 40, 10).module()(waveform).square().mean().backward()
    assert torch.isfinite(waveform.grad).all() and waveform.grad.abs().sum() > 0


def test_wrong_waveforms_are_refused() -> None:
    from hil_nas.front_ends.bank import FrontEndBank

    module = Mfcc(400, 200, 40, 10).module()
    for waveform in (torch.zeros(2, 15999), torch.zeros(16000, dtype=torch.int32), torch.zeros(())):
        with pytest.raises(InputError, match="waveform"):
            module(waveform)
    with pytest.raises(InputError, match="no front end"):
        FrontEndBank([])


def torchaudio_transforms() -> Any:
    try:
        import torchaudio.transforms
    except (ImportError, OSError):
        pytest.skip("torchaudio does not import here (pip install torchaudio==2.11.0 beside a CUDA build of torch)")
    return torchaudio.transforms


def hann(samples: int) -> torch.Tensor:
    """torch's periodic window at the odd places of twice the length is even about its middle."""
    return torch.hann_window(2 * samples)[1::2]


def centred(config: MelFrontEnd, waveform: torch.Tensor) -> torch.Tensor:
    """torchaudio centres the window in the FFT's frame: shifted by that much, the power spectrum is the same."""
    before = (config.fft_size - config.window_samples) // 2
    return torch.nn.functional.pad(waveform, (before, config.fft_size - config.window_samples - before))


@pytest.mark.parametrize("config", paper_grid(), ids=str)
def test_torchaudio_gives_the_same(config: Mfcc) -> None:
    MFCC = torchaudio_transforms().MFCC
    mel = {
        "n_fft": config.fft_size, "hop_length": config.hop_samples, "n_mels": config.mel_bins, "center": False,
        "f_min": 20.0, "f_max": 8000.0, "window_fn": hann,
    }  # fmt: skip
    transform = MFCC(16000, config.coefficients, log_mels=True, melkwargs={**mel, "win_length": config.window_samples})
    waveform = torch.from_numpy(mixed_clips(8)).float() / 32768
    theirs = transform(centred(config, waveform)).transpose(1, 2)[:, : config.frames]
    ours = config.module()(waveform)
    low, high = float(ours.min()), float(ours.max())
    assert (ours - theirs).abs().max() < 0.05 * (high - low) / 255


@pytest.mark.parametrize("config", LOG_MEL[:3], ids=str)  # torchaudio leaves filters empty
def test_torchaudio_gives_the_same_log_mel(config: LogMel) -> None:
    MelSpectrogram = torchaudio_transforms().MelSpectrogram
    transform = MelSpectrogram(
        16000, config.fft_size, config.window_samples, config.hop_samples, f_min=20.0, f_max=8000.0,
        n_mels=config.mel_bins, center=False, window_fn=hann,
    )  # fmt: skip
    waveform = torch.from_numpy(mixed_clips(8)[:-HARD_CLIPS]).float() / 32768
    theirs = torch.log(transform(centred(config, waveform)) + 1e-6).transpose(-1, -2)[:, : config.frames]
    ours = config.module()(waveform)
    low, high = float(ours.min()), float(ours.max())
    assert (ours - theirs).abs().max() < 0.1 * (high - low) / 255


def test_fewer_coefficients_are_the_first_of_more() -> None:
    waveform = torch.randn(2, 16000, generator=torch.Generator().manual_seed(0))
    for config in paper_grid(40):
        few = config.with_columns(13)
        torch.testing.assert_close(few.module()(waveform), config.module()(waveform)[..., :13], atol=1e-5, rtol=1e-5)
    halved = [x for x in search_grid() if x.fft_points]
    fewer = [x for x in halved if x.with_columns(20) in halved and x.coefficients == 13]
    assert set(transforms(search_grid())) == {*paper_grid(40), *(x for x in halved if x not in fewer)}
    assert len(halved) > len(fewer) > 0
    assert transforms((*paper_grid(13), *paper_grid(20))) == paper_grid(20)
