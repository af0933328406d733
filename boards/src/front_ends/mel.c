/* SPDX-License-Identifier: MIT
 * Mel energies; mel.h says what is computed. The bits are the same on every machine because only float32 additions and
 * multiplications are used, in the order written (-ffp-contract=off), and nothing of libm.
 */
#include "mel.h"

#include "dsp/transform_functions.h"

#define MAX_FFT 2048u
#define MAX_MEL 128u
#define LINKED(size) ((FRONT_END_FFT_SIZES & (size)) != 0)

/* ---- validation ---- */

static bool fft_linked(uint32_t fft_size)
{
    return fft_size >= 128 && fft_size <= MAX_FFT && (fft_size & (fft_size - 1)) == 0 &&
           (FRONT_END_FFT_SIZES & fft_size) != 0;
}

static bool shape_good(const struct mel_header *h)
{
    const uint32_t window = h->common.window;
    return window >= 16 && window <= MAX_FFT && window <= h->fft_size && h->mel_bins >= 1 && h->mel_bins <= MAX_MEL &&
           h->reserved == 0;
}

static bool filters_good(const struct mel_header *h)
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

int mel_check(const struct mel_header *h)
{
    if (!shape_good(h))
        return FRONT_END_BAD_SHAPE;
    if (!fft_linked(h->fft_size))
        return FRONT_END_FFT_NOT_LINKED;
    if (!finite_positive(h->log_floor))
        return FRONT_END_BAD_SCALE;
    if (!table_good(h, h->window_data, h->common.window / 2 + 1, sizeof(float)) || !filters_good(h))
        return FRONT_END_BAD_TABLE;
    return FRONT_END_GOOD;
}

size_t mel_scratch_bytes(const void *blob)
{
    const struct mel_header *h = blob;
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
    default: return; /* mel_check() lets no other size through */
    }
    arm_cfft_f32(&fft, z, 0, 0);
}

static void put(float *z, const int16_t *a, const int16_t *b, uint32_t n, float w)
{
    z[2 * n] = (float)a[n] * w;
    z[2 * n + 1] = (float)b[n] * w;
}

/* The periodic Hann window is even about its middle: entry n serves samples n and length - n. */
static void apply_window(const struct mel_header *h, const int16_t *a, const int16_t *b, float *z)
{
    const float *w = table_of(h, h->window_data);
    const uint32_t length = h->common.window;
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
static void mel_energies(const struct mel_header *h, const float *z, float *mel)
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

float *mel_logarithms(const struct mel_header *h, const int16_t *a, const int16_t *b, void *scratch)
{
    float *z = scratch, *mel = z + 2 * h->fft_size;
    apply_window(h, a, b, z);
    transform(z, h->fft_size);
    mel_energies(h, z, mel);
    for (uint32_t i = 0; i < 2 * h->mel_bins; i++)
        mel[i] = natural_log(mel[i] + h->log_floor);
    return mel;
}
