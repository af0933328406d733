"""What every front end is: a frozen description of how a clip of audio becomes int8 features, and what that costs.

No torch is imported before a training asks for it.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

from hil_nas.errors import InputError, UnsupportedError
from hil_nas.front_ends.packing import Tables, pack

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor, nn

Counts = dict[str, float]


@dataclass(frozen=True, order=True)
class ClipFormat:
    """What is recognised at a time: so many samples of mono audio at that rate.

    Raises:
        InputError: for a rate or a length that no clip has.
    """

    sample_rate_hz: int = 16_000
    samples: int = 16_000

    def __post_init__(self) -> None:
        if not 1_000 <= self.sample_rate_hz <= 192_000:
            raise InputError(f"a sample rate of {self.sample_rate_hz} Hz is not in 1000 to 192000")
        if not 64 <= self.samples <= 1 << 24:
            raise InputError(f"a clip of {self.samples} samples is not in 64 to {1 << 24}")

    def __str__(self) -> str:
        return f"{self.samples:,} samples at {self.sample_rate_hz:,} Hz"


ONE_SECOND = ClipFormat()
"""What is recognised where nobody says otherwise, as in Speech Commands and MLPerf Tiny."""


@dataclass(frozen=True)
class FrontEnd(ABC):
    """Window and hop in samples; a kind adds numbers of its own, whole and above 0, in the order that names them.

    Attributes:
        clip: the audio that one run of it hears.

    Raises:
        InputError: for a value that no front end has.
    """

    window_samples: int
    hop_samples: int
    clip: ClipFormat = field(default=ONE_SECOND, kw_only=True)

    kind: ClassVar[str]
    """What its name begins with."""
    number: ClassVar[int]
    """What boards/include/front_end.h calls it."""
    numbers: ClassVar[str]
    """Its numbers, as a person is told to write them: `window/hop/...`; in brackets what may be left out."""
    optional: ClassVar[str | None] = None
    """The field of the number in brackets; None where it has the usual value and is left out."""
    title: ClassVar[str]
    """What it computes, for people."""
    stages: ClassVar[dict[str, str]]
    """What it does one after the other, as the C source names it, in words; a name is the same code everywhere."""
    counted: ClassVar[dict[str, str]]
    """What the entries of `work` count, in words."""

    def __post_init__(self) -> None:
        longest = min(2048, self.clip.samples)
        if not 64 <= self.window_samples <= longest:
            raise InputError(f"a window of {self.window_samples} samples is not in 64 to {longest}")
        if not 16 <= self.hop_samples <= self.clip.samples:
            raise InputError(f"a hop of {self.hop_samples} samples is not in 16 to {self.clip.samples}")

    @property
    @abstractmethod
    def columns(self) -> int:
        """Features of a frame."""

    @property
    @abstractmethod
    def fft_size(self) -> int:
        """Points of its transform."""

    @property
    def frames(self) -> int:
        """Frames of one clip, with no centre padding."""
        return self.frames_in(self.clip.samples)

    def frames_in(self, samples: int) -> int:
        """Frames that so many samples hold."""
        return max(0, 1 + (samples - self.window_samples) // self.hop_samples)

    def steps_by(self, period_samples: int) -> bool:
        """Whether so many samples from one decision of a stream to the next are whole hops, and no more frames than a
        clip has."""
        return period_samples % self.hop_samples == 0 and 1 <= period_samples // self.hop_samples <= self.frames

    @property
    def shape(self) -> tuple[int, int]:
        """(frames, columns) of one clip."""
        return (self.frames, self.columns)

    @property
    def output_bytes(self) -> int:
        """int8 features of one clip."""
        return self.frames * self.columns

    @property
    def transform(self) -> FrontEnd:
        """The front end whose first columns are this one's features: itself, or one with more columns."""
        return self

    @abstractmethod
    def with_columns(self, columns: int) -> Self:
        """The same with so many features a frame."""

    @abstractmethod
    def tables(self) -> Tables:
        """What the C source reads beside shape and scale."""

    def blob(self, scale: float, zero_point: int) -> bytes:
        """All that the C source reads, with int8 = round(feature / scale) + zero_point.

        Raises:
            InputError: for a scale or zero point that int8 does not have.
        """
        shape = (self.number, self.clip.sample_rate_hz, self.clip.samples, self.window_samples, self.hop_samples)
        return pack((*shape, self.columns), scale, zero_point, self.tables())

    @property
    @abstractmethod
    def scratch_bytes(self) -> int:
        """RAM that the C source works in, beside audio, blob and features."""

    @abstractmethod
    def work(self) -> dict[str, Counts]:
        """How often each loop of the C source turns for one clip, by stage; cycles are a linear function of these."""

    @abstractmethod
    def module(self) -> nn.Module:
        """In torch, without parameters: int16 or float [-1, 1) (..., samples) to float (..., frames, columns).

        Its `forward` takes a second argument `shared`, a dict in which front ends of the same waveform leave what
        others can use.
        """

    def continuous(self) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """Features of waveforms (clips, samples) as a differentiable function of window and hop, real numbers.

        Raises:
            UnsupportedError: where the kind has none.
        """
        raise UnsupportedError(f"{self.kind} has no gradient of window and hop", hint="name configurations instead")

    @classmethod
    @abstractmethod
    def to_measure(cls) -> tuple[FrontEnd, ...]:
        """What is measured on a board to learn what any front end of this kind costs there."""

    @classmethod
    @abstractmethod
    def drawn(cls, rng: Generator) -> FrontEnd:
        """One between those of `to_measure`, to see how well its cost is known."""

    @property
    def values(self) -> tuple[int, ...]:
        """Its numbers, in the order of its name, without the one that may be left out."""
        return tuple(getattr(self, x.name) for x in fields(self) if not x.kw_only)

    def __str__(self) -> str:
        clip = "" if self.clip == ONE_SECOND else f"@{self.clip.sample_rate_hz}/{self.clip.samples}"
        last = getattr(self, self.optional) if self.optional else None
        return f"{self.kind}:{'/'.join(map(str, self.values))}{'' if last is None else f'/{last}'}{clip}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Its name without the kind, such as `400/200/40/13`; `@8000/8000` behind it are sample rate and samples.

        Raises:
            InputError: where the text is not that, or a number is out of range.
        """
        numbers, at, clip = text.partition("@")
        count = cls.numbers.partition("[")[0].count("/") + 1
        values = _whole(numbers, count, count + (cls.optional is not None))
        form = _whole(clip, 2, 2) if at else ()
        if values is None or form is None:
            message = f"'{text}' is no front end of the kind {cls.kind}"
            raise InputError(message, hint=f"write {cls.kind}:{cls.numbers}, whole numbers")
        build: Any = cls
        last = {} if cls.optional is None or len(values) == count else {cls.optional: values[-1]}
        front_end: Self = build(*values[:count], clip=ClipFormat(*form), **last)
        return front_end


def _whole(text: str, least: int, most: int) -> tuple[int, ...] | None:
    """So many whole numbers between slashes; None for anything else."""
    parts = text.split("/")
    if not least <= len(parts) <= most or not all(re.fullmatch(r"\s*[0-9]{1,9}\s*", x) for x in parts):
        return None
    return tuple(map(int, parts))
