/* SPDX-License-Identifier: MIT
 * A board whose UART reads a fuzzer's bytes. Time passes in silence only; what is sent must be printable lines.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "hal.h"

enum { STORE_BYTES = 1 << 20, SILENCE_US = 3000000 };

int16_t stream[STREAM_BYTES];
size_t stream_end;
jmp_buf stream_over;

static _Alignas(16) uint8_t pool[BOARD_RAM_BYTES];
static _Alignas(16) uint8_t store[STORE_BYTES];
static size_t next;
static uint32_t now_us, cycles;

void stream_begin(void)
{
    next = 0;
}

void hal_init(void)
{
}

int hal_getc(void)
{
    if (next == stream_end)
        longjmp(stream_over, 1);
    if (stream[next] == SILENCE)
        now_us += SILENCE_US;
    return stream[next++];
}

void hal_write(const void *data, size_t bytes)
{
    for (const char *at = data; bytes > 0; at++, bytes--)
        if (*at != '\r' && *at != '\n' && (*at < ' ' || *at > '~'))
            abort();
}

void hal_cycles_enable(bool on)
{
    (void)on;
}

uint32_t hal_cycles(void)
{
    return cycles += 1000;
}

uint32_t hal_cycles_hz(void)
{
    return BOARD_CPU_HZ;
}

uint32_t hal_micros(void)
{
    return now_us += 100;
}

uint32_t hal_irq_off(void)
{
    return 0;
}

void hal_irq_restore(uint32_t state)
{
    (void)state;
}

void hal_reset(void)
{
    longjmp(stream_over, 1);
}

bool hal_store_erase(size_t offset, size_t bytes)
{
    if (offset % HAL_STORE_UNIT != 0 || offset > sizeof store || bytes > sizeof store - offset)
        abort(); /* the HAL may trust the firmware */
    memset(store + offset, 0xFF, bytes);
    return true;
}

bool hal_store_write(size_t offset, const void *data, size_t bytes)
{
    if (offset % 8 != 0 || offset > sizeof store || bytes > sizeof store - offset)
        abort();
    memcpy(store + offset, data, bytes);
    return true;
}

const struct hal_memory *hal_memory(void)
{
    static const struct hal_memory memory = {
        .pool = pool, .pool_bytes = sizeof pool, .store = store, .store_bytes = sizeof store};
    return &memory;
}
