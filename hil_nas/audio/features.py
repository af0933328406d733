"""Waveforms to the features a network is trained on, which have been through the device's int8.

Two ways with one result within half a step: torch, batched, for most of a training; and the device's C source, for
its last epochs and for every accuracy that is reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from hil_nas.audio.augment import Augmentation, augment_waveforms
from hil_nas.audio.clips import Clips
from hil_nas.audio.decode import Samples
from hil_nas.front_ends import FrontEnd
from hil_nas.front_ends.bank import FrontEndBank
from hil_nas.front_ends.host import HostFrontEnd
from hil_nas.front_ends.scale import FeatureScale, measure_scale
from hil_nas.progress import Progress, Reporter, silent

CPU = torch.device("cpu")
_FULL_SCALE = 32768.0
_BATCH = 200
_WORKERS = 2  # the C source leaves the interpreter's lock


class Features(Protocol):
    """Waveforms (n, samples), full scale 1, to float features (n, frames, columns, 1) on the int8 grid."""

    def __call__(self, waveforms: Tensor) -> Tensor: ...


class TorchFeatures:
    """Torch's front end, rounded to the int8 grid; computed and left at `device`.

    Waveforms are rounded to int16 first: of a clip 40 dB below the recorded ones that is much of what is left.
    """

    def __init__(self, config: FrontEnd, scale: FeatureScale, device: torch.device = CPU) -> None:
        self.module, self.scale, self.device = config.module().to(device), scale, device

    @torch.no_grad()
    def __call__(self, waveforms: Tensor) -> Tensor:
        return to_grid(self.module(to_int16(waveforms.to(self.device))), self.scale).unsqueeze(-1)


class DeviceFeatures:
    """The device's C source on this machine's processor, the features left where the waveforms were.

    Waveforms are rounded to int16 first, as a microphone gives them.
    """

    def __init__(self, config: FrontEnd, scale: FeatureScale, front_end: HostFrontEnd) -> None:
        self.blob = config.blob(scale.scale, scale.zero_point)
        self.scale, self.front_end = scale, front_end

    @torch.no_grad()
    def __call__(self, waveforms: Tensor) -> Tensor:
        features = self.scale.real(self.quantised(to_int16(waveforms).cpu().numpy()))
        return torch.from_numpy(features).unsqueeze(-1).to(waveforms.device)

    def quantised(self, clips: Samples) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
        """int16 clips (n, samples) to int8 (n, frames, columns), on two threads."""
        parts = np.array_split(clips, _WORKERS) if len(clips) >= _WORKERS else [clips]
        with ThreadPoolExecutor(_WORKERS) as workers:
            return np.concatenate(list(workers.map(lambda x: self.front_end.features(self.blob, x), parts)))


def to_grid(features: Tensor, scale: FeatureScale) -> Tensor:
    """Float features as the values that int8 can hold."""
    rounded = torch.floor(features / scale.scale + 0.5)  # halves upwards, as the C source; torch.round goes to even
    return (rounded.clamp_(-128 - scale.zero_point, 127 - scale.zero_point)).mul_(scale.scale)


def to_waveforms(samples: Samples) -> Tensor:
    """int16 (n, samples) as float32 of full scale 1."""
    return torch.from_numpy(samples).float().div_(_FULL_SCALE)


def to_int16(waveforms: Tensor) -> Tensor:
    """The inverse of `to_waveforms`, rounded."""
    return (waveforms * _FULL_SCALE).round_().clamp_(-_FULL_SCALE, _FULL_SCALE - 1).to(torch.int16)


def features_of(clips: Clips, extract: Features) -> Tensor:
    """The features of all clips, (n, frames, columns, 1)."""
    batches = np.array_split(clips.samples, max(1, -(-len(clips) // _BATCH)))
    return torch.cat([extract(to_waveforms(x)) for x in batches])


def augmented_features(
    clips: Clips,
    background: Samples,
    configs: Sequence[FrontEnd],
    augmentation: Augmentation,
    seed: int,
    progress: Reporter = silent,
) -> list[Tensor]:
    """Every clip augmented once, under every configuration: (n, frames, columns) each."""
    bank, parts, rate_hz = FrontEndBank(configs), [], configs[0].clip.sample_rate_hz
    for batch in _augmented(clips, background, augmentation, seed, rate_hz, "features of all front ends", progress):
        with torch.no_grad():
            parts.append(bank(batch))
    return [torch.cat(x) for x in zip(*parts, strict=True)]


def augmented_samples(
    clips: Clips, background: Samples, augmentation: Augmentation, seed: int, sample_rate_hz: int,
    progress: Reporter = silent,
) -> Tensor:  # fmt: skip
    """Every clip augmented once: int16 (n, samples)."""
    batches = _augmented(clips, background, augmentation, seed, sample_rate_hz, "augmented clips", progress)
    return torch.cat([to_int16(x) for x in batches])


def _augmented(
    clips: Clips,
    background: Samples,
    augmentation: Augmentation,
    seed: int,
    sample_rate_hz: int,
    task: str,
    progress: Reporter,
) -> Iterator[Tensor]:
    """Batches of augmented waveforms, full scale 1."""
    generator, noise, done = torch.Generator().manual_seed(seed), to_waveforms(background), 0
    for batch in np.array_split(clips.samples, max(1, -(-len(clips) // _BATCH))):
        yield augment_waveforms(to_waveforms(batch), noise, augmentation, generator, sample_rate_hz)
        done += len(batch)
        progress(Progress(task, done, len(clips)))


def labels_of(clips: Clips) -> Tensor:
    """int64 (n,)."""
    return torch.from_numpy(clips.labels)


def training_scale(config: FrontEnd, clips: Clips, *, most: int = 2000) -> FeatureScale:
    """The scale for a configuration, measured on up to `most` training clips evenly chosen.

    Raises:
        InputError: where all clips are silent.
    """
    chosen = np.linspace(0, len(clips) - 1, min(most, len(clips))).astype(np.int64)
    module = config.module()
    with torch.no_grad():
        values = [module(to_waveforms(x)) for x in np.array_split(clips.samples[chosen], max(1, len(chosen) // _BATCH))]
    return measure_scale(torch.cat(values).numpy())
