/* SPDX-License-Identifier: MIT
 * One pass of radix 2, 4 or 8, then passes of radix 8 down to neighbours. Passes cut each block of the one before into as
 * many as their radix, in bit-reversed order, and take the twiddles before their butterflies (decimation in time, input in
 * order): all butterflies of a block then have the same seven, of block b exp(-2 pi i j r / 8), j = 1 to 7, where r is b
 * with its bits reversed behind the binary point. So one table serves all passes and, from its beginning, all smaller
 * sizes; block 0 needs none.
 *
 * Rounding is as the instructions of the Cortex-M4 have it: halved sums are floored (SHADD16, SHSUB16, SHASX, SHSAX),
 * halved products are rounded, halves upwards (SMLSD, SMLADX, PKHTB), and other sums saturate (QADD16, QSUB16, QADD, QSUB).
 * Floors lower all outputs of a butterfly by 0.44 on average: its first input, of which each output has a quarter, is
 * raised by as much, which costs nothing and is worth 3 to 4 dB.
 */
#include "fft.h"

#include "front_end.h"

#define LINKED(points) ((FRONT_END_FFT_SIZES & 2 * (points)) != 0)

enum { SQRT_HALF = 23170 /* of 2^15 */, HALF = 0x8000 /* of what is cut off */, RAISED = 4 };

struct complex16 {
    int16_t re, im;
};

static int16_t saturated(int32_t x)
{
    return (int16_t)(x < INT16_MIN ? INT16_MIN : x > INT16_MAX ? INT16_MAX : x);
}

/* (x + y) / 2 and, of arms that are turned by a quarter, (x - i y) / 2 */
static struct complex16 half_sum(struct complex16 x, struct complex16 y)
{
    return (struct complex16){(int16_t)((x.re + y.re) >> 1), (int16_t)((x.im + y.im) >> 1)};
}

static struct complex16 half_difference(struct complex16 x, struct complex16 y)
{
    return (struct complex16){(int16_t)((x.re - y.re) >> 1), (int16_t)((x.im - y.im) >> 1)};
}

static struct complex16 half_minus_i(struct complex16 x, struct complex16 y)
{
    return (struct complex16){(int16_t)((x.re + y.im) >> 1), (int16_t)((x.im - y.re) >> 1)};
}

static struct complex16 half_plus_i(struct complex16 x, struct complex16 y)
{
    return (struct complex16){(int16_t)((x.re - y.im) >> 1), (int16_t)((x.im + y.re) >> 1)};
}

static struct complex16 sum(struct complex16 x, struct complex16 y)
{
    return (struct complex16){saturated(x.re + y.re), saturated(x.im + y.im)};
}

static struct complex16 difference(struct complex16 x, struct complex16 y)
{
    return (struct complex16){saturated(x.re - y.re), saturated(x.im - y.im)};
}

/* x w / 2; fits in any case, as w is on the unit circle */
static struct complex16 half_turned(struct complex16 x, struct complex16 w)
{
    return (struct complex16){(int16_t)((x.re * w.re - x.im * w.im + HALF) >> 16),
                              (int16_t)((x.re * w.im + x.im * w.re + HALF) >> 16)};
}

static int16_t upper(int64_t x)
{
    return saturated((int32_t)(x >> 16));
}

/* The rest of a butterfly of radix 8: of a, sums of opposite arms, come the even bins, of b, differences, the odd ones. */
static void finish8(struct complex16 *z, uint32_t stride, const struct complex16 *a, const struct complex16 *b)
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

/* One block of 8 * stride points without twiddles: the first pass, and the first block of the others. */
static void plain8(struct complex16 *z, uint32_t stride)
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

/* Blocks from the second on. */
static void turned8(struct complex16 *z, uint32_t stride, uint32_t blocks, const struct complex16 *w)
{
    for (uint32_t block = 1; block < blocks; block++, w += 7)
        for (uint32_t i = 0; i < stride; i++) {
            struct complex16 *at = z + 8 * stride * block + i, x[8], a[4], b[4];
            x[0] = half_sum(at[0], (struct complex16){RAISED, RAISED});
            for (uint32_t j = 1; j < 8; j++)
                x[j] = half_turned(at[j * stride], w[j - 1]);
            for (uint32_t j = 0; j < 4; j++) {
                a[j] = sum(x[j], x[j + 4]);
                b[j] = difference(x[j], x[j + 4]);
            }
            finish8(at, stride, a, b);
        }
}

static void first2(struct complex16 *z, uint32_t stride)
{
    for (uint32_t i = 0; i < stride; i++) {
        const struct complex16 x = z[i], y = z[i + stride];
        z[i] = half_sum(x, y);
        z[i + stride] = half_difference(x, y);
    }
}

static void first4(struct complex16 *z, uint32_t stride)
{
    for (uint32_t i = 0; i < stride; i++) {
        struct complex16 *at = z + i;
        const struct complex16 a0 = half_sum(at[0], at[2 * stride]), b0 = half_difference(at[0], at[2 * stride]);
        const struct complex16 a1 = half_sum(at[stride], at[3 * stride]);
        const struct complex16 b1 = half_difference(at[stride], at[3 * stride]);
        at[0] = half_sum(a0, a1);
        at[stride] = half_difference(a0, a1);
        at[2 * stride] = half_minus_i(b0, b1);
        at[3 * stride] = half_plus_i(b0, b1);
    }
}

static void later8(struct complex16 *z, uint32_t points, uint32_t stride, const struct complex16 *w)
{
    plain8(z, stride);
    turned8(z, stride, points / (8 * stride), w);
}

void fft_q15(int16_t *values, uint32_t points, const int16_t *twiddles)
{
    struct complex16 *z = (struct complex16 *)values;
    const struct complex16 *w = (const struct complex16 *)twiddles;
    if (LINKED(64) && points == 64)
        plain8(z, 8);
    else if (LINKED(128) && points == 128)
        first2(z, 64);
    else if (LINKED(256) && points == 256)
        first4(z, 64);
    else if (LINKED(512) && points == 512)
        plain8(z, 64);
    else if (LINKED(1024) && points == 1024)
        first2(z, 512);
    else
        return;
    if (LINKED(1024) && points == 1024)
        later8(z, points, 64, w);
    if (points > 64)
        later8(z, points, 8, w);
    later8(z, points, 1, w);
}
