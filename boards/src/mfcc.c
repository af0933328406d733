/* SPDX-License-Identifier: MIT
 * The front end; mfcc.h says what it computes. The bits are the same on every machine because only float32
 * additions and multiplications are used, in the order written (-ffp-contract=off), and nothing of libm.
 */
#include "mfcc.h"

#include <stdbool.h>
#include <string.h>

#include "crc32.h"
#include "dsp/transform_functions.h"

#define LINKED(size) ((MFCC_FFT_SIZES & (size)) != 0)

static const struct mfcc_header *header_of(const void *blob)
{
    return (const struct mfcc_header *)blob;
}

static const void *table_of(const void *blob, uint32_t offset)
{
    return (const uint8_t *)blob + offset;
}

/* ---- validation ---- */

static bool finite_positive(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits >= 0x00800000u && bits < 0x7F800000u; /* normal numbers above 0 */
}

static bool fft_linked(uint32_t fft_size)
{
    return fft_size >= 128 && fft_size <= MFCC_MAX_FFT && (fft_size & (fft_size - 1)) == 0 &&
           (MFCC_FFT_SIZES & fft_size) != 0;
}

static bool shape_good(const struct mfcc_header *h)
{
    return h->window >= 16 && h->window <= MFCC_MAX_FFT && h->window <= h->fft_size && h->hop >= 1 &&
           h->hop <= MFCC_MAX_SAMPLES && h->samples >= h->window && h->samples <= MFCC_MAX_SAMPLES &&
           h->mel_bins >= 1 && h->mel_bins <= MFCC_MAX_MEL && h->coefficients >= 1 &&
           h->coefficients <= h->mel_bins;
}

/* Whether a table of `count` entries lies inside the blob and behind the header. */
static bool table_good(const struct mfcc_header *h, uint32_t offset, uint64_t count, uint32_t entry_bytes)
{
    return offset % 4 == 0 && offset >= sizeof *h && (uint64_t)offset + count * entry_bytes <= h->total_bytes;
}

/* Entries of the DCT's tables: the factors of each fold, then a matrix as long as the odd rest. */
static uint32_t dct_entries(const struct mfcc_header *h)
{
    uint32_t entries = 0, length = h->mel_bins, blocks = 1;
    for (; length % 2 == 0; blocks *= 2) {
        length /= 2;
        entries += length;
    }
    return entries + (h->coefficients + blocks - 1) / blocks * length;
}

static bool filters_good(const struct mfcc_header *h)
{
    const uint32_t corners = h->mel_bins + 2;
    if (!table_good(h, h->starts_data, corners, sizeof(uint16_t)))
        return false;
    const uint16_t *starts = table_of(h, h->starts_data);
    if (starts[0] < 1 || starts[corners - 1] > h->fft_size / 2)
        return false;
    for (uint32_t i = 1; i < corners; i++)
        if (starts[i] < starts[i - 1])
            return false;
    const uint32_t bins = starts[corners - 1] - starts[0];
    if (!table_good(h, h->weights_data, bins, sizeof(float)) ||
        !table_good(h, h->order_data, (uint64_t)bins + 1, sizeof(uint16_t)))
        return false;
    const uint16_t *order = table_of(h, h->order_data);
    for (uint32_t i = 0; i <= bins; i++)
        if (order[i] >= h->fft_size)
            return false;
    return true;
}

int mfcc_check(const void *blob, size_t bytes)
{
    const struct mfcc_header *h = header_of(blob);
    if ((uintptr_t)blob % 4 != 0)
        return MFCC_MISALIGNED;
    if (bytes < sizeof *h)
        return MFCC_TOO_SHORT;
    if (h->magic != MFCC_MAGIC)
        return MFCC_NOT_A_BLOB;
    if (h->version != MFCC_VERSION || h->header_bytes != sizeof *h)
        return MFCC_OTHER_VERSION;
    if (h->total_bytes > bytes || h->total_bytes < sizeof *h)
        return MFCC_TOO_SHORT;
    if (crc32(0, (const uint8_t *)blob + 16, h->total_bytes - 16) != h->crc32)
        return MFCC_DAMAGED;
    if (!shape_good(h) || (h->reserved[0] | h->reserved[1]) != 0)
        return MFCC_BAD_SHAPE;
    if (!fft_linked(h->fft_size))
        return MFCC_FFT_NOT_LINKED;
    if (!finite_positive(h->inverse_scale) || !finite_positive(h->log_floor) || h->zero_point < -128 ||
        h->zero_point > 127)
        return MFCC_BAD_SCALE;
    if (!table_good(h, h->window_data, h->window / 2 + 1, sizeof(float)) || !filters_good(h) ||
        !table_good(h, h->dct_data, dct_entries(h), sizeof(float)))
        return MFCC_BAD_TABLE;
    return MFCC_GOOD;
}

const char *mfcc_error(int status)
{
    static const char *const texts[] = {
        "good",
        "front end cut short",
        "front end not aligned",
        "not a front end",
        "front end of another version",
        "front end damaged: CRC-32 differs",
        "front end of an impossible shape",
        "front end's FFT size is not in this firmware",
        "front end of an impossible scale",
        "front end with a table out of bounds",
    };
    return status >= 0 && (size_t)status < sizeof texts / sizeof texts[0] ? texts[status] : "unknown";
}

/* ---- sizes ---- */

size_t mfcc_samples(const void *blob)
{
    return header_of(blob)->samples;
}

size_t mfcc_frames(const void *blob)
{
    const struct mfcc_header *h = header_of(blob);
    return 1 + (h->samples - h->window) / h->hop;
}

size_t mfcc_coefficients(const void *blob)
{
    return header_of(blob)->coefficients;
}

size_t mfcc_output_bytes(const void *blob)
{
    return mfcc_frames(blob) * mfcc_coefficients(blob);
}

size_t mfcc_scratch_bytes(const void *blob)
{
    const struct mfcc_header *h = header_of(blob);
    return (size_t)(h->fft_size + h->mel_bins) * 2 * sizeof(float);
}

/* ---- two frames at a time ----
 * Two real frames a and b go through one complex FFT as z = a + i b. Their spectra come apart by symmetry,
 * A[k] = (Z[k] + conj Z[N-k]) / 2 and B[k] = (Z[k] - conj Z[N-k]) / 2i (the halves stand in the window table):
 * no other pass over the data, and each table entry is read once for both. */

/* Bins come out in the digit-reversed order that the blob's `order` table undoes. */
static void transform(float *z, uint32_t fft_size)
{
    arm_cfft_instance_f32 fft;
    switch (fft_size) {
#if LINKED(128)
    case 128: arm_cfft_init_128_f32(&fft); break;
#endif
#if LINKED(256)
    case 256: arm_cfft_init_256_f32(&fft); break;
#endif
#if LINKED(512)
    case 512: arm_cfft_init_512_f32(&fft); break;
#endif
#if LINKED(1024)
    case 1024: arm_cfft_init_1024_f32(&fft); break;
#endif
#if LINKED(2048)
    case 2048: arm_cfft_init_2048_f32(&fft); break;
#endif
    default: return; /* mfcc_check() lets no other size through */
    }
    arm_cfft_f32(&fft, z, 0, 0);
}

static void put(float *z, const int16_t *a, const int16_t *b, uint32_t n, float w)
{
    z[2 * n] = (float)a[n] * w;
    z[2 * n + 1] = (float)b[n] * w;
}

/* The periodic Hann window is even about its middle: entry n serves samples n and length - n. */
static void apply_window(const struct mfcc_header *h, const int16_t *a, const int16_t *b, float *z)
{
    const float *w = table_of(h, h->window_data);
    const uint32_t length = h->window;
    z[0] = z[1] = 0.0f;
    for (uint32_t n = 1; n < length - n; n++) {
        put(z, a, b, n, w[n]);
        put(z, a, b, length - n, w[n]);
    }
    if (length % 2 == 0)
        put(z, a, b, length / 2, w[length / 2]);
    memset(z + 2 * length, 0, (h->fft_size - length) * 2 * sizeof *z);
}

/* Each bin's power goes to the filter that rises at it with the weight w, and what is left to the one that falls:
 * taken bin by bin, so that rounding makes no energy negative. mel: (mel_bins, 2 frames). */
static void mel_energies(const struct mfcc_header *h, const float *z, float *mel)
{
    const uint16_t *starts = table_of(h, h->starts_data);
    const uint16_t *order = table_of(h, h->order_data); /* of the bins starts[0] - 1 and up */
    const float *weight = table_of(h, h->weights_data);
    const float *last = z + 2 * (h->fft_size - 1);
    uint32_t mirrored = *order++; /* N - k has the complement of k - 1's place */
    for (uint32_t j = 0; j <= h->mel_bins; j++) {
        float falling_a = 0.0f, falling_b = 0.0f, rising_a = 0.0f, rising_b = 0.0f;
        for (uint32_t count = starts[j + 1] - starts[j]; count > 0; count--) {
            const float *p = last - 2 * mirrored, *q = z + 2 * (mirrored = *order++);
            const float sum_re = q[0] + p[0], sum_im = q[1] + p[1];
            const float difference_re = q[0] - p[0], difference_im = q[1] - p[1];
            const float power_a = sum_re * sum_re + difference_im * difference_im;
            const float power_b = sum_im * sum_im + difference_re * difference_re;
            const float up_a = power_a * *weight, up_b = power_b * *weight;
            weight++;
            rising_a += up_a;
            rising_b += up_b;
            falling_a += power_a - up_a;
            falling_b += power_b - up_b;
        }
        if (j > 0) {
            mel[2 * j - 2] += falling_a;
            mel[2 * j - 1] += falling_b;
        }
        if (j < h->mel_bins) {
            mel[2 * j] = rising_a;
            mel[2 * j + 1] = rising_b;
        }
    }
}

/* ln(x) of a positive normal x = 2^e (1 + f) with 1 + f in sqrt(1/2) to sqrt(2): e ln 2 + f + f^2 q(f), where q is
 * a minimax polynomial; the error of f + f^2 q(f) is below 3e-7. */
static float natural_log(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const int32_t exponent = (int32_t)(bits - 0x3F3504F3u) >> 23; /* 0x3F3504F3: sqrt(1/2) */
    bits -= (uint32_t)exponent << 23;
    float f;
    memcpy(&f, &bits, sizeof f);
    f -= 1.0f;
    float q = 0.119863868f;
    q = q * f + -0.187617153f;
    q = q * f + 0.204925731f;
    q = q * f + -0.248977661f;
    q = q * f + 0.333155453f;
    q = q * f + -0.500014842f;
    return (float)exponent * 0.693147182f + (f + f * f * q);
}

/* int8 of x * inverse_scale + zero_point; halves away from zero, decided exactly: x - trunc(x) has no rounding,
 * and twice that reaches 1 from a half on. NaN becomes 512 steps. */
static int8_t quantise(float x, float inverse_scale, int32_t zero_point)
{
    float steps = x * inverse_scale;
    steps = steps < 512.0f ? steps : 512.0f;
    steps = steps > -512.0f ? steps : -512.0f;
    const int32_t whole = (int32_t)steps;
    const int32_t value = whole + (int32_t)((steps - (float)whole) * 2.0f) + zero_point;
    return (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
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

/* The DCT-II of x (mel_bins, 2 frames), see dct_tables() in hil_nas/audio/tables.py. Overwrites x and `other`, and
 * returns the one in which the coefficients stand. */
static const float *cosine_transform(const struct mfcc_header *h, float *x, float *other)
{
    const float *table = table_of(h, h->dct_data);
    const uint32_t size = 2 * h->mel_bins;
    uint32_t length = h->mel_bins, blocks = 1;
    for (; length % 2 == 0; table += length, blocks *= 2) {
        length /= 2;
        for (uint32_t at = 0; at < size; at += 4 * length)
            fold(x + at, length, table);
    }
    for (uint32_t at = 0; at < size; at += 2 * length)
        multiply(x + at, length, table, (h->coefficients + blocks - 1) / blocks, other + at);
    for (; blocks > 1; blocks /= 2, length *= 2) {
        for (uint32_t at = 0; at < size; at += 4 * length)
            unfold(other + at, length, (h->coefficients + blocks - 1) / blocks, x + at);
        float *swap = x;
        x = other;
        other = swap;
    }
    return other;
}

static void write_out(const struct mfcc_header *h, const float *x, int8_t *out_a, int8_t *out_b)
{
    const float first = 0.707106781f; /* row 0 of the orthonormal DCT is smaller by sqrt(2) */
    out_a[0] = quantise(x[0] * first, h->inverse_scale, h->zero_point);
    out_b[0] = quantise(x[1] * first, h->inverse_scale, h->zero_point);
    for (uint32_t k = 1; k < h->coefficients; k++) {
        out_a[k] = quantise(x[2 * k], h->inverse_scale, h->zero_point);
        out_b[k] = quantise(x[2 * k + 1], h->inverse_scale, h->zero_point);
    }
}

void mfcc_pair(const void *blob, const int16_t *a, const int16_t *b, void *scratch, int8_t *out_a, int8_t *out_b)
{
    const struct mfcc_header *h = header_of(blob);
    float *z = scratch, *mel = z + 2 * h->fft_size;
    apply_window(h, a, b, z);
    transform(z, h->fft_size);
    mel_energies(h, z, mel);
    for (uint32_t i = 0; i < 2 * h->mel_bins; i++)
        mel[i] = natural_log(mel[i] + h->log_floor);
    write_out(h, cosine_transform(h, mel, z), out_a, out_b);
}

void mfcc_run(const void *blob, const int16_t *samples, void *scratch, int8_t *out)
{
    const struct mfcc_header *h = header_of(blob);
    const size_t frames = mfcc_frames(blob);
    for (size_t i = 0; i < frames; i += 2) {
        const size_t next = i + 1 < frames ? i + 1 : i; /* an odd last frame goes with itself */
        mfcc_pair(blob, samples + i * h->hop, samples + next * h->hop, scratch, out + i * h->coefficients,
                  out + next * h->coefficients);
    }
}
