"""Augmentation and features: what they change, by how much, and that a generator repeats them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hil_nas.audio.augment import Augmentation, augment_waveforms
from hil_nas.audio.clips import Clips
from hil_nas.audio.features import DeviceFeatures, TorchFeatures, features_of, to_grid, training_scale
from hil_nas.errors import InputError
from hil_nas.front_ends.host import HostFrontEnd, build_host_library
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.front_ends.scale import FeatureScale, measure_scale

OFF = Augmentation(0.0, 0.0, 0.0, (0.0, 0.0), 0.0, 0.0, 0.0)
NOISE = torch.randn(50_000, generator=torch.Generator().manual_seed(5)) * 0.1


def clips(count: int = 8) -> torch.Tensor:
    return torch.randn(count, 16000, generator=torch.Generator().manual_seed(1)) * 0.1


def augmented(settings: Augmentation, waveforms: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return augment_waveforms(waveforms, NOISE, settings, torch.Generator().manual_seed(seed), 16000)


def test_switched_off_it_changes_nothing() -> None:
    assert torch.equal(augmented(OFF, clips()), clips())


def test_the_generator_decides_everything() -> None:
    full = Augmentation(speed=0.1, noise_probability=0.5, quiet_share=0.5)
    assert torch.equal(augmented(full, clips(), 7), augmented(full, clips(), 7))
    assert not torch.equal(augmented(full, clips(), 7), augmented(full, clips(), 8))


def test_a_shift_moves_the_clip_and_fills_with_silence() -> None:
    shifted = augmented(replace(OFF, shift_ms=100.0), clips())
    moves = []
    for before, after in zip(clips(), shifted, strict=True):
        correlation = torch.fft.irfft(torch.fft.rfft(after, 32768) * torch.fft.rfft(before, 32768).conj())
        move = int(correlation.argmax())
        move = move - 32768 if move > 16384 else move
        expected = torch.zeros(16000)
        if move >= 0:
            expected[move:] = before[: 16000 - move]
        else:
            expected[:move] = before[-move:]
        assert torch.equal(after, expected)
        moves.append(move)
    assert max(map(abs, moves)) <= 1600 and len(set(moves)) > 4 and min(moves) < 0 < max(moves)


def test_speed_changes_pitch_by_so_much() -> None:
    time_s = torch.arange(16000) / 16000
    tone = torch.sin(2 * np.pi * 1000 * time_s).repeat(32, 1) * 0.3
    pitch_hz = torch.fft.rfft(augmented(replace(OFF, speed=0.1), tone)).abs().argmax(1)
    assert 890 <= pitch_hz.min() < 950 and 1050 < pitch_hz.max() <= 1110


@pytest.mark.parametrize("snr_db", [0.0, 10.0])
def test_noise_has_the_ratio_asked_for(snr_db: float) -> None:
    settings = replace(OFF, noise_probability=1.0, snr_db=(snr_db, snr_db))
    noise = augmented(settings, clips()) - clips()
    actual = 10 * torch.log10(clips().square().mean(1) / noise.square().mean(1))
    assert torch.allclose(actual, torch.full_like(actual, snr_db), atol=0.1)


def test_noise_is_mixed_into_the_share_asked_for() -> None:
    settings = replace(OFF, noise_probability=0.25, snr_db=(10.0, 10.0))
    changed = (augmented(settings, clips(400)) != clips(400)).any(1).float().mean()
    assert 0.17 < changed < 0.33


def test_volume_stays_within_full_scale() -> None:
    loud = augmented(replace(OFF, volume_db=12.0), clips() * 8)
    assert loud.abs().max() == 1.0
    ratio_db = 20 * torch.log10(augmented(replace(OFF, volume_db=6.0), clips(50) * 0.1).std(1) / clips(50).std(1) / 0.1)
    assert -6 <= ratio_db.min() < -4 and 4 < ratio_db.max() <= 6.01


def test_the_share_asked_for_becomes_quiet_and_its_noise_with_it() -> None:
    settings = replace(OFF, noise_probability=1.0, snr_db=(10.0, 10.0), quiet_share=0.25, quiet_db=40.0)
    level_db = 20 * torch.log10(augmented(settings, clips(400)).std(1) / clips(400).std(1) / 1.1**0.5)
    quiet = level_db < -0.1
    assert 0.17 < quiet.float().mean() < 0.33
    assert torch.allclose(level_db[~quiet], torch.zeros(()), atol=0.1)
    assert -40.1 < level_db.min() < -38 and -22 < level_db[quiet].median() < -18, "uniform in decibels"


def test_torch_hears_quiet_clips_in_the_steps_of_a_microphone() -> None:
    config, scale = Mfcc(400, 200, 20, 10), FeatureScale(0.5, 30)
    quiet = clips(2) * 1e-4  # some three steps of int16 at most
    steps = torch.round(quiet * 32768) / 32768
    heard = TorchFeatures(config, scale)(quiet)
    assert torch.equal(heard, TorchFeatures(config, scale)(steps))
    assert not torch.equal(heard, to_grid(config.module()(quiet), scale).unsqueeze(-1))


def test_the_grid_is_the_device_s() -> None:
    scale = FeatureScale(0.5, -20)
    values = torch.tensor([0.0, 0.25, -0.25, 0.24, 0.75, -0.75, 1000.0, -1000.0])
    expected = scale.real(scale.quantise(values.numpy()))
    assert to_grid(values, scale).tolist() == expected.tolist()
    assert expected.tolist() == [0.0, 0.5, 0.0, 0.0, 1.0, -0.5, 73.5, -54.0]


def test_the_scale_spans_nearly_all_values_and_holds_zero() -> None:
    values = np.random.default_rng(0).normal(-20, 5, 100_000)
    values[:20] = -1000  # digital silence
    scale = measure_scale(values.astype(np.float32))
    numbers = scale.quantise(values.astype(np.float32))
    assert 0.0005 < np.isin(numbers, (-128, 127)).mean() < 0.005
    assert scale.real(np.array([scale.zero_point], np.int8))[0] == 0.0
    with pytest.raises(InputError):
        measure_scale(np.zeros(10, np.float32))


@pytest.mark.parametrize("config", [Mfcc(640, 320, 40, 10), Mfcc(400, 200, 80, 40)], ids=str)
def test_torch_and_the_c_source_give_the_same_features(config: Mfcc, boards_dir: Path, build_dir: Path) -> None:
    rng = np.random.default_rng(3)
    samples = (rng.normal(size=(9, 16000)) * rng.uniform(1, 8000, (9, 1))).clip(-32768, 32767).astype(np.int16)
    data = Clips(samples, np.zeros(9, np.int64))
    scale = training_scale(config, data)
    front_end = HostFrontEnd(build_host_library(boards_dir, build_dir / "host"))
    device = features_of(data, DeviceFeatures(config, scale, front_end))
    torch_s = features_of(data, TorchFeatures(config, scale))
    assert device.shape == (9, config.frames, config.coefficients, 1) and device.dtype == torch.float32
    steps = (device - torch_s).abs() / scale.scale
    assert steps.max() <= 1.01 and (steps > 0.5).float().mean() < 0.03
    assert device.std() > 10 * scale.scale
