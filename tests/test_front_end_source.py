"""The C front end on the host against independent formulas, and what it refuses."""

from __future__ import annotations

import ctypes
import shutil
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from front_end_signals import (
    CONFIGS,
    HARD_CLIPS,
    chirps,
    hard_clips,
    htk_filters,
    mixed_clips,
    oracle,
    rounding_steps,
    speech,
)

from hil_nas.errors import BuildError, InputError, MissingToolError
from hil_nas.front_ends import paper_grid
from hil_nas.front_ends.host import HostFrontEnd, build_host_library
from hil_nas.front_ends.log_mel import LogMel
from hil_nas.front_ends.mel import MelFrontEnd, hann_window
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.front_ends.mfcc.tables import dct_matrix
from hil_nas.front_ends.packing import HEADER
from hil_nas.front_ends.scale import int8_quantisation, quantise


@pytest.fixture(scope="module")
def library(boards_dir: Path, cmsis_dsp_dir: Path, build_dir: Path) -> Path:
    return build_host_library(boards_dir, cmsis_dsp_dir, build_dir / "host")


@pytest.fixture(scope="module")
def front_end(library: Path) -> HostFrontEnd:
    return HostFrontEnd(library)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_features_are_within_half_a_step_of_float64(front_end: HostFrontEnd, config: MelFrontEnd) -> None:
    clips = mixed_clips(24)
    expected = oracle(config, clips)
    scale, zero_point = int8_quantisation(float(expected.min()), float(expected.max()))
    features = front_end.features(config.blob(scale, zero_point), clips)
    assert features.shape == (len(clips), config.frames, config.columns)
    steps = np.abs(features - (expected / scale + zero_point))
    for hard, part in ((False, steps[:-HARD_CLIPS]), (True, steps[-HARD_CLIPS:])):
        assert part.max() < 0.5 + rounding_steps(config, hard)


@pytest.mark.parametrize("config", paper_grid(), ids=str)
def test_speech_takes_the_same_int8_values_as_float64(front_end: HostFrontEnd, config: MelFrontEnd) -> None:
    clips = speech(50)
    if len(clips) == 0:
        pytest.skip("needs shared/data/speech_commands beside the project")
    expected = oracle(config, clips)
    scale, zero_point = int8_quantisation(float(expected.min()), float(expected.max()))
    features = front_end.features(config.blob(scale, zero_point), clips)
    differing = (features != quantise(expected, scale, zero_point)).mean()
    assert differing < 1e-4


def test_any_configuration_stays_near_float64_at_full_scale(front_end: HostFrontEnd) -> None:
    """Filters that share a bin almost wholly with their neighbour must not lose their little energy to rounding."""
    rng = np.random.default_rng(5)
    clips = np.concatenate([hard_clips()[1:3], chirps(2)])
    for _ in range(40):
        mel_bins = int(rng.integers(4, 129))
        window, hop = int(rng.integers(64, 2049)), int(rng.integers(2000, 8000))
        config = Mfcc(window, hop, mel_bins, int(rng.integers(1, mel_bins + 1)))
        expected = oracle(config, clips)
        scale, zero_point = int8_quantisation(float(expected.min()), float(expected.max()))
        features = front_end.features(config.blob(scale, zero_point), clips)
        assert np.abs(features - (expected / scale + zero_point)).max() < 0.51, str(config)


def test_clipping_at_both_ends_of_int8(front_end: HostFrontEnd) -> None:
    config = Mfcc(400, 200, 40, 10)
    clips = mixed_clips(4)
    features = front_end.features(config.blob(0.05, 3), clips)
    assert features.min() == -128 and features.max() == 127
    assert np.abs(features - np.clip(oracle(config, clips) / 0.05 + 3, -128, 127)).max() < 0.55


def test_a_frame_does_not_depend_on_the_rest_of_the_clip(front_end: HostFrontEnd) -> None:
    config = Mfcc(400, 200, 40, 40)
    blob = config.blob(0.5, 0)
    clip = chirps(1, seed=3)
    altered = clip.copy()
    altered[:, 8000:] = 0
    whole, half = front_end.features(blob, clip)[0], front_end.features(blob, altered)[0]
    untouched = 1 + (8000 - 400) // 200
    assert np.abs(whole[: untouched - 1].astype(int) - half[: untouched - 1]).max() <= 1
    assert (whole[: untouched - 1] == half[: untouched - 1]).mean() > 0.999


def test_threads_share_one_front_end(front_end: HostFrontEnd) -> None:
    blobs = [config.blob(0.5, 0) for config in paper_grid()]
    clips = chirps(8)
    alone = [front_end.features(blob, clips) for blob in blobs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda blob: front_end.features(blob, clips), blobs * 4))
    assert all((a == b).all() for a, b in zip(alone * 4, together, strict=True))


def test_scratch_is_exact(library: Path) -> None:
    """Bytes behind the stated scratch and output are never written."""
    c = ctypes.CDLL(str(library))
    c.front_end_scratch_bytes.restype = c.front_end_output_bytes.restype = ctypes.c_size_t
    for config in CONFIGS:
        blob = np.frombuffer(config.blob(0.5, 0), np.uint8).copy()
        at = ctypes.c_void_p(blob.ctypes.data)
        assert c.front_end_check(at, ctypes.c_size_t(len(blob))) == 0
        scratch_bytes, output_bytes = c.front_end_scratch_bytes(at), c.front_end_output_bytes(at)
        assert output_bytes == config.output_bytes
        scratch, out = np.full(scratch_bytes + 64, 0xA5, np.uint8), np.full(output_bytes + 64, 0xA5, np.uint8)
        clip = chirps(1)[0]
        c.front_end_run(at, *(ctypes.c_void_p(x.ctypes.data) for x in (clip, scratch, out)))
        assert (scratch[-64:] == 0xA5).all() and (out[-64:] == 0xA5).all()
        assert not (scratch[-80:-64] == 0xA5).all()


# ---- tables ----


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_filters_are_htk_triangles(config: MelFrontEnd) -> None:
    filters = config.filters()
    assert np.abs(filters - htk_filters(config, 20.0, 8000.0)).max() < 1e-9
    if config in paper_grid():
        assert (filters.sum(axis=1) > 0).all(), "a filter without a bin is always silent"


def test_dct_is_scipys() -> None:
    import scipy.fft

    assert np.abs(dct_matrix(23, 40) - scipy.fft.dct(np.eye(40), norm="ortho", axis=0)[:23]).max() < 1e-12


def test_window_is_scipys_periodic_hann() -> None:
    import scipy.signal

    for samples in (101, 400):
        assert np.abs(hann_window(samples) - scipy.signal.get_window("hann", samples, fftbins=True)).max() < 1e-12


def test_tables_match_torchaudio() -> None:
    """Guarded: torchaudio does not import beside a CPU build of torch."""
    try:
        from torchaudio.functional import create_dct, melscale_fbanks
    except (ImportError, OSError):
        pytest.skip("torchaudio does not import here (pip install torchaudio==2.11.0 beside a CUDA build of torch)")
    for config in paper_grid():
        theirs = melscale_fbanks(config.fft_size // 2 + 1, 20.0, 8000.0, config.mel_bins, 16000).numpy().T
        assert np.abs(config.filters() - theirs).max() < 2e-3  # theirs takes corners in float32
        dct = create_dct(config.coefficients, config.mel_bins, "ortho").numpy().T
        assert np.abs(dct_matrix(config.coefficients, config.mel_bins) - dct).max() < 1e-5


# ---- quantisation ----


def test_halves_round_away_from_zero() -> None:
    halves = np.array([-2.5, -1.5, -0.5, 0.49999997, 0.5, 1.5, 2.5, np.nextafter(np.float32(0.5), np.float32(0))])
    assert quantise(halves, 1.0, 0).tolist() == [-3, -2, -1, 0, 1, 2, 3, 0]


def test_int8_quantisation_holds_the_range_and_zero() -> None:
    for low, high in ((-87.4, 35.1), (3.0, 9.0), (-8.0, -2.0)):
        scale, zero_point = int8_quantisation(low, high)
        assert abs((min(low, 0) / scale + zero_point) - -128) <= 0.51
        assert abs((max(high, 0) / scale + zero_point) - 127) <= 0.51
        assert -128 <= zero_point <= 127
    for low, high in ((0.0, 0.0), (float("nan"), 1.0), (0.0, float("inf"))):
        with pytest.raises(InputError):
            int8_quantisation(low, high)


@pytest.mark.parametrize(("scale", "zero_point"), [(0.0, 0), (-1.0, 0), (float("nan"), 0), (1e-50, 0), (1.0, 128)])
def test_impossible_quantisation_is_refused(scale: float, zero_point: int) -> None:
    with pytest.raises(InputError, match="int8"):
        Mfcc(400, 200, 40, 40).blob(scale, zero_point)


# ---- refusals ----


def test_clips_of_another_type_or_length_are_refused(front_end: HostFrontEnd) -> None:
    blob = Mfcc(400, 200, 40, 40).blob(0.5, 0)
    for clips in (np.zeros((2, 16000)), np.zeros((2, 15999), np.int16), np.zeros(16000, np.int16)):
        with pytest.raises(InputError, match="clips"):
            front_end.features(blob, clips)  # type: ignore[arg-type]
    assert front_end.features(blob, np.zeros((0, 16000), np.int16)).shape == (0, 79, 40)


@pytest.mark.parametrize("config", [Mfcc(128, 128, 8, 8), LogMel(128, 128, 8)], ids=str)
def test_every_damaged_byte_is_noticed(front_end: HostFrontEnd, config: MelFrontEnd) -> None:
    blob = config.blob(0.5, 0)
    for i in range(len(blob)):
        damaged = bytearray(blob)
        damaged[i] ^= 1 << i % 8
        with pytest.raises(InputError, match="front end"):
            front_end.shape(bytes(damaged))
    for length in (0, 1, 47, 48, 96, len(blob) - 1):
        with pytest.raises(InputError, match="cut short"):
            front_end.shape(blob[:length])


def resealed(blob: bytearray) -> bytes:
    struct.pack_into("<I", blob, 12, zlib.crc32(blob[16:]))
    return bytes(blob)


@pytest.mark.parametrize("config", [Mfcc(128, 256, 8, 8), LogMel(128, 256, 8)], ids=str)
def test_hostile_blobs_are_refused_or_run_inside_their_memory(front_end: HostFrontEnd, config: MelFrontEnd) -> None:
    """Fields and table entries replaced, checksum right: either refused or run without a crash."""
    blob = config.blob(0.5, 0)
    rng = np.random.default_rng(1)
    values = (0, 1, 2, 3, 7, 80, 127, 128, 129, 2048, 4096, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
    clips = chirps(1)
    outcomes = {"run": 0, "refused": 0}
    for trial in range(3000):
        hostile = bytearray(blob)
        limit = int.from_bytes(blob[6:8], "little") if trial % 2 else len(blob)
        for _ in range(rng.integers(1, 4)):
            at = 4 * int(rng.integers(4, limit // 4))
            struct.pack_into("<I", hostile, at, int(rng.choice(values)))
        try:
            _, coefficients = front_end.shape(resealed(hostile))
        except InputError:
            outcomes["refused"] += 1
            continue
        samples = HEADER.unpack_from(hostile)[7]
        if samples == clips.shape[1] and front_end.scratch_bytes(resealed(hostile)) < 1 << 20:
            assert front_end.features(resealed(hostile), clips).shape[2] == coefficients
            outcomes["run"] += 1
    assert outcomes["run"] > 100 and outcomes["refused"] > 1000


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (16, 0, "kind"),
        (16, 3, "kind"),
        (16, 2, "another version"),  # a kind with another header
        (20, 0, "impossible shape"),
        (24, 10, "impossible shape"),  # fewer samples than the window
        (28, 0, "impossible shape"),
        (28, 600, "impossible shape"),  # a window longer than the FFT
        (32, 0, "impossible shape"),
        (36, 0, "impossible shape"),
        (36, 41, "impossible shape"),
        (40, 0, "impossible scale"),
        (40, 0x7FC00000, "impossible scale"),
        (44, 128, "impossible scale"),
        (48, 64, "impossible shape"),
        (48, 4096, "FFT size"),
        (48, 500, "FFT size"),
        (52, 129, "impossible shape"),
        (56, 0x80000000, "impossible scale"),
        (60, 0, "table"),
        (64, 0xFFFFFFFC, "table"),
        (68, 97, "table"),
        (72, 0x7FFFFFFC, "table"),
        (76, 1, "impossible shape"),
        (80, 4000, "table"),
        (84, 1, "impossible shape"),
    ],
)
def test_each_field_is_checked(front_end: HostFrontEnd, field: int, value: int, message: str) -> None:
    blob = bytearray(Mfcc(400, 200, 40, 40).blob(0.5, 0))
    struct.pack_into("<I", blob, field, value)
    with pytest.raises(InputError, match=message):
        front_end.shape(resealed(blob))


@pytest.mark.parametrize("columns", [39, 41])
def test_a_log_mel_has_as_many_columns_as_mel_bins(front_end: HostFrontEnd, columns: int) -> None:
    blob = bytearray(LogMel(400, 200, 40).blob(0.5, 0))
    struct.pack_into("<I", blob, 36, columns)
    with pytest.raises(InputError, match="impossible shape"):
        front_end.shape(resealed(blob))


# ---- building ----


def test_building_again_finds_the_library(library: Path, boards_dir: Path, cmsis_dsp_dir: Path) -> None:
    before = library.stat().st_mtime_ns
    assert build_host_library(boards_dir, cmsis_dsp_dir, library.parent) == library
    assert library.stat().st_mtime_ns == before


def test_what_is_missing_is_named(boards_dir: Path, cmsis_dsp_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingToolError, match="no-such-gcc"):
        build_host_library(boards_dir, cmsis_dsp_dir, tmp_path, compiler="no-such-gcc")
    with pytest.raises(InputError, match="cmsis_dsp.txt"):
        build_host_library(tmp_path, cmsis_dsp_dir, tmp_path)
    with pytest.raises(InputError, match="CMSIS-DSP lacks"):
        build_host_library(boards_dir, tmp_path, tmp_path)


def test_a_failed_build_leaves_nothing_behind(boards_dir: Path, cmsis_dsp_dir: Path, tmp_path: Path) -> None:
    broken = tmp_path / "boards"
    for name in ("src", "include"):
        shutil.copytree(boards_dir / name, broken / name)
    (broken / "src/front_ends/mfcc.c").write_text("int mfcc_check(")
    with pytest.raises(BuildError, match="error"):
        build_host_library(broken, cmsis_dsp_dir, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_another_library_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.so").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a front-end library"):
        HostFrontEnd(tmp_path / "x.so")
