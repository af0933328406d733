"""Audio and configurations for the front end's tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from hil_nas.front_ends import ONE_SECOND, paper_grid
from hil_nas.front_ends.log_mel import LogMel
from hil_nas.front_ends.mel import MelFrontEnd
from hil_nas.front_ends.mfcc import Mfcc

ODD_CONFIGS = (
    Mfcc(480, 160, 40, 13),
    Mfcc(400, 160, 23, 12),  # an odd number of filters: nothing folds
    Mfcc(101, 997, 8, 8),  # an odd window and hop
    Mfcc(256, 256, 64, 64),  # more filters than bins in the low ones
    Mfcc(2048, 1024, 128, 128),
)
WRAPPED = (
    Mfcc(400, 200, 24, 13, fft_points=256),
    Mfcc(480, 320, 24, 12, fft_points=256),
    Mfcc(512, 300, 40, 13, fft_points=256),  # every sample has another to go with
    Mfcc(257, 301, 23, 5, fft_points=256),  # one sample has
    Mfcc(1111, 900, 51, 51, fft_points=1024),
    Mfcc(2047, 1500, 20, 9, fft_points=1024),
    Mfcc(131, 160, 9, 9, fft_points=128),
    LogMel(400, 200, 24, fft_points=256),
    LogMel(639, 501, 33, fft_points=512),
)
LOG_MEL = (
    LogMel(400, 200, 40),
    LogMel(640, 160, 80),
    LogMel(101, 997, 7),  # an odd number of everything
    LogMel(256, 333, 126),  # a bin for each
)
CONFIGS: tuple[MelFrontEnd, ...] = (*paper_grid(), *ODD_CONFIGS, *WRAPPED, *LOG_MEL)
HARD_CLIPS = 6
SPEECH = Path(__file__).resolve().parents[2] / "shared" / "data" / "speech_commands"


def hard_clips() -> NDArray[np.int16]:
    """Silence, full scale, impulses, one quiet and one loud half: int16 (clips, 16000)."""
    t = np.arange(ONE_SECOND.samples)
    impulses = np.where(t % 1000 == 3, 32767, 0)
    square = np.where(t // 40 % 2 == 0, 32767, -32768)
    half = np.where(t < 8000, np.sin(t) * 32767, t % 2)
    clips = [np.zeros(ONE_SECOND.samples), square, impulses, np.full(ONE_SECOND.samples, -32768), half, t % 2]
    return np.stack(clips).astype(np.int16)


def chirps(count: int, seed: int = 0) -> NDArray[np.int16]:
    """Decaying chirps in noise, some loud and some soft: int16 (count, 16000)."""
    rng = np.random.default_rng(seed)
    t = np.arange(ONE_SECOND.samples) / ONE_SECOND.sample_rate_hz
    low, high = rng.uniform(50, 500, (count, 1)), rng.uniform(800, 7500, (count, 1))
    level = 10 ** rng.uniform(1.0, 4.4, (count, 1))
    sound = np.sin(2 * np.pi * (low * t + (high - low) * t * t / 2)) * np.exp(-3 * t)
    noise = rng.normal(0, 0.05, (count, ONE_SECOND.samples))
    return np.clip(level * (sound + noise), -32768, 32767).astype(np.int16)


def speech(count: int) -> NDArray[np.int16]:
    """Clips of Speech Commands, (0, 16000) where they or soundfile are missing."""
    files = sorted(SPEECH.glob("[a-z]*/*.flac"))
    if not files:
        return np.zeros((0, ONE_SECOND.samples), np.int16)
    import soundfile

    clips = np.zeros((count, ONE_SECOND.samples), np.int16)
    for clip, path in zip(clips, files[:: max(1, len(files) // count)], strict=False):
        sound = soundfile.read(path, dtype="int16")[0][:ONE_SECOND.samples]
        clip[: len(sound)] = sound
    return clips


def mixed_clips(count: int) -> NDArray[np.int16]:
    """Speech where there is some, also at -40 and -60 dB, chirps, tones and noise at several levels, and hard cases."""
    loud = speech(count)
    quiet = [np.round(loud / x).astype(np.int16) for x in (100, 1000)]
    return np.concatenate([loud, *quiet, chirps(count), tones_and_noise(), hard_clips()])


def tones_and_noise(seed: int = 0) -> NDArray[np.int16]:
    """int16 (15, 16000)."""
    rng, t = np.random.default_rng(seed), np.arange(ONE_SECOND.samples) / ONE_SECOND.sample_rate_hz
    levels = (32767, 3000, 300, 30, 3)
    tones = [level * np.sin(2 * np.pi * hz * t) for level in levels for hz in (440, 7777)]
    noises = [rng.normal(0, level / 3, ONE_SECOND.samples) for level in levels]
    return np.clip(np.round(np.stack([*tones, *noises])), -32768, 32767).astype(np.int16)


def htk_filters(config: MelFrontEnd, low_hz: float, high_hz: float) -> NDArray[np.float64]:
    """Triangular filters (mel_bins, bins), written from the definition as two lines through each centre."""

    def mel(hz: float) -> float:
        return 1127.0104803341 * float(np.log(1 + hz / 700))

    corners = 700 * (np.exp(np.linspace(mel(low_hz), mel(high_hz), config.mel_bins + 2) / 1127.0104803341) - 1)
    bins = np.linspace(0, config.clip.sample_rate_hz / 2, config.fft_size // 2 + 1)
    if any(not np.any((bins > x) & (bins < y)) for x, y in zip(corners, corners[2:], strict=False)):
        for i in range(1, len(corners)):
            corners[i] = max(corners[i], corners[i - 1] + bins[1])
    left, centre, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    return np.maximum(0, np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)))


def mel_energies(config: MelFrontEnd, clips: NDArray[np.int16]) -> NDArray[np.float64]:
    """In float64 by numpy's FFT, (clips, frames, mel); of a window longer than the FFT by every second bin of an FFT of
    twice the length."""
    window = np.sin(np.pi * (np.arange(config.window_samples) + 0.5) / config.window_samples) ** 2
    skipped = 2 if config.window_samples > config.fft_size else 1
    spectrum = np.fft.rfft(_frames(config, clips / 32768.0) * window, config.fft_size * skipped)[..., ::skipped]
    energies: NDArray[np.float64] = np.abs(spectrum) ** 2 @ htk_filters(config, 20.0, config.clip.sample_rate_hz / 2).T
    return energies


def oracle(config: MelFrontEnd, clips: NDArray[np.int16]) -> NDArray[np.float64]:
    """Features in float64, by scipy's DCT where they are MFCC, (clips, frames, columns)."""
    logarithms = np.log(mel_energies(config, clips) + 1e-6)
    if isinstance(config, LogMel):
        return logarithms
    return scipy.fft.dct(logarithms, norm="ortho", axis=-1)[..., : config.columns]


def bounds(config: MelFrontEnd, clips: NDArray[np.int16]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What features may be, (clips, frames, columns) twice, where each bin of the FFT is off by up to 4 of its last
    digits and each logarithm by 0.001.

    The last digit is that of the loudest sample, shifted up to 16 bits and windowed, over the FFT's points.
    """
    peaks = np.abs(_frames(config, clips.astype(np.int64))).max(axis=-1, keepdims=True)
    shifts = np.clip(15 - np.ceil(np.log2(np.maximum(peaks, 1) + (peaks > 0) * 1e-9)), 0, 15)
    window_peak = min(22500, 32000 * config.fft_size // config.window_samples) / 32768
    digit = config.fft_size / 2 / window_peak / 32768 / 2.0**shifts / 2  # of full scale, in a sum over a frame
    noise = 4 * digit * np.sqrt(htk_filters(config, 20.0, config.clip.sample_rate_hz / 2).sum(axis=1))
    amplitudes = np.sqrt(mel_energies(config, clips))
    low = np.log(np.maximum(amplitudes - noise, 0) ** 2 + 1e-6) - 0.001
    high = np.log((amplitudes + noise) ** 2 + 1e-6) + 0.001
    if isinstance(config, LogMel):
        return low, high
    rows = scipy.fft.dct(np.eye(config.mel_bins), norm="ortho", axis=0)[: config.columns].T  # (mel, columns)
    up, down = np.maximum(rows, 0), np.minimum(rows, 0)
    return low @ up + high @ down, high @ up + low @ down


def _frames(config: MelFrontEnd, clips: NDArray[Any]) -> NDArray[Any]:
    windows = np.lib.stride_tricks.sliding_window_view(clips, config.window_samples, axis=1)
    return windows[:, :: config.hop_samples]
