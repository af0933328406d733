/* SPDX-License-Identifier: MIT
 * libFuzzer's way into the firmware; the environment's HIL_FUZZ says which.
 *
 *   wire   the input is a script: {u8 what, u16 bytes, bytes} over and over. 0 types the bytes, 1 to 8 upload them
 *          to a slot in RAM or flash with the command, length and CRCs that make the firmware look at them, 9 is a
 *          silence. What the firmware says must be printable.
 *   plan   the input is a plan; header and CRC are made good, it is loaded into memory of exactly its size and with an
 *          arena of exactly what it asks for, and run where it was accepted.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../boards/src/slots.h"
#include "crc32.h"
#include "engine.h"
#include "front_end.h"
#include "fuzz.h"
#include "plan.h"

enum { ARENA_BYTES = 1 << 16, MOST_RUNS = 6, UPLOADS = 8, SCRIPT_SILENCE = UPLOADS + 1, SCRIPT_KINDS };
#define MOST_MACS 300000u

int LLVMFuzzerInitialize(int *count, char ***words);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int firmware_main(void);
bool __real_engine_run(const struct engine_model *model, engine_probe probe, void *context);
bool __wrap_engine_run(const struct engine_model *model, engine_probe probe, void *context);
void __real_front_end_run(const void *blob, const int16_t *samples, void *scratch, int8_t *out);
void __wrap_front_end_run(const void *blob, const int16_t *samples, void *scratch, int8_t *out);
void __real_front_end_run_probed(const void *blob, const int16_t *samples, void *scratch, int8_t *out,
                                 front_end_probe probe, void *context);
void __wrap_front_end_run_probed(const void *blob, const int16_t *samples, void *scratch, int8_t *out,
                                 front_end_probe probe, void *context);

static bool fuzz_plan;
static int runs;

int LLVMFuzzerInitialize(int *count, char ***words)
{
    (void)count, (void)words;
    const char *what = getenv("HIL_FUZZ");
    fuzz_plan = what != NULL && strcmp(what, "plan") == 0;
    return 0;
}

static uint64_t macs(const struct plan_header *plan)
{
    const struct plan_op *op = (const struct plan_op *)(plan + 1);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < plan->op_count; i++, op++) {
        const uint64_t out = (uint64_t)op->out_h * op->out_w * op->out_c;
        const uint64_t kernel = op->kind <= PLAN_MAX_POOL ? (uint64_t)op->kernel_h * op->kernel_w : 1;
        const uint64_t window = op->kind == PLAN_MEAN ? op->in_w : kernel;
        const uint64_t depth = op->kind == PLAN_CONV || op->kind == PLAN_FULLY_CONNECTED ? op->in_c : 1;
        const uint64_t map = op->kind == PLAN_FULLY_CONNECTED ? (uint64_t)op->in_h * op->in_w : window;
        if (out > MOST_MACS || map > MOST_MACS || depth * map > MOST_MACS)
            return UINT64_MAX; /* no product below overflows */
        sum += out * map * depth;
    }
    return sum;
}

/* A script that asks for a million runs, or a network of a billion products, ends the input here. */
bool __wrap_engine_run(const struct engine_model *model, engine_probe probe, void *context)
{
    if (++runs > MOST_RUNS || macs(model->blob) > MOST_MACS)
        longjmp(stream_over, 1);
    return __real_engine_run(model, probe, context);
}

void __wrap_front_end_run(const void *blob, const int16_t *samples, void *scratch, int8_t *out)
{
    if (++runs > 2 || front_end_frames(blob) > 60)
        longjmp(stream_over, 1);
    __real_front_end_run(blob, samples, scratch, out);
}

void __wrap_front_end_run_probed(const void *blob, const int16_t *samples, void *scratch, int8_t *out,
                                 front_end_probe probe, void *context)
{
    if (++runs > 2 || front_end_frames(blob) > 60)
        longjmp(stream_over, 1);
    __real_front_end_run_probed(blob, samples, scratch, out, probe, context);
}

static void seal_plan(uint8_t *blob, size_t bytes)
{
    struct plan_header header;
    if (bytes < sizeof header)
        return;
    memcpy(&header, blob, sizeof header);
    header.magic = PLAN_MAGIC;
    header.version = PLAN_VERSION;
    header.header_bytes = sizeof header;
    header.total_bytes = (uint32_t)bytes;
    memcpy(blob, &header, sizeof header);
    const size_t behind = offsetof(struct plan_header, crc32) + sizeof header.crc32;
    header.crc32 = crc32(0, blob + behind, bytes - behind);
    memcpy(blob, &header, sizeof header);
}

static void seal_front_end(uint8_t *blob, size_t bytes)
{
    struct front_end_header header;
    const size_t behind = offsetof(struct front_end_header, crc32) + sizeof header.crc32;
    if (bytes < sizeof header)
        return;
    memcpy(&header, blob, sizeof header);
    header.magic = FRONT_END_MAGIC;
    header.version = FRONT_END_VERSION;
    header.kind = header.kind % 2 == 0 ? FRONT_END_MFCC : FRONT_END_LOG_MEL;
    header.header_bytes = header.kind == FRONT_END_MFCC ? 96 : 80;
    header.total_bytes = (uint32_t)bytes;
    memcpy(blob, &header, sizeof header);
    header.crc32 = crc32(0, blob + behind, bytes - behind);
    memcpy(blob, &header, sizeof header);
}

static void type(const void *data, size_t bytes)
{
    const uint8_t *at = data;
    for (size_t i = 0; i < bytes && stream_end < STREAM_BYTES; i++)
        stream[stream_end++] = at[i];
}

static void type_upload(unsigned what, const uint8_t *data, size_t bytes)
{
    static const char *const slots[] = {"plan", "frontend", "audio", "input"};
    char command[80];
    uint8_t *blob = malloc(bytes + 1);
    memcpy(blob, data, bytes);
    if (what % 4 == SLOT_PLAN)
        seal_plan(blob, bytes);
    else if (what % 4 == SLOT_FRONT_END)
        seal_front_end(blob, bytes);
    const int length = snprintf(command, sizeof command, "hil load %s %s %zu %08x%%", slots[what % 4],
                                what / 4 != 0 ? "flash" : "ram", bytes, (unsigned)crc32(0, blob, bytes));
    type(command, (size_t)length);
    type(blob, bytes);
    free(blob);
}

static void type_script(const uint8_t *data, size_t bytes)
{
    stream_end = 0;
    while (bytes >= 3) {
        const unsigned what = data[0] % SCRIPT_KINDS;
        size_t size = data[1] + 256u * data[2];
        data += 3;
        bytes -= 3;
        size = size < bytes ? size : bytes;
        if (what == SCRIPT_SILENCE && stream_end < STREAM_BYTES)
            stream[stream_end++] = SILENCE;
        else if (what == 0)
            type(data, size);
        else if (what <= UPLOADS)
            type_upload(what - 1, data, size);
        if (what != SCRIPT_SILENCE) {
            data += size;
            bytes -= size;
        }
    }
}

static void run_wire(const uint8_t *data, size_t bytes)
{
    type_script(data, bytes);
    memset(&network, 0, sizeof network);
    memset(&front_end, 0, sizeof front_end);
    audio_set(0);
    input_set(0);
    runs = 0;
    stream_begin();
    if (setjmp(stream_over) == 0)
        firmware_main();
}

/* What the delay lines of a plan hold, as it was before the operator that runs. */
static uint8_t kept[ARENA_BYTES];

/* An operator writes to no delay line but its own. */
static void watch_lines(void *context, uint32_t ran)
{
    const struct engine_model *model = context;
    const struct plan_op *ops = (const struct plan_op *)((const uint8_t *)model->blob + sizeof(struct plan_header));
    for (uint32_t i = 0; i < model->op_count; i++) {
        const size_t bytes = (size_t)ops[i].out_h * ops[i].out_w * ops[i].out_c;
        if (ops[i].kind != PLAN_DELAY)
            continue;
        if (i != ran && memcmp(kept + ops[i].output, model->arena + ops[i].output, bytes) != 0)
            abort();
        memcpy(kept + ops[i].output, model->arena + ops[i].output, bytes);
    }
}

static void run_plan(const uint8_t *data, size_t bytes)
{
    static struct engine_model model;
    static void *blob, *arena;
    struct plan_header header = {.arena_bytes = 0};
    memcpy(&header, data, bytes < sizeof header ? bytes : sizeof header);
    const size_t arena_bytes = header.arena_bytes < ARENA_BYTES ? header.arena_bytes : ARENA_BYTES;
    if (posix_memalign(&blob, PLAN_ALIGNMENT, bytes) != 0 ||
        posix_memalign(&arena, ENGINE_ARENA_ALIGNMENT, arena_bytes) != 0)
        abort();
    memcpy(blob, data, bytes);
    seal_plan(blob, bytes);
    runs = 0;
    if (engine_load(&model, blob, bytes, arena, arena_bytes).reason == NULL && setjmp(stream_over) == 0) {
        memset(arena, 0x5A, model.arena_bytes);
        engine_reset(&model);
        memcpy(kept, arena, model.arena_bytes);
        memset(model.input, 0xA5, model.input_bytes);
        if (!engine_run(&model, watch_lines, &model))
            abort(); /* a loaded plan never makes a kernel refuse */
        uint32_t sum = 0;
        for (uint32_t i = 0; i < model.output_bytes; i++)
            sum += (uint8_t)model.output[i];
        if (sum == UINT32_MAX)
            abort();
    }
    free(blob);
    free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (fuzz_plan)
        run_plan(data, bytes);
    else
        run_wire(data, bytes);
    return 0;
}
