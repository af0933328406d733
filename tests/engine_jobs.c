/* SPDX-License-Identifier: MIT
 * Plans from standard input, each {uint32 bytes, plan}, loaded and run with memory of exactly the size that they
 * name, so that a sanitizer sees every byte too far. One line for each: `ran`, or the operator and the reason.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "plan.h"

#define ARENA_LIMIT 65536u

static void *exactly(size_t bytes)
{
    void *memory = NULL;
    return posix_memalign(&memory, 16, bytes) == 0 ? memory : NULL;
}

static void job(const uint8_t *plan, uint32_t bytes)
{
    struct plan_header header = {.arena_bytes = 0};
    memcpy(&header, plan, bytes < sizeof header ? bytes : sizeof header);
    const size_t arena_bytes = header.arena_bytes < ARENA_LIMIT ? header.arena_bytes : ARENA_LIMIT;
    uint8_t *arena = exactly(arena_bytes);
    struct engine_model model;
    memset(arena, 0x55, arena_bytes);
    const struct engine_fault fault = engine_load(&model, plan, bytes, arena, arena_bytes);
    if (fault.reason != NULL)
        printf("%d %s\n", (int)fault.op, fault.reason);
    else
        printf("%s\n", engine_run(&model, NULL, NULL) ? "ran" : "a kernel refused");
    free(arena);
}

int main(void)
{
    uint32_t bytes = 0;
    while (fread(&bytes, sizeof bytes, 1, stdin) == 1) {
        uint8_t *plan = exactly(bytes);
        if (plan == NULL || fread(plan, 1, bytes, stdin) != bytes)
            return 1;
        job(plan, bytes);
        free(plan);
    }
    return 0;
}
