"""Log-mel: the logarithms of mel energies themselves, an MFCC without its cosine transform."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, ClassVar

from hil_nas.front_ends.base import Counts
from hil_nas.front_ends.mel import MelFrontEnd

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import nn


@dataclass(frozen=True)
class LogMel(MelFrontEnd):
    """Window, hop, mel bins; every bin is a column.

    Raises:
        InputError: for a value that no front end has.
    """

    kind: ClassVar[str] = "logmel"
    number: ClassVar[int] = 2
    numbers: ClassVar[str] = "window/hop/mel[/FFT points]"
    title: ClassVar[str] = "logarithms of mel energies"
    stages: ClassVar[dict[str, str]] = {**MelFrontEnd.stages, "quantise": "logarithms to int8"}
    counted: ClassVar[dict[str, str]] = {**MelFrontEnd.counted, "features": "features quantised"}

    @property
    def columns(self) -> int:
        return self.mel_bins

    def with_columns(self, columns: int) -> LogMel:
        return replace(self, mel_bins=columns)

    def own_work(self) -> dict[str, Counts]:
        return {"quantise": {"features": self.mel_bins}}

    def module(self) -> nn.Module:
        from hil_nas.front_ends.mel_module import LogMelEnergies

        return LogMelEnergies(self)

    @classmethod
    def to_measure(cls) -> tuple[LogMel, ...]:
        """Every FFT size, windows that fill it and that do not, few and many mel bins."""
        windows = ((240, 80), (415, 101), (512, 256), (529, 101), (719, 101), (1200, 400), (2048, 1000))
        small = tuple(cls(128, 128, mel_bins) for mel_bins in (20, 60))
        return (*small, *(cls(*window, mel_bins) for window, mel_bins in product(windows, (20, 80))))

    @classmethod
    def drawn(cls, rng: Generator) -> LogMel:
        return cls(int(rng.integers(360, 801)), int(rng.integers(100, 401)), int(rng.integers(20, 81)))
