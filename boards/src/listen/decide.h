/* SPDX-License-Identifier: MIT
 * From a network's answers, one every few tens of milliseconds, to words that were heard: each answer becomes
 * posteriors, the last few are averaged, a keyword is heard where its average reaches its threshold, and then none is
 * for a while. Integers alone, no heap; the same bits on every machine. The host decides by this source too.
 *
 * Averaged are posteriors and not logits (as by Chen et al., "Small-footprint keyword spotting using deep neural
 * networks", ICASSP 2014, 2.3). Only how a logit compares to those beside it says anything, it has no largest value, so
 * that one loud answer would outweigh many, and int8 cuts it off. A posterior is at most 1, adds at most 1 / averaged,
 * and a threshold means the same with every model. (A DS-CNN trained for 12 epochs, at 8 false accepts in 24 minutes of
 * read speech: averages of logits missed 94 % of words, of posteriors 67 %, of posteriors of logits times three 56 %.)
 *
 * The writer of these settings is hil_nas/deploy/decisions.py; the two change together.
 */
#ifndef HIL_DECIDE_H
#define HIL_DECIDE_H

#include <stddef.h>
#include <stdint.h>

#define DECIDE_ONE 32768u /* posteriors and thresholds are in units of 2^-15 */
#define DECIDE_MAX_CLASSES 64u
#define DECIDE_MAX_AVERAGED 64u
#define DECIDE_MAX_REFRACTORY 65535u
#define DECIDE_MAX_STEP_BITS (1u << 24)

struct decide_settings {
    uint32_t classes;    /* outputs of the network, 1 to DECIDE_MAX_CLASSES */
    uint32_t averaged;   /* answers, 1 to DECIDE_MAX_AVERAGED; before there are as many, those that lack count as 0 */
    uint32_t refractory; /* answers behind one in which a keyword was heard, in which none is */
    uint32_t step_bits;  /* of logits: log2(e) x their scale x 2^16 x a sharpness; 0: outputs are probabilities,
                            (q + 128) / 256 */
    uint16_t thresholds[DECIDE_MAX_CLASSES]; /* 1 to DECIDE_ONE; 0: never heard, as silence and unknown are not */
};

_Static_assert(sizeof(struct decide_settings) == 16 + 2 * DECIDE_MAX_CLASSES, "decide_settings has no gaps");

/* The memory of one stream, decide_bytes() of it, aligned to 4. */
struct decide_stream {
    uint32_t oldest; /* row of the posteriors */
    uint32_t waits;  /* answers that are left in which nothing is heard */
    uint32_t sums[]; /* of each class over all rows; behind them the posteriors, uint16_t [averaged][classes] */
};

/* Its size for so many classes and averaged answers, a multiple of 4; a constant where these are. */
#define DECIDE_BYTES(classes, averaged) \
    (sizeof(struct decide_stream) + (classes) * sizeof(uint32_t) + \
     ((averaged) * (classes) * sizeof(uint16_t) + 3) / 4 * 4)

/* NULL, or why the settings cannot be used. Everything below needs settings that passed. */
const char *decide_fault(const struct decide_settings *settings);

size_t decide_bytes(const struct decide_settings *settings);
void decide_start(const struct decide_settings *settings, struct decide_stream *stream);

/* The next answer, int8 (classes): the class that was heard, or -1. Where several reach their thresholds it is the one
 * with the highest average, the first of equals. */
int decide_next(const struct decide_settings *settings, struct decide_stream *stream, const int8_t *outputs);

/* The average of a class's posterior as it stands, 0 to DECIDE_ONE, rounded down. */
uint32_t decide_average(const struct decide_settings *settings, const struct decide_stream *stream, uint32_t class);

/* What decide_next() gives for each of `count` answers, and where `averages` is not NULL the averages behind each,
 * uint16_t [count][classes]: for audio that is there as a whole. */
void decide_all(const struct decide_settings *settings, struct decide_stream *stream, const int8_t *outputs,
                size_t count, int16_t *heard, uint16_t *averages);

#endif
