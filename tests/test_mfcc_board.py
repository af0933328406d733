"""The front end as Cortex-M4F code gives the host library's bits, and costs what it is said to cost."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from mfcc_signals import CONFIGS, chirps, hard_clips, speech

from hil_nas.audio.front_end import HostFrontEnd, build_host_library, cmsis_dsp_sources
from hil_nas.audio.tables import front_end_blob
from hil_nas.mfcc import MfccConfig

M4_FLAGS = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-ffp-contract=off",
            "-ffunction-sections", "-fdata-sections", "-D__GNUC_PYTHON__", "--specs=rdimon.specs")  # fmt: skip
RUN = ("qemu-system-arm", "-M", "mps2-an386", "-nographic", "-semihosting-config", "enable=on,target=native")


def needs(program: str, package: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}: apt install {package}")


def link(boards_dir: Path, cmsis_dsp_dir: Path, out: Path, level: str) -> Path:
    needs("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    here = Path(__file__).parent
    includes = (boards_dir / "include", cmsis_dsp_dir / "Include", cmsis_dsp_dir / "PrivateInclude")
    sources = [here / "mfcc_qemu.c", boards_dir / "src" / "mfcc.c", *cmsis_dsp_sources(boards_dir, cmsis_dsp_dir)]
    subprocess.run(
        ["arm-none-eabi-gcc", *M4_FLAGS, level, *(f"-I{path}" for path in includes), "-T", str(here / "mfcc_qemu.ld"),
         "-Wl,--gc-sections", *map(str, sources), "-o", str(out)], check=True,
    )  # fmt: skip
    return out


def job(blob: bytes, clips: np.ndarray) -> bytes:
    return np.array([len(blob), len(clips)], "<u4").tobytes() + blob + clips.astype("<i2").tobytes()


@pytest.mark.parametrize("level", ["-O3", "-Os"])
def test_cortex_m4f_gives_the_hosts_bits(
    boards_dir: Path, cmsis_dsp_dir: Path, build_dir: Path, tmp_path: Path, level: str
) -> None:
    needs("qemu-system-arm", "qemu-system-arm")
    elf = link(boards_dir, cmsis_dsp_dir, tmp_path / "front_end.elf", level)
    clips = np.concatenate([speech(3), chirps(3), hard_clips()])
    blobs = [front_end_blob(config, 0.31, 7) for config in CONFIGS]
    (tmp_path / "in.bin").write_bytes(b"".join(job(blob, clips) for blob in blobs))
    done = subprocess.run([*RUN, "-kernel", str(elf)], cwd=tmp_path, timeout=120, check=False)
    assert done.returncode == 0
    host = HostFrontEnd(build_host_library(boards_dir, cmsis_dsp_dir, build_dir / "host"))
    expected = b"".join(host.features(blob, clips).tobytes() for blob in blobs)
    assert (tmp_path / "out.bin").read_bytes() == expected


def test_only_the_fft_tables_that_are_asked_for_are_linked(
    boards_dir: Path, cmsis_dsp_dir: Path, tmp_path: Path
) -> None:
    needs("arm-none-eabi-size", "binutils-arm-none-eabi")
    sizes = {}
    for fft_sizes in ("512", "128+256+512+1024+2048"):
        elf = link(boards_dir, cmsis_dsp_dir, tmp_path / "x.elf", f"-DMFCC_FFT_SIZES=({fft_sizes})")
        text = subprocess.run(["arm-none-eabi-size", str(elf)], capture_output=True, text=True, check=True).stdout
        sizes[fft_sizes] = int(text.splitlines()[1].split()[0])
    assert sizes["128+256+512+1024+2048"] - sizes["512"] > 24 * 1024


def test_the_cost_of_two_frames_stays_low(tmp_path: Path) -> None:
    """400/200/40: CMSIS-DSP's real FFT frame by frame took 79,000 instructions for two frames."""
    pytest.importorskip("unicorn")
    needs("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    from bench_front_end import Machine, measure
    from bench_front_end import link as link_bare

    instructions, cycles = measure(Machine(link_bare(tmp_path)), MfccConfig(400, 200, 40, 40))
    assert instructions < 54_000
    assert cycles < 85_000
