/* SPDX-License-Identifier: MIT
 * What has been uploaded, and where in the pool everything lies:
 *
 *   [audio][input][blobs in RAM][features][front-end scratch][listening][arena]      each 16-byte aligned
 *
 * The store holds a plan from its beginning and a front end in its last two units. Audio and input always have
 * their full size, so that loading anything else never moves them.
 */
#ifndef HIL_SLOTS_H
#define HIL_SLOTS_H

#include "engine.h"
#include "listen/listen.h"

enum slot { SLOT_PLAN, SLOT_FRONT_END, SLOT_AUDIO, SLOT_INPUT, SLOT_LISTEN, SLOT_COUNT };
enum place { PLACE_RAM, PLACE_FLASH };

#define MAX_AUDIO_BYTES 32000u  /* of int16: one second at 16 kHz */
#define MAX_INPUT_BYTES 27648u  /* MLPerf Tiny's own maximum: 96 x 96 x 3 */

struct blob {
    const uint8_t *data; /* NULL while the slot is empty */
    size_t bytes;
    enum place place;
};

struct front_end {
    struct blob blob;
    void *scratch;
    size_t scratch_bytes;
    int8_t *features;
    size_t features_bytes;
    bool features_valid;
};

struct network {
    struct blob blob;
    struct engine_model model; /* good while blob.data is not NULL */
    bool output_valid;
};

/* What is uploaded to SLOT_LISTEN; its writer is hil_nas/deploy/listening.py. */
struct listen_upload {
    uint32_t step, warm_up;
    struct decide_settings decisions;
};

/* Of the network and the front end that are loaded; gone when one of them is loaded or unloaded. */
struct listening {
    struct listen_upload upload;
    struct listen_settings settings;
    struct listen *context;
    size_t bytes; /* of the context; 0 while there is none */
};

extern struct network network;
extern struct front_end front_end;
extern struct listening listening;

int16_t *audio_samples(void);
size_t audio_bytes(void);        /* 0 until audio was uploaded */
int8_t *input_buffer(void);      /* MAX_INPUT_BYTES */
size_t input_bytes(void);        /* what stands in it, 0 while it is incomplete */
void input_set(size_t bytes);
void audio_set(size_t bytes);

/* What the board can give away, as `hil id` says it: RAM for blobs, features, scratch and arena together, and the
 * largest plan that the store takes. */
size_t slots_pool_bytes(void);
size_t slots_store_bytes(void);

void slot_empty(enum slot slot); /* plan or front end; what the other holds stays */

/* An upload. slot_reserve() empties the slot and says why it cannot hold `bytes`, else NULL; what follows goes to
 * that slot, and slot_accept() or slot_drop() ends it. A slot whose upload was refused is empty. */
const char *slot_reserve(enum slot slot, enum place place, size_t bytes);
bool slot_erase(size_t offset); /* one unit of the store, from a multiple of HAL_STORE_UNIT on */
bool slot_write(size_t offset, const void *data, size_t bytes); /* offset a multiple of 8 */
const uint8_t *slot_data(void); /* what has been written, where it lies */
struct engine_fault slot_accept(void);
void slot_drop(void);

#endif
