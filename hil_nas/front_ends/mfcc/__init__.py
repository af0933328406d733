"""Mel-frequency cepstral coefficients."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, ClassVar

from hil_nas.errors import InputError
from hil_nas.front_ends.base import Counts, FrontEnd
from hil_nas.front_ends.mel import HEADER as MEL_HEADER
from hil_nas.front_ends.mel import LOG_ONE, MelFrontEnd, usual_fft_size
from hil_nas.front_ends.mfcc.tables import ROWS, dct_tables
from hil_nas.front_ends.packing import Tables

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor, nn

HEADER = struct.Struct(f"{MEL_HEADER.format} I 12x")
"""struct mfcc_header of boards/src/front_ends/mfcc.c, behind the common one."""


@dataclass(frozen=True)
class Mfcc(MelFrontEnd):
    """Window, hop, mel bins, cepstral coefficients kept.

    Raises:
        InputError: for a value that no front end has.
    """

    coefficients: int

    kind: ClassVar[str] = "mfcc"
    number: ClassVar[int] = 1
    numbers: ClassVar[str] = "window/hop/mel/coefficients[/FFT points]"
    title: ClassVar[str] = "mel-frequency cepstral coefficients"
    stages: ClassVar[dict[str, str]] = {**MelFrontEnd.stages, "dct": "cosine transform, to int8"}
    counted: ClassVar[dict[str, str]] = {
        **MelFrontEnd.counted,
        "folded_by_2": "mel bins folded about the middle: turns of the loop by 2",
        "folded_singly": "mel bins folded about the middle, the last one",
        "row_blocks": "blocks of 4 rows of the cosine transform",
        "row_words": "blocks of 4 rows: turns of the loop of 8 multiply-accumulates",
        "features": "features quantised",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.coefficients <= self.mel_bins:
            raise InputError(f"{self.coefficients} coefficients are not in 1 to {self.mel_bins} (mel bins)")

    @property
    def columns(self) -> int:
        return self.coefficients

    @property
    def transform(self) -> Mfcc:
        """A discrete cosine transform gives each coefficient by itself, so that fewer are a part of more."""
        return self.with_columns(self.mel_bins)

    def with_columns(self, columns: int) -> Mfcc:
        return replace(self, coefficients=columns)

    def tables(self) -> Tables:
        mel = super().tables()
        cosines, unit = dct_tables(self.coefficients, self.mel_bins, 2 * self.largest_logarithm())
        return Tables(HEADER, mel.numbers, [*mel.tables, cosines.astype("<i2").tobytes()], unit * LOG_ONE / math.log(2))

    def own_work(self) -> dict[str, Counts]:
        half, blocks, words = self.mel_bins // 2, self._row_blocks(), self._row_words()
        counts: Counts = {
            "folded_by_2": half // 2,
            "folded_singly": half % 2 + self.mel_bins % 2,
            "row_blocks": blocks,
            "row_words": blocks * words,
            "features": self.coefficients,
        }
        return {"dct": counts}

    def own_tables(self) -> dict[str, int]:
        return {"dct": 4 * ROWS * self._row_blocks() * self._row_words()}

    def _row_blocks(self) -> int:
        return -(-((self.coefficients + 1) // 2) // ROWS) - (-(self.coefficients // 2) // ROWS)

    def _row_words(self) -> int:
        return ((self.mel_bins + 1) // 2 + 1) // 2

    def module(self) -> nn.Module:
        from hil_nas.front_ends.mfcc.module import MfccModule

        return MfccModule(self)

    def continuous(self) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        from hil_nas.front_ends.mfcc.continuous import continuous_mfcc

        return lambda waveform, window, hop: continuous_mfcc(waveform, window, hop, self)

    @classmethod
    def to_measure(cls) -> tuple[FrontEnd, ...]:
        """Every FFT size with windows that fill it, that do not and that are wrapped, few and many coefficients, mel
        bins of every rest, and what a search offers."""
        windows = ((128, 128), (240, 80), (256, 160), (320, 200), (400, 160), (512, 256), (700, 120), (1024, 500))
        around = _crossed(windows, ((20, 13), (40, 10), (60, 60)))
        longer = _crossed(((1200, 400), (2048, 1000), (1999, 640)), ((40, 20), (80, 80)))
        rests = _crossed(((415, 101), (607, 101)), ((23, 13), (26, 26), (49, 49), (60, 20), (79, 30), (126, 126)))
        windows = ((200, 100), (335, 101), (400, 200), (480, 320), (512, 200), (799, 101), (1025, 400), (2000, 500))
        wrapped = [replace(x, fft_points=x.fft_size // 2) for x in _crossed(windows, ((24, 13), (51, 30)))]
        return tuple(dict.fromkeys([*search_grid(), *around, *longer, *rests, *wrapped]))

    @classmethod
    def drawn(cls, rng: Generator) -> Mfcc:
        window, mel = int(rng.integers(360, 801)), int(rng.integers(20, 81))
        half = usual_fft_size(window) // 2 if rng.integers(2) else None
        return cls(window, int(rng.integers(100, 401)), mel, int(rng.integers(8, mel + 1)), fft_points=half)


def paper_grid(coefficients: int = 40) -> tuple[Mfcc, ...]:
    """The eight configurations of arXiv 2507.15545: window 400 and 640, two hops each, 40 and 80 mel bins."""
    return tuple(
        Mfcc(window, hop, mel, coefficients)
        for window, hops in ((400, (100, 200)), (640, (160, 320)))
        for hop in hops
        for mel in (40, 80)
    )


def search_grid() -> tuple[Mfcc, ...]:
    """The paper's eight with 40, 20 and 13 coefficients: fewer cost less, in the front end and in what reads them. Then
    cheaper ones, of 24 mel bins, for which half an FFT will do, to fewer frames than any of the paper's: at 8 ms they
    leave a network up to twice as many cycles."""
    cheaper = tuple(
        Mfcc(window, hop, 24, coefficients, fft_points=256)
        for window, hop, columns in ((400, 200, (20, 13)), (480, 320, (20, 13)), (480, 480, (13,)), (480, 640, (13,)))
        for coefficients in columns
    )
    return (*(x for coefficients in (40, 20, 13) for x in paper_grid(coefficients)), *cheaper)


def clip_grid() -> tuple[Mfcc, ...]:
    """Those of `search_grid` among which chains for whole clips are searched: 40 mel bins at most, hops of 200 samples
    at least.

    Hops of 100 and 160 cost most, and what they hear is thinned out by an alignment before any network hears it. Four
    random regular chains of each at 39.8 ms, ten epochs, had on 400/100, 640/160, 400/200 and 640/320 (40 mel bins, 20
    coefficients) losses of 0.449, 0.434, 0.299 and 0.345 in the mean. On 80 mel bins at 400/200 and 640/320 they had
    0.384 and 0.346. The fewer share a supernet, the more it learns of each.
    """
    return tuple(x for x in search_grid() if x.mel_bins <= 40 and x.hop_samples >= 200)


def _crossed(windows: Sequence[tuple[int, int]], cepstra: Sequence[tuple[int, int]]) -> list[Mfcc]:
    return [Mfcc(*window, *cepstrum) for window, cepstrum in product(windows, cepstra)]
