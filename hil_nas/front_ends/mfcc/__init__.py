"""Mel-frequency cepstral coefficients."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, ClassVar

from hil_nas.errors import InputError
from hil_nas.front_ends.base import Counts, FrontEnd
from hil_nas.front_ends.mel import HEADER as MEL_HEADER
from hil_nas.front_ends.mel import MelFrontEnd
from hil_nas.front_ends.mfcc.tables import cosine_transform_work, dct_tables
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
    numbers: ClassVar[str] = "window/hop/mel/coefficients"
    title: ClassVar[str] = "mel-frequency cepstral coefficients"
    counted: ClassVar[dict[str, str]] = {
        **MelFrontEnd.counted,
        "folds": "halvings of the cosine transform",
        "folded_values": "values folded by a halving",
        "dct_products": "multiply-accumulates of the cosine matrix",
        "dct_rows": "rows of the cosine matrix",
        "joined_rows": "rows joined after the halves",
        "dct_flash_lines": "flash lines of the cosine factors, read anew",
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
        mel, cosines = super().tables(), dct_tables(self.coefficients, self.mel_bins)
        return Tables(HEADER, mel.numbers, [*mel.tables, cosines.astype("<f4").tobytes()])

    def own_work(self) -> Counts:
        return cosine_transform_work(self.mel_bins, self.coefficients)

    def module(self) -> nn.Module:
        from hil_nas.front_ends.mfcc.module import MfccModule

        return MfccModule(self)

    def continuous(self) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        from hil_nas.front_ends.mfcc.continuous import continuous_mfcc

        return lambda waveform, window, hop: continuous_mfcc(waveform, window, hop, self)

    @classmethod
    def to_measure(cls) -> tuple[FrontEnd, ...]:
        """The paper's grid, and around it every FFT size, few and many coefficients, mel bins of every parity."""
        few = [x.with_columns(y) for y in (10, 13) for x in paper_grid()]
        most = [x.transform for x in paper_grid() if x.mel_bins == 80]
        windows = ((128, 128), (240, 80), (256, 160), (320, 200), (512, 256), (1024, 500))
        around = _crossed(windows, ((20, 13), (40, 10), (64, 64)))
        longer = _crossed(((1200, 400), (2048, 1000)), ((40, 20), (80, 80)))
        # the DCT halves the mel bins while they are even; what is left decides how it goes on
        left = _crossed(((400, 160), (700, 120)), ((23, 13), (26, 26), (49, 49), (60, 20), (72, 40), (79, 30)))
        return tuple(dict.fromkeys([*paper_grid(), *few, *most, *around, *longer, *left]))

    @classmethod
    def drawn(cls, rng: Generator) -> Mfcc:
        window, mel = int(rng.integers(360, 801)), int(rng.integers(20, 81))
        return cls(window, int(rng.integers(100, 401)), mel, int(rng.integers(8, mel + 1)))


def paper_grid(coefficients: int = 40) -> tuple[Mfcc, ...]:
    """The eight configurations of arXiv 2507.15545: window 400 and 640, two hops each, 40 and 80 mel bins."""
    return tuple(
        Mfcc(window, hop, mel, coefficients)
        for window, hops in ((400, (100, 200)), (640, (160, 320)))
        for hop in hops
        for mel in (40, 80)
    )


def search_grid() -> tuple[Mfcc, ...]:
    """The paper's eight with 40, 20 and 13 coefficients: fewer cost less, in the front end and in what reads them."""
    return tuple(x for coefficients in (40, 20, 13) for x in paper_grid(coefficients))


def _crossed(windows: Sequence[tuple[int, int]], cepstra: Sequence[tuple[int, int]]) -> list[Mfcc]:
    return [Mfcc(*window, *cepstrum) for window, cepstrum in product(windows, cepstra)]
