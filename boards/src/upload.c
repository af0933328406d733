/* SPDX-License-Identifier: MIT
 * `hil load`: the command stays open while the board asks for one chunk of raw bytes after the other.
 */
#include "upload.h"

#include "crc32.h"
#include "front_end.h"
#include "hal.h"
#include "listening.h"
#include "slots.h"
#include "wire.h"

#define CHUNK_BYTES 1024u
#define SILENCE_US 2000000u

_Static_assert(CHUNK_BYTES % 8 == 0, "every chunk begins at a double word of the store");

struct upload {
    enum slot slot;
    enum place place;
    uint32_t bytes, crc;
};

static bool parse(const struct command *command, struct upload *upload)
{
    static const char *const slots[SLOT_COUNT] = {
        [SLOT_PLAN] = "plan", [SLOT_FRONT_END] = "frontend", [SLOT_AUDIO] = "audio", [SLOT_INPUT] = "input",
        [SLOT_LISTEN] = "listen"};
    const char *where = command->words[3];
    upload->slot = SLOT_PLAN;
    while (upload->slot < SLOT_COUNT && !same(command->words[2], slots[upload->slot]))
        upload->slot++;
    upload->place = same(where, "flash") ? PLACE_FLASH : PLACE_RAM;
    return command->count == 6 && upload->slot < SLOT_COUNT && (same(where, "ram") || same(where, "flash")) &&
           parse_uint(command->words[4], 0, UINT32_MAX, &upload->bytes) &&
           parse_hex32(command->words[5], &upload->crc);
}

static bool erase(const struct upload *upload)
{
    for (uint32_t offset = 0; offset < upload->bytes; offset += HAL_STORE_UNIT) {
        if (!slot_erase(offset))
            return false;
        if (upload->place == PLACE_FLASH)
            record_busy();
    }
    return true;
}

/* Bytes that came before the line fell silent for two seconds. */
static uint32_t receive(uint8_t *chunk, uint32_t bytes)
{
    uint32_t got = 0, heard_us = hal_micros();
    while (got < bytes) {
        const int byte = hal_getc();
        if (byte >= 0) {
            chunk[got++] = (uint8_t)byte;
            heard_us = hal_micros();
        } else if (hal_micros() - heard_us >= SILENCE_US) {
            break;
        }
    }
    return got;
}

static void say_stopped(uint32_t at, uint32_t bytes)
{
    refuse_begin();
    wire_text("upload stopped at byte ");
    wire_uint(at);
    wire_text(" of ");
    wire_uint(bytes);
    refuse_end();
}

/* True when all bytes are in the slot; else the refusal has been said. */
static bool transfer(const struct upload *upload)
{
    static uint8_t chunk[CHUNK_BYTES];
    for (uint32_t offset = 0; offset < upload->bytes; offset += CHUNK_BYTES) {
        const uint32_t left = upload->bytes - offset, bytes = left < CHUNK_BYTES ? left : CHUNK_BYTES;
        record_begin("send");
        record_number(offset);
        record_number(bytes);
        record_end();
        const uint32_t got = receive(chunk, bytes);
        if (got < bytes) {
            say_stopped(offset + got, upload->bytes);
            return false;
        }
        if (!slot_write(offset, chunk, bytes)) {
            refuse("the store does not hold what was written");
            return false;
        }
    }
    if (crc32(0, slot_data(), upload->bytes) != upload->crc) {
        refuse("the data's CRC is wrong");
        return false;
    }
    return true;
}

static void say_fault(struct engine_fault fault)
{
    refuse_begin();
    if (fault.op >= 0) {
        wire_text("operator ");
        wire_int(fault.op);
        wire_text(": ");
    }
    wire_text(fault.reason);
    refuse_end();
}

static void say_loaded(const struct upload *upload)
{
    if (upload->slot == SLOT_PLAN) {
        record_begin("plan");
        record_number(network.model.op_count);
        record_number(network.model.arena_bytes);
        record_number(network.model.input_bytes);
        record_number(network.model.output_bytes);
    } else if (upload->slot == SLOT_FRONT_END) {
        record_begin("frontend");
        record_word(front_end_kind(front_end.blob.data));
        record_number((uint32_t)front_end_frames(front_end.blob.data));
        record_number((uint32_t)front_end_columns(front_end.blob.data));
        record_number((uint32_t)front_end.scratch_bytes);
    } else if (upload->slot == SLOT_LISTEN) {
        record_begin("listen");
        record_number((uint32_t)listening.bytes);
    } else {
        record_begin("loaded");
        record_number(upload->bytes);
    }
    record_end();
}

void hil_load(const struct command *command)
{
    struct upload upload;
    if (!parse(command, &upload)) {
        refuse("hil load takes plan, frontend, audio, input or listen, ram or flash, bytes and CRC-32");
        return;
    }
    const char *reason = slot_reserve(upload.slot, upload.place, upload.bytes);
    if (reason != NULL) {
        refuse(reason);
        return;
    }
    if (!erase(&upload)) {
        slot_drop();
        refuse("the store could not be erased");
        return;
    }
    if (!transfer(&upload)) {
        slot_drop();
        return;
    }
    const struct engine_fault fault = slot_accept();
    if (fault.reason != NULL) {
        say_fault(fault);
        return;
    }
    if (upload.slot == SLOT_LISTEN)
        listening_begin();
    say_loaded(&upload);
    record_last(command->crc);
}
