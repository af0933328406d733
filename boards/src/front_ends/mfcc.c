/* SPDX-License-Identifier: MIT
 * Mel-frequency cepstral coefficients: a DCT-II of the logarithms of mel energies.
 */
#include "mel.h"

enum { ROWS = 4 }; /* of the DCT, taken together */

struct mfcc_header {      /* 112 bytes */
    struct mel_header mel;
    uint32_t dct_data;
    uint32_t reserved[3]; /* 0 */
};

_Static_assert(sizeof(struct mfcc_header) == 112, "mfcc_header is 112 bytes");

/* Sums and differences about the middle of the mel bins, in words of two. */
static uint32_t folded_words(const struct mel_header *h)
{
    return ((h->mel_bins + 1) / 2 + 1) / 2;
}

/* Even rows of the DCT, which are even about the middle, then odd ones, either in blocks of four. */
static uint32_t dct_words(const struct mel_header *h)
{
    const uint32_t even = (h->common.columns + 1) / 2, odd = h->common.columns / 2;
    return ((even + ROWS - 1) / ROWS + (odd + ROWS - 1) / ROWS) * ROWS * folded_words(h);
}

static int mfcc_check(const void *blob)
{
    const struct mfcc_header *h = blob;
    const int status = mel_check(&h->mel);
    if (status != FRONT_END_GOOD)
        return status;
    if (h->mel.common.columns > h->mel.mel_bins || (h->reserved[0] | h->reserved[1] | h->reserved[2]) != 0)
        return FRONT_END_BAD_SHAPE;
    return table_good(h, h->dct_data, dct_words(&h->mel), sizeof(uint32_t)) ? FRONT_END_GOOD : FRONT_END_BAD_TABLE;
}

/* sums and differences: (2 words,) int16 each, with zeros behind. The middle of an odd number counts once. */
static void fold(const int16_t *x, uint32_t mel_bins, uint32_t words, int16_t *sum, int16_t *difference)
{
    const uint32_t half = mel_bins / 2;
    uint32_t i = 0;
    sum[2 * words - 1] = difference[2 * words - 1] = 0;
#if defined(__ARM_FEATURE_DSP)
    for (; i + 2 <= half; i += 2) {
        uint32_t a, b, c;
        __asm volatile("ldr.w %[a], [%[low]]\n"
                       "ldr.w %[b], [%[high]]\n"
                       "ror.w %[b], %[b], #16\n"
                       "sadd16 %[c], %[a], %[b]\n"
                       "ssub16 %[a], %[a], %[b]\n"
                       "str.w %[c], [%[sum]]\n"
                       "str.w %[a], [%[difference]]"
                       : [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c)
                       : [low] "r"(x + i), [high] "r"(x + mel_bins - 2 - i), [sum] "r"(sum + i),
                         [difference] "r"(difference + i)
                       : "memory");
    }
#endif
    for (; i < half; i++) {
        sum[i] = (int16_t)(x[i] + x[mel_bins - 1 - i]);
        difference[i] = (int16_t)(x[i] - x[mel_bins - 1 - i]);
    }
    if (mel_bins % 2 != 0) {
        sum[half] = x[half];
        difference[half] = 0;
    }
}

/* Four rows of the table times x, sums that wrap. */
static void multiply(const int16_t *x, uint32_t words, const int16_t *table, uint32_t sums[ROWS])
{
    uint32_t a = 0, b = 0, c = 0, d = 0;
#if defined(__ARM_FEATURE_DSP)
    const int16_t *end = x + 2 * words;
    uint32_t both, p, q, r, s;
    __asm volatile(".p2align 2\n"
                   "1:\n"
                   "ldr.w %[p], [%[table], #0]\n"
                   "ldr.w %[q], [%[table], #4]\n"
                   "ldr.w %[r], [%[table], #8]\n"
                   "ldr.w %[s], [%[table], #12]\n"
                   "ldr.w %[both], [%[x]], #4\n"
                   "add.w %[table], #16\n"
                   "cmp.w %[x], %[end]\n"
                   "smlad %[a], %[both], %[p], %[a]\n"
                   "smlad %[b], %[both], %[q], %[b]\n"
                   "smlad %[c], %[both], %[r], %[c]\n"
                   "smlad %[d], %[both], %[s], %[d]\n"
                   "bne.w 1b"
                   : [x] "+&r"(x), [table] "+&r"(table), [a] "+&r"(a), [b] "+&r"(b), [c] "+&r"(c), [d] "+&r"(d),
                     [both] "=&r"(both), [p] "=&r"(p), [q] "=&r"(q), [r] "=&r"(r), [s] "=&r"(s)
                   : [end] "r"(end)
                   : "cc", "memory");
#else
    for (uint32_t i = 0; i < 2 * words; i++) {
        const int16_t *factor = table + i / 2 * 2 * ROWS + i % 2;
        a += (uint32_t)(x[i] * factor[0]);
        b += (uint32_t)(x[i] * factor[2]);
        c += (uint32_t)(x[i] * factor[4]);
        d += (uint32_t)(x[i] * factor[6]);
    }
#endif
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
}

/* Every second column from `out` on, `rows` of them. Returns the end of the table's rows. */
static const int16_t *every_second(const int16_t *x, uint32_t words, const int16_t *table, uint32_t rows,
                                   struct quantiser q, int8_t *out)
{
    for (uint32_t row = 0; row < rows; row += ROWS, table += 2 * ROWS * words) {
        uint32_t sums[ROWS];
        multiply(x, words, table, sums);
        for (uint32_t i = 0; i < ROWS && row + i < rows; i++)
            out[2 * (row + i)] = quantised((int32_t)sums[i], q);
    }
    return table;
}

/* The stage "dct", quantisation included. */
static void cosine_transform(const struct front_end_group *group)
{
    const struct mfcc_header *h = group->blob;
    const uint32_t columns = h->mel.common.columns, words = folded_words(&h->mel);
    const struct quantiser q = quantiser_of(&h->mel.common);
    for (uint32_t i = 0; i < group->frames; i++) {
        int16_t *sum = mel_place(group, i), *difference = sum + 2 * words;
        int8_t *out = group->out + i * columns;
        fold(mel_logarithms(group, i), h->mel.mel_bins, words, sum, difference);
        const int16_t *odd = every_second(sum, words, table_of(h, h->dct_data), (columns + 1) / 2, q, out);
        every_second(difference, words, odd, columns / 2, q, out + 1);
    }
}

static const struct front_end_stage stages[] = {MEL_STAGES, {"dct", cosine_transform}};

const struct front_end_kind front_end_mfcc = {
    .number = FRONT_END_MFCC,
    .name = "mfcc",
    .header_bytes = sizeof(struct mfcc_header),
    .check = mfcc_check,
    .scratch_bytes = mel_scratch_bytes,
    .group_frames = mel_group_frames,
    .stages = stages,
    .stage_count = sizeof stages / sizeof stages[0],
};
