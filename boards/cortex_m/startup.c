/* SPDX-License-Identifier: MIT
 * From reset to main(), and what happens on a fault: the reason goes out over the UART and the board restarts, so
 * that it is ready for the next command. No interrupt is ever enabled.
 */
#include <string.h>

#include "cortex_m.h"
#include "hal.h"

#define CPACR REGISTER(0xE000ED88) /* B3.2.20 */
#define AIRCR REGISTER(0xE000ED0C) /* B3.2.6 */
#define CFSR REGISTER(0xE000ED28)  /* B3.2.15 */
#define AIRCR_KEY_SYSRESETREQ 0x05FA0004u
#define FPU_FULL_ACCESS (0xFu << 20)

int main(void);
void fault_handler(void);

static bool running; /* the UART can speak */

static void barrier(void)
{
    __asm volatile("dsb\n\tisb" ::: "memory");
}

/* The stack pointer comes from the vector table; nothing may be on the stack below it yet. */
static void paint_stack(void)
{
    uint32_t *top;
    __asm volatile("mov %0, sp" : "=r"(top));
    for (uint32_t *word = link_stack_low; word < top - 8; word++)
        *word = HAL_STACK_PAINT;
}

__attribute__((used, noreturn)) void reset_handler(void)
{
    __asm volatile("cpsid i");
    CPACR |= FPU_FULL_ACCESS; /* before the compiler's first use of a float register */
    barrier();
    paint_stack();
    for (uint32_t *from = link_data_load, *to = link_data_begin; to < link_data_end;)
        *to++ = *from++;
    for (uint32_t *to = link_bss_begin; to < link_bss_end;)
        *to++ = 0;
    running = true;
    main();
    cortex_m_trap("main returned");
}

_Noreturn void cortex_m_reset(void)
{
    barrier();
    AIRCR = AIRCR_KEY_SYSRESETREQ;
    barrier();
    for (;;) {
    }
}

static void say(const char *text)
{
    hal_write(text, strlen(text));
}

static void say_hex(uint32_t value)
{
    for (int shift = 28; shift >= 0; shift -= 4)
        hal_write(&"0123456789abcdef"[(value >> shift) & 15u], 1);
}

_Noreturn void cortex_m_trap(const char *reason)
{
    if (running) {
        say("e-[stopped: ");
        say(reason);
        say("]\r\n");
    }
    for (;;) {
    }
}

/* frame: r0 to r3, r12, lr, pc, xpsr, as the core pushed them (B1.5.6). */
__attribute__((used)) void report_fault(const uint32_t *frame)
{
    const bool readable = frame >= link_stack_low && frame + 8 <= link_stack_high;
    const uint32_t at = readable ? frame[6] : 0;
    say("e-[fault ");
    say_hex(CFSR);
    say(" at ");
    say_hex(at);
    say("]\r\n");
    cortex_m_reset();
}

/* The stack may be what overflowed: report from a fresh one. */
__attribute__((naked, used)) void fault_handler(void)
{
    __asm volatile("mrs r0, msp\n\t"
                   "ldr r1, =link_stack_high\n\t"
                   "mov sp, r1\n\t"
                   "b report_fault\n\t"
                   ".ltorg");
}

typedef void (*handler)(void);
struct vectors {
    const uint32_t *stack;
    handler reset, system[14];
};

/* B1.5.3. Interrupts of peripherals stay disabled, so their vectors are left out. */
__attribute__((used, section(".vectors"))) static const struct vectors vectors = {
    .stack = link_stack_high,
    .reset = reset_handler,
    .system = {fault_handler, fault_handler, fault_handler, fault_handler, fault_handler, NULL, NULL, NULL, NULL,
               fault_handler, fault_handler, NULL, fault_handler, fault_handler},
};
