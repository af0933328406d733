/* SPDX-License-Identifier: MIT */
#include "slots.h"

#include <string.h>

#include "front_end.h"
#include "hal.h"

enum { ALIGNMENT = 16, FRONT_END_STORE_BYTES = 2 * HAL_STORE_UNIT };

_Static_assert(ALIGNMENT >= ENGINE_ARENA_ALIGNMENT && ALIGNMENT >= FRONT_END_ALIGNMENT, "one alignment for all");
_Static_assert(ALIGNMENT >= LISTEN_ALIGNMENT, "and for listening");
_Static_assert(MAX_AUDIO_BYTES % ALIGNMENT == 0 && MAX_INPUT_BYTES % ALIGNMENT == 0, "buffers keep the alignment");

struct network network;
struct front_end front_end;
struct listening listening;

static size_t audio_filled_bytes, input_filled_bytes;
static struct {
    enum slot slot;
    struct blob blob; /* data is where it is being written */
} upload;

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static uint8_t *at_pool(size_t offset)
{
    return hal_memory()->pool + offset;
}

int16_t *audio_samples(void)
{
    return (int16_t *)(void *)at_pool(0);
}

size_t audio_bytes(void)
{
    return audio_filled_bytes;
}

void audio_set(size_t bytes)
{
    audio_filled_bytes = bytes;
}

int8_t *input_buffer(void)
{
    return (int8_t *)at_pool(MAX_AUDIO_BYTES);
}

size_t input_bytes(void)
{
    return input_filled_bytes;
}

void input_set(size_t bytes)
{
    input_filled_bytes = bytes;
}

static size_t ram_bytes_of(const struct blob *blob)
{
    return blob->data != NULL && blob->place == PLACE_RAM ? aligned(blob->bytes) : 0;
}

static size_t blobs_begin(void)
{
    return MAX_AUDIO_BYTES + MAX_INPUT_BYTES;
}

size_t slots_pool_bytes(void)
{
    return hal_memory()->pool_bytes - blobs_begin();
}

size_t slots_store_bytes(void)
{
    const size_t bytes = hal_memory()->store_bytes;
    return bytes < FRONT_END_STORE_BYTES ? 0 : bytes - FRONT_END_STORE_BYTES;
}

/* Features, scratch, listening and arena behind the blobs; the reason where they do not fit. */
static struct engine_fault place_work_memory(void)
{
    size_t at = blobs_begin() + ram_bytes_of(&network.blob) + ram_bytes_of(&front_end.blob);
    network.output_valid = front_end.features_valid = false;
    if (front_end.blob.data != NULL) {
        front_end.features_bytes = front_end_output_bytes(front_end.blob.data);
        front_end.scratch_bytes = front_end_scratch_bytes(front_end.blob.data);
        front_end.features = (int8_t *)at_pool(at);
        at += aligned(front_end.features_bytes);
        front_end.scratch = at_pool(at);
        at += aligned(front_end.scratch_bytes);
        if (at > hal_memory()->pool_bytes)
            return (struct engine_fault){"the front end does not fit in RAM", -1};
    }
    if (network.blob.data == NULL)
        return (struct engine_fault){NULL, -1};
    listening.context = (struct listen *)(void *)at_pool(at);
    at += aligned(listening.bytes);
    if (at > hal_memory()->pool_bytes)
        return (struct engine_fault){"listening does not fit in RAM", -1};
    return engine_load(&network.model, network.blob.data, network.blob.bytes, at_pool(at),
                       hal_memory()->pool_bytes - at);
}

static struct blob *blob_of(enum slot slot)
{
    return slot == SLOT_PLAN ? &network.blob : &front_end.blob;
}

static struct blob *other_than(enum slot slot)
{
    return blob_of(slot == SLOT_PLAN ? SLOT_FRONT_END : SLOT_PLAN);
}

/* What the other slot holds in RAM moves to the front: there place_work_memory() counts from. */
void slot_empty(enum slot slot)
{
    struct blob *other = other_than(slot);
    listening.bytes = 0;
    *blob_of(slot) = (struct blob){.data = NULL};
    if (ram_bytes_of(other) != 0) {
        memmove(at_pool(blobs_begin()), other->data, other->bytes);
        other->data = at_pool(blobs_begin());
    }
    (void)place_work_memory(); /* what stays has fitted before */
}

static const char *reserve_store(enum slot slot, size_t bytes)
{
    const size_t plan_limit = slots_store_bytes();
    if (plan_limit == 0)
        return "this board has no store";
    if (bytes > (slot == SLOT_PLAN ? plan_limit : FRONT_END_STORE_BYTES))
        return "too large for the store";
    upload.blob.data = hal_memory()->store + (slot == SLOT_PLAN ? 0 : plan_limit);
    return NULL;
}

/* Behind the other slot's blob, which slot_empty() has moved to the front. */
static const char *reserve_ram(const struct blob *other, size_t bytes)
{
    const size_t kept = ram_bytes_of(other);
    if (bytes > slots_pool_bytes() - kept)
        return "too large for the RAM";
    upload.blob.data = at_pool(blobs_begin() + kept);
    return NULL;
}

static const char *reserve_listening(enum place place, size_t bytes)
{
    listening.bytes = 0;
    upload.blob.data = (const uint8_t *)&listening.upload;
    return place != PLACE_RAM || bytes != sizeof listening.upload ? "what listens is 152 bytes in ram" : NULL;
}

static const char *reserve_buffer(enum slot slot, enum place place, size_t bytes)
{
    if (place != PLACE_RAM)
        return "audio and input go to ram";
    if (slot == SLOT_AUDIO) {
        audio_set(0);
        front_end.features_valid = false;
        upload.blob.data = at_pool(0);
        return bytes > MAX_AUDIO_BYTES || bytes % sizeof(int16_t) != 0 ? "audio is int16 and at most 32000 bytes" : NULL;
    }
    input_set(0);
    upload.blob.data = at_pool(MAX_AUDIO_BYTES);
    return bytes > MAX_INPUT_BYTES ? "an input is at most 27648 bytes" : NULL;
}

const char *slot_reserve(enum slot slot, enum place place, size_t bytes)
{
    upload.slot = slot;
    upload.blob = (struct blob){.bytes = bytes, .place = place};
    if (bytes == 0)
        return "nothing to load";
    if (slot == SLOT_AUDIO || slot == SLOT_INPUT)
        return reserve_buffer(slot, place, bytes);
    if (slot == SLOT_LISTEN)
        return reserve_listening(place, bytes);
    slot_empty(slot);
    return place == PLACE_FLASH ? reserve_store(slot, bytes) : reserve_ram(other_than(slot), bytes);
}

bool slot_erase(size_t offset)
{
    if (upload.blob.place != PLACE_FLASH)
        return true;
    const size_t left = upload.blob.bytes - offset;
    return hal_store_erase((size_t)(upload.blob.data - hal_memory()->store) + offset,
                           left < HAL_STORE_UNIT ? left : HAL_STORE_UNIT);
}

bool slot_write(size_t offset, const void *data, size_t bytes)
{
    if (upload.blob.place == PLACE_FLASH)
        return hal_store_write((size_t)(upload.blob.data - hal_memory()->store) + offset, data, bytes);
    memcpy((uint8_t *)(uintptr_t)upload.blob.data + offset, data, bytes);
    return true;
}

static struct engine_fault accept_blob(void)
{
    *blob_of(upload.slot) = upload.blob;
    if (upload.slot == SLOT_FRONT_END) {
        const int status = front_end_check(upload.blob.data, upload.blob.bytes);
        if (status != FRONT_END_GOOD)
            return (struct engine_fault){front_end_error(status), -1};
        if (front_end_samples(upload.blob.data) > MAX_AUDIO_BYTES / sizeof(int16_t))
            return (struct engine_fault){"a front end for more than 16000 samples of audio", -1};
    }
    const struct engine_fault fault = place_work_memory();
    if (fault.reason == NULL && upload.slot == SLOT_PLAN && network.model.input_bytes > MAX_INPUT_BYTES)
        return (struct engine_fault){"a network with an input above 27648 bytes", -1};
    return fault;
}

static struct engine_fault accept_listening(void)
{
    if (network.blob.data == NULL || front_end.blob.data == NULL)
        return (struct engine_fault){"there is no network with a front end to listen by", -1};
    listening.settings = (struct listen_settings){
        .front_end = front_end.blob.data,
        .scratch = front_end.scratch,
        .network = &network.model,
        .decisions = &listening.upload.decisions,
        .step = listening.upload.step,
        .warm_up = listening.upload.warm_up,
    };
    const char *fault = listen_fault(&listening.settings);
    if (fault != NULL)
        return (struct engine_fault){fault, -1};
    listening.bytes = listen_bytes(&listening.settings);
    return place_work_memory();
}

struct engine_fault slot_accept(void)
{
    struct engine_fault fault = {NULL, -1};
    if (upload.slot == SLOT_AUDIO)
        audio_set(upload.blob.bytes);
    else if (upload.slot == SLOT_INPUT)
        input_set(upload.blob.bytes);
    else if (upload.slot == SLOT_LISTEN)
        fault = accept_listening();
    else
        fault = accept_blob();
    if (fault.reason != NULL)
        slot_drop();
    return fault;
}

void slot_drop(void)
{
    if (upload.slot == SLOT_AUDIO || upload.slot == SLOT_INPUT)
        return; /* marked empty when it was reserved */
    if (upload.slot == SLOT_LISTEN) {
        listening.bytes = 0;
        (void)place_work_memory(); /* what stays has fitted before */
    } else {
        slot_empty(upload.slot);
    }
}

const uint8_t *slot_data(void)
{
    return upload.blob.data;
}
