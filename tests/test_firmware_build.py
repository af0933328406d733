"""The firmware's build: what is compiled anew, which id changes with what, what a person is told."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hil_nas.device.boards import load_board
from hil_nas.device.firmware import Firmware, ThirdParty, build_firmware, find_third_party
from hil_nas.errors import BuildError, InputError, MissingToolError

ARM = "arm-none-eabi-gcc"
needs_arm = pytest.mark.skipif(shutil.which(ARM) is None, reason=f"needs {ARM}: make setup")


@pytest.fixture
def tree(tmp_path: Path, boards_dir: Path) -> Path:
    """A copy of boards/ to spoil."""
    return Path(shutil.copytree(boards_dir, tmp_path / "boards"))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all builds: what two of them have in common is compiled once."""
    return tmp_path_factory.mktemp("out")


@pytest.fixture
def third_party(build_dir: Path) -> ThirdParty:
    return find_third_party()


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_same_sources_are_not_compiled_twice(tree: Path, out: Path, third_party: ThirdParty) -> None:
    first = build_firmware("native", tree, out, third_party)
    times = {x: x.stat().st_mtime_ns for x in out.rglob("*") if x.is_file()}
    assert build_firmware("native", tree, out, third_party) == first
    assert {x: x.stat().st_mtime_ns for x in out.rglob("*") if x.is_file()} == times
    edit(tree / "src" / "mlperf.c", "dut-[hil-nas]", "dut-[hil-nas-2]")
    second = build_firmware("native", tree, out, third_party)
    assert second.build_id != first.build_id and second.kernels_id == first.kernels_id
    new = [x for x in out.rglob("*.o") if x not in times]
    assert sorted(x.name.partition("-")[0] for x in new) == ["o_identity", "o_mlperf"]
    answer = subprocess.run([second.elf], input=b"name%", capture_output=True, timeout=20, check=True).stdout
    assert b"hil-nas-2" in answer


def test_the_id_of_the_kernels_follows_what_is_measured(tree: Path, out: Path, third_party: ThirdParty) -> None:
    first = build_firmware("native", tree, out, third_party)
    edit(tree / "src" / "kernels" / "plain" / "softmax.c", "int32_t highest = INT8_MIN", "int32_t highest = -128")
    second = build_firmware("native", tree, out, third_party)
    assert (second.kernels_id != first.kernels_id) and (second.build_id != first.build_id)


def test_a_folder_that_moves_keeps_the_id(boards_dir: Path, tree: Path, out: Path, third_party: ThirdParty) -> None:
    here = build_firmware("native", boards_dir, out, third_party)
    there = build_firmware("native", tree, out, third_party)
    assert (here.build_id, here.kernels_id) == (there.build_id, there.kernels_id)


def test_a_source_that_does_not_compile_names_its_first_error(
    tree: Path, out: Path, third_party: ThirdParty
) -> None:
    images = set(out.rglob("*.elf"))
    edit(tree / "src" / "hil.c", "#define DATA_BYTES 64u", "#define DATA_BYTES nonsense")
    with pytest.raises(BuildError, match=r"hil\.c does not compile: .*hil\.c:[0-9:]+ error: 'nonsense' undeclared"):
        build_firmware("native", tree, out, third_party)
    assert set(out.rglob("*.elf")) == images and not list(out.rglob("*.tmp"))


def test_an_image_that_does_not_link_says_what_is_missing(tree: Path, out: Path, third_party: ThirdParty) -> None:
    edit(tree / "src" / "main.c", "hal_init();\n", "extern void hal_nothing(void);\n    hal_nothing();\n")
    with pytest.raises(BuildError, match="undefined reference to `hal_nothing'"):
        build_firmware("native", tree, out, third_party)


def test_a_missing_compiler_is_named(
    tree: Path, out: Path, third_party: ThirdParty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(out))
    with pytest.raises(MissingToolError, match=ARM) as error:
        build_firmware("nucleo-l4r5", tree, out, third_party)
    assert error.value.hint is not None and "gcc-arm-none-eabi" in error.value.hint


def test_missing_cmsis_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMSIS_NN_ROOT", str(tmp_path / "mine"))
    with pytest.raises(MissingToolError, match="CMSIS-NN was not found in .*mine") as error:
        find_third_party()
    assert error.value.hint is not None and "CMSIS_NN_ROOT" in error.value.hint


def test_an_unknown_board_and_a_missing_source_are_named(tree: Path, out: Path, third_party: ThirdParty) -> None:
    with pytest.raises(InputError, match="did you mean 'nucleo_l4r5'"):
        build_firmware("nucleo-l4r4", tree, out, third_party)
    edit(tree / "native" / "board.toml", '"board.c"', '"bord.c"')
    with pytest.raises(InputError, match=r"bord\.c is missing"):
        build_firmware("native", tree, out, third_party)


@pytest.fixture(scope="module", params=["nucleo_l4r5", "mps2_an386"])
def arm(request: pytest.FixtureRequest, boards_dir: Path, build_dir: Path) -> Firmware:
    if shutil.which(ARM) is None:
        pytest.skip(f"needs {ARM}: make setup")
    return build_firmware(request.param, boards_dir, build_dir, find_third_party())


def symbols(elf: Path) -> dict[str, int]:
    lines = subprocess.run(["arm-none-eabi-nm", str(elf)], capture_output=True, text=True, check=True).stdout
    return {x[2]: int(x[0], 16) for x in map(str.split, lines.splitlines()) if len(x) == 3}


def test_sizes_are_those_of_the_image(arm: Firmware, boards_dir: Path) -> None:
    at = symbols(arm.elf)
    board = load_board(arm.elf.name.partition("-")[0], boards_dir)
    assert at["link_pool_end"] - at["link_pool_begin"] == arm.pool_bytes
    assert at["link_stack_low"] == 0x20000000 and at["link_pool_end"] == 0x20000000 + board.memory.ram_bytes
    assert at["link_bss_end"] - at["link_bss_begin"] <= arm.bss_bytes
    assert at["link_image_end"] - at["link_image_begin"] == arm.text_bytes + arm.data_bytes
    assert arm.pool_bytes > 0.95 * board.memory.ram_bytes - 8192


def test_measured_code_comes_first_and_begins_at_cache_lines(arm: Firmware) -> None:
    at = symbols(arm.elf)
    kernels = ("arm_convolve", "arm_depthwise", "run_", "engine_run", "front_end_run", "mel_window", "fft_q15")
    measured = [x for x in at if x.startswith(kernels)]
    assert len(measured) > 10 and all(at[x] % 32 == 0 for x in measured)
    assert max(at[x] for x in measured) < min(at[x] for x in ("main", "hil_command", "mlperf_command", "wire_text"))
    assert max(at["memcpy"], at["memset"]) < at["main"]


@needs_arm
def test_an_edit_in_the_command_code_moves_nothing_that_is_measured(
    tree: Path, out: Path, third_party: ThirdParty
) -> None:
    before = build_firmware("nucleo_l4r5", tree, out, third_party)
    edit(tree / "src" / "mlperf.c", '"hil_nas (', '"a longer text that moves all constants behind it: hil_nas (')
    edit(tree / "src" / "hil.c", "#define DATA_BYTES 64u", "#define DATA_BYTES 32u")
    after = build_firmware("nucleo_l4r5", tree, out, third_party)
    assert before.kernels_id == after.kernels_id and before.build_id != after.build_id
    old, new = symbols(before.elf), symbols(after.elf)
    moved = {x for x in old.keys() & new.keys() if old[x] != new[x]}
    of_measured = r"arm_|run_|cmsis_nn_|plain_|engine_|front_end_|\w*mel_|mem|twiddle"
    assert moved and not {x for x in moved if re.match(of_measured, x)}


@needs_arm
def test_the_id_of_the_kernels_follows_the_cycle_model(tree: Path, out: Path, third_party: ThirdParty) -> None:
    before = build_firmware("nucleo_l4r5", tree, out, third_party)
    edit(tree / "virtual" / "thumb.c", "DIVIDE_CYCLES = 8", "DIVIDE_CYCLES = 9")
    assert build_firmware("nucleo_l4r5", tree, out, third_party).kernels_id != before.kernels_id


def test_no_division_formatting_or_heap_of_libc_is_linked(arm: Firmware) -> None:
    forbidden = {"printf", "malloc", "free", "_sbrk", "__aeabi_ddiv", "__aeabi_dmul", "strtok"}
    assert not forbidden & symbols(arm.elf).keys(), "newlib's printf family, heap or double precision"
