/* SPDX-License-Identifier: MIT
 * The stage "window": level, window and, where it is longer than the FFT, its wrapping.
 */
#include "mel.h"

#include <string.h>

/* Bits of which the highest says how many bits the samples take: x ^ x << 1 has its highest bit where x has its sign bit
 * last. Over the halves of words bit 16 may be wrong, which only says what sample_bits() begins with. */
static uint32_t sample_bits(const int16_t *x, uint32_t count)
{
    uint32_t bits = 1;
#if defined(__ARM_FEATURE_DSP)
    uint32_t a, b, c, d;
    if (count >= 16) {
        __asm volatile("sub.w %[count], #16\n"
                       ".p2align 2\n"
                       "1:\n"
                       ".rept 2\n"
                       "ldr.w %[a], [%[x]]\n"
                       "ldr.w %[b], [%[x], #4]\n"
                       "ldr.w %[c], [%[x], #8]\n"
                       "ldr.w %[d], [%[x], #12]\n"
                       "add.w %[x], #16\n"
                       "eor.w %[a], %[a], %[a], lsl #1\n"
                       "eor.w %[b], %[b], %[b], lsl #1\n"
                       "eor.w %[c], %[c], %[c], lsl #1\n"
                       "eor.w %[d], %[d], %[d], lsl #1\n"
                       "orr.w %[bits], %[a]\n"
                       "orr.w %[bits], %[b]\n"
                       "orr.w %[bits], %[c]\n"
                       "orr.w %[bits], %[d]\n"
                       ".endr\n"
                       "subs.w %[count], #16\n"
                       "bpl.w 1b\n"
                       "add.w %[count], #16"
                       : [x] "+&r"(x), [count] "+&r"(count), [bits] "+&r"(bits), [a] "=&r"(a), [b] "=&r"(b),
                         [c] "=&r"(c), [d] "=&r"(d)
                       :
                       : "cc", "memory");
    }
    bits |= bits >> 16;
#endif
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t sample = (uint16_t)x[i];
        bits |= sample ^ sample << 1;
    }
    return bits & 0xFFFF;
}

/* Products of samples and weights are added to `half`, shifted up and cut off behind their upper half. */
struct shifting {
    uint32_t half, shift; /* shift: 1 to 16 */
};

static inline int16_t shifted(uint32_t products, struct shifting s)
{
    return (int16_t)(products << s.shift >> 16);
}

static inline uint32_t product(int16_t x, int16_t w)
{
    return (uint32_t)(x * w);
}

#if defined(__ARM_FEATURE_DSP)

/* The outer samples of weigh(), by fours at either end. Returns how many at one end. */
static uint32_t weigh_fours(const int16_t *x, const int16_t *w, uint32_t length, int16_t *z, struct shifting s)
{
    const uint32_t turns = length / 8;
    const int16_t *high = x + length - 2;
    int16_t *to_high = z + length - 2;
    uint32_t left = turns, weights, a, b, c;
    if (turns > 0)
        __asm volatile(".p2align 2\n"
                       "1:\n"
                       ".rept 2\n"
                       "ldr.w %[weights], [%[w]], #4\n"
                       "ldr.w %[a], [%[x]], #4\n"
                       "ldr.w %[b], [%[high]], #-4\n"
                       "smlatt %[c], %[a], %[weights], %[half]\n"
                       "smlabb %[a], %[a], %[weights], %[half]\n"
                       "lsl.w %[c], %[c], %[shift]\n"
                       "lsl.w %[a], %[a], %[shift]\n"
                       "pkhtb %[a], %[c], %[a], asr #16\n"
                       "smlatb %[c], %[b], %[weights], %[half]\n"
                       "smlabt %[b], %[b], %[weights], %[half]\n"
                       "lsl.w %[c], %[c], %[shift]\n"
                       "lsl.w %[b], %[b], %[shift]\n"
                       "pkhtb %[b], %[c], %[b], asr #16\n"
                       "str.w %[a], [%[z]], #4\n"
                       "str.w %[b], [%[to_high]], #-4\n"
                       ".endr\n"
                       "subs.w %[left], #1\n"
                       "bne.w 1b"
                       : [x] "+&r"(x), [high] "+&r"(high), [w] "+&r"(w), [z] "+&r"(z), [to_high] "+&r"(to_high),
                         [left] "+&r"(left), [weights] "=&r"(weights), [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c)
                       : [half] "r"(s.half), [shift] "r"(s.shift)
                       : "cc", "memory");
    return 4 * turns;
}

/* The outer samples of wrap(), by twos at either end. */
static uint32_t wrap_twos(const int16_t *x, const int16_t *w, uint32_t length, uint32_t fft_size, int16_t *z,
                          struct shifting s)
{
    const uint32_t turns = length / 4, behind = fft_size * sizeof *x;
    const int16_t *high = x + length - 2, *falling = w + length - 2;
    int16_t *to_high = z + length - 2;
    uint32_t rise, fall, a, b, c;
    if (turns > 0)
        __asm volatile(".p2align 2\n"
                       "1:\n"
                       "ldr.w %[rise], [%[w]], #4\n"
                       "ldr.w %[fall], [%[falling]], #-4\n"
                       "ldr.w %[b], [%[x], %[behind]]\n"
                       "ldr.w %[a], [%[x]], #4\n"
                       "smlatb %[c], %[b], %[fall], %[half]\n"
                       "smlabt %[b], %[b], %[fall], %[half]\n"
                       "smlatt %[c], %[a], %[rise], %[c]\n"
                       "smlabb %[b], %[a], %[rise], %[b]\n"
                       "lsl.w %[c], %[c], %[shift]\n"
                       "lsl.w %[b], %[b], %[shift]\n"
                       "pkhtb %[a], %[c], %[b], asr #16\n"
                       "str.w %[a], [%[z]], #4\n"
                       "ldr.w %[b], [%[high], %[behind]]\n"
                       "ldr.w %[a], [%[high]], #-4\n"
                       "smlatb %[c], %[b], %[rise], %[half]\n"
                       "smlabt %[b], %[b], %[rise], %[half]\n"
                       "smlatt %[c], %[a], %[fall], %[c]\n"
                       "smlabb %[b], %[a], %[fall], %[b]\n"
                       "lsl.w %[c], %[c], %[shift]\n"
                       "lsl.w %[b], %[b], %[shift]\n"
                       "pkhtb %[a], %[c], %[b], asr #16\n"
                       "str.w %[a], [%[to_high]], #-4\n"
                       "sub.w %[c], %[to_high], %[z]\n"
                       "cmp.w %[c], #4\n" /* four or more samples are left */
                       "bge.w 1b"
                       : [x] "+&r"(x), [high] "+&r"(high), [w] "+&r"(w), [falling] "+&r"(falling), [z] "+&r"(z),
                         [to_high] "+&r"(to_high), [rise] "=&r"(rise), [fall] "=&r"(fall), [a] "=&r"(a), [b] "=&r"(b),
                         [c] "=&r"(c)
                       : [half] "r"(s.half), [shift] "r"(s.shift), [behind] "r"(behind)
                       : "cc", "memory");
    return 2 * turns;
}

#else

static uint32_t weigh_fours(const int16_t *x, const int16_t *w, uint32_t length, int16_t *z, struct shifting s)
{
    return (void)x, (void)w, (void)length, (void)z, (void)s, 0;
}

static uint32_t wrap_twos(const int16_t *x, const int16_t *w, uint32_t length, uint32_t fft_size, int16_t *z,
                          struct shifting s)
{
    return (void)x, (void)w, (void)length, (void)fft_size, (void)z, (void)s, 0;
}

#endif

/* z[n] = w[n] x[n] of samples whose weights are the first of a half window, and of those mirrored about the middle. */
static void weigh(const int16_t *x, const int16_t *w, uint32_t length, int16_t *z, struct shifting s)
{
    for (uint32_t n = weigh_fours(x, w, length, z, s); n < (length + 1) / 2; n++) {
        const uint32_t m = length - 1 - n;
        z[n] = shifted(s.half + product(x[n], w[n]), s);
        z[m] = shifted(s.half + product(x[m], w[n]), s);
    }
}

/* The samples that two parts of the window fall on, `length` of them: z[n] = w[n] x[n] + w[length - 1 - n] x[n + N],
 * since the window is even about its middle. */
static void wrap(const int16_t *x, const int16_t *w, uint32_t length, uint32_t fft_size, int16_t *z, struct shifting s)
{
    for (uint32_t n = wrap_twos(x, w, length, fft_size, z, s); n < (length + 1) / 2; n++) {
        const uint32_t m = length - 1 - n;
        z[n] = shifted(s.half + product(x[n], w[n]) + product(x[n + fft_size], w[m]), s);
        z[m] = shifted(s.half + product(x[m], w[m]) + product(x[m + fft_size], w[n]), s);
    }
}

void mel_window(const struct front_end_group *group)
{
    const struct mel_header *h = group->blob;
    const uint32_t window = h->common.window, fft_size = h->fft_size;
    const uint32_t wrapped = window > fft_size ? window - fft_size : 0;
    const int16_t *w = table_of(h, h->window_data);
    for (uint32_t i = 0; i < group->frames; i++) {
        const int16_t *x = group->samples + i * h->common.hop;
        int16_t *z = mel_place(group, i + 1);
        const uint32_t shift = (uint32_t)__builtin_clz(sample_bits(x, window)) - 16; /* 0 to 15 */
        const struct shifting s = {0x8000u >> (shift + 1), shift + 1};
        mel_shifts(group)[i] = shift;
        wrap(x, w, wrapped, fft_size, z, s);
        weigh(x + wrapped, w + wrapped, window - 2 * wrapped, z + wrapped, s);
        if (window < fft_size)
            memset(z + window, 0, (fft_size - window) * sizeof *z);
    }
}
