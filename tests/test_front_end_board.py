"""The front end as Cortex-M code gives the host library's bits, stays in its memory, and costs what is said."""

from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from front_end_signals import CONFIGS, chirps, hard_clips, speech, tones_and_noise
from numpy.typing import NDArray

from hil_nas.front_ends import FrontEnd
from hil_nas.front_ends.host import HostFrontEnd, build_host_library, front_end_sources
from hil_nas.front_ends.log_mel import LogMel
from hil_nas.front_ends.mfcc import Mfcc

HERE = Path(__file__).parent
FLAGS = ("-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections")
M4_FLAGS = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "--specs=rdimon.specs",
            "-T", str(HERE / "front_end_qemu.ld"))  # fmt: skip
QEMU = ("qemu-system-arm", "-M", "mps2-an386", "-nographic", "-semihosting-config", "enable=on,target=native",
        "-kernel")  # fmt: skip
SANITIZERS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def needs(program: str, package: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}: apt install {package}")


class Runner:
    """tests/front_end_jobs.c, compiled and run in a folder of its own."""

    def __init__(self, boards_dir: Path, folder: Path) -> None:
        self.folder = folder
        self.includes = [f"-I{boards_dir / 'include'}"]
        self.sources = [HERE / "front_end_jobs.c", *front_end_sources(boards_dir)]

    def build(self, compiler: str, *flags: str) -> Path:
        program = self.folder / "jobs.elf"
        command = [compiler, *FLAGS, *flags, *self.includes, *map(str, self.sources), "-o", str(program)]
        subprocess.run(command, check=True)
        return program

    def run(self, jobs: list[tuple[bytes, NDArray[np.int16]]], *command: str) -> bytes:
        heads = [np.array([len(blob), len(clips)], "<u4").tobytes() for blob, clips in jobs]
        parts = [head + blob + clips.astype("<i2").tobytes() for head, (blob, clips) in zip(heads, jobs, strict=True)]
        (self.folder / "in.bin").write_bytes(b"".join(parts))
        done = subprocess.run(command, cwd=self.folder, timeout=120, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return (self.folder / "out.bin").read_bytes()


@pytest.fixture
def runner(boards_dir: Path, tmp_path: Path) -> Runner:
    return Runner(boards_dir, tmp_path)


@pytest.mark.parametrize("flags", [("-O2",), ("-Os",), ("-O2", "-U__ARM_FEATURE_DSP")], ids=" ".join)
def test_cortex_m_gives_the_hosts_bits(
    runner: Runner, boards_dir: Path, build_dir: Path, flags: tuple[str, ...]
) -> None:
    """With the DSP extension, and as a core without it would compute."""
    needs("qemu-system-arm", "qemu-system-arm")
    needs("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    clips = np.concatenate([speech(3), chirps(3), tones_and_noise()[::3], hard_clips()])
    blobs = [config.blob(0.31, 7) for config in CONFIGS]
    elf = runner.build("arm-none-eabi-gcc", *M4_FLAGS, *flags)
    results = runner.run([(blob, clips) for blob in blobs], *QEMU, str(elf))
    host = HostFrontEnd(build_host_library(boards_dir, build_dir / "host"))
    assert results == b"".join(bytes(4) + host.features(blob, clips).tobytes() for blob in blobs)


def test_hostile_blobs_stay_inside_their_memory(runner: Runner) -> None:
    """Fields and table entries replaced under a right checksum, each buffer exact, under both sanitizers."""
    needs("gcc", "gcc")
    rng = np.random.default_rng(2)
    values = (0, 1, 2, 7, 64, 80, 128, 2048, 0x7FFF, 0xFFFF, 0x10000, 0x7F800000, 0x7FC00000, 0x80000000, 0xFFFFFFFF)
    jobs = []
    for trial in range(400):
        mel_bins = (6, 8, 7)[trial % 3]
        config = LogMel(128, 1000, mel_bins) if trial % 5 == 0 else Mfcc(128, 1000, mel_bins, 6)
        hostile = bytearray(config.blob(0.5, 0))
        limit = int.from_bytes(hostile[6:8], "little") if trial % 4 == 0 else len(hostile)
        for _ in range(rng.integers(1, 4)):
            struct.pack_into("<I", hostile, 4 * int(rng.integers(4, limit // 4)), int(rng.choice(values)))
        struct.pack_into("<I", hostile, 12, zlib.crc32(hostile[16:]))
        jobs.append((bytes(hostile), chirps(1, trial)))
    whole = Mfcc(128, 1000, 8, 8).blob(0.5, 0)
    jobs += [(whole[:length], chirps(1)) for length in (0, 3, 47, 48, 96, 200, len(whole) - 1)]
    jobs += [(config.blob(0.5, 0), hard_clips()) for config in CONFIGS]
    results = runner.run(jobs, str(runner.build("gcc", *SANITIZERS)))
    features = sum(config.output_bytes for config in CONFIGS) * len(hard_clips())
    assert len(results) > 4 * len(jobs) + features + 50 * 16 * 6, "hardly a hostile blob was run"


def test_only_the_kinds_and_ffts_that_are_asked_for_are_linked(runner: Runner) -> None:
    needs("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi")

    def linked_bytes(*flags: str) -> int:
        elf = runner.build("arm-none-eabi-gcc", *M4_FLAGS, "-O2", *flags)
        text = subprocess.run(["arm-none-eabi-size", str(elf)], capture_output=True, text=True, check=True).stdout
        return int(text.splitlines()[1].split()[0])

    one_size = "-DFRONT_END_FFT_SIZES=512"
    assert linked_bytes() - linked_bytes(one_size) > 100
    assert linked_bytes(one_size) - linked_bytes(one_size, f"-DFRONT_END_KINDS={1 << LogMel.number}") > 400


@pytest.mark.parametrize(
    ("config", "ram_cycles", "flash_cycles"),
    [
        (Mfcc(400, 200, 40, 13), 1_500_000, 1_660_000),
        (Mfcc(400, 200, 24, 13, fft_points=256), 890_000, 990_000),
        (Mfcc(480, 320, 24, 12, fft_points=256), 575_000, 640_000),
        (LogMel(400, 200, 40), 1_430_000, 1_560_000),
    ],
    ids=str,
)
def test_the_cost_of_a_clip_stays_low(
    config: FrontEnd, ram_cycles: int, flash_cycles: int, boards_dir: Path, build_dir: Path
) -> None:
    pytest.importorskip("unicorn")
    needs("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    from bench_front_end import measure

    for where, most_cycles in (("ram", ram_cycles), ("flash", flash_cycles)):
        counts = measure(config, boards_dir, build_dir, where)
        assert counts.front_end_cycles[-1] < most_cycles
        assert [x.name for x in counts.stages] == list(config.stages)
        assert sum(x.cycles for x in counts.stages) == pytest.approx(counts.front_end_cycles[-1], rel=0.01)
