/* SPDX-License-Identifier: MIT
 * What this firmware answers beside MLPerf Tiny's commands: identity, uploads, measured runs, buffers, memory.
 */
#include "hil.h"

#include "engine.h"
#include "front_end.h"
#include "hal.h"
#include "identity.h"
#include "listening.h"
#include "measure.h"
#include "slots.h"
#include "upload.h"
#include "wire.h"

#define WIRE_VERSION 5u
#define DATA_BYTES 64u

static void say_word(const char *name, const char *value)
{
    record_begin(name);
    record_word(value);
    record_end();
}

static void say_number(const char *name, size_t value)
{
    record_begin(name);
    record_number((uint32_t)value);
    record_end();
}

static void hil_id(const struct command *command)
{
    say_word("id-board", BOARD_NAME);
    say_number("id-clock", BOARD_CPU_HZ);
    say_word("id-engine", engine_name());
    say_word("id-build", identity_build);
    say_word("id-kernels", identity_kernels);
    say_number("id-wire", WIRE_VERSION);
    say_number("id-pool", slots_pool_bytes());
    say_number("id-store", slots_store_bytes());
    say_number("id-input", MAX_INPUT_BYTES);
    say_word("id-versions", identity_versions);
    record_last(command->crc);
}

static void hil_unload(const struct command *command)
{
    const char *slot = command->words[2];
    if (!same(slot, "plan") && !same(slot, "frontend")) {
        refuse("hil unload takes plan or frontend");
        return;
    }
    slot_empty(same(slot, "plan") ? SLOT_PLAN : SLOT_FRONT_END);
    record_last(command->crc);
}

static const char *find_slot(const char *slot, const int8_t **data, size_t *bytes)
{
    if (same(slot, "features")) {
        *data = front_end.features;
        *bytes = front_end.features_bytes;
        return front_end.blob.data != NULL && front_end.features_valid ? NULL : "the front end has not run";
    }
    if (same(slot, "input")) {
        *data = input_buffer();
        *bytes = input_bytes();
        return *bytes != 0 ? NULL : "no input loaded";
    }
    if (same(slot, "output")) {
        *data = network.model.output;
        *bytes = network.model.output_bytes;
        return network.blob.data != NULL && network.output_valid ? NULL : "the network has not run";
    }
    return "hil read takes features, input or output";
}

static void hil_read(const struct command *command)
{
    const int8_t *data = NULL;
    size_t bytes = 0;
    const char *reason = find_slot(command->words[2], &data, &bytes);
    if (reason != NULL) {
        refuse(reason);
        return;
    }
    for (size_t offset = 0; offset < bytes; offset += DATA_BYTES) {
        const size_t left = bytes - offset;
        record_begin("data");
        record_number((uint32_t)offset);
        wire_text("-");
        wire_hex(data + offset, left < DATA_BYTES ? left : DATA_BYTES);
        record_end();
    }
    record_last(command->crc);
}

/* How deep the stack has ever been: start-up painted all of it. */
static size_t stack_bytes_used(void)
{
    const struct hal_memory *memory = hal_memory();
    const uint32_t *low = memory->stack_low;
    if (low == NULL)
        return 0;
    while (low < memory->stack_high && *low == HAL_STACK_PAINT)
        low++;
    return (size_t)(memory->stack_high - low) * sizeof *low;
}

static void say_blob(const char *name, const struct blob *blob)
{
    record_begin(name);
    record_number(blob->data != NULL ? (uint32_t)blob->bytes : 0);
    record_word(blob->data != NULL && blob->place == PLACE_FLASH ? "flash" : "ram");
    record_end();
}

/* What the loaded network and front end need here. `io` is the network's input outside the arena, where features
 * stand until they are copied in. */
static void hil_memory(const struct command *command)
{
    const bool has_network = network.blob.data != NULL, has_front_end = front_end.blob.data != NULL;
    const size_t features = has_front_end ? front_end.features_bytes : 0;
    const size_t input = has_network ? network.model.input_bytes : 0;
    say_number("memory-arena", has_network ? network.model.arena_bytes : 0);
    say_number("memory-frontend_scratch", has_front_end ? front_end.scratch_bytes : 0);
    say_blob("memory-frontend_tables", &front_end.blob);
    say_blob("memory-plan", &network.blob);
    say_number("memory-audio", has_front_end ? front_end_samples(front_end.blob.data) * sizeof(int16_t) : 0);
    say_number("memory-listen", listening.bytes);
    say_number("memory-io", features > input ? features : input);
    say_number("memory-static", hal_memory()->static_bytes);
    say_number("memory-stack", stack_bytes_used());
    say_number("memory-image", hal_memory()->image_bytes);
    record_last(command->crc);
}

/* The network forgets what it was given before; its output may stand in a delay line, and a stream that it listened to
 * has ended. */
static void hil_clear(const struct command *command)
{
    if (network.blob.data == NULL) {
        refuse("no model loaded");
        return;
    }
    engine_reset(&network.model);
    network.output_valid = false;
    listening.bytes = 0;
    record_last(command->crc);
}

static void hil_reset(const struct command *command)
{
    record_last(command->crc);
    wire_line("m-ready");
    hal_reset();
}

void hil_command(const struct command *command)
{
    static const struct {
        const char *verb;
        int words; /* with `hil` and the verb; 0: it counts them itself */
        void (*run)(const struct command *command);
    } verbs[] = {
        {"id", 2, hil_id},     {"load", 0, hil_load},     {"unload", 3, hil_unload}, {"run", 0, hil_run},
        {"read", 3, hil_read}, {"memory", 2, hil_memory}, {"listen", 2, hil_listen}, {"clear", 2, hil_clear},
        {"reset", 2, hil_reset},
    };
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (!same(command->words[1], verbs[i].verb))
            continue;
        if (verbs[i].words != 0 && verbs[i].words != command->count)
            refuse("wrong number of words");
        else
            verbs[i].run(command);
        return;
    }
    refuse("hil takes id, load, unload, run, read, memory, listen, clear or reset");
}
