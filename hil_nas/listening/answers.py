"""A stream of audio to a stream of a network's answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from hil_nas.deploy.front_end_metadata import read_front_end
from hil_nas.deploy.host_engine import HostEngine
from hil_nas.deploy.lower import lower
from hil_nas.deploy.tflite import read_tflite
from hil_nas.errors import InputError
from hil_nas.front_ends import ClipFormat, FrontEnd
from hil_nas.front_ends.host import HostFrontEnd

Int8 = NDArray[np.int8]
Int16 = NDArray[np.int16]


class SlidingWindows:
    """A network that hears the last clip of audio anew in every period: the answer of a clip, to the bit.

    The front end makes new frames only. Frames of one window are those of any other that holds them, for a frame is
    computed by itself.

    Args:
        model: a .tflite with a front end in its metadata.
        period_samples: a whole number of the front end's hops, at most a clip.

    Raises:
        InputError: for a model without a front end, or another period.
    """

    def __init__(self, model: bytes, period_samples: int, front_end: HostFrontEnd, engine_library: Path) -> None:
        config = read_front_end(model)
        if config is None:
            raise InputError("the model names no front end, so it cannot listen")
        self.period_samples = period_samples
        self._step = whole_hops(config, period_samples)
        self._plan = lower(read_tflite(model))
        self._engine = HostEngine(engine_library, self._plan)
        self._front_end, self._config = front_end, config
        self._piece = config.window_samples + (self._step - 1) * config.hop_samples  # the audio of a period's frames
        clip = ClipFormat(config.clip.sample_rate_hz, self._piece)
        scale = self._plan.input_scale, self._plan.input_zero_point
        self._blob = replace(config, clip=clip).blob(*scale)
        self.restart()

    @property
    def first_samples(self) -> int:
        periods = -(-self._config.frames // self._step)
        return self._piece + (periods - 1) * self.period_samples

    @property
    def output(self) -> tuple[float, int]:
        """Scale and zero point of the answers."""
        return self._plan.output_scale, self._plan.output_zero_point

    def restart(self) -> None:
        self._audio = np.zeros(0, np.int16)
        self._frames = np.zeros((0, self._config.columns), np.int8)
        self._unused = -self._config.frames % self._step  # frames before the first window's

    def next(self, samples: Int16) -> Int8:
        self._hear(samples)
        size = self._config.frames
        count = max(0, 1 + (len(self._frames) - size) // self._step)
        if not count:
            return np.zeros((0, self._plan.output_bytes), np.int8)
        windows = sliding_window_view(self._frames, size, axis=0)[:: self._step]  # (count, columns, frames)
        answers = self._engine.run(windows.transpose(0, 2, 1))
        self._frames = self._frames[count * self._step :]
        return answers

    def _hear(self, samples: Int16) -> None:
        """Makes frames of all whole periods."""
        audio = np.concatenate([self._audio, samples])
        periods = max(0, 1 + (len(audio) - self._piece) // self.period_samples)
        self._audio = audio[periods * self.period_samples :]
        if periods:
            pieces = sliding_window_view(audio, self._piece)[:: self.period_samples]
            frames = self._front_end.features(self._blob, pieces).reshape(-1, self._config.columns)
            unused = min(self._unused, len(frames))
            self._unused -= unused
            self._frames = np.concatenate([self._frames, frames[unused:]])


def whole_hops(config: FrontEnd, period_samples: int) -> int:
    """A period in hops of a front end.

    Raises:
        InputError: for one that is no whole number of hops, or longer than a clip's frames.
    """
    hops, rest = divmod(period_samples, config.hop_samples)
    if rest or not 1 <= hops <= config.frames:
        raise InputError(
            f"a period of {period_samples} samples is no whole number of 1 to {config.frames} hops of {config}, "
            f"{config.hop_samples} samples each"
        )
    return hops
