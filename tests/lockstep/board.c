/* SPDX-License-Identifier: MIT
 * The firmware in lockstep with a test: time passes only where the test says so. A timeout then costs nothing, and
 * a campaign is the same to the bit wherever it runs. On standard input and output, native byte order:
 *
 *   test -> firmware   struct message, then its bytes
 *   firmware -> test   struct answer, then its bytes, whenever it waits for input; also after a start
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hal.h"

enum { STORE_BYTES = 1 << 20, OUT_BYTES = 1 << 22, IN_BYTES = 1 << 16, RUN_US = 300000, INPUT_AT = 32000 };
enum order { GO_ON, RESET, BREAK_STORE, MEND_STORE };

struct message {
    uint64_t now_us;
    uint32_t order; /* enum order */
    uint32_t bytes;
};

struct answer {
    uint32_t spent_us; /* that the firmware was busy */
    uint32_t more;     /* 1: another answer follows, a reset came between */
    uint32_t bytes;
};

static _Alignas(16) uint8_t pool[BOARD_RAM_BYTES];
static _Alignas(16) uint8_t store[STORE_BYTES];
static uint8_t out[OUT_BYTES], in[IN_BYTES];
static size_t out_bytes, in_next, in_end;
static uint64_t now_us;
static uint32_t spent_us, cycles, random_state;
static bool store_broken;

static void put(const void *data, size_t bytes)
{
    for (const uint8_t *at = data; bytes > 0;) {
        const ssize_t done = write(STDOUT_FILENO, at, bytes);
        if (done <= 0)
            exit(0);
        at += done;
        bytes -= (size_t)done;
    }
}

static void get(void *data, size_t bytes)
{
    for (uint8_t *at = data; bytes > 0;) {
        const ssize_t done = read(STDIN_FILENO, at, bytes);
        if (done <= 0)
            exit(0);
        at += done;
        bytes -= (size_t)done;
    }
}

static void answer(bool more)
{
    const struct answer head = {.spent_us = spent_us, .more = more, .bytes = (uint32_t)out_bytes};
    put(&head, sizeof head);
    put(out, out_bytes);
    out_bytes = 0;
    spent_us = 0;
}

static void start_again(void)
{
    execl("/proc/self/exe", "firmware.elf", (char *)NULL);
    abort();
}

int hal_getc(void)
{
    struct message message;
    if (in_next < in_end)
        return in[in_next++];
    answer(false);
    get(&message, sizeof message);
    if (message.bytes > sizeof in)
        abort();
    get(in, message.bytes);
    in_next = 0;
    in_end = message.bytes;
    now_us = message.now_us;
    if (message.order == RESET)
        start_again();
    if (message.order != GO_ON)
        store_broken = message.order == BREAK_STORE;
    return in_next < in_end ? in[in_next++] : -1;
}

void hal_init(void)
{
    memset(store, 0xFF, sizeof store);
}

void hal_write(const void *data, size_t bytes)
{
    if (bytes > sizeof out - out_bytes)
        abort();
    memcpy(out + out_bytes, data, bytes);
    out_bytes += bytes;
}

/* A measured run takes 0.3 s, and its counts depend on the network's input, so that no two look alike. */
void hal_cycles_enable(bool on)
{
    if (!on)
        return;
    spent_us += RUN_US;
    random_state = 1;
    for (size_t i = 0; i < 512; i++)
        random_state = random_state * 31u + pool[INPUT_AT + i];
}

uint32_t hal_cycles(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return cycles += 50u + (random_state >> 24);
}

uint32_t hal_cycles_hz(void)
{
    return BOARD_CPU_HZ;
}

uint32_t hal_micros(void)
{
    return (uint32_t)(now_us + spent_us);
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
    answer(true);
    start_again();
}

bool hal_store_erase(size_t offset, size_t bytes)
{
    if (offset > sizeof store || bytes > sizeof store - offset)
        return false;
    memset(store + offset, 0xFF, bytes);
    return true;
}

bool hal_store_write(size_t offset, const void *data, size_t bytes)
{
    if (store_broken || offset % 8 != 0 || offset > sizeof store || bytes > sizeof store - offset)
        return false;
    memcpy(store + offset, data, bytes);
    return true;
}

const struct hal_memory *hal_memory(void)
{
    static const struct hal_memory memory = {
        .pool = pool, .pool_bytes = sizeof pool, .store = store, .store_bytes = sizeof store};
    return &memory;
}
