/* SPDX-License-Identifier: MIT
 * The transforms of fft.c for any machine, rounded as the instructions of a Cortex-M4 do it.
 */
#ifndef HIL_FRONT_END_FFT_PORTABLE_H
#define HIL_FRONT_END_FFT_PORTABLE_H

#include <stdint.h>

enum { SQRT_HALF = 23170 /* of 2^15 */, HALF = 0x8000 /* of what is cut off */ };

struct complex16 {
    int16_t re, im;
};

static inline int16_t saturated(int32_t x)
{
    return (int16_t)(x < INT16_MIN ? INT16_MIN : x > INT16_MAX ? INT16_MAX : x);
}

/* (x + y) / 2, (x - y) / 2, (x - i y) / 2 and (x + i y) / 2 */
static inline struct complex16 half_sum(struct complex16 x, struct complex16 y)
{
    return (struct complex16){(int16_t)((x.re + y.re) >> 1), (int16_t)((x.im + y.im) >> 1)};
}

static inline struct complex16 half_difference(struct complex16 x, struct complex16 y)
{
    return (struct complex16){(int16_t)((x.re - y.re) >> 1), (int16_t)((x.im - y.im) >> 1)};
}

static inline struct complex16 half_minus_i(struct complex16 x, struct complex16 y)
{
    return (struct complex16){(int16_t)((x.re + y.im) >> 1), (int16_t)((x.im - y.re) >> 1)};
}

static inline struct complex16 half_plus_i(struct complex16 x, struct complex16 y)
{
    return (struct complex16){(int16_t)((x.re - y.im) >> 1), (int16_t)((x.im + y.re) >> 1)};
}

static inline struct complex16 sum(struct complex16 x, struct complex16 y)
{
    return (struct complex16){saturated(x.re + y.re), saturated(x.im + y.im)};
}

static inline struct complex16 difference(struct complex16 x, struct complex16 y)
{
    return (struct complex16){saturated(x.re - y.re), saturated(x.im - y.im)};
}

/* x w / 2, which fits, as w is on the unit circle; a w that is not wraps around */
static inline struct complex16 half_turned(struct complex16 x, struct complex16 w)
{
    const uint32_t re = (uint32_t)(x.re * w.re) - (uint32_t)(x.im * w.im) + HALF;
    const uint32_t im = (uint32_t)(x.re * w.im) + (uint32_t)(x.im * w.re) + HALF;
    return (struct complex16){(int16_t)(re >> 16), (int16_t)(im >> 16)};
}

static inline int16_t upper(int64_t x)
{
    return saturated((int32_t)(x >> 16));
}

/* The rest of a butterfly of radix 8: even bins from sums of opposite inputs, odd ones from their differences. */
static inline void finish8(struct complex16 *z, uint32_t stride, const struct complex16 *a, const struct complex16 *b)
{
    const struct complex16 c0 = half_sum(a[0], a[2]), c1 = half_sum(a[1], a[3]);
    const struct complex16 d0 = half_difference(a[0], a[2]), d1 = half_difference(a[1], a[3]);
    const struct complex16 e0 = half_minus_i(b[0], b[2]), e1 = half_plus_i(b[0], b[2]);
    /* (b1 - i b3) / 2 by exp(-i pi / 4), and (b1 + i b3) / 2 by exp(-3 i pi / 4) */
    const int32_t p = SQRT_HALF * (b[1].re + b[1].im), q = SQRT_HALF * (b[1].im - b[1].re) + HALF;
    const int32_t s = SQRT_HALF * (b[3].re + b[3].im), u = SQRT_HALF * (b[3].im - b[3].re) + HALF;
    const struct complex16 f0 = {upper((int64_t)p + u), upper((int64_t)q - s)};
    const struct complex16 f1 = {upper((int64_t)q + s), upper((int64_t)u - p)};
    z[0] = half_sum(c0, c1);
    z[stride] = half_difference(c0, c1);
    z[2 * stride] = half_minus_i(d0, d1);
    z[3 * stride] = half_plus_i(d0, d1);
    z[4 * stride] = half_sum(e0, f0);
    z[5 * stride] = half_difference(e0, f0);
    z[6 * stride] = half_sum(e1, f1);
    z[7 * stride] = half_difference(e1, f1);
}

/* The first pass, over 8 * stride points. */
static inline void first8(struct complex16 *z, uint32_t stride)
{
    for (uint32_t i = 0; i < stride; i++) {
        struct complex16 a[4], b[4];
        for (uint32_t j = 0; j < 4; j++) {
            const struct complex16 x = z[i + j * stride], y = z[i + (j + 4) * stride];
            a[j] = half_sum(x, y);
            b[j] = half_difference(x, y);
        }
        finish8(z + i, stride, a, b);
    }
}

/* The inputs x of a butterfly: the first halved and raised, the others turned by every (8 / radix)th twiddle. */
static inline void turn(struct complex16 *x, const struct complex16 *z, uint32_t radix, uint32_t stride,
                        const struct complex16 *w)
{
    const int16_t raised = (int16_t)(radix / 2);
    x[0] = half_sum(z[0], (struct complex16){raised, raised});
    for (uint32_t j = 1; j < radix; j++)
        x[j] = half_turned(z[j * stride], w[8 / radix * j - 1]);
}

static inline void butterfly2(struct complex16 *z, uint32_t stride, const struct complex16 *w)
{
    struct complex16 x[2];
    turn(x, z, 2, stride, w);
    z[0] = sum(x[0], x[1]);
    z[stride] = difference(x[0], x[1]);
}

static inline void butterfly4(struct complex16 *z, uint32_t stride, const struct complex16 *w)
{
    struct complex16 x[4];
    turn(x, z, 4, stride, w);
    const struct complex16 a0 = sum(x[0], x[2]), b0 = difference(x[0], x[2]);
    const struct complex16 a1 = sum(x[1], x[3]), b1 = difference(x[1], x[3]);
    z[0] = half_sum(a0, a1);
    z[stride] = half_difference(a0, a1);
    z[2 * stride] = half_minus_i(b0, b1);
    z[3 * stride] = half_plus_i(b0, b1);
}

static inline void butterfly8(struct complex16 *z, uint32_t stride, const struct complex16 *w)
{
    struct complex16 x[8], a[4], b[4];
    turn(x, z, 8, stride, w);
    for (uint32_t j = 0; j < 4; j++) {
        a[j] = sum(x[j], x[j + 4]);
        b[j] = difference(x[j], x[j + 4]);
    }
    finish8(z, stride, a, b);
}

/* All blocks of radix * stride points. */
static inline void pass(struct complex16 *z, uint32_t points, uint32_t radix, uint32_t stride,
                        const struct complex16 *w)
{
    for (struct complex16 *block = z; block != z + points; block += radix * stride, w += 7)
        for (uint32_t i = 0; i < stride; i++) {
            if (radix == 2)
                butterfly2(block + i, stride, w);
            else if (radix == 4)
                butterfly4(block + i, stride, w);
            else
                butterfly8(block + i, stride, w);
        }
}

/* radices: behind the first, down to neighbours. */
static inline void transform(int16_t *values, uint32_t points, const int16_t *twiddles, const uint8_t *radices)
{
    struct complex16 *z = (struct complex16 *)values;
    uint32_t stride = points / 8;
    first8(z, stride);
    for (; stride > 1; radices++) {
        stride /= *radices;
        pass(z, points, *radices, stride, (const struct complex16 *)twiddles);
    }
}

static inline void fft_64(int16_t *z, const int16_t *twiddles)
{
    transform(z, 64, twiddles, (const uint8_t[]){8});
}

static inline void fft_128(int16_t *z, const int16_t *twiddles)
{
    transform(z, 128, twiddles, (const uint8_t[]){2, 8});
}

static inline void fft_256(int16_t *z, const int16_t *twiddles)
{
    transform(z, 256, twiddles, (const uint8_t[]){4, 8});
}

static inline void fft_512(int16_t *z, const int16_t *twiddles)
{
    transform(z, 512, twiddles, (const uint8_t[]){8, 8});
}

static inline void fft_1024(int16_t *z, const int16_t *twiddles)
{
    transform(z, 1024, twiddles, (const uint8_t[]){4, 4, 8});
}

#endif
