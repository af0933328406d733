"""The virtual board's caches: hits and misses of access patterns that can be counted by hand, and exact windows."""

from __future__ import annotations

from pathlib import Path

import pytest
from virtual_programs import ASSEMBLY_START, C_START, compile_program, counted, library, power_on, word

from hil_nas.device.virtual.timing import Counts, TimingModel

LINE, SECTOR = 32, 8
ICACHE_LINES, DCACHE_LINES = 32, 8


def data_program(step: str, count: int, passes: int) -> str:
    """Read `count` words of flash, `step` bytes apart, `passes` times; no literal pool is read."""
    return f"""{ASSEMBLY_START}
    movw r3, #0
    movt r3, #0x0810
    mov r4, #{passes}
    mov r1, #1
    str r1, [r7]
1:  mov r0, r3
    movw r2, #{count}
2:  ldr r5, [r0]
    add r0, #{step}
    subs r2, #1
    bne 2b
    subs r4, #1
    bne 1b
    mov r1, #0
    str r1, [r7]
    bkpt 0
"""


@pytest.mark.parametrize(
    ("step", "count", "passes", "sectors", "lines"),
    [
        (4, 64, 1, 32, 8),  # 256 bytes: each sector is fetched once
        (4, 64, 3, 32, 8),  # they fit: further passes hit
        (4, 72, 3, 3 * 36, 3 * 9),  # nine lines in eight, LRU, in a circle: every line misses each time
        (32, 8, 5, 8, 8),  # one sector of each line
        (32, 9, 5, 45, 45),
        (16, 16, 2, 16, 8),  # two sectors of each line
    ],
)
def test_data_cache_counts(
    step: int, count: int, passes: int, sectors: int, lines: int, tmp_path: Path, boards_dir: Path, build_dir: Path
) -> None:
    elf = compile_program(tmp_path, data_program(str(step), count, passes), kind="S", flags=["-nostdlib"])
    counts = counted(power_on(elf, library(boards_dir, build_dir)))
    assert (counts.dcache_sector_misses, counts.dcache_line_misses) == (sectors, lines)


def test_a_word_across_two_sectors_touches_both(tmp_path: Path, boards_dir: Path, build_dir: Path) -> None:
    source = data_program("32", 1, 1).replace("ldr r5, [r0]", "ldr r5, [r0, #6]")
    elf = compile_program(tmp_path, source, kind="S", flags=["-nostdlib"])
    counts = counted(power_on(elf, library(boards_dir, build_dir)))
    assert (counts.dcache_sector_misses, counts.dcache_line_misses) == (2, 1)


def test_reads_of_ram_touch_no_cache(tmp_path: Path, boards_dir: Path, build_dir: Path) -> None:
    source = data_program("4", 64, 3).replace("movt r3, #0x0810", "movt r3, #0x2000")
    elf = compile_program(tmp_path, source, kind="S", flags=["-nostdlib"])
    counts = counted(power_on(elf, library(boards_dir, build_dir)))
    assert (counts.dcache_sector_misses, counts.dcache_line_misses) == (0, 0)


def code_program(lines: int, passes: int) -> str:
    """A loop of `lines` cache lines, behind the store that enables the counter."""
    nops = (lines * LINE - 6) // 2
    return f"""{ASSEMBLY_START}
    mov r4, #{passes}
    mov r1, #1
    b enable
    .balign 4096
    .space 32 - 4
enable: str r1, [r7]
    nop
    .rept {nops}
    nop
    .endr
    subs r4, #1
    bne.w enable + 4
    mov r1, #0
    str r1, [r7]
    bkpt 0
"""


@pytest.mark.parametrize(("lines", "passes"), [(1, 4), (31, 4), (32, 3)])
def test_a_loop_that_fits_misses_once(
    lines: int, passes: int, tmp_path: Path, boards_dir: Path, build_dir: Path
) -> None:
    counts = run_code(lines, passes, tmp_path, boards_dir, build_dir)
    outside = 2  # the sector with the store that enables, and the one behind the loop
    assert counts.icache_sector_misses == lines * LINE // SECTOR + outside
    assert counts.taken_branches in (passes - 1, passes)


def test_a_loop_of_a_line_too_many_misses_every_time(tmp_path: Path, boards_dir: Path, build_dir: Path) -> None:
    counts = run_code(33, 3, tmp_path, boards_dir, build_dir)
    assert counts.icache_line_misses == 3 * 33 + 2
    assert counts.icache_sector_misses == 3 * 33 * LINE // SECTOR + 2


def run_code(lines: int, passes: int, tmp_path: Path, boards_dir: Path, build_dir: Path) -> Counts:
    elf = compile_program(tmp_path, code_program(lines, passes), kind="S", flags=["-nostdlib"])
    return counted(power_on(elf, library(boards_dir, build_dir)))


def test_without_its_caches_every_sector_misses(tmp_path: Path, boards_dir: Path, build_dir: Path) -> None:
    off = """
    movw r0, #0x2000
    movt r0, #0x4002
    mov r1, #0
    str r1, [r0]
    """
    source = data_program("4", 64, 3).replace("movw r3, #0\n", f"movw r3, #0\n{off}")
    elf = compile_program(tmp_path, source, kind="S", flags=["-nostdlib"])
    counts = counted(power_on(elf, library(boards_dir, build_dir)))
    assert counts.dcache_sector_misses == 3 * 64


def test_penalties_reach_the_counter(tmp_path: Path, boards_dir: Path, build_dir: Path) -> None:
    source = f"""{C_START}
    void run(void) {{
        const volatile uint32_t *flash = (const volatile uint32_t *)0x08100000;
        DEMCR |= 1u << 24; DWT_CTRL |= 1;
        for (int pass = 0; pass < 3; ++pass) {{
            uint32_t before = CYCCNT;
            for (int i = 0; i < 8; ++i) (void)flash[8 * i];
            result[pass] = CYCCNT - before;
        }}
    }}"""
    elf = compile_program(tmp_path, source)
    timing = library(boards_dir, build_dir)
    plain = power_on(elf, timing, TimingModel())
    counted(plain)
    dear = power_on(elf, timing, TimingModel(dcache_sector_miss_cycles=7.5, dcache_line_miss_cycles=3.5))
    counted(dear)
    extra = [word(dear, "result", i) - word(plain, "result", i) for i in range(3)]
    assert extra[0] == 8 * 11 and extra[1] in (0, 11) and extra[2] in (0, 11)  # a literal may share the cache


def test_counts_do_not_depend_on_how_the_run_is_cut(tmp_path: Path, boards_dir: Path, build_dir: Path) -> None:
    source = f"""{C_START}
    static uint32_t work(uint32_t n) {{
        uint32_t sum = 1;
        for (uint32_t i = 0; i < n; ++i) sum += (sum / (i + 1)) ^ ((const uint32_t *)0x08000000)[sum & 1023];
        return sum;
    }}
    void run(void) {{
        DEMCR |= 1u << 24; DWT_CTRL |= 1;
        uint32_t before = CYCCNT;
        result[1] = work(300000);
        result[0] = CYCCNT - before;
    }}"""
    elf = compile_program(tmp_path, source)
    timing = library(boards_dir, build_dir)
    model = TimingModel(2.0, 3.45, 5.17, 0.31)
    whole, cut = power_on(elf, timing, model), power_on(elf, timing, model)
    whole_counts = counted(whole)
    slices, ended = 0, False
    while not ended and slices < 10_000:  # to its breakpoint: the result is there some instructions earlier
        slices += 1
        try:
            cut.run(0.0005)
        except Exception as error:
            assert "BKPT" in str(error)
            ended = True
    assert slices > 3
    assert cut.counts() == whole_counts
    assert [word(cut, "result", i) for i in (0, 1)] == [word(whole, "result", i) for i in (0, 1)]
