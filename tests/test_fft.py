"""The complex FFT of int16 against numpy's: errors over signals of all kinds, and what does not fit."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hil_nas.compiling import shared_library
from hil_nas.front_ends.fft import SIZES, fft_place, fft_tables

LARGEST = 32700  # |z| that fft.h promises to take without saturation

Fft = Callable[[NDArray[np.int16]], NDArray[np.complex128]]


@pytest.fixture(scope="module")
def fft(boards_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Fft:
    """int16 (points, 2) to bins in order (points,), by the C source in portable code."""
    ends = boards_dir / "src" / "front_ends"
    flags = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror")
    folder = tmp_path_factory.mktemp("fft")
    path = shared_library("fft", folder, [ends / "fft.c"], [ends / "fft.h"], flags, include=[boards_dir / "include"])
    library = ctypes.CDLL(str(path))

    def run(values: NDArray[np.int16]) -> NDArray[np.complex128]:
        z, twiddles = np.array(values, np.int16, order="C"), fft_tables(len(values))
        library.fft_q15(ctypes.c_void_p(z.ctypes.data), len(z), ctypes.c_void_p(twiddles.ctypes.data))
        return as_complex(z[fft_place(len(z))])

    return run


def as_complex(values: NDArray[np.int16]) -> NDArray[np.complex128]:
    """(..., 2) to (...)."""
    return values[..., 0] + 1j * values[..., 1].astype(float)


def as_pairs(z: NDArray[np.complex128]) -> NDArray[np.int16]:
    """Rounded towards 0, so that nothing grows."""
    return np.trunc(np.stack([z.real, z.imag], -1)).astype(np.int16)


def exact(values: NDArray[np.int16]) -> NDArray[np.complex128]:
    return np.fft.fft(as_complex(values)) / len(values)


def errors(fft: Fft, values: NDArray[np.int16]) -> NDArray[np.complex128]:
    return fft(values) - exact(values)


def largest(z: NDArray[np.complex128]) -> float:
    """Of real and imaginary parts."""
    return float(max(abs(z.real).max(), abs(z.imag).max()))


def noise(points: int, rng: np.random.Generator) -> NDArray[np.int16]:
    """Anywhere in the disc of what is taken."""
    turn, radius = rng.uniform(0, 2 * np.pi, points), LARGEST * np.sqrt(rng.uniform(0, 1, points))
    return as_pairs(radius * np.exp(1j * turn))


def tone(points: int, rng: np.random.Generator) -> NDArray[np.int16]:
    """A full-scale one of any frequency, between bins or on one, and phase."""
    bins = rng.uniform(0, points) if rng.random() < 0.5 else float(rng.integers(points))
    return as_pairs(LARGEST * np.exp(2j * np.pi * (bins * np.arange(points) / points + rng.random())))


def edges(points: int, rng: np.random.Generator) -> list[NDArray[np.int16]]:
    """Full-scale square waves of every power of two, impulses anywhere, constants, corners at random."""
    n = np.arange(points)
    turns = [LARGEST * np.exp(2j * np.pi * x) for x in (0, 1 / 8, 1 / 4, 0.3, 3 / 8, 1 / 2, 0.9)]
    found = [as_pairs(np.full(points, x)) for x in turns]
    found += [as_pairs(np.where(n == place, x, 0)) for x in turns for place in (0, 1, 7, points // 2, points - 1)]
    for half in 2 ** np.arange(points.bit_length() - 1):
        square = np.where(n // half % 2 == 0, 1.0, -1.0)
        found += [as_pairs(square * x) for x in turns]
        found += [as_pairs(23122 * (square + 1j * np.roll(square, half // 2)))]  # of real samples: two of a pair
    corners = rng.choice([-23122, 23122], (8, points, 2))
    return [*found, *corners.astype(np.int16)]


@pytest.mark.parametrize("points", SIZES)
def test_errors_are_small(fft: Fft, points: int) -> None:
    rng = np.random.default_rng(points)
    loss = 10 * np.log10(points / 64)
    for make, decibels in ((noise, 72.3 - 0.9 * loss), (tone, 75.2 - 0.9 * loss)):
        inputs = [make(points, rng) for _ in range(100)]
        found = np.stack([errors(fft, x) for x in inputs])
        power = np.mean([abs(exact(x)) ** 2 for x in inputs])
        assert largest(found) < 3.6
        assert np.sqrt(np.mean(abs(found) ** 2)) < 0.70
        assert 10 * np.log10(power / np.mean(abs(found) ** 2)) > decibels
        assert abs(found.mean()) < 0.1


@pytest.mark.parametrize("points", SIZES)
def test_the_extremes_of_what_is_taken_lose_nothing(fft: Fft, points: int) -> None:
    """One saturated step would cost hundreds."""
    for values in edges(points, np.random.default_rng(points)):
        assert abs(as_complex(values)).max() <= LARGEST
        assert largest(errors(fft, values)) < 6


@pytest.mark.parametrize("points", SIZES)
def test_what_does_not_fit_is_saturated(fft: Fft, points: int) -> None:
    """A tone of 46,340 keeps its sign and its size; where sums wrap around, neither is left."""
    n = np.arange(points)
    for bin_number in (0, 1, 3, points // 2, points - 5):
        whole = 46340 * np.exp(2j * np.pi * (bin_number * n / points + 0.2))
        values = np.stack([whole.real, whole.imag], -1).clip(-32768, 32767).astype(np.int16)
        strongest = fft(values)[bin_number]
        assert abs(strongest - exact(values)[bin_number]) < 8000


def test_each_bin_stands_at_its_place_and_small_tables_begin_large_ones() -> None:
    for points in SIZES:
        places = fft_place(points)
        digits = f"0{points.bit_length() - 1}b"
        assert [int(f"{k:{digits}}"[::-1], 2) for k in range(points)] == places.tolist()
        assert np.array_equal(fft_tables(points), fft_tables(1024)[: points // 8 - 1])


def test_other_sizes_are_left_alone(fft: Fft) -> None:
    values = np.arange(64, dtype=np.int16).reshape(32, 2)
    assert np.array_equal(fft(values), as_complex(values[fft_place(32)]))
