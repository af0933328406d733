/* SPDX-License-Identifier: MIT
 * Keyword spotting: audio as it comes in, words that were heard out.
 *
 *     static void heard(void *user, const struct keywords_heard *word) { ... keywords_labels[word->keyword] ... }
 *
 *     keywords_start(heard, NULL);
 *     for (;;)
 *         keywords_push(samples, count);   any number of samples, such as half a DMA buffer
 *
 * All memory is static: KEYWORDS_RAM_BYTES for network and front end, and what a stream keeps. Not reentrant. The
 * callback is called by keywords_push().
 */
#ifndef KEYWORDS_H
#define KEYWORDS_H

#include <stddef.h>
#include <stdint.h>

#include "keywords_model.h"

#ifdef __cplusplus
extern "C" {
#endif

struct keywords_heard {
    int keyword;        /* index into keywords_labels */
    uint64_t samples;   /* of audio from keywords_start() to the end of the window in which it was heard */
    uint32_t posterior; /* the average that reached its threshold, in units of 1/32768 */
};

typedef void (*keywords_callback)(void *user, const struct keywords_heard *word);

/* Checks the model and begins a stream; again, to begin another. NULL, or why the model cannot be used. `heard` may be
 * NULL where nothing is pushed. */
const char *keywords_start(keywords_callback heard, void *user);

/* The next samples at KEYWORDS_SAMPLE_RATE_HZ, 1 upwards; the network runs every KEYWORDS_PERIOD_SAMPLES. -1 before
 * keywords_start(), else 0. */
int keywords_push(const int16_t *samples, size_t count);

#if !KEYWORDS_STREAM
/* Which keyword a clip of audio at KEYWORDS_SAMPLE_RATE_HZ holds, as an index into keywords_labels, and the score of
 * each: the network's own int8 outputs, of which the highest is the answer. It disturbs no stream. -1 before
 * keywords_start(). */
int keywords_classify(const int16_t samples[KEYWORDS_SAMPLES], int8_t scores[KEYWORDS_CLASSES]);
#endif

#ifdef __cplusplus
}
#endif

#endif
