"""Audio and configurations for the front end's tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.fft
import scipy.signal
from numpy.typing import NDArray

from hil_nas.front_ends import ONE_SECOND, paper_grid
from hil_nas.front_ends.log_mel import LogMel
from hil_nas.front_ends.mel import MelFrontEnd
from hil_nas.front_ends.mfcc import Mfcc

ODD_CONFIGS = (
    Mfcc(480, 160, 40, 13),
    Mfcc(400, 160, 23, 12),  # an odd number of filters: nothing folds
    Mfcc(101, 997, 8, 8),  # an odd window and hop
    Mfcc(256, 256, 64, 64),  # folds down to one
    Mfcc(2048, 1024, 128, 128),
)
LOG_MEL = (
    LogMel(400, 200, 40),
    LogMel(640, 160, 80),
    LogMel(101, 997, 7),  # an odd number of everything
    LogMel(256, 333, 128),
)
CONFIGS: tuple[MelFrontEnd, ...] = (*paper_grid(), *ODD_CONFIGS, *LOG_MEL)
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
    """Speech where there is some, chirps, and hard cases."""
    return np.concatenate([speech(count), chirps(count), hard_clips()])


def rounding_steps(config: MelFrontEnd, hard: bool) -> float:
    """What float32's rounding may take of an int8 step. Between the lines of a full-scale square wave a bin holds a
    ten-millionth of its neighbour; a DCT spreads what is lost there over all coefficients, a log-mel shows it."""
    return 0.07 if hard and isinstance(config, LogMel) else 0.005


def htk_filters(config: MelFrontEnd, low_hz: float, high_hz: float) -> NDArray[np.float64]:
    """Triangular filters (mel_bins, bins), written from the definition as two lines through each centre."""

    def mel(hz: float) -> float:
        return 1127.0104803341 * float(np.log(1 + hz / 700))

    corners = 700 * (np.exp(np.linspace(mel(low_hz), mel(high_hz), config.mel_bins + 2) / 1127.0104803341) - 1)
    bins = np.linspace(0, config.clip.sample_rate_hz / 2, config.fft_size // 2 + 1)
    left, centre, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    return np.maximum(0, np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)))


def oracle(config: MelFrontEnd, clips: NDArray[np.int16]) -> NDArray[np.float64]:
    """Features in float64 by numpy's FFT and scipy's DCT and Hann window, (clips, frames, columns)."""
    frames = np.lib.stride_tricks.sliding_window_view(clips / 32768.0, config.window_samples, axis=1)
    window = scipy.signal.get_window("hann", config.window_samples, fftbins=True)
    spectrum = np.fft.rfft(frames[:, :: config.hop_samples] * window, config.fft_size)
    energies = np.abs(spectrum) ** 2 @ htk_filters(config, 20.0, config.clip.sample_rate_hz / 2).T
    logarithms = np.log(energies + 1e-6)
    if isinstance(config, LogMel):
        return logarithms
    return scipy.fft.dct(logarithms, norm="ortho", axis=-1)[..., : config.columns]
