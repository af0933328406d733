/* SPDX-License-Identifier: MIT
 * Words of four int8 and of two int16, as SXTB16 and SMLAD see them.
 */
#ifndef HIL_DSP_HALVES_H
#define HIL_DSP_HALVES_H

#include <stdint.h>
#include <string.h>

/* Four bytes from any address. */
static inline uint32_t dsp_word(const int8_t *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

/* Bytes 0 and 2 of a word as two int16. */
static inline uint32_t dsp_even_bytes(uint32_t word)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t halves;
    __asm("sxtb16 %0, %1" : "=r"(halves) : "r"(word));
    return halves;
#else
    return (uint32_t)(uint16_t)(int8_t)word | (uint32_t)(int8_t)(word >> 16) << 16;
#endif
}

/* Bytes 1 and 3. */
static inline uint32_t dsp_odd_bytes(uint32_t word)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t halves;
    __asm("sxtb16 %0, %1, ror #8" : "=r"(halves) : "r"(word));
    return halves;
#else
    return dsp_even_bytes(word >> 8);
#endif
}

/* The same as dsp_even_bytes() and dsp_odd_bytes(), added to sums. */
static inline uint32_t dsp_add_even_bytes(uint32_t sums, uint32_t word)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t halves;
    __asm("sxtab16 %0, %1, %2" : "=r"(halves) : "r"(sums), "r"(word));
    return halves;
#else
    const uint32_t added = dsp_even_bytes(word);
    return ((sums + added) & 0xFFFF) | ((sums & 0xFFFF0000) + (added & 0xFFFF0000));
#endif
}

static inline uint32_t dsp_add_odd_bytes(uint32_t sums, uint32_t word)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t halves;
    __asm("sxtab16 %0, %1, %2, ror #8" : "=r"(halves) : "r"(sums), "r"(word));
    return halves;
#else
    return dsp_add_even_bytes(sums, word >> 8);
#endif
}

/* sum + the product of the lower halves + that of the upper ones; wraps around. */
static inline uint32_t dsp_products(uint32_t a, uint32_t b, uint32_t sum)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t with;
    __asm("smlad %0, %1, %2, %3" : "=r"(with) : "r"(a), "r"(b), "r"(sum));
    return with;
#else
    return sum + (uint32_t)((int16_t)a * (int16_t)b) + (uint32_t)((int16_t)(a >> 16) * (int16_t)(b >> 16));
#endif
}

/* The lower halves of two words, the first one's as the lower. */
static inline uint32_t dsp_lower_halves(uint32_t a, uint32_t b)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t halves;
    __asm("pkhbt %0, %1, %2, lsl #16" : "=r"(halves) : "r"(a), "r"(b));
    return halves;
#else
    return (a & 0xFFFF) | b << 16;
#endif
}

static inline uint32_t dsp_upper_halves(uint32_t a, uint32_t b)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t halves;
    __asm("pkhtb %0, %2, %1, asr #16" : "=r"(halves) : "r"(a), "r"(b));
    return halves;
#else
    return a >> 16 | (b & 0xFFFF0000);
#endif
}

#endif
