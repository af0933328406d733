"""MFCC configurations: what the front end computes, as a frozen description."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hil_nas.errors import InputError

SAMPLE_RATE_HZ = 16_000
CLIP_SAMPLES = 16_000  # every clip is one second


@dataclass(frozen=True, order=True)
class MfccConfig:
    """Window and hop in samples at 16 kHz, mel bins, cepstral coefficients kept.

    Raises:
        InputError: for a value that no front end has.
    """

    window_samples: int
    hop_samples: int
    mel_bins: int
    coefficients: int

    def __post_init__(self) -> None:
        if not 64 <= self.window_samples <= 2048:
            raise InputError(f"a window of {self.window_samples} samples is not in 64 to 2048")
        if not 16 <= self.hop_samples <= CLIP_SAMPLES:
            raise InputError(f"a hop of {self.hop_samples} samples is not in 16 to {CLIP_SAMPLES}")
        if not 4 <= self.mel_bins <= 128:
            raise InputError(f"{self.mel_bins} mel bins are not in 4 to 128")
        if not 1 <= self.coefficients <= self.mel_bins:
            raise InputError(f"{self.coefficients} coefficients are not in 1 to {self.mel_bins} (mel bins)")

    @property
    def fft_size(self) -> int:
        """The smallest power of two that holds the window, at least 128."""
        return max(128, 1 << (self.window_samples - 1).bit_length())

    @property
    def frames(self) -> int:
        """Frames of one clip, with no centre padding."""
        return 1 + (CLIP_SAMPLES - self.window_samples) // self.hop_samples

    @property
    def transform(self) -> tuple[int, int, int]:
        """All but the number of coefficients: one transform gives any number of them."""
        return (self.window_samples, self.hop_samples, self.mel_bins)

    def __str__(self) -> str:
        return f"{self.window_samples}/{self.hop_samples}/{self.mel_bins}/{self.coefficients}"

    @classmethod
    def parse(cls, text: str) -> MfccConfig:
        """`400/200/40/10` as a configuration.

        Raises:
            InputError: where the text is not four numbers or a number is out of range.
        """
        parts = text.split("/")
        if len(parts) != 4 or not all(re.fullmatch(r"\s*[0-9]{1,9}\s*", x) for x in parts):
            raise InputError(
                f"'{text}' is not an MFCC configuration", hint="write window/hop/mel/coefficients, like 400/200/40/40"
            )
        return cls(*(int(x) for x in parts))


def paper_grid(coefficients: int = 40) -> tuple[MfccConfig, ...]:
    """The eight configurations of arXiv 2507.15545: window 400 and 640, two hops each, 40 and 80 mel bins."""
    return tuple(
        MfccConfig(window, hop, mel, coefficients)
        for window, hops in ((400, (100, 200)), (640, (160, 320)))
        for hop in hops
        for mel in (40, 80)
    )


def search_grid() -> tuple[MfccConfig, ...]:
    """The paper's eight with 40, 20 and 13 coefficients: fewer cost less, in the front end and in what reads them."""
    return tuple(x for coefficients in (40, 20, 13) for x in paper_grid(coefficients))


def transforms(configs: Sequence[MfccConfig]) -> tuple[MfccConfig, ...]:
    """The configurations without those whose coefficients are the first of another's, in their order.

    A discrete cosine transform gives each coefficient by itself, so that fewer are a part of more.
    """
    most: dict[tuple[int, int, int], MfccConfig] = {}
    for config in configs:
        most[config.transform] = max(most.get(config.transform, config), config, key=lambda x: x.coefficients)
    return tuple(most.values())
