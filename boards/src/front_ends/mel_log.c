/* SPDX-License-Identifier: MIT
 * The stage "log".
 */
#include "mel.h"

/* log2(x) - unit of each x + floor, with 16 bits behind the binary point, then rounded to 9. 2^e (1 + f) is
 * e + f + f (1 - f) q(f), where q is a minimax polynomial: the error is below 1.2e-4, and what is cut off below 1e-4.
 * x + floor: above 0 and below 2^63. logarithms may begin where x does. */
enum { Q2 = 5382, Q1 = -15667, Q0 = 28752 };

#if defined(__ARM_FEATURE_DSP)

static void logarithms_of(const uint64_t *x, uint32_t count, uint64_t floor, int32_t unit, int16_t *logarithms)
{
    const uint64_t *end = x + count;
    const int32_t most = 63 * 65536 - unit + 64;
    uint32_t a, b, c, zeros;
    __asm volatile(".p2align 2\n"
                   "1:\n"
                   "ldrd %[a], %[b], [%[x]], #8\n"
                   "adds.w %[a], %Q[floor]\n"
                   "adc.w %[b], %R[floor]\n"
                   "clz %[zeros], %[b]\n"
                   "lsl.w %[b], %[b], %[zeros]\n"
                   "rsb.w %[c], %[zeros], #32\n"
                   "lsr.w %[a], %[a], %[c]\n"
                   "orr.w %[a], %[b]\n"
                   "clz %[c], %[a]\n" /* 0 unless the upper word is */
                   "lsl.w %[a], %[a], %[c]\n"
                   "add.w %[zeros], %[c]\n"
                   "ubfx %[a], %[a], #15, #16\n"
                   "smlawb %[c], %[a], %[q2], %[q1]\n"
                   "smlawb %[c], %[a], %[c], %[q0]\n"
                   "rsb.w %[b], %[a], #65536\n"
                   "mul %[b], %[a], %[b]\n"
                   "smmla %[a], %[b], %[c], %[a]\n"
                   "sub.w %[a], %[a], %[zeros], lsl #16\n"
                   "add.w %[a], %[most]\n"
                   "asr.w %[a], %[a], #7\n"
                   "cmp.w %[x], %[end]\n"
                   "strh.w %[a], [%[logarithms]], #2\n"
                   "bne.w 1b"
                   : [x] "+&r"(x), [logarithms] "+&r"(logarithms), [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c),
                     [zeros] "=&r"(zeros)
                   : [floor] "r"(floor), [most] "r"(most), [end] "r"(end), [q2] "r"(Q2), [q1] "r"(Q1), [q0] "r"(Q0)
                   : "cc", "memory");
}

#else

static void logarithms_of(const uint64_t *x, uint32_t count, uint64_t floor, int32_t unit, int16_t *logarithms)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t sum = x[i] + floor;
        const int32_t zeros = __builtin_clzll(sum);
        const int32_t f = (int32_t)(sum << zeros >> 47 & 0xFFFF);
        const int32_t q = ((f * (((f * Q2) >> 16) + Q1)) >> 16) + Q0;
        const int64_t between = (int64_t)f * (65536 - f);
        const int32_t log = (63 - zeros) * 65536 + f + (int32_t)((between * q) >> 32);
        logarithms[i] = (int16_t)((log - unit + 64) >> 7);
    }
}

#endif

void mel_log(const struct front_end_group *group)
{
    const struct mel_header *h = group->blob;
    for (uint32_t i = 0; i < group->frames; i++) {
        const uint32_t shifts = 2 * mel_shifts(group)[i];
        const uint64_t floor = (((uint64_t)h->log_floor << shifts) >> 8) | 1;
        const int32_t unit = h->log_unit + (int32_t)shifts * 65536;
        logarithms_of(mel_place(group, i + 1), h->mel_bins, floor, unit, mel_logarithms(group, i));
    }
}
