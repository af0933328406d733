/* SPDX-License-Identifier: MIT
 * Mel-frequency cepstral coefficients: a DCT-II of the logarithms of mel energies.
 */
#include "mel.h"

struct mfcc_header {      /* 96 bytes */
    struct mel_header mel;
    uint32_t dct_data;
    uint32_t reserved[3]; /* 0 */
};

_Static_assert(sizeof(struct mfcc_header) == 96, "mfcc_header is 96 bytes");

/* Entries of the DCT's tables: the factors of each fold, then a matrix as long as the odd rest. */
static uint32_t dct_entries(const struct mfcc_header *h)
{
    uint32_t entries = 0, length = h->mel.mel_bins, blocks = 1;
    for (; length % 2 == 0; blocks *= 2) {
        length /= 2;
        entries += length;
    }
    return entries + (h->mel.common.columns + blocks - 1) / blocks * length;
}

static int mfcc_check(const void *blob)
{
    const struct mfcc_header *h = blob;
    const int status = mel_check(&h->mel);
    if (status != FRONT_END_GOOD)
        return status;
    if (h->mel.common.columns > h->mel.mel_bins || (h->reserved[0] | h->reserved[1] | h->reserved[2]) != 0)
        return FRONT_END_BAD_SHAPE;
    return table_good(h, h->dct_data, dct_entries(h), sizeof(float)) ? FRONT_END_GOOD : FRONT_END_BAD_TABLE;
}

/* One step of the DCT on x (2 half, 2 frames): sums of what lies mirrored about the middle into the first half,
 * differences times `cosine` into the second, both in order. Ends are taken together so that it works in place. */
static void fold(float *x, uint32_t half, const float *cosine)
{
    float *y = x + 2 * half;
    for (uint32_t i = 0, j = half - 1; i <= j && j < half; i++, j--) {
        const float ia = x[2 * i], ib = x[2 * i + 1], ja = x[2 * j], jb = x[2 * j + 1];
        const float mia = y[2 * j], mib = y[2 * j + 1], mja = y[2 * i], mjb = y[2 * i + 1];
        x[2 * i] = ia + mia;
        x[2 * i + 1] = ib + mib;
        x[2 * j] = ja + mja;
        x[2 * j + 1] = jb + mjb;
        y[2 * i] = (ia - mia) * cosine[i];
        y[2 * i + 1] = (ib - mib) * cosine[i];
        y[2 * j] = (ja - mja) * cosine[j];
        y[2 * j + 1] = (jb - mjb) * cosine[j];
    }
}

/* The matrix (count, length) times x (length, 2 frames). */
static void multiply(const float *x, uint32_t length, const float *matrix, uint32_t count, float *to)
{
    for (uint32_t k = 0; k < count; k++) {
        float a = 0.0f, b = 0.0f;
        for (uint32_t i = 0; i < length; i++) {
            const float c = *matrix++;
            a += c * x[2 * i];
            b += c * x[2 * i + 1];
        }
        to[2 * k] = a;
        to[2 * k + 1] = b;
    }
}

/* Even rows are those of the sums, odd ones follow from the DCT g of the differences: X[1] = g[0] / 2,
 * X[2k+1] = g[k] - X[2k-1]. From x (sums, then g, each `half` long) the first 2 pairs rows in order into `to`. */
static void unfold(const float *x, uint32_t half, uint32_t pairs, float *to)
{
    const float *g = x + 2 * half;
    float a = g[0] * 0.5f, b = g[1] * 0.5f;
    to[0] = x[0];
    to[1] = x[1];
    to[2] = a;
    to[3] = b;
    for (uint32_t k = 1; k < pairs; k++) {
        a = g[2 * k] - a;
        b = g[2 * k + 1] - b;
        to[4 * k] = x[2 * k];
        to[4 * k + 1] = x[2 * k + 1];
        to[4 * k + 2] = a;
        to[4 * k + 3] = b;
    }
}

/* The DCT-II of x (mel_bins, 2 frames), see dct_tables() in hil_nas/front_ends/mfcc/tables.py. Overwrites x and
 * `other`, and returns the one in which the coefficients stand. */
static const float *cosine_transform(const struct mfcc_header *h, float *x, float *other)
{
    const float *table = table_of(h, h->dct_data);
    const uint32_t size = 2 * h->mel.mel_bins;
    uint32_t length = h->mel.mel_bins, blocks = 1;
    for (; length % 2 == 0; table += length, blocks *= 2) {
        length /= 2;
        for (uint32_t at = 0; at < size; at += 4 * length)
            fold(x + at, length, table);
    }
    for (uint32_t at = 0; at < size; at += 2 * length)
        multiply(x + at, length, table, (h->mel.common.columns + blocks - 1) / blocks, other + at);
    for (; blocks > 1; blocks /= 2, length *= 2) {
        for (uint32_t at = 0; at < size; at += 4 * length)
            unfold(other + at, length, (h->mel.common.columns + blocks - 1) / blocks, x + at);
        float *swap = x;
        x = other;
        other = swap;
    }
    return other;
}

static void write_out(const struct mfcc_header *h, const float *x, int8_t *out_a, int8_t *out_b)
{
    const float inverse_scale = h->mel.common.inverse_scale;
    const int32_t zero_point = h->mel.common.zero_point;
    const float first = 0.707106781f; /* row 0 of the orthonormal DCT is smaller by sqrt(2) */
    out_a[0] = quantise(x[0] * first, inverse_scale, zero_point);
    out_b[0] = quantise(x[1] * first, inverse_scale, zero_point);
    for (uint32_t k = 1; k < h->mel.common.columns; k++) {
        out_a[k] = quantise(x[2 * k], inverse_scale, zero_point);
        out_b[k] = quantise(x[2 * k + 1], inverse_scale, zero_point);
    }
}

static void mfcc_pair(const void *blob, const int16_t *a, const int16_t *b, void *scratch, int8_t *out_a, int8_t *out_b)
{
    const struct mfcc_header *h = blob;
    write_out(h, cosine_transform(h, mel_logarithms(&h->mel, a, b, scratch), scratch), out_a, out_b);
}

const struct front_end_kind front_end_mfcc = {
    .number = FRONT_END_MFCC,
    .name = "mfcc",
    .header_bytes = sizeof(struct mfcc_header),
    .check = mfcc_check,
    .scratch_bytes = mel_scratch_bytes,
    .pair = mfcc_pair,
};
