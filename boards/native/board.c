/* SPDX-License-Identifier: MIT
 * The development machine as a board: the wire on standard input and output or on a socket.
 *
 *   firmware.elf              standard input and output
 *   firmware.elf fd NUMBER    a connected socket that it has been handed
 *
 * It ends when the other side goes away.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "hal.h"

enum { IDLE_MS = 20, STORE_BYTES = 1 << 20 };

static _Alignas(16) uint8_t pool[BOARD_RAM_BYTES];
static _Alignas(16) uint8_t store[STORE_BYTES];
static int in_fd = STDIN_FILENO, out_fd = STDOUT_FILENO;
static uint64_t started_ns;
static char out[4096];
static size_t out_bytes;

static void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static long number_of(const char *text, long high)
{
    char *end = NULL;
    const long value = strtol(text, &end, 10);
    if (end == text || *end != '\0' || value < 0 || value > high) {
        fprintf(stderr, "'%s' is no number from 0 to %ld\n", text, high);
        exit(2);
    }
    return value;
}

/* glibc hands main's arguments to constructors; the firmware's main has none. */
__attribute__((constructor)) static void open_wire(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "fd") == 0)
        in_fd = out_fd = (int)number_of(argv[2], 1 << 20);
    else if (argc != 1)
        errno = EINVAL, fail("usage: firmware.elf [fd NUMBER]");
}

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

void hal_init(void)
{
    signal(SIGPIPE, SIG_IGN);
    started_ns = now_ns();
    memset(store, 0xFF, sizeof store);
}

static void flush(void)
{
    for (size_t done = 0; done < out_bytes;) {
        const ssize_t put = write(out_fd, out + done, out_bytes - done);
        if (put < 0 && errno != EINTR)
            exit(0); /* the client has gone */
        done += put > 0 ? (size_t)put : 0;
    }
    out_bytes = 0;
}

int hal_getc(void)
{
    static uint8_t in[4096];
    static size_t next, end;
    if (next < end)
        return in[next++];
    flush();
    struct pollfd waiting = {.fd = in_fd, .events = POLLIN};
    if (poll(&waiting, 1, IDLE_MS) <= 0)
        return -1;
    const ssize_t got = read(in_fd, in, sizeof in);
    if (got <= 0)
        exit(0);
    next = 0;
    end = (size_t)got;
    return in[next++];
}

void hal_write(const void *data, size_t bytes)
{
    for (const char *at = data; bytes > 0;) {
        const size_t room = sizeof out - out_bytes, part = bytes < room ? bytes : room;
        memcpy(out + out_bytes, at, part);
        out_bytes += part;
        at += part;
        bytes -= part;
        if (out_bytes == sizeof out || out[out_bytes - 1] == '\n')
            flush();
    }
}

void hal_cycles_enable(bool on)
{
    (void)on; /* a clock that always runs */
}

uint32_t hal_cycles(void)
{
    return (uint32_t)(now_ns() / (1000000000u / BOARD_CPU_HZ));
}

uint32_t hal_cycles_hz(void)
{
    return BOARD_CPU_HZ;
}

uint32_t hal_micros(void)
{
    return (uint32_t)((now_ns() - started_ns) / 1000u);
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
    char number[16];
    flush();
    if (in_fd == STDIN_FILENO)
        execl("/proc/self/exe", "firmware.elf", (char *)NULL);
    snprintf(number, sizeof number, "%d", in_fd);
    execl("/proc/self/exe", "firmware.elf", "fd", number, (char *)NULL);
    fail("cannot restart");
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
    if (offset % 8 != 0 || offset > sizeof store || bytes > sizeof store - offset)
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
