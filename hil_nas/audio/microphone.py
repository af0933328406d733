"""The microphone of this machine, where there is one and `sounddevice` is installed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hil_nas.audio.decode import Samples
from hil_nas.errors import InputError


def microphone_blocks(sample_rate_hz: int, block_samples: int) -> Iterator[Samples]:
    """Blocks (block_samples,) of int16 mono as they come, without end.

    Raises:
        ModuleNotFoundError: where sounddevice is not installed.
        InputError: where the machine has no microphone, or none at this rate.
    """
    import sounddevice

    try:
        with sounddevice.RawInputStream(sample_rate_hz, block_samples, channels=1, dtype="int16") as stream:
            while True:
                data, _ = stream.read(block_samples)
                yield np.frombuffer(data, np.int16)
    except (sounddevice.PortAudioError, OSError) as error:
        raise InputError(f"the microphone cannot be used: {error}", hint="name recordings instead") from None
