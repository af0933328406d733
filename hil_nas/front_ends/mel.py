"""What front ends of mel bins have in common: window, power spectrum, triangular filters, logarithm, and their tables.

Conventions are torchaudio's with `mel_scale="htk"`, `norm=None` and `log_mels=True`: power spectrum, filters of height
1, ln(energy + 1e-6). Two things differ: the window, Hann's even about its middle, and filters that would hold no bin.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hil_nas.errors import InputError
from hil_nas.front_ends.base import Counts, FrontEnd
from hil_nas.front_ends.fft import fft_tables
from hil_nas.front_ends.packing import Tables

LOW_HZ = 20.0
"""Lowest frequency of the filters, as in Kaldi and TensorFlow's speech_commands: hum and DC offset lie below."""
LOG_FLOOR = 1e-6
"""Added to every mel energy before the logarithm, as torchaudio does."""
LOG_ONE = 512
"""1 in a logarithm to the base 2, as the C source hands them on: MEL_LOG_ONE."""
HEADER = struct.Struct("<3I i I 8x 5I")
"""struct mel_header of boards/src/front_ends/mel.h, behind the common one."""
FFT_SIZES = (128, 256, 512, 1024, 2048)
"""That the C source has; the highest frequency of the filters is Nyquist, where the last has reached 0."""
_WINDOW_PEAK, _SPECTRUM_PEAK = 22500, 32000  # what may go into the FFT, and into the sums behind it: mel_spectrum.c


@dataclass(frozen=True)
class MelFrontEnd(FrontEnd):
    """Window, hop and mel bins, and what the kind adds.

    Attributes:
        fft_points: None for the usual ones, the smallest power of two that holds the window, at least 128; else half of
            them: the window is then wrapped onto itself.

    Raises:
        InputError: for a value that no front end has.
    """

    mel_bins: int
    fft_points: int | None = field(default=None, kw_only=True)

    optional: ClassVar[str] = "fft_points"
    stages: ClassVar[dict[str, str]] = {
        "window": "level and window",
        "fft": "complex FFT",
        "spectrum": "power spectrum of real frames",
        "mel": "mel filters",
        "log": "logarithms",
    }
    counted: ClassVar[dict[str, str]] = {
        "groups": "groups of frames",
        "frames": "frames",
        "scanned_by_16": "samples whose level is looked for: turns of the loop by 16",
        "scanned_singly": "samples whose level is looked for, one by one",
        "weighed_by_8": "samples windowed: turns of the loop by 8",
        "weighed_by_2": "pairs of samples windowed in the middle",
        "wrapped_by_4": "samples wrapped: turns of the loop by 4",
        "wrapped_by_2": "pairs of samples wrapped in the middle",
        "cleared_by_8": "samples of zero padding, by 8",
        **{f"fft_{x}": f"complex FFTs of {x // 2} points" for x in FFT_SIZES},
        "bin_pairs": "pairs of bins of the power spectrum",
        "filters": "mel filters",
        "filtered_pairs": "pairs of bins in a filter",
        "filtered_singles": "last bins of filters with an odd number",
        "first_bins": "bins below the lowest centre",
        "logarithms": "logarithms",
        "table_sectors": "sectors of 8 bytes of tables, read anew from flash",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 4 <= self.mel_bins <= 128:
            raise InputError(f"{self.mel_bins} mel bins are not in 4 to 128")
        usual = usual_fft_size(self.window_samples)
        if self.fft_points == usual:
            object.__setattr__(self, "fft_points", None)  # one name for one front end
        if self.fft_points is not None and not (self.fft_points == usual // 2 >= FFT_SIZES[0]):
            halved = f" or {usual // 2}" if usual > FFT_SIZES[0] else ""
            raise InputError(
                f"an FFT of {self.fft_points} points for a window of {self.window_samples} samples",
                hint=f"{usual} points{halved} do for that window",
            )
        most = most_mel_bins(self.fft_size, self.clip.sample_rate_hz)
        if self.mel_bins > most:
            raise InputError(
                f"{self.mel_bins} mel bins are more than an FFT of {self.fft_size} points has bins for",
                hint=f"take {most} mel bins or fewer, or a longer window or FFT",
            )

    @property
    def fft_size(self) -> int:
        return self.fft_points or usual_fft_size(self.window_samples)

    @property
    def scratch_bytes(self) -> int:
        """Shifts of a group of frames, then a place for each and one more: a frame's samples, or its energies."""
        place = max(2 * self.fft_size, 8 * self.mel_bins)
        return 16 + (self.group_frames + 1) * (place + -place % 16)

    @property
    def group_frames(self) -> int:
        """Frames that the C source takes at a time, mel_group_frames()."""
        return 4 if self.fft_size <= 512 else 2

    def tables(self) -> Tables:
        starts, weights = self._slopes()
        tables = [
            self._half_window().astype("<i2").tobytes(),
            fft_tables(self.fft_size // 2).astype("<i2").tobytes(),
            spectrum_twiddles(self.fft_size).astype("<i2").tobytes(),
            np.diff(starts).astype("<u2").tobytes(),
            np.minimum(np.rint(weights * 65536), 65535).astype("<u2").tobytes(),
        ]
        # 24 bits of a floor, 16 of a logarithm: the C source says of what
        floor, log_unit = round(self._unit() * LOG_FLOOR * 2**8), round(self._log_unit() * 2**16)
        numbers = (self.fft_size, self.mel_bins, floor, log_unit, int(starts[0]))
        return Tables(HEADER, numbers, tables, 32768 * LOG_ONE / math.log(2))

    def work(self) -> dict[str, Counts]:
        window, fft_size, frames = self.window_samples, self.fft_size, self.frames
        groups, wrapped = -(-frames // self.group_frames), max(0, self.window_samples - self.fft_size)
        weighed = window - 2 * wrapped
        widths = np.diff(self._slopes()[0])
        per_frame: dict[str, Counts] = {
            "window": {
                "scanned_by_16": window // 16,
                "scanned_singly": window % 16,
                "weighed_by_8": weighed // 8,
                "weighed_by_2": (weighed % 8 + 1) // 2,
                "wrapped_by_4": wrapped // 4,
                "wrapped_by_2": (wrapped % 4 + 1) // 2,
                "cleared_by_8": max(0, fft_size - window) / 8,
            },
            "fft": {f"fft_{x}": int(fft_size == x) for x in FFT_SIZES},
            "spectrum": {"bin_pairs": fft_size // 4},
            "mel": {
                "filters": self.mel_bins,
                "filtered_pairs": int((widths[1:] // 2).sum()),
                "filtered_singles": int((widths[1:] % 2).sum()),
                "first_bins": int(widths[0]),
            },
            "log": {"logarithms": self.mel_bins},
            **self.own_work(),
        }
        tables = {"window": window // 2 * 2, "spectrum": fft_size, "mel": 2 * int(widths.sum()), **self.own_tables()}
        work = {}
        for stage, counts in per_frame.items():
            work[stage] = {"groups": float(groups), "frames": float(frames)}
            work[stage] |= {name: float(frames * count) for name, count in counts.items()}
            if stage in tables:
                work[stage]["table_sectors"] = float(sectors_read(tables[stage], frames, groups))
        return work

    def own_work(self) -> dict[str, Counts]:
        """What the kind does with the logarithms of a frame, by stage."""
        return {}

    def own_tables(self) -> dict[str, int]:
        """Bytes of the tables that it reads for that, by stage."""
        return {}

    def filters(self) -> NDArray[np.float64]:
        """(mel_bins, fft_size / 2 + 1), see `mel_filters`."""
        return mel_filters(self.fft_size, self.mel_bins, self.clip.sample_rate_hz)

    def _slopes(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        return mel_slopes(self.fft_size, self.mel_bins, self.clip.sample_rate_hz)

    def _window_peak(self) -> int:
        """As high as nothing behind it overflows, 2^15 being 1."""
        return min(_WINDOW_PEAK, _SPECTRUM_PEAK * self.fft_size // self.window_samples)

    def _half_window(self) -> NDArray[np.float64]:
        half = hann_window(self.window_samples)[: (self.window_samples + 1) // 2]
        return np.rint(half * self._window_peak())

    def _unit(self) -> float:
        """Full scale's 1 in units of the C source's energies: powers are 4 |X|^2 over the square of the FFT's complex
        points, and weights have 16 bits behind the binary point."""
        return 65536.0 * (2 * self._window_peak() / (self.fft_size // 2)) ** 2

    def _log_unit(self) -> float:
        return math.log2(self._unit())

    def largest_logarithm(self) -> int:
        """No logarithm in the C source is farther from 0: energies are below 2^48."""
        return math.ceil(LOG_ONE * max(48 - self._log_unit(), -math.log2(LOG_FLOOR))) + 1


def sectors_read(table_bytes: int, frames: int, groups: int) -> int:
    """Sectors of flash that a stage reads of a table: anew for each frame where the data cache of an STM32L4 (RM0432:
    eight lines of 32 bytes) does not hold the table and two lines of headers, else for each group of frames."""
    return -(-table_bytes // 8) * (frames if table_bytes > 6 * 32 else groups)


def usual_fft_size(window_samples: int) -> int:
    """The smallest power of two that holds the window, at least 128."""
    return max(FFT_SIZES[0], 1 << (window_samples - 1).bit_length())


def hann_window(samples: int) -> NDArray[np.float64]:
    """Hann's window, even about its middle (samples,): sin^2(pi (n + 1/2) / samples).

    It is the periodic window of Harris (Proc. IEEE 66, 1978), half a sample further: its spectrum has the same
    magnitude, and half a table serves both ends.
    """
    return np.sin(np.pi * (np.arange(samples) + 0.5) / samples) ** 2


def spectrum_twiddles(fft_size: int) -> NDArray[np.int16]:
    """What joins the spectra of even and odd samples, int16 (fft_size / 4, 2): -i exp(-2 pi i k / fft_size) of bins 1
    and up, re and im with 15 bits behind the binary point."""
    angles = 2 * np.pi * np.arange(1, fft_size // 4 + 1) / fft_size
    values = np.rint(np.stack([-np.sin(angles), -np.cos(angles)], -1) * 32768)
    twiddles: NDArray[np.int16] = np.clip(values, -32768, 32767).astype(np.int16)
    return twiddles


def hz_to_mel(hz: float) -> float:
    """HTK's mel scale: 2595 log10(1 + f / 700) (Young et al., The HTK Book, eq. 5.13)."""
    return 2595.0 * math.log10(1.0 + hz / 700.0)


def mel_points_hz(fft_size: int, mel_bins: int, sample_rate_hz: int) -> NDArray[np.float64]:
    """Corners of the filters in Hz (mel_bins + 2,); filter m spans corners m to m + 2.

    They are equidistant in mel. Where a filter would lie between two bins of the FFT and hear nothing, each corner is
    moved up to at least one bin above the one before: low filters are then as narrow as the FFT can tell.
    """
    high_hz, bin_hz = sample_rate_hz / 2, sample_rate_hz / fft_size
    mels = np.linspace(hz_to_mel(LOW_HZ), hz_to_mel(high_hz), mel_bins + 2)
    points = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    points[0], points[-1] = LOW_HZ, high_hz  # exact, so that the bin at Nyquist belongs to no filter
    inside = np.ceil(points[2:] / bin_hz) - np.floor(points[:-2] / bin_hz) - 1  # bins of each filter
    if inside.min() < 1:
        apart = np.arange(mel_bins + 2) * bin_hz
        points = np.maximum.accumulate(points - apart) + apart
    return points


def most_mel_bins(fft_size: int, sample_rate_hz: int) -> int:
    """So many filters of a bin each lie between `LOW_HZ` and Nyquist's frequency."""
    return fft_size // 2 - math.ceil(LOW_HZ * fft_size / sample_rate_hz) - 1


@lru_cache(maxsize=4096)
def mel_slopes(fft_size: int, mel_bins: int, sample_rate_hz: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The filters as one rising slope per interval between corners.

    Between two corners the falling filter has 1 minus the weight of the rising one, so one weight per FFT bin
    describes all triangles.

    Returns:
        starts: (mel_bins + 2,) first FFT bin at or above each corner; interval j holds bins starts[j] to
            starts[j + 1] - 1.
        weights: (starts[-1] - starts[0],) of each of those bins in the rising filter, which is j in interval j.
    """
    points = mel_points_hz(fft_size, mel_bins, sample_rate_hz)
    bins_hz = np.arange(fft_size // 2 + 1) * (sample_rate_hz / fft_size)
    starts = np.searchsorted(bins_hz, points, side="left")
    bins = np.arange(starts[0], starts[-1])
    interval = np.searchsorted(starts, bins, side="right") - 1
    weights = (bins_hz[bins] - points[interval]) / (points[interval + 1] - points[interval])
    return starts, weights


def mel_filters(fft_size: int, mel_bins: int, sample_rate_hz: int) -> NDArray[np.float64]:
    """Filters as a matrix (mel_bins, fft_size / 2 + 1): torchaudio's `melscale_fbanks` transposed."""
    starts, weights = mel_slopes(fft_size, mel_bins, sample_rate_hz)
    filters = np.zeros((mel_bins + 2, fft_size // 2 + 1))  # row m + 1 is filter m
    for j in range(mel_bins + 1):
        bins = slice(starts[j], starts[j + 1])
        rising = weights[starts[j] - starts[0] : starts[j + 1] - starts[0]]
        filters[j + 1, bins] = rising
        filters[j, bins] = 1.0 - rising
    return filters[1:-1]
