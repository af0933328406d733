"""The virtual NUCLEO-L4R5ZI around its core: flash programming, clocks, timers, reset, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from virtual_programs import C_START, compile_program, library, power_on, run_to_breakpoint, word

from hil_nas.device.virtual.elf import read_elf
from hil_nas.device.virtual.machine import Machine
from hil_nas.errors import DeviceError, InputError

UNLOCK = "FLASH(8) = 0x45670123; FLASH(8) = 0xCDEF89AB;"
ERASE = "FLASH(0x14) = 2 | 5 << 3 | 1 << 11; FLASH(0x14) |= 1 << 16; FLASH(0x14) = 0;"
PAGE = 0x08100000 + 5 * 4096
PROGERR, PGAERR, SIZERR, PGSERR = 1 << 3, 1 << 5, 1 << 6, 1 << 7


def board(body: str, folder: Path, boards_dir: Path, build_dir: Path) -> Machine:
    elf = compile_program(folder, f"{C_START}\nvoid run(void) {{ {body} }}")
    return power_on(elf, library(boards_dir, build_dir))


def fault(body: str, folder: Path, boards_dir: Path, build_dir: Path) -> str:
    """What the board says about a program that silicon would not let pass."""
    machine = board(body, folder, boards_dir, build_dir)
    with pytest.raises(DeviceError) as caught:
        machine.run(10)
    assert "BKPT" not in str(caught.value)
    with pytest.raises(DeviceError, match=re.escape(caught.value.message)):
        machine.run(10)  # it stays down
    return str(caught.value)


def test_flash_is_erased_and_programmed_by_double_words(tmp_path: Path, boards_dir: Path, build_dir: Path) -> None:
    body = f"""
    {UNLOCK} {ERASE}
    result[0] = R({PAGE});
    FLASH(0x14) = 1;
    R({PAGE}) = 0x11223344; R({PAGE} + 4) = 0x55667788;
    *(volatile uint64_t *){PAGE + 8} = 0x0123456789abcdefull;
    result[1] = FLASH(0x10); FLASH(0x14) = 1u << 31;
    result[2] = R({PAGE}); result[3] = R({PAGE} + 4); result[4] = R({PAGE} + 8); result[5] = R({PAGE} + 12);
    result[6] = FLASH(0x14) >> 31;
    """
    machine = board(body, tmp_path, boards_dir, build_dir)
    run_to_breakpoint(machine)
    actual = [word(machine, "result", i) for i in range(7)]
    assert actual == [0xFFFFFFFF, 0, 0x11223344, 0x55667788, 0x89ABCDEF, 0x01234567, 1]


@pytest.mark.parametrize(
    ("stores", "error"),
    [
        (f"R({PAGE}) = 1; R({PAGE} + 4) = 2; R({PAGE}) = 1; R({PAGE} + 4) = 2;", PROGERR),
        (f"R({PAGE} + 4) = 1;", PGAERR),
        (f"R({PAGE}) = 1; R({PAGE} + 16) = 1;", PGAERR),
        (f"*(volatile uint16_t *){PAGE} = 1;", SIZERR),
        (f"*(volatile uint8_t *){PAGE} = 1;", SIZERR),
        (f"FLASH(0x14) = 0; R({PAGE}) = 1;", PGSERR),
        (f"FLASH(0x14) = 1u << 31; R({PAGE}) = 1;", PGSERR),
        (f"R({PAGE} + 4) = 1; R({PAGE}) = 1;", PGAERR | PGSERR),
        ("FLASH(0x14) = 1 << 16;", PGSERR),
    ],
)
def test_wrong_programming_fails_as_on_silicon(
    stores: str, error: int, tmp_path: Path, boards_dir: Path, build_dir: Path
) -> None:
    body = f"{UNLOCK} {ERASE} FLASH(0x14) = 1; {stores} result[0] = FLASH(0x10); result[1] = R({PAGE} + 8);"
    machine = board(body, tmp_path, boards_dir, build_dir)
    run_to_breakpoint(machine)
    assert word(machine, "result") == error
    assert word(machine, "result", 1) == 0xFFFFFFFF


def test_a_programmed_double_word_may_still_become_zero(tmp_path: Path, boards_dir: Path, build_dir: Path) -> None:
    body = f"""{UNLOCK} {ERASE} FLASH(0x14) = 1;
    R({PAGE}) = 1; R({PAGE} + 4) = 2; R({PAGE}) = 0; R({PAGE} + 4) = 0;
    result[0] = FLASH(0x10); result[1] = R({PAGE});"""
    machine = board(body, tmp_path, boards_dir, build_dir)
    run_to_breakpoint(machine)
    assert (word(machine, "result"), word(machine, "result", 1)) == (0, 0)


def test_erasing_one_page_leaves_its_neighbours(tmp_path: Path, boards_dir: Path, build_dir: Path) -> None:
    around = [PAGE - 8, PAGE, PAGE + 4096]
    stores = "".join(f"R({x}) = 7; R({x} + 4) = 7;" for x in around)
    reads = "".join(f"result[{i}] = R({x});" for i, x in enumerate(around))
    machine = board(f"{UNLOCK} FLASH(0x14) = 1; {stores} {ERASE} {reads}", tmp_path, boards_dir, build_dir)
    run_to_breakpoint(machine)
    assert [word(machine, "result", i) for i in range(3)] == [7, 0xFFFFFFFF, 7]


def test_programmed_code_runs_and_counts_as_it_is_now(tmp_path: Path, boards_dir: Path, build_dir: Path) -> None:
    call = f"((void (*)(void)){PAGE + 1})()"
    program = f"""{ERASE} FLASH(0x14) = 1; R({PAGE}) = FIRST; R({PAGE} + 4) = 0x4770; FLASH(0x14) = 0;
    before = CYCCNT; {call}; result[i++] = CYCCNT - before;"""
    two_nops, udiv = "0xBF00BF00", "0xF0F0FBB0"  # nop nop; udiv r0, r0, r0
    body = f"""uint32_t before, i = 0; DEMCR |= 1 << 24; DWT_CTRL |= 1; {UNLOCK}
    {program.replace("FIRST", two_nops)} {program.replace("FIRST", udiv)}"""
    machine = board(body, tmp_path, boards_dir, build_dir)
    run_to_breakpoint(machine)
    assert word(machine, "result", 1) - word(machine, "result", 0) == 8 - 2


def test_clock_and_timer(tmp_path: Path, boards_dir: Path, build_dir: Path) -> None:
    body = """
    clock_120_mhz();
    R(0x40021058) |= 1;
    TIM2(0x28) = 119; TIM2(0x14) = 1; TIM2(0) = 1;
    DEMCR |= 1 << 24; DWT_CTRL |= 1;
    uint32_t us = TIM2(0x24), cycles = CYCCNT;
    for (volatile int i = 0; i < 100000; ++i) {}
    result[0] = TIM2(0x24) - us; result[1] = CYCCNT - cycles;
    """
    machine = board(body, tmp_path, boards_dir, build_dir)
    run_to_breakpoint(machine)
    assert machine.chip.rcc.hclk_hz == 120e6
    assert word(machine, "result", 1) > 500_000
    assert abs(word(machine, "result") - word(machine, "result", 1) / 120) <= 2


def test_a_prescaler_without_an_update_event_does_nothing(tmp_path: Path, boards_dir: Path, build_dir: Path) -> None:
    body = """
    R(0x40021058) |= 1; TIM2(0x28) = 3; TIM2(0) = 1;
    DEMCR |= 1 << 24; DWT_CTRL |= 1;
    uint32_t ticks = TIM2(0x24), cycles = CYCCNT;
    for (volatile int i = 0; i < 1000; ++i) {}
    result[0] = TIM2(0x24) - ticks; result[1] = CYCCNT - cycles;
    """
    machine = board(body, tmp_path, boards_dir, build_dir)
    run_to_breakpoint(machine)
    assert abs(word(machine, "result") - word(machine, "result", 1)) < 20


def test_time_passes_without_the_counter_too(tmp_path: Path, boards_dir: Path, build_dir: Path) -> None:
    body = """
    clock_120_mhz();
    R(0x40021058) |= 1; TIM2(0x28) = 119; TIM2(0x14) = 1; TIM2(0) = 1;
    while (TIM2(0x24) < 20000) {}
    """
    run_to_breakpoint(board(body, tmp_path, boards_dir, build_dir))


def test_the_cycle_counter_needs_trcena_and_can_be_written(tmp_path: Path, boards_dir: Path, build_dir: Path) -> None:
    body = """
    DWT_CTRL |= 1; CYCCNT = 5; result[0] = CYCCNT; result[1] = DWT_CTRL;
    DEMCR |= 1 << 24; result[2] = DWT_CTRL;
    CYCCNT = 0xFFFFFFF0; result[3] = CYCCNT; DWT_CTRL |= 1;
    uint32_t before = CYCCNT; for (volatile int i = 0; i < 10; ++i) {} result[4] = CYCCNT - before; result[5] = CYCCNT;
    DWT_CTRL &= ~1u; result[6] = CYCCNT; result[7] = CYCCNT;
    """
    machine = board(body, tmp_path, boards_dir, build_dir)
    run_to_breakpoint(machine)
    actual = [word(machine, "result", i) for i in range(8)]
    assert actual[:4] == [0, 0, 0x40000000, 0xFFFFFFF0]
    assert 50 < actual[4] < 200 and actual[5] < 200  # wrapped
    assert actual[6] == actual[7] > actual[5]


def test_the_counter_may_go_off_and_on_in_one_block(tmp_path: Path, boards_dir: Path, build_dir: Path) -> None:
    body = """
    DEMCR |= 1 << 24; DWT_CTRL |= 1;
    for (int i = 0; i < 3; ++i) {
        DWT_CTRL = 0; __asm__ volatile("nop; nop; nop"); DWT_CTRL = 1;
        uint32_t before = CYCCNT; __asm__ volatile("nop; nop; nop; nop; nop"); result[i] = CYCCNT - before;
    }
    """
    machine = board(body, tmp_path, boards_dir, build_dir)
    run_to_breakpoint(machine)
    assert [word(machine, "result", i) for i in range(3)] == [5 + 2] * 3  # nops, and the load that reads


def test_a_reset_keeps_ram_and_resets_registers(tmp_path: Path, boards_dir: Path, build_dir: Path) -> None:
    body = """
    volatile uint32_t *kept = (volatile uint32_t *)0x20010000;
    result[0] = R(0x4002104C);
    if (kept[0] == 0x600D) return;
    kept[0] = 0x600D; R(0x4002104C) = 0x7F; DEMCR |= 1 << 24; DWT_CTRL |= 1;
    R(0xE000ED0C) = 0x05FA0004;
    for (;;) {}
    """
    machine = board(body, tmp_path, boards_dir, build_dir)
    run_to_breakpoint(machine)
    assert word(machine, "result") == 0


def test_a_wrong_key_does_not_reset(tmp_path: Path, boards_dir: Path, build_dir: Path) -> None:
    machine = board("R(0xE000ED0C) = 0x1234 << 16 | 4; result[0] = 1;", tmp_path, boards_dir, build_dir)
    run_to_breakpoint(machine)
    assert word(machine, "result") == 1


def test_code_in_ram_counts_and_misses_no_cache(tmp_path: Path, boards_dir: Path, build_dir: Path) -> None:
    source = f"""{C_START}
    extern uint32_t ramcode_start[], ramcode_end[], ramcode_load[];
    __attribute__((section(".ramcode"), noinline, long_call)) void fast(void) {{
        for (int i = 0; i < 100; ++i) __asm__ volatile("nop");
    }}
    void run(void) {{
        for (uint32_t *to = ramcode_start, *from = ramcode_load; to < ramcode_end;) *to++ = *from++;
        DEMCR |= 1 << 24; DWT_CTRL |= 1;
        for (int i = 0; i < 2; ++i) {{ uint32_t before = CYCCNT; fast(); result[i] = CYCCNT - before; }}
        DWT_CTRL &= ~1u;
    }}"""
    machine = power_on(compile_program(tmp_path, source), library(boards_dir, build_dir))
    run_to_breakpoint(machine)
    assert word(machine, "result") == word(machine, "result", 1)
    assert 300 < word(machine, "result") < 330
    assert machine.counts().icache_sector_misses < 30


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("R(0x30000000) = 1;", r"writes 0x30000000, where nothing is, at 0x0800.* \(run\+0x"),
        ("result[0] = R(0x60000004);", r"reads 0x60000004, where nothing is, at 0x0800.* \(run\+0x"),
        ("R(0x1000) = 1;", "writes 0x00001000, which is read-only, at 0x0800"),
        ("R(0x1FFF7590) = 1;", "writes 0x1fff7590, which is read-only, at 0x0800"),
        ("result[0] = R(0xF0000000);", "stops with .*exception.*, at 0x0800"),
        ("R(0x40000400) = 1;", "touches 0x40000400, where no register is, at 0x0800"),
        ("result[0] = R(0x40021FFC);", "touches 0x40021ffc, where no register is, at 0x0800"),
        ("result[0] = R(0x40008000);", "LPUART1, whose clock is off"),
        ("__asm__ volatile(\"udf 0\");", "undefined instruction"),
        ("__asm__ volatile(\"svc 0\");", "SVC"),
        ("((void (*)(void))0x20000001)();", "undefined instruction|stops with"),
        ("((void (*)(void))0x70000001)();", "runs into 0x70000000, where nothing is"),
        ("FLASH(8) = 1;", "wrong flash key"),
        ("R(0xE000E100) = 1;", "no interrupts"),
        ("for (;;) {}", "endless loop at 0x0800.* \\(run\\+0x"),
        ("R(0x40021008) = 1; R(0x4002100C) = 1 | 60 << 8 | 1 << 24; R(0x40021008) = 3;", "120 MHz with 0 wait states"),
        ("FLASH(0) = 5; R(0x4002100C) = 1 | 60 << 8 | 1 << 24; R(0x40021008) = 3;", "core voltage for 80 MHz"),
    ],
)  # fmt: skip
def test_what_silicon_would_not_survive_is_said(
    body: str, says: str, tmp_path: Path, boards_dir: Path, build_dir: Path
) -> None:
    if "endless" in says:
        machine = board(body, tmp_path, boards_dir, build_dir)
        with pytest.raises(DeviceError, match=says):
            machine.run(0.1)
        return
    assert re.search(says, fault(body, tmp_path, boards_dir, build_dir))


def test_a_fault_while_counting_names_its_place(tmp_path: Path, boards_dir: Path, build_dir: Path) -> None:
    body = "DEMCR |= 1 << 24; DWT_CTRL |= 1; for (volatile int i = 0; i < 9; ++i) {} result[0] = R(0x50000000);"
    assert re.search(r"reads 0x50000000, where nothing is, at 0x.*run\+", fault(body, tmp_path, boards_dir, build_dir))


def test_an_image_for_another_board_is_refused(tmp_path: Path, boards_dir: Path, build_dir: Path) -> None:
    elf = compile_program(tmp_path, C_START + "void run(void) {}", flash="0x00000000")
    with pytest.raises(InputError, match="outside flash"):
        power_on(elf, library(boards_dir, build_dir))


@pytest.mark.parametrize("cut", [0, 3, 20, 51, 60, 200, 1000])
def test_a_damaged_elf_is_refused(cut: int, tmp_path: Path) -> None:
    elf = compile_program(tmp_path, C_START + "void run(void) { result[0] = 1; }")
    damaged = tmp_path / "cut.elf"
    damaged.write_bytes(elf.read_bytes()[:cut])
    with pytest.raises(InputError, match="32-bit ARM executable"):
        read_elf(damaged)


def test_an_elf_of_this_computer_is_refused() -> None:
    with pytest.raises(InputError, match="not a 32-bit ARM executable"):
        read_elf(Path("/bin/sh"))


IN_IT = (
    C_START
    + """
/* Reads or writes *where inside an IT block that ends behind it, and returns at once. */
__attribute__((naked, noinline)) static uint32_t conditional(uint32_t where, uint32_t value) {
    __asm__ volatile("cmp r0, #0\\n ittee ne\\n ACCESS r2, [r0]\\n movne r0, r1\\n moveq r0, #1\\n moveq r0, #2\\n"
                     "bx lr");
}
void run(void) {
    clock_120_mhz();
    FLASH(8) = 0x45670123; FLASH(8) = 0xCDEF89AB; FLASH(0x14) = 1;
    SETUP
    uint32_t sum = 0;
    for (uint32_t i = 0; i < 50; ++i) sum = sum * 31 + conditional(WHERE, i) + 5;
    result[0] = sum;
}
"""
)


@pytest.mark.parametrize("setup", ["", "DEMCR |= 1 << 24; DWT_CTRL |= 1;"])
@pytest.mark.parametrize(
    ("access", "where"),
    [
        ("ldrne", "0x40021000"),
        ("strne", "0x48000014"),
        ("ldrne", "0x08000000"),
        ("ldrne", "0x080FF000"),  # a page not yet known when the block begins
        ("strne", "0x08100000"),
    ],
)
def test_an_access_inside_an_it_block_does_not_make_what_follows_conditional(
    access: str, where: str, setup: str, tmp_path: Path, boards_dir: Path, build_dir: Path
) -> None:
    setup += "R(0x4002104C) = 1;"
    source = IN_IT.replace("ACCESS", access).replace("WHERE", where).replace("SETUP", setup)
    machine = power_on(compile_program(tmp_path, source), library(boards_dir, build_dir))
    run_to_breakpoint(machine)
    expected = 0
    for i in range(50):
        expected = (expected * 31 + i + 5) & 0xFFFFFFFF
    assert word(machine, "result") == expected
