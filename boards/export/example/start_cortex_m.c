/* SPDX-License-Identifier: MIT
 * Starts the example on a bare Cortex-M with a debugger or an emulator that answers semihosting. A product has a
 * start of its own and leaves this file out.
 */
#include <stdint.h>

extern void _start(void); /* newlib's: clears .bss, asks the debugger for stack and arguments, calls main */

enum { STACK_BYTES = 8192 };
static _Alignas(8) uint8_t stack[STACK_BYTES];

void reset(void);

void reset(void)
{
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR (Armv7-M B3.2.20): the FPU is off after reset */
    __asm volatile("dsb\n\tisb");
    _start();
}

static void hang(void)
{
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    stack + STACK_BYTES, (void *)reset, (void *)hang, (void *)hang, (void *)hang, (void *)hang, (void *)hang};
