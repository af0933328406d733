/* SPDX-License-Identifier: MIT
 * Keyword spotting: a clip of audio in, one score for each keyword out.
 *
 * All memory is static: KEYWORDS_RAM_BYTES for front end and network. The audio is the caller's.
 */
#ifndef KEYWORDS_H
#define KEYWORDS_H

#include <stdint.h>

#include "model.h"

/* Checks the model; call it once before anything else. NULL, or why the model cannot be used. */
const char *keywords_start(void);

/* Which keyword a clip of audio at KEYWORDS_SAMPLE_RATE_HZ holds, as an index into keywords_labels, and the score of
 * each: the network's own int8 outputs, of which the highest is the answer. Not reentrant. -1 before
 * keywords_start(). */
int keywords_classify(const int16_t samples[KEYWORDS_SAMPLES], int8_t scores[KEYWORDS_CLASSES]);

#endif
