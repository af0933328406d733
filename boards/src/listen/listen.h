/* SPDX-License-Identifier: MIT
 * Audio as it comes, in pieces of any size, to words that were heard: front end, network and decisions on a stream.
 * Host, firmware and product listen by this source, each answer with the bits of the window that it ends.
 *
 * Only new frames are made. Every `step` frames the network runs on the last rows of features that it reads: a whole
 * window where it slides, the new frames alone where the network keeps the rest itself (a step of a stream). All
 * memory is the caller's; the network's arena and the scratch memory may be shared with other work between two calls,
 * but for what such a network keeps.
 */
#ifndef HIL_LISTEN_H
#define HIL_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "decide.h"
#include "engine.h"

#define LISTEN_ALIGNMENT 8u
#define LISTEN_MAX_WARM_UP 65535u

struct listen_settings {
    const void *front_end;                   /* a blob that front_end_check() passed */
    void *scratch;                           /* front_end_scratch_bytes() of it, aligned to FRONT_END_ALIGNMENT */
    const struct engine_model *network;      /* loaded; it reads whole frames, at least `step` */
    const struct decide_settings *decisions; /* for the network's outputs */
    uint32_t step;    /* frames from one run of the network to the next: the period in hops */
    uint32_t warm_up; /* runs whose answers count for nothing: until a stream's step has heard a whole window */
};

/* One answer of the network and what was decided on it. */
struct listen_decision {
    uint64_t samples;      /* from listen_start() to the end of the window */
    const int8_t *outputs; /* the answer itself, until the callback returns */
    int heard;             /* the class that was heard, or -1 */
    uint32_t posterior;    /* its average, in units of 1 / DECIDE_ONE; 0 where none was heard */
    const struct decide_stream *stream; /* for decide_average() of every class */
};

typedef void (*listen_callback)(void *user, const struct listen_decision *decision);

/* The memory of one stream, listen_bytes() of it, aligned to LISTEN_ALIGNMENT. What the settings point at stays where
 * it is and unchanged while it is used. */
struct listen {
    struct listen_settings settings;
    listen_callback decided;
    void *user;
    uint64_t frames;    /* made since listen_start() */
    uint32_t until_run; /* frames that the network waits for */
    uint32_t warm_up;   /* runs of it that are left */
    uint32_t row;       /* of the kept features: the oldest, and the next to be written */
    uint32_t held;      /* samples of the next frame, fewer than a window */
    uint32_t skipped;   /* samples before the next frame, where frames lie apart */
}; /* behind it: the decisions' memory, samples of a window, features of the rows */

/* How many bytes the context takes: of a front end with this window and so many columns, a network that reads `rows`
 * frames, and decisions on so many classes that average so many answers. A constant where these are. */
#define LISTEN_BYTES(window, columns, rows, classes, averaged) \
    ((sizeof(struct listen) + DECIDE_BYTES(classes, averaged) + (window) * sizeof(int16_t) + (rows) * (columns) + \
      LISTEN_ALIGNMENT - 1) / LISTEN_ALIGNMENT * LISTEN_ALIGNMENT)

/* NULL, or why the settings cannot be used. Everything below needs settings that passed. */
const char *listen_fault(const struct listen_settings *settings);

size_t listen_bytes(const struct listen_settings *settings);

/* A stream begins: nothing has been heard. `decided` is called for every answer from the first whole window on. */
void listen_start(struct listen *context, const struct listen_settings *settings, listen_callback decided, void *user);

/* The next `count` samples, 1 upwards. False where a kernel refused its arguments, which a loaded network never
 * causes. */
bool listen_push(struct listen *context, const int16_t *samples, size_t count);

#endif
