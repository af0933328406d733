/* SPDX-License-Identifier: MIT
 * MPS2 AN386 in QEMU (Arm DAI 0386; peripherals of the Cortex-M System Design Kit, Arm DDI 0479).
 *
 * QEMU has no DWT. With -icount its time is the instructions executed, so the cycle counter here is a timer of
 * 25 MHz scaled back: a tick of 40 ns is 5/8 of the 64 ns that board.toml gives an instruction.
 */
#include <string.h>

#include "../cortex_m/cortex_m.h"
#include "hal.h"

#define UART0_DATA REGISTER(0x40004000)
#define UART0_STATE REGISTER(0x40004004)
#define UART0_CTRL REGISTER(0x40004008)
#define UART0_BAUDDIV REGISTER(0x40004010)
#define UART_TX_FULL (1u << 0)
#define UART_RX_FULL (1u << 1)
#define UART_ENABLE 3u /* transmitter and receiver */

#define TIMER0_CTRL REGISTER(0x40000000)
#define TIMER0_VALUE REGISTER(0x40000004)
#define TIMER0_RELOAD REGISTER(0x40000008)

#define TICKS_PER_US 25u
#define STORE_OFFSET (BOARD_FLASH_BYTES / 2u)

_Static_assert(BOARD_CPU_HZ == 15625000u, "5/8 of the timer's 25 MHz");

static uint32_t cycles_begin; /* ticks */

static uint32_t ticks(void)
{
    return ~TIMER0_VALUE; /* it counts down from 0xFFFFFFFF */
}

void hal_init(void)
{
    UART0_BAUDDIV = 25000000u / BOARD_BAUD;
    UART0_CTRL = UART_ENABLE;
    (void)UART0_DATA; /* QEMU looks at the socket again only when told that there is room: now, and at each read */
    TIMER0_RELOAD = 0xFFFFFFFFu;
    TIMER0_VALUE = 0xFFFFFFFFu;
    TIMER0_CTRL = 1u;
}

int hal_getc(void)
{
    return (UART0_STATE & UART_RX_FULL) != 0 ? (int)(UART0_DATA & 0xFFu) : -1;
}

void hal_write(const void *data, size_t bytes)
{
    for (const uint8_t *at = data; bytes > 0; bytes--) {
        while ((UART0_STATE & UART_TX_FULL) != 0) {
        }
        UART0_DATA = *at++;
    }
}

void hal_cycles_enable(bool on)
{
    if (on)
        cycles_begin = ticks();
}

uint32_t hal_cycles(void)
{
    return (uint32_t)((uint64_t)(ticks() - cycles_begin) * 5u / 8u);
}

uint32_t hal_cycles_hz(void)
{
    return BOARD_CPU_HZ;
}

/* The timer wraps after 171 s, so what has passed is added up at each call. */
uint32_t hal_micros(void)
{
    static uint32_t seen;
    static uint64_t total;
    const uint32_t now = ticks();
    total += now - seen;
    seen = now;
    return (uint32_t)(total / TICKS_PER_US);
}

void hal_reset(void)
{
    cortex_m_reset();
}

static bool in_store(size_t offset, size_t bytes)
{
    return offset <= STORE_OFFSET && bytes <= STORE_OFFSET - offset;
}

static uint8_t *store(void)
{
    return (uint8_t *)STORE_OFFSET;
}

bool hal_store_erase(size_t offset, size_t bytes)
{
    if (!in_store(offset, bytes))
        return false;
    memset(store() + offset, 0xFF, bytes);
    return true;
}

bool hal_store_write(size_t offset, const void *data, size_t bytes)
{
    if (offset % 8 != 0 || !in_store(offset, bytes))
        return false;
    memcpy(store() + offset, data, bytes);
    return memcmp(store() + offset, data, bytes) == 0;
}

const struct hal_memory *hal_memory(void)
{
    return cortex_m_memory(store(), STORE_OFFSET);
}
