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
    LOG_MEL,
    WRAPPED,
    bounds,
    chirps,
    hard_clips,
    htk_filters,
    mixed_clips,
    oracle,
    speech,
)
from numpy.typing import NDArray

from hil_nas.errors import BuildError, InputError, MissingToolError
from hil_nas.front_ends import ONE_SECOND, paper_grid, parse_front_end
from hil_nas.front_ends.host import HostFrontEnd, build_host_library
from hil_nas.front_ends.log_mel import LogMel
from hil_nas.front_ends.mel import MelFrontEnd, hann_window, hz_to_mel, mel_points_hz, usual_fft_size
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.front_ends.mfcc.tables import dct_matrix
from hil_nas.front_ends.packing import HEADER
from hil_nas.front_ends.scale import int8_quantisation, quantise


@pytest.fixture(scope="module")
def library(boards_dir: Path, build_dir: Path) -> Path:
    return build_host_library(boards_dir, build_dir / "host")


@pytest.fixture(scope="module")
def front_end(library: Path) -> HostFrontEnd:
    return HostFrontEnd(library)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_features_are_those_of_float64_but_for_the_last_digits(front_end: HostFrontEnd, config: MelFrontEnd) -> None:
    clips = mixed_clips(8)
    expected, (low, high) = oracle(config, clips), bounds(config, clips)
    scale, zero_point = int8_quantisation(float(expected.min()), float(expected.max()))
    features = front_end.features(config.blob(scale, zero_point), clips)
    assert features.shape == (len(clips), config.frames, config.columns)
    steps = features.astype(float) - zero_point  # 0.51: half a step, and the factors of the DCT
    assert np.all(steps > low / scale - 0.51) and np.all(steps < high / scale + 0.51)


@pytest.mark.parametrize("config", [*paper_grid(13), *WRAPPED[:3], LOG_MEL[0]], ids=str)
def test_speech_takes_nearly_the_int8_values_of_float64(front_end: HostFrontEnd, config: MelFrontEnd) -> None:
    """Loud frames have bins below the last digit of 16 bits; quiet speech has none."""
    clips = speech(50)
    if len(clips) == 0:
        pytest.skip("needs shared/data/speech_commands beside the project")
    for attenuation, mean_steps in ((1, 0.6), (100, 0.05), (1000, 0.01)):
        quieter = np.round(clips / attenuation).astype(np.int16)
        expected = oracle(config, quieter)
        scale, zero_point = int8_quantisation(float(oracle(config, clips).min()), float(oracle(config, clips).max()))
        features = front_end.features(config.blob(scale, zero_point), quieter)
        assert np.abs(features - quantise(expected, scale, zero_point).astype(int)).mean() < mean_steps


def test_digital_silence_is_the_floor(front_end: HostFrontEnd) -> None:
    config = LogMel(400, 200, 40)
    silence = np.zeros((1, ONE_SECOND.samples), np.int16)
    assert np.all(front_end.features(config.blob(0.11, 0), silence) == round(np.log(1e-6) / 0.11))


def test_any_configuration_stays_near_float64_at_full_scale(front_end: HostFrontEnd) -> None:
    """Windows that are wrapped too, odd ones, few and many filters, as far as every sample of a frame at full scale."""
    rng = np.random.default_rng(5)
    for _ in range(60):
        window, hop, mel_bins = int(rng.integers(64, 2049)), int(rng.integers(2000, 8000)), int(rng.integers(4, 61))
        half = usual_fft_size(window) // 2
        points = half if half >= 128 and rng.integers(2) else None
        config = Mfcc(window, hop, mel_bins, int(rng.integers(1, mel_bins + 1)), fft_points=points)
        clips = np.concatenate([hard_clips(), chirps(2), adversaries(config, rng)])
        expected, (low, high) = oracle(config, clips), bounds(config, clips)
        scale, zero_point = int8_quantisation(float(expected.min()), float(expected.max()))
        steps = front_end.features(config.blob(scale, zero_point), clips).astype(float) - zero_point
        assert np.all(steps > low / scale - 0.51) and np.all(steps < high / scale + 0.51), str(config)


def adversaries(config: Mfcc, rng: np.random.Generator) -> NDArray[np.int16]:
    """Signs of a sine at full scale, in step with a bin: nothing makes a bin louder. Random signs beside them."""
    points = config.fft_size
    bins = (1, 2, points // 4, points // 2 - 1, points // 3, int(rng.integers(1, points // 2)))
    t = np.arange(config.clip.samples)
    waves = [np.cos(2 * np.pi * k * t / points + rng.uniform(0, np.pi)) for k in bins]
    signs = np.stack([*waves, rng.normal(0, 1, len(t))]) > 0
    return np.where(signs, 32767, -32768).astype(np.int16)


def test_clipping_at_both_ends_of_int8(front_end: HostFrontEnd) -> None:
    config = Mfcc(400, 200, 40, 10)
    clips = mixed_clips(4)
    features = front_end.features(config.blob(0.05, 3), clips)
    assert features.min() == -128 and features.max() == 127
    low, high = (np.clip(x / 0.05 + 3, -128, 127) for x in bounds(config, clips))
    assert np.all(features > low - 0.55) and np.all(features < high + 0.55)


def test_a_frame_does_not_depend_on_the_rest_of_the_clip(front_end: HostFrontEnd, library: Path) -> None:
    """Streamed by any number of frames at a time, a clip has the bits that it has as a whole."""
    c = ctypes.CDLL(str(library))
    for config in (Mfcc(400, 200, 40, 40), Mfcc(401, 197, 24, 13, fft_points=256), LogMel(101, 997, 7)):
        blob = np.frombuffer(config.blob(0.5, 0), np.uint8).copy()
        clip = chirps(1, seed=3)
        whole = front_end.features(blob.tobytes(), clip)[0]
        scratch = np.zeros(config.scratch_bytes + 16, np.uint8)
        scratch = scratch[-scratch.ctypes.data % 16 :]
        streamed, at, rng = np.zeros_like(whole), 0, np.random.default_rng(0)
        while at < config.frames:
            count = min(int(rng.integers(1, 8)), config.frames - at)
            samples = (count - 1) * config.hop_samples + config.window_samples
            heard = clip[0, at * config.hop_samples :][:samples].copy()
            places = (ctypes.c_void_p(x.ctypes.data) for x in (scratch, streamed[at:]))
            audio, frames = ctypes.c_void_p(heard.ctypes.data), ctypes.c_size_t(count)
            c.front_end_run_frames(ctypes.c_void_p(blob.ctypes.data), audio, frames, *places)
            at += count
        assert np.array_equal(streamed, whole)


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
    assert np.abs(config.filters() - htk_filters(config, 20.0, 8000.0)).max() < 1e-9


def test_dct_is_scipys() -> None:
    import scipy.fft

    assert np.abs(dct_matrix(23, 40) - scipy.fft.dct(np.eye(40), norm="ortho", axis=0)[:23]).max() < 1e-12


def test_window_is_scipys_hann_between_samples() -> None:
    """scipy's symmetric window at the odd places of twice the length."""
    import scipy.signal

    for samples in (101, 400):
        between = scipy.signal.get_window("hann", 2 * samples + 1, fftbins=False)[1::2]
        assert np.abs(hann_window(samples) - between).max() < 1e-12


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_every_filter_hears_something(config: MelFrontEnd) -> None:
    assert (config.filters().sum(axis=1) > 0).all()


@pytest.mark.parametrize("text", ["mfcc:400/200/40/13", "logmel:2048/1000/80", "mfcc:640/320/80/40/512"])
def test_filters_that_hear_something_stay_where_mel_puts_them(text: str) -> None:
    config = parse_front_end(text)
    assert isinstance(config, MelFrontEnd)
    mels = np.linspace(hz_to_mel(20.0), hz_to_mel(8000.0), config.mel_bins + 2)
    points = mel_points_hz(config.fft_size, config.mel_bins, 16000)
    assert np.abs([hz_to_mel(x) for x in points] - mels).max() < 1e-9


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


def test_halves_round_upwards() -> None:
    halves = np.array([-2.5, -1.5, -0.5, 0.49999997, 0.5, 1.5, 2.5, np.nextafter(np.float32(0.5), np.float32(0))])
    assert quantise(halves, 1.0, 0).tolist() == [-2, -1, 0, 0, 1, 2, 3, 0]


def test_int8_quantisation_holds_the_range_and_zero() -> None:
    for low, high in ((-87.4, 35.1), (3.0, 9.0), (-8.0, -2.0)):
        scale, zero_point = int8_quantisation(low, high)
        assert abs((min(low, 0) / scale + zero_point) - -128) <= 0.51
        assert abs((max(high, 0) / scale + zero_point) - 127) <= 0.51
        assert -128 <= zero_point <= 127
    for low, high in ((0.0, 0.0), (float("nan"), 1.0), (0.0, float("inf"))):
        with pytest.raises(InputError):
            int8_quantisation(low, high)


@pytest.mark.parametrize(
    ("scale", "zero_point"), [(0.0, 0), (-1.0, 0), (float("nan"), 0), (1e-50, 0), (1e50, 0), (1.0, 128)]
)
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
        (28, 1025, "impossible shape"),  # a window longer than two FFTs
        (28, 600, "table"),  # more weights than the window has
        (32, 0, "impossible shape"),
        (36, 0, "impossible shape"),
        (36, 41, "impossible shape"),
        (40, 0, "impossible scale"),
        (40, 0x80000000, "impossible scale"),
        (44, 23, "impossible scale"),
        (44, 128 << 16, "impossible scale"),
        (48, 64, "impossible shape"),
        (48, 4096, "FFT size"),
        (48, 500, "FFT size"),
        (52, 129, "impossible shape"),
        (56, 0, "impossible scale"),
        (56, 1 << 25, "impossible scale"),
        (60, 0x80000000, "impossible scale"),
        (60, 49 << 16, "impossible scale"),
        (64, 0, "table"),
        (64, 5, "table"),  # the last filters then reach beyond the last bin
        (68, 1, "impossible shape"),
        (76, 0, "table"),
        (80, 0xFFFFFFFC, "table"),
        (84, 97, "table"),
        (88, 0x7FFFFFFC, "table"),
        (92, 4096, "table"),
        (96, 4000, "table"),
        (100, 1, "impossible shape"),
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


def test_building_again_finds_the_library(library: Path, boards_dir: Path) -> None:
    before = library.stat().st_mtime_ns
    assert build_host_library(boards_dir, library.parent) == library
    assert library.stat().st_mtime_ns == before


def test_what_is_missing_is_named(boards_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingToolError, match="no-such-gcc"):
        build_host_library(boards_dir, tmp_path, compiler="no-such-gcc")
    with pytest.raises(InputError, match="front_end.c cannot be read"):
        build_host_library(tmp_path, tmp_path)


def test_a_failed_build_leaves_nothing_behind(boards_dir: Path, tmp_path: Path) -> None:
    broken = tmp_path / "boards"
    for name in ("src", "include"):
        shutil.copytree(boards_dir / name, broken / name)
    (broken / "src/front_ends/mfcc.c").write_text("int mfcc_check(")
    with pytest.raises(BuildError, match="error"):
        build_host_library(broken, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_another_library_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.so").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a front-end library"):
        HostFrontEnd(tmp_path / "x.so")
